"""Which files below a folder are data, in which order, and what their folders say.

    LABEL/file    LABEL/SIGNER/file    LABEL/SIGNER/anything/file

Every importer, and the tool that extracts landmarks, reads folders through this.
"""

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LITTER: Final = frozenset({"__macosx", "thumbs.db", "desktop.ini", "$recycle.bin", "system volume information"})
"""What operating systems leave in folders, besides hidden files; in lower case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the folders between the source and a file say; None where there is no such folder."""

    label: str | None
    signer: str | None


def place_of(path: Path, *, root: Path) -> Place:
    """The first folder below `root` is the label, the second the signer; a file beside these folders has neither."""
    folders = () if path == root else path.relative_to(root).parts[:-1]
    return Place(label=folders[0] if folders else None, signer=folders[1] if len(folders) > 1 else None)


def is_data(path: Path, *, root: Path) -> bool:
    """Whether neither the file nor a folder between it and `root` is hidden (`.DS_Store`, `._x`) or litter
    (`__MACOSX`, `Thumbs.db`); `root` itself may be hidden."""
    return not any(part.startswith((".", "~$")) or part.lower() in _LITTER for part in path.relative_to(root).parts)


def find_data_files(root: Path, suffixes: Collection[str] = ()) -> list[Path]:
    """The file itself, or every data file below a folder, `2` before `10`.

    Args:
        root: where to look.
        suffixes: endings in lower case, with the dot; none takes every file.
    """
    if root.is_file():
        return [root]
    found = [
        path
        for path in root.rglob("*")
        if is_data(path, root=root) and (not suffixes or path.suffix.lower() in suffixes) and path.is_file()
    ]
    return sorted(found, key=lambda path: [natural(part) for part in path.relative_to(root).parts])


def natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """Sorts names by the numbers in them: `frame_2` before `frame_10`, and `2` before `02` last of all."""
    pieces = re.findall(r"(\D*)(\d*)", name)
    return [(text, int(number) if number else -1) for text, number in pieces], name


def show_text(text: str) -> str:
    """A text that can be printed and stored, also where a file's name in it is no UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode()


def show_path(path: Path) -> str:
    """A path that can be printed, also where its bytes are no UTF-8 text (`\\xf6`)."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
