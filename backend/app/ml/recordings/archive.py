"""The arrays of an `.npz` file, with errors that name the file and the key."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from app.ml.errors import ClipFileError


def is_archive(path: Path) -> bool:
    """Whether a file begins as numpy's files do: a zip archive (`.npz`, whole or not) or a single array (`.npy`)."""
    with path.open("rb") as stream:
        return stream.read(6).startswith((b"PK\x03\x04", b"PK\x05\x06", b"\x93NUMPY"))


class Archive:
    """The arrays of one `.npz` file, with errors that name the file and the key."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            if path.is_file() and not is_archive(path):
                msg = f"{path} is no .npz file; make one with 'python -m scripts.import_dataset' (docs/data.md)"
                raise ClipFileError(msg)
            with path.open("rb") as stream:  # our own handle: np.load leaves its own open when the zip is broken
                file = np.load(stream, allow_pickle=False)
                if not isinstance(file, NpzFile):
                    msg = f"{path}: a single .npy array; 'python -m scripts.import_dataset' imports folders of them"
                    raise ClipFileError(msg)
                self._arrays: dict[str, NDArray[np.generic]] = {key: file[key] for key in file.files}
        except FileNotFoundError as error:
            msg = f"{path}: no such file"
            raise ClipFileError(msg) from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error, KeyError) as error:
            msg = f"{path}: not a readable .npz file ({error})"
            raise ClipFileError(msg) from error

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def error(self, key: str, reason: str) -> ClipFileError:
        return ClipFileError(f"{self._path}: key '{key}': {reason}")

    def require(self, key: str) -> NDArray[np.generic]:
        if key not in self._arrays:
            raise self.error(
                key, f"missing; the file has {', '.join(sorted(self._arrays)) or 'nothing'} (layouts: docs/data.md)"
            )
        return self._arrays[key]

    def require_numbers(self, key: str, *, kinds: str = "iuf") -> NDArray[np.generic]:
        array = self.require(key)
        if array.dtype.kind not in kinds:
            wanted = {"f": "fractions (float16, float32 or float64)", "i": "whole numbers"}.get(kinds, "numbers")
            raise self.error(key, f"must be {wanted}, is {array.dtype}")
        return array

    def require_column(self, key: str, length: int) -> NDArray[np.generic]:
        array = self.require(key)
        if array.shape != (length,):
            raise self.error(key, f"shape is {array.shape}, expected ({length},)")
        return array

    def get_number(self, key: str, default: int) -> int:
        return int(self.get_numbers(key, 1, default)[0])

    def get_numbers(self, key: str, length: int, default: int) -> NDArray[np.int64]:
        """One value for all clips, or one a clip."""
        if key not in self:
            return np.full(length, default, np.int64)
        array = self._arrays[key]
        if array.dtype.kind not in "biuf" or not np.isfinite(array.astype(np.float64)).all():
            raise self.error(key, f"must be a finite number, is {array.dtype}")
        if array.size == 1:
            return np.full(length, array.reshape(()).astype(np.int64))
        return self.require_column(key, length).astype(np.int64)

    def get_text(self, key: str) -> str | None:
        return self.get_texts(key, 1)[0]

    def get_texts(self, key: str, length: int) -> list[str | None]:
        """One text for all clips, or one a clip; an empty text is None."""
        if key not in self:
            return [None] * length
        array = self._arrays[key]
        if array.size == 1:
            return [str(array.reshape(())) or None] * length
        return [str(value) or None for value in self.require_column(key, length)]
