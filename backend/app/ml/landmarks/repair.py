"""Reads landmarks right that were written wrong in a way that leaves no doubt.

Shapes: `...` any leading axes, frames for instance.
"""

from typing import Final

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST
from app.ml.types import BoolArray, FloatArray

_SAME: Final = 1e-6
"""Coordinates of two hands that differ by no more are one hand told twice; two hands, even two detections of one hand,
differ a thousand times as much."""


def erase_zero_points(landmarks: FloatArray) -> FloatArray:
    """Make points at exactly (0, 0, 0) missing: detectors that write zeros for what they do not see put them there.

    Args:
        landmarks: float32 `[..., 75, 3]`, NaN where missing.

    Returns:
        The same array when there is no such point, otherwise a copy with NaN in its place.
    """
    x = landmarks[..., 0]
    if np.count_nonzero(x) == x.size:  # NaN is not zero: the usual case, at the price of one look
        return landmarks
    zero = ~landmarks.any(axis=-1)
    if not zero.any():
        return landmarks
    repaired = landmarks.copy()
    repaired[zero] = np.nan
    return repaired


def is_one_hand_twice(landmarks: FloatArray) -> BoolArray:
    """Whether both hands are one and the same hand: bool `[...]` for float32 `[..., 75, 3]`."""
    difference = np.abs(landmarks[..., LEFT_HAND, :] - landmarks[..., RIGHT_HAND, :])
    return (difference <= _SAME).all(axis=(-2, -1))


def keep_one_hand(landmarks: FloatArray) -> FloatArray:
    """Of a hand that is told as both, keep the one at whose arm it lies: the wrist of the pose that is nearer.

    Without a pose the right hand stays, which most people sign with.

    Args:
        landmarks: float32 `[..., 75, 3]`.

    Returns:
        The same array when no frame has such a hand, otherwise a copy.
    """
    twice = is_one_hand_twice(landmarks)
    if not twice.any():
        return landmarks
    wrist = landmarks[..., RIGHT_HAND.start, :2]
    to_left = np.linalg.norm(wrist - landmarks[..., LEFT_WRIST, :2], axis=-1)
    to_right = np.linalg.norm(wrist - landmarks[..., RIGHT_WRIST, :2], axis=-1)
    is_left = to_left < to_right  # False where there is no pose
    repaired = landmarks.copy()
    repaired[twice & is_left, RIGHT_HAND] = np.nan
    repaired[twice & ~is_left, LEFT_HAND] = np.nan
    return repaired
