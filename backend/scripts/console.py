"""What the command-line tools share: errors that a user can act on, without a traceback; progress goes to stderr."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import typer
from rich.console import Console

from app.client.errors import ClientError
from app.ml.errors import MlError
from app.ml.recordings.importers.source import Skipped
from app.ml.recordings.source_files import show_path, show_text

_BACKEND: Final = str(Path(__file__).resolve().parents[1])
# `python scripts/x.py` looks for modules beside x.py: the benchmarks would not find the made-up signer of `tests`.
if _BACKEND not in sys.path:
    sys.path.insert(0, _BACKEND)

_MAX_TOLD: Final = 20
"""Lines of one kind."""
STDERR: Final = Console(stderr=True, markup=False, emoji=False)
_WIDTH_ELSEWHERE: Final = 200
"""Columns of a file or a pipe, which have none of their own: rich would cut tables to 80."""


def results(*, stderr: bool = False) -> Console:
    """Where a tool prints what it found; without a terminal, wide enough to cut nothing. A name such as `[anna]` is
    printed, not read as a style."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDTH_ELSEWHERE
    return Console(stderr=stderr, soft_wrap=True, width=width, markup=False, emoji=False)


def tell_skipped(what: str, items: Sequence[Skipped], *, rest: str = "") -> None:
    """Name on stderr what was not used, and why; of many the first, and how many more, with `rest` behind it."""
    for item in items[:_MAX_TOLD]:
        STDERR.print(f"{what}: {show_path(item.path)}: {show_text(item.reason)}", highlight=False, soft_wrap=True)
    if len(items) > _MAX_TOLD:
        STDERR.print(f"{what}: {len(items) - _MAX_TOLD} more{rest}", highlight=False)


def fail(message: str) -> typer.Exit:
    """Print an error; raise what is returned to leave with exit code 2 (bad usage)."""
    STDERR.print("error: " + message, style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(2)


@contextmanager
def needs_packages(install: str = "make lab") -> Generator[None]:
    """Around imports: a package that is not installed ends the tool in one line, with the command that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "app", "scripts", "tests"):
            raise
        code = fail(
            f"this tool needs the package {package}; '{install}', in the repository's root, installs it"
        ).exit_code
        raise SystemExit(code) from error


@contextmanager
def user_errors() -> Generator[None]:
    """Turn the errors that we raise on purpose, and files that cannot be opened, into one line and exit code 2."""
    try:
        yield
    except (MlError, ClientError) as error:
        raise fail(str(error)) from error
    except OSError as error:
        named = error.filename is not None and error.strerror is not None
        raise fail(f"{error.filename}: {error.strerror}; choose another path" if named else str(error)) from error
