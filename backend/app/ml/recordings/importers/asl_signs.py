"""The layout of Kaggle's "Google - Isolated Sign Language Recognition" (asl-signs): `train.csv` and parquet files.

`train.csv` has `path, participant_id, sequence_id, sign`; each parquet file has one row a point: `frame, type`
(`pose`, `left_hand`, `right_hand`, `face`), `landmark_index, x, y, z`. Needs pyarrow (extra `tools`).
"""

import csv
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError, MissingExtraError
from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS, POSE, RIGHT_HAND
from app.ml.landmarks.repair import erase_zero_points
from app.ml.recordings.clips import Clip
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.types import FloatArray

TABLE: Final = "train.csv"
_TYPES: Final = {"pose": POSE, "left_hand": LEFT_HAND, "right_hand": RIGHT_HAND}
_COLUMNS: Final = ["frame", "type", "landmark_index", "x", "y", "z"]


class AslSignsImporter:
    """Reads a folder that holds `train.csv`.

    Args:
        root: that folder, or `train.csv` itself.
        frame_ms: time from one frame's number to the next, which the data do not say.
        width: frame width of the cameras; the data do not say it.
        height: frame height of the cameras.
    """

    def __init__(self, root: Path, *, frame_ms: float, width: int, height: int) -> None:
        self._table = root if root.is_file() else root / TABLE
        self._frame_ms = frame_ms
        self._width = width
        self._height = height

    def count(self) -> int:
        return len(self._rows())

    def labels(self) -> Iterator[str]:
        yield from (row["sign"] or "" for row in self._rows())  # None in a row that is cut short

    def read(self) -> Iterator[Clip | Skipped]:
        try:
            from pyarrow import parquet  # an optional package
        except ImportError as error:
            msg = "reading parquet files needs pyarrow; 'make lab' installs it"
            raise MissingExtraError(msg) from error
        for row in self._rows():
            path = self._table.parent / (row["path"] or "")
            yield read_item(path, partial(self._read, path, row, parquet))

    def listed(self) -> set[Path]:
        """The table and the parquet files that it lists."""
        return {self._table, *(self._table.parent / (row["path"] or "") for row in self._rows())}

    def _read(self, path: Path, row: dict[str, str], parquet: Any) -> Clip:
        columns = parquet.read_table(path, columns=_COLUMNS).to_pydict()
        landmarks, frames = _to_landmarks({name: np.asarray(columns[name]) for name in _COLUMNS})
        return Clip(
            landmarks=landmarks,
            times_ms=(frames - frames[0]) * self._frame_ms,
            width=self._width,
            height=self._height,
            label=row["sign"],
            signer=row["participant_id"],
            clip_id=row["sequence_id"],
        )

    def _rows(self) -> list[dict[str, str]]:
        try:
            with self._table.open(newline="", encoding="utf-8-sig") as file:
                rows = list(csv.DictReader(file))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            msg = f"{self._table}: cannot be read ({error}); it lists path, participant_id, sequence_id, sign"
            raise DatasetError(msg) from error
        missing = {"path", "participant_id", "sequence_id", "sign"} - set(rows[0] if rows else ())
        if missing:
            msg = f"{self._table}: has no column {', '.join(sorted(missing))}"
            raise DatasetError(msg)
        return rows


def _to_landmarks(columns: dict[str, NDArray[Any]]) -> tuple[FloatArray, NDArray[np.int64]]:
    """Long rows to float32 `[T, 75, 3]` and the numbers of the T frames that have rows; rows of the face and values
    that are not there stay NaN."""
    numbers, frames = np.unique(columns["frame"].astype(np.int64), return_inverse=True)
    if len(numbers) == 0:
        msg = "holds no frame"
        raise DatasetError(msg)
    landmarks = np.full((len(numbers), NUM_POINTS, 3), np.nan, np.float32)
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which `Clip` refuses
        values = np.stack([columns[axis].astype(np.float32) for axis in ("x", "y", "z")], axis=1)
    for name, part in _TYPES.items():
        rows = columns["type"] == name
        index = columns["landmark_index"][rows].astype(np.int64)
        if ((index < 0) | (index >= part.stop - part.start)).any():
            msg = f"'{name}' has a landmark_index outside 0-{part.stop - part.start - 1}"
            raise DatasetError(msg)
        landmarks[frames[rows], part.start + index] = values[rows]
    return erase_zero_points(landmarks), numbers
