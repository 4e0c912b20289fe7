"""Windows as the arrays that a model's graph takes, several together.

Shapes: B windows, T frames (padded to the longest).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.ml.landmarks.features import STEP_MS
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.types import BoolArray, FloatArray, LandmarkWindow, TimesArray

MAX_CELLS: Final = 2_000_000
"""Windows times frames times grid steps in one call, at most (one window alone may be more): where a part was seen is
looked up in arrays of this size, some ten of them at a time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WindowBatch:
    """Several windows.

    Attributes:
        landmarks: float32 `[B, T, 75, 3]`, fractions of the frame, NaN where missing.
        times_ms: float64 `[B, T]`, capture times on any clock, increasing in each row.
        aspect: float32 `[B]`, the frame's width by its height.
        mask: bool `[B, T]`, true = a frame of the window, false = padding, whose values never change an answer. Frames
            come first.
    """

    landmarks: FloatArray
    times_ms: TimesArray
    aspect: FloatArray
    mask: BoolArray

    @property
    def tensors(self) -> Mapping[str, NDArray[Any]]:
        """By the names of a model's inputs."""
        return {"landmarks": self.landmarks, "times_ms": self.times_ms, "aspect": self.aspect, "mask": self.mask}


def stack_windows(windows: Sequence[LandmarkWindow]) -> WindowBatch:
    """Put checked windows together."""
    lengths = np.array([len(window.times_ms) for window in windows])
    num_frames = int(lengths.max())
    landmarks = np.full((len(windows), num_frames, NUM_POINTS, 3), np.nan, np.float32)
    times_ms = np.zeros((len(windows), num_frames))
    for row, window in enumerate(windows):
        landmarks[row, : lengths[row]] = window.landmarks
        times_ms[row, : lengths[row]] = window.times_ms
    return WindowBatch(
        landmarks=landmarks,
        times_ms=times_ms,
        aspect=np.array([window.width / window.height for window in windows], np.float32),
        mask=np.arange(num_frames) < lengths[:, None],
    )


def split_windows(windows: Sequence[LandmarkWindow], *, max_batch: int) -> list[list[int]]:
    """Which windows to put together: windows of very different lengths would fill memory with padding.

    Args:
        windows: checked ones.
        max_batch: windows in one call, at most.

    Returns:
        Positions of the windows, each once; shorter windows first where they do not all go together.
    """
    if not windows:
        return []
    frames = np.array([len(window.times_ms) for window in windows], np.int64)
    steps = np.array([(window.times_ms[-1] - window.times_ms[0]) / STEP_MS + 1 for window in windows], np.int64)
    if len(windows) <= max_batch and (len(windows) == 1 or len(windows) * frames.max() * steps.max() <= MAX_CELLS):
        return [list(range(len(windows)))]
    groups: list[list[int]] = []
    most_frames = most_steps = 0
    for number in np.argsort(frames * steps, kind="stable").tolist():
        most_frames, most_steps = max(most_frames, int(frames[number])), max(most_steps, int(steps[number]))
        size = len(groups[-1]) + 1 if groups else 1
        if not groups or size > max_batch or size * most_frames * most_steps > MAX_CELLS:
            groups.append([])
            most_frames, most_steps = int(frames[number]), int(steps[number])
        groups[-1].append(number)
    return groups
