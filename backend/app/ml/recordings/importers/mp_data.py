"""`MP_Data` folders, as many tutorials record them: `ACTION/SEQUENCE/FRAME.npy`, one array of numbers a frame.

    1662 values  pose 33 x (x, y, z, visibility), face 468 x 3, left hand 21 x 3, right hand 21 x 3
     258 values  pose 33 x (x, y, z, visibility), left hand, right hand
     225 values  pose 33 x 3, left hand, right hand

Zeros stand for a part that was not detected. `ACTION/SEQUENCE.npy` with all frames in one array is read too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.landmarks.layout import LEFT_HAND, NUM_HAND, NUM_POINTS, NUM_POSE, POSE, RIGHT_HAND
from app.ml.recordings.clips import DEFAULT_HEIGHT, DEFAULT_WIDTH, Clip
from app.ml.recordings.importers.source import Skipped
from app.ml.types import FloatArray

_HANDS: Final = 2 * NUM_HAND * 3
SIZES: Final = {1662: 4, 258: 4, 225: 3}
"""Values a frame, and how many of them a pose point has."""
_READ_ERRORS: Final = (OSError, ValueError, EOFError)


def to_landmarks(values: NDArray[np.float64]) -> FloatArray:
    """Numbers of `T` frames to landmarks, NaN where a whole part is zero.

    Args:
        values: `[T, 1662]`, `[T, 258]` or `[T, 225]`.

    Returns:
        float32 `[T, 75, 3]`.

    Raises:
        DatasetError: frames of another size.
    """
    if values.ndim != 2 or values.shape[1] not in SIZES:
        msg = f"frames of {values.shape[1:]} values; known are {', '.join(map(str, SIZES))}"
        raise DatasetError(msg)
    per_point = SIZES[values.shape[1]]
    landmarks = np.empty((len(values), NUM_POINTS, 3), np.float32)
    landmarks[:, POSE] = values[:, : NUM_POSE * per_point].reshape(-1, NUM_POSE, per_point)[..., :3]
    landmarks[:, LEFT_HAND.start :] = values[:, -_HANDS:].reshape(-1, 2 * NUM_HAND, 3)
    for part in (POSE, LEFT_HAND, RIGHT_HAND):
        landmarks[(landmarks[:, part] == 0.0).all(axis=(1, 2)), part] = np.nan
    return landmarks


class MpDataImporter:
    """Reads an `MP_Data` folder.

    Args:
        root: the folder that holds one folder an action.
        frame_ms: time from frame to frame, which these recordings do not keep.
        width: frame width of the camera.
        height: frame height of the camera.
    """

    def __init__(
        self,
        root: Path,
        *,
        frame_ms: float,
        width: int = DEFAULT_WIDTH,
        height: int = DEFAULT_HEIGHT,
    ) -> None:
        self._root = root
        self._frame_ms = frame_ms
        self._width = width
        self._height = height

    def count(self) -> int:
        return len(self._sequences())

    def read(self) -> Iterator[Clip | Skipped]:
        sequences = self._sequences()
        if not sequences:
            msg = f"{self._root}: no ACTION/SEQUENCE/FRAME.npy below it; point at the folder that holds the actions"
            raise DatasetError(msg)
        for action, sequence in sequences:
            try:
                landmarks = to_landmarks(_load_frames(sequence))
            except (DatasetError, *_READ_ERRORS) as error:
                yield Skipped(path=sequence, reason=str(error))
                continue
            yield Clip(
                landmarks=landmarks,
                times_ms=np.arange(len(landmarks)) * self._frame_ms,
                width=self._width,
                height=self._height,
                label=action,
                clip_id=f"{action}/{sequence.stem}",
            )

    def _sequences(self) -> list[tuple[str, Path]]:
        return [
            (action.name, entry)
            for action in sorted(self._root.iterdir())
            if action.is_dir()
            for entry in sorted(action.iterdir(), key=_number_first)
            if entry.suffix == ".npy" or (entry.is_dir() and any(entry.glob("*.npy")))
        ]


def _load_frames(sequence: Path) -> NDArray[np.float64]:
    if sequence.is_file():
        return np.load(sequence, allow_pickle=False).astype(np.float64)
    files = sorted(sequence.glob("*.npy"), key=_number_first)
    frames = [np.load(file, allow_pickle=False).astype(np.float64).reshape(-1) for file in files]
    sizes = {len(frame) for frame in frames}
    if len(sizes) != 1:
        msg = f"frames of different sizes: {sorted(sizes)}"
        raise DatasetError(msg)
    return np.stack(frames)


def _number_first(path: Path) -> tuple[int, int | str]:
    """Sorts 2.npy before 10.npy, and names after numbers."""
    return (0, int(path.stem)) if path.stem.isdecimal() else (1, path.stem)
