"""Files that are there whole or not at all, whatever moment the power goes or the process is killed."""

import os
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, wait until it is on the disk, then give it its name.

    Args:
        path: where to; its folder must exist. What is there keeps its content until the new one is complete.
        content: the file's whole content.

    Raises:
        OSError: it cannot be written, as on a full disk; nothing is left behind and the old file is as it was.
    """
    draft = path.with_name(f"{path.name}.partial")
    try:
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Wait until names given or changed in a folder are on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
