"""The set-up of the tests themselves: what must never meet in one process, and what a skip must say."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

BACKEND = Path(__file__).resolve().parents[1]

BROWSER_TEST = """
import pytest

@pytest.fixture(scope="session")
def playwright():
    yield "an event loop runs in this thread from now on"

def test_in_a_browser(playwright):
    pass
"""
ASYNCIO_TEST = """
async def test_in_a_loop():
    pass
"""
UNDER_THE_SAME_RULES = ("-p", "tests.conftest", "-c", "pyproject.toml", "--rootdir", ".")


def collect(*arguments: str | Path) -> str:
    """What pytest would run, and what it says about it."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=BACKEND, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def both(tmp_path: Path) -> Path:
    """A folder with a synchronous browser test and an asyncio test."""
    (tmp_path / "test_a_browser.py").write_text(BROWSER_TEST, encoding="utf-8")
    (tmp_path / "test_b_loop.py").write_text(ASYNCIO_TEST, encoding="utf-8")
    return tmp_path


def test_browser_tests_and_asyncio_tests_never_meet_in_one_process(both: Path) -> None:
    together = collect(*UNDER_THE_SAME_RULES, both)

    assert "test_in_a_loop" in together
    assert "test_in_a_browser" not in together
    assert "browser tests left out: 1; in a process of their own: python -m pytest tests/e2e" in together


def test_browser_tests_run_when_they_are_alone(both: Path) -> None:
    assert "test_in_a_browser" in collect(*UNDER_THE_SAME_RULES, both / "test_a_browser.py")


def test_the_folder_of_the_browser_tests_runs_them_all() -> None:
    alone = collect("tests/e2e")

    assert re.search(r"^tests/e2e/\S*test_translate_page", alone, re.MULTILINE)
    assert "left out" not in alone


def test_the_whole_suite_collected_at_once_leaves_every_browser_test_out() -> None:
    together = collect("tests")

    assert not re.search(r"^tests/e2e/\S*test_translate_page", together, re.MULTILINE)
    assert "browser tests left out: " in together


def test_make_test_runs_every_test_in_as_many_processes_as_that_needs() -> None:
    makefile = (BACKEND.parent / "Makefile").read_text(encoding="utf-8")
    recipe = makefile[makefile.index("\ntest:") :].split("\n\n", 1)[0]

    assert recipe.count("-m pytest") == 2, "one process for the browser tests, others for the rest"
    assert "tests/e2e" in recipe


def test_every_skip_for_a_missing_program_says_how_to_install_it() -> None:
    without = {
        f"{path.relative_to(BACKEND)}: {call}"
        for path in (BACKEND / "tests").rglob("*.py")
        for call in re.findall(
            r"(?:pytest\.skip|importorskip|require_binary)\([^\n]*", path.read_text(encoding="utf-8")
        )
        if path != Path(__file__).resolve()
        and not re.search(r"install|INSTALL|make |shared|needs|MISSING_BINARY|reason=", call)
    }

    assert without == set()
