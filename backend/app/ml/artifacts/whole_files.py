"""Files that are there whole or not at all, whatever moment the power goes or the process is killed."""

import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

DRAFT_SUFFIX: Final = ".partial"
"""Appended to a file's name until it is whole; no reader of ours takes such a file for data."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, wait until it is on the disk, then give it its name.

    What is there keeps its content until the new one is complete, and its permissions. A link stays a link. What is no
    file, as `/dev/stdout`, is written to as it is.

    Args:
        path: where to; its folder must exist.
        content: the file's whole content.

    Raises:
        OSError: it cannot be written, as on a full disk; nothing is left behind and the old file is as it was.
    """
    target = path.resolve() if path.is_symlink() else path
    if target.exists() and not target.is_file():
        target.write_bytes(content)
        return
    draft = target.with_name(f"{target.name}{DRAFT_SUFFIX}")
    try:
        with draft.open("wb") as file:
            if target.exists():
                draft.chmod(stat.S_IMODE(target.stat().st_mode))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except BaseException as error:  # also when a user stops it
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    sync_folder(target.parent)


def write_text_whole(path: Path, text: str) -> None:
    """As `write_whole`, for text in UTF-8."""
    write_whole(path, text.encode())


def write_arrays_whole(path: Path, arrays: Mapping[str, ArrayLike]) -> None:
    """As `write_whole`, for a compressed `.npz` of these arrays, under whatever suffix `path` has."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict(arrays))
    write_whole(path, content.getvalue())


def sync_folder(folder: Path) -> None:
    """Wait until names given or changed in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
