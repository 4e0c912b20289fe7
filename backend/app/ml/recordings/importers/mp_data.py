"""`MP_Data` folders, as many tutorials record them: `ACTION/SEQUENCE/FRAME.npy`, one array of numbers a frame.

    1662 values  pose 33 x (x, y, z, visibility), face 468 x 3, left hand 21 x 3, right hand 21 x 3
     258 values  pose 33 x (x, y, z, visibility), left hand, right hand
     225 values  pose 33 x 3, left hand, right hand

Zeros stand for points that were not detected. `ACTION/SEQUENCE.npy` with all frames in one array is read too.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.landmarks.layout import LEFT_HAND, NUM_HAND, NUM_POINTS, NUM_POSE, POSE
from app.ml.landmarks.repair import erase_zero_points
from app.ml.recordings.clips import DEFAULT_HEIGHT, DEFAULT_WIDTH, Clip
from app.ml.recordings.importers.frame_names import number_frames
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.recordings.source_files import find_data_files, is_data
from app.ml.types import FloatArray

_HANDS: Final = 2 * NUM_HAND * 3
SIZES: Final = {1662: 4, 258: 4, 225: 3}
"""Values a frame, and how many of them a pose point has."""
SUFFIX: Final = ".npy"
_READ_ERRORS: Final = (OSError, ValueError, EOFError)


def to_landmarks(values: NDArray[np.float64]) -> FloatArray:
    """Numbers of `T` frames to landmarks, NaN where all three numbers of a point are zero.

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
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which `Clip` refuses
        landmarks[:, POSE] = values[:, : NUM_POSE * per_point].reshape(-1, NUM_POSE, per_point)[..., :3]
        landmarks[:, LEFT_HAND.start :] = values[:, -_HANDS:].reshape(-1, 2 * NUM_HAND, 3)
    return erase_zero_points(landmarks)


class MpDataImporter:
    """Reads an `MP_Data` folder.

    Args:
        root: the folder that holds one folder an action.
        frame_ms: time from one frame's number to the next, which these recordings do not keep.
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
        self._recordings: dict[Path, list[Path]] = defaultdict(list)
        self._misplaced: dict[Path, list[Path]] = defaultdict(list)
        for file in find_data_files(root, {SUFFIX}):
            match len(file.relative_to(root).parts):
                case 3:
                    self._recordings[file.parent].append(file)
                case 2 if not _is_one_frame(file):
                    self._recordings[file].append(file)
                case _:
                    self._misplaced[file.parent].append(file)

    def count(self) -> int:
        return len(self._recordings) + len(self._misplaced)

    def labels(self) -> Iterator[str]:
        yield from (recording.relative_to(self._root).parts[0] for recording in self._recordings)

    def read(self) -> Iterator[Clip | Skipped]:
        if not self.count():
            msg = f"{self._root}: no ACTION/SEQUENCE/FRAME.npy below it; point at the folder that holds the actions"
            raise DatasetError(msg)
        for recording, files in self._recordings.items():
            yield read_item(recording, partial(self._read, recording, files))
        for folder in self._root.glob("*/*/"):
            if is_data(folder, root=self._root) and folder not in self._recordings and folder not in self._misplaced:
                yield Skipped(path=folder, reason="holds no frame", is_empty=True)
        for folder, files in self._misplaced.items():
            yield Skipped(
                path=folder,
                reason=f"{len(files)} arrays such as {files[0].name} lie directly in it; expected is "
                "ACTION/SEQUENCE/FRAME.npy: below the folder that is imported, a folder for each action, in it a "
                "folder for each recording, and in this one array a frame",
            )

    def _read(self, recording: Path, files: list[Path]) -> Clip:
        action = recording.relative_to(self._root).parts[0]
        if recording.is_file():
            landmarks = to_landmarks(_load(recording))
            numbers = np.arange(len(landmarks))
        else:
            numbered = number_frames(files)
            landmarks = to_landmarks(_load_frames([file for _, file in numbered]))
            numbers = np.array([number for number, _ in numbered], np.float64)
        return Clip(
            landmarks=landmarks,
            times_ms=numbers * self._frame_ms,
            width=self._width,
            height=self._height,
            label=action,
            clip_id=f"{action}/{recording.stem if recording.is_file() else recording.name}",
        )


def _is_one_frame(file: Path) -> bool:
    """Whether an array that lies where a whole recording may lie is a single frame."""
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except _READ_ERRORS:  # read again, and told, as a recording
        return False
    return array.size in SIZES and (array.ndim != 2 or array.shape[1] not in SIZES)


def _load(file: Path) -> NDArray[np.float64]:
    try:
        with np.errstate(over="ignore"):
            return np.load(file, allow_pickle=False).astype(np.float64)
    except _READ_ERRORS as error:
        msg = f"{file.name} is no readable array of numbers ({error})"
        raise DatasetError(msg) from error


def _load_frames(files: list[Path]) -> NDArray[np.float64]:
    frames = [_load(file).reshape(-1) for file in files]
    sizes = {len(frame) for frame in frames}
    if len(sizes) != 1:
        msg = f"frames of different sizes: {sorted(sizes)}"
        raise DatasetError(msg)
    return np.stack(frames)
