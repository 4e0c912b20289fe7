"""Programs that some tests start for real: found, or the test is skipped with the command that installs them."""

import shutil

import pytest

MISSING_BINARY = "missing binary"
"""How every such skip begins; `--fail-on-missing-binary`, used by `.ci/run`, turns exactly these into a failure."""


def require_binary(*names: str, install: str) -> str:
    """Path of the first of `names` that is installed; otherwise the test is skipped.

    Args:
        names: names of one program in different systems, e.g. `chromium`, `google-chrome`.
        install: command that installs it, shown as the reason.
    """
    for name in names:
        path = shutil.which(name)
        if path is not None:
            return path
    pytest.skip(f"{MISSING_BINARY} {names[0]}; install it with: {install}")
