"""What the command-line tools share: errors that a user can act on, without a traceback; progress goes to stderr."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import typer
from rich.console import Console

from app.client.errors import ClientError
from app.ml.errors import MlError

STDERR: Final = Console(stderr=True)


def fail(message: str) -> typer.Exit:
    """Print an error; raise what is returned to leave with exit code 2 (bad usage)."""
    STDERR.print("error: " + message, style="red", highlight=False, markup=False, soft_wrap=True)
    return typer.Exit(2)


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
