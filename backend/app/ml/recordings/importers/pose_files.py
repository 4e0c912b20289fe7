"""`.pose` files of the sign-language-processing projects, read with their own `pose-format` package (extra `tools`).

Only MediaPipe Holistic files: points are in pixels, a confidence of 0 marks a point that is missing.
"""

import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.ml.errors import DatasetError, MissingExtraError
from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS, POSE, RIGHT_HAND
from app.ml.landmarks.repair import erase_zero_points
from app.ml.recordings.clips import Clip
from app.ml.recordings.importers.source import Skipped, read_item
from app.ml.recordings.source_files import find_data_files, place_of
from app.ml.types import FloatArray

SUFFIX: Final = ".pose"
_COMPONENTS: Final = {"POSE_LANDMARKS": POSE, "LEFT_HAND_LANDMARKS": LEFT_HAND, "RIGHT_HAND_LANDMARKS": RIGHT_HAND}


class PoseFileImporter:
    """Reads one `.pose` file, or every one below a folder, in folders by label and signer."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = find_data_files(root, {SUFFIX})

    def count(self) -> int:
        return len(self._files)

    def labels(self) -> Iterator[str]:
        yield from (label for file in self._files if (label := place_of(file, root=self._root).label) is not None)

    def read(self) -> Iterator[Clip | Skipped]:
        if not self._files:
            msg = f"{self._root}: no .pose file below it"
            raise DatasetError(msg)
        for file in self._files:
            place = place_of(file, root=self._root)
            yield read_item(file, partial(read_pose_file, file, label=place.label, signer=place.signer))


def read_pose_file(path: Path, *, label: str | None = None, signer: str | None = None) -> Clip:
    """Read one `.pose` file; of several people the first.

    Raises:
        MissingExtraError: pose-format is not installed.
        DatasetError: it cannot be read, or is not of MediaPipe Holistic.
    """
    try:
        from pose_format import Pose  # an optional package
    except ImportError as error:
        msg = "reading .pose files needs pose-format; 'make lab' installs it"
        raise MissingExtraError(msg) from error
    try:
        pose = Pose.read(path.read_bytes())
    except (OSError, ValueError, struct.error, IndexError, TypeError, OverflowError, MemoryError) as error:
        msg = f"{path}: not a readable .pose file ({error})"
        raise DatasetError(msg) from error
    landmarks = _to_landmarks(pose, path)
    fps = float(pose.body.fps)
    if not 0 < fps < float("inf"):
        msg = f"{path}: says {fps} frames a second"
        raise DatasetError(msg)
    width, height = int(pose.header.dimensions.width), int(pose.header.dimensions.height)
    return Clip(
        landmarks=landmarks,
        times_ms=np.arange(len(landmarks)) * 1000.0 / fps,
        width=width,
        height=height,
        label=label,
        signer=signer,
        clip_id=path.stem,
    )


def _to_landmarks(pose: Any, path: Path) -> FloatArray:
    names = [component.name for component in pose.header.components]
    if not set(_COMPONENTS) <= set(names):
        msg = f"{path}: has {', '.join(names) or 'no component'}, needs MediaPipe Holistic's {', '.join(_COMPONENTS)}"
        raise DatasetError(msg)
    width, height = pose.header.dimensions.width, pose.header.dimensions.height
    points = np.asarray(pose.body.data.data, np.float32)  # [T, people, points, dimensions]
    confidence = np.asarray(pose.body.confidence)
    if points.ndim != 4 or points.shape[1] < 1 or points.shape[3] < 3 or width < 1 or height < 1:
        msg = f"{path}: body has shape {points.shape} in {width}x{height}; needs [T, people, points, 3] in a real size"
        raise DatasetError(msg)
    landmarks = np.full((len(points), NUM_POINTS, 3), np.nan, np.float32)
    first = 0
    for component in pose.header.components:
        here = slice(first, first + len(component.points))
        first = here.stop
        part = _COMPONENTS.get(component.name)
        if part is None:
            continue
        if len(component.points) != part.stop - part.start:
            msg = f"{path}: {component.name} has {len(component.points)} points, needs {part.stop - part.start}"
            raise DatasetError(msg)
        is_seen = confidence[:, 0, here] > 0
        landmarks[:, part] = np.where(is_seen[..., None], points[:, 0, here, :3], np.nan)
    return erase_zero_points(landmarks) / np.array([width, height, 1.0], np.float32)
