"""The 75 points of a frame: which index is which, which bones join them, which points mirror each other.

MediaPipe Holistic's order: pose 0-32, left hand 33-53, right hand 54-74. The flat 225-value form (75 x 3) exists only
on the wire
and in `flatten`/`unflatten` here.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.types import FloatArray

NUM_POSE: Final = 33
NUM_HAND: Final = 21
NUM_POINTS: Final = 75
NUM_VALUES: Final = NUM_POINTS * 3

POSE: Final = slice(0, 33)
LEFT_HAND: Final = slice(33, 54)
RIGHT_HAND: Final = slice(54, 75)

NOSE: Final = 0
LEFT_SHOULDER: Final = 11
RIGHT_SHOULDER: Final = 12
LEFT_ELBOW: Final = 13
RIGHT_ELBOW: Final = 14
LEFT_WRIST: Final = 15
RIGHT_WRIST: Final = 16
LEFT_HIP: Final = 23
RIGHT_HIP: Final = 24

WRIST: Final = 0
"""Index of the wrist inside a hand; the fingertips and knuckles below count from it too."""
FINGERTIPS: Final = (4, 8, 12, 16, 20)
KNUCKLES: Final = (2, 5, 9, 13, 17)
KNUCKLE_ROW: Final = KNUCKLES[1:]
"""Of the four fingers, without the thumb's."""

POSE_EDGES: Final = (
    (11, 12), (11, 13), (13, 15), (12, 14), (14, 16), (11, 23), (12, 24), (23, 24),
    (23, 25), (25, 27), (24, 26), (26, 28), (0, 2), (0, 5), (2, 7), (5, 8), (9, 10),
)  # fmt: skip
HAND_EDGES: Final = (
    (0, 1), (1, 2), (2, 3), (3, 4), (0, 5), (5, 6), (6, 7), (7, 8), (5, 9), (9, 10), (10, 11), (11, 12),
    (9, 13), (13, 14), (14, 15), (15, 16), (13, 17), (17, 18), (18, 19), (19, 20), (0, 17),
)  # fmt: skip
EDGES: Final = (
    *POSE_EDGES,
    *((a + LEFT_HAND.start, b + LEFT_HAND.start) for a, b in HAND_EDGES),
    *((a + RIGHT_HAND.start, b + RIGHT_HAND.start) for a, b in HAND_EDGES),
)
"""Bones between points of the whole frame, for drawing and for graph encoders."""

_POSE_MIRROR_PAIRS: Final = (
    (1, 4), (2, 5), (3, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16), (17, 18), (19, 20), (21, 22),
    (23, 24), (25, 26), (27, 28), (29, 30), (31, 32),
)  # fmt: skip


def _mirror_index() -> NDArray[np.int64]:
    index = np.arange(NUM_POINTS)
    for left, right in _POSE_MIRROR_PAIRS:
        index[left], index[right] = right, left
    index[LEFT_HAND], index[RIGHT_HAND] = np.arange(54, 75), np.arange(33, 54)
    return index


MIRROR_INDEX: Final = _mirror_index()
"""int64 `[75]`: the point that takes each point's place in a mirror; its own inverse."""


def mirror(landmarks: FloatArray) -> FloatArray:
    """Mirror raw landmarks: swap left and right points and replace x by 1 - x. Twice is the identity.

    Args:
        landmarks: float32 `[..., 75, 3]`, fractions of the frame; NaN stays NaN.

    Returns:
        A new array `[..., 75, 3]`.
    """
    mirrored = landmarks[..., MIRROR_INDEX, :].copy()
    mirrored[..., 0] = 1.0 - mirrored[..., 0]
    return mirrored


def part_presence(landmarks: FloatArray) -> NDArray[np.bool_]:
    """Say which parts were detected.

    Args:
        landmarks: float32 `[T, 75, 3]`.

    Returns:
        bool `[T, 3]`: pose, left hand, right hand; a part is present when its first point is not NaN.
    """
    return ~np.isnan(landmarks[:, (POSE.start, LEFT_HAND.start, RIGHT_HAND.start), 0])


def has_hands_in_view(landmarks: FloatArray) -> bool:
    """Whether a hand was detected in enough frames, 30 %, that a recogniser might take what it does for a sign.

    Args:
        landmarks: float32 `[T, 75, 3]`.
    """
    return float(part_presence(landmarks)[:, 1:].any(1).mean()) > 0.3


def flatten(landmarks: FloatArray) -> FloatArray:
    """`[..., 75, 3]` to `[..., 225]`, x, y, z of point 0 first."""
    return landmarks.reshape(*landmarks.shape[:-2], NUM_VALUES)


def unflatten(values: FloatArray) -> FloatArray:
    """`[..., 225]` to `[..., 75, 3]`."""
    return values.reshape(*values.shape[:-1], NUM_POINTS, 3)
