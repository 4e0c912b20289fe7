"""Where a result comes from: the code's revision and the machine and packages that it ran on."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path
from typing import Final

UNKNOWN_REVISION: Final = "unknown"
_NAMED: Final = ("numpy", "torch", "onnxruntime", "onnx", "mlflow")
"""Packages that decide numbers; the whole list is in `installed_packages`."""


def git_revision() -> str:
    """The revision that this code is at, with `-dirty` when files were changed; `unknown` outside a checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    folder = Path(__file__).parent
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN_REVISION


def describe_environment() -> dict[str, str]:
    """What decides numbers and speed: system, Python, processors and the packages that compute."""
    facts = {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": sys.version.split()[0],
        "processors": str(os.cpu_count() or 0),
    }
    for name in _NAMED:
        try:
            facts[name] = version(name)
        except PackageNotFoundError:
            facts[name] = "not installed"
    return facts


def installed_packages() -> list[str]:
    """Every installed distribution as `name==version`, sorted: what a constraints file would hold."""
    return sorted({f"{package.metadata['Name']}=={package.version}" for package in distributions()}, key=str.lower)
