"""Options that hold for the whole suite."""

import inspect
from pathlib import Path

import pytest

from tests.binaries import MISSING_BINARY


class MissingBinaryGate:
    """Fails the run when a test was skipped because a program is not installed."""

    def __init__(self) -> None:
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the skips that `require_binary` made."""
        if report.skipped and MISSING_BINARY in str(report.longrepr):
            self.skipped.append(f"{report.nodeid}: {report.longrepr}")

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn a run that looked green into a failure."""
        if self.skipped and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the tests that did not run."""
        for line in self.skipped:
            terminalreporter.write_line(f"FAILED because a program is missing: {line}", red=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--fail-on-missing-binary`."""
    parser.addoption(
        "--fail-on-missing-binary",
        action="store_true",
        help="fail when a test is skipped because a program (chromium, ffmpeg ...) is not installed",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the gate when it is asked for."""
    if config.getoption("--fail-on-missing-binary"):
        config.pluginmanager.register(MissingBinaryGate(), "missing-binary-gate")


BROWSER_TESTS = Path(__file__).parent / "e2e"
BROWSER_FIXTURE = "playwright"
"""Playwright's synchronous driver leaves an event loop in pytest's thread, and every asyncio test after it fails."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Never let browser tests and others meet in one process: where both are asked for, the browser tests are left.

    What lies beside the browser tests in `tests/e2e` knows of them, as long as it is not asynchronous.
    """
    browser = [item for item in items if BROWSER_FIXTURE in getattr(item, "fixturenames", ())]
    others = [
        item
        for item in items
        if item not in browser
        and (BROWSER_TESTS not in item.path.parents or inspect.iscoroutinefunction(getattr(item, "obj", None)))
    ]
    if browser and others:
        items[:] = [item for item in items if item not in browser]
        config.hook.pytest_deselected(items=browser)
        config.stash[_LEFT_OUT] = len(browser)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say where the browser tests went."""
    num_left_out = config.stash.get(_LEFT_OUT, 0)
    if num_left_out:
        how = "in a process of their own: python -m pytest tests/e2e"
        terminalreporter.write_line(f"browser tests left out: {num_left_out}; {how}", yellow=True)


_LEFT_OUT = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model that recognises the parametric signer's signs; copy it before changing anything in it."""
    pytest.importorskip("torch", reason="installed by: make lab")
    from tests.tiny_model import write_tiny_model  # needs torch

    folder = tmp_path_factory.mktemp("tiny_model")
    write_tiny_model(folder)
    return folder
