"""The arrays of an `.npz` file, with errors that name the file and the key."""

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from app.ml.errors import ClipFileError

READ_ERRORS: Final = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    RuntimeError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What numpy and zipfile raise for a file that is damaged, encrypted, or said to hold more than fits in memory."""
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How numpy packs arrays; the page's reader knows no other either."""
_MOST_BYTES: Final = 8
"""Of a number: longer ones differ from machine to machine."""
_MOST: Final = 2**31 - 1


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
                self._arrays = self._read_arrays(file)
        except FileNotFoundError as error:
            msg = f"{path}: no such file"
            raise ClipFileError(msg) from error
        except READ_ERRORS as error:
            msg = f"{path}: not a readable .npz file ({error})"
            raise ClipFileError(msg) from error

    def _read_arrays(self, file: NpzFile) -> dict[str, NDArray[np.generic]]:
        members = file.zip.infolist()
        for member in members:
            if member.compress_type not in _METHODS:
                msg = (
                    f"{self._path}: '{member.filename}' is packed in a way that numpy never uses; write the arrays "
                    "anew with numpy.savez_compressed"
                )
                raise ClipFileError(msg)
        arrays = {key: file[key] for key in file.files}
        for key in [key for key, array in arrays.items() if isinstance(array, bytes)]:
            if any(member.filename == f"{key}.npy" for member in members):
                raise self.error(key, "is no NumPy array")
            del arrays[key]  # a file of another kind, which numpy gives as it is
        return arrays

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
        if array.dtype.kind not in kinds or array.dtype.itemsize > _MOST_BYTES:
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
        is_number = array.dtype.kind in "biuf" and array.dtype.itemsize <= _MOST_BYTES
        if not is_number or not (np.abs(array.astype(np.float64)) <= _MOST).all():
            found = f"{np.array2string(array, threshold=3)} ({array.dtype})"
            raise self.error(key, f"must be a finite number of at most {_MOST}, is {found}")
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
            return [to_text(array.reshape(-1)[0]) or None] * length
        return [to_text(value) or None for value in self.require_column(key, length)]

    def require_texts(self, key: str) -> list[str]:
        """A list of texts, however many."""
        return [to_text(value) for value in self.require(key).reshape(-1)]


def to_text(value: np.generic) -> str:
    """Text of numpy's `U` or `S` kind; bytes that are not UTF-8 stay readable and distinct, as `\\xf1`."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
