"""Hides landmarks that a network must then find: hands, fingers, arms, faces and single points, for a while each.

Neighbours in time and in the body say almost where one hidden point is; a whole part over several frames has to be
understood.

Shapes: B batch, T frames (padded), 75 points.
"""

from typing import Final

import numpy as np
from numpy.random import Generator

from app.ml.landmarks.layout import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NUM_HAND,
    NUM_POINTS,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.types import BoolArray, FloatArray

_HANDS: Final = tuple(np.arange(NUM_HAND) + hand.start for hand in (LEFT_HAND, RIGHT_HAND))
_FINGERS: Final = tuple(hand[1 + 4 * finger : 5 + 4 * finger] for hand in _HANDS for finger in range(5))
_BODY: Final = (
    np.array([LEFT_ELBOW, LEFT_WRIST, 17, 19, 21]),
    np.array([RIGHT_ELBOW, RIGHT_WRIST, 18, 20, 22]),
    np.arange(11),
)
_POINTS: Final = tuple(np.array([point]) for point in range(NUM_POINTS))
_KINDS: Final = (_HANDS, _FINGERS, _BODY, _POINTS)
_SHARES: Final = (0.3, 0.3, 0.2, 0.2)
_FIXED: Final = (LEFT_SHOULDER, RIGHT_SHOULDER)
"""Never hidden: place and size of everything else are told from them."""
_MAX_TRIES: Final = 200


def draw_masked(points: FloatArray, *, share: float, rng: Generator) -> BoolArray:
    """Choose landmarks to hide.

    Args:
        points: float32 `[B, T, 75, 3]`, NaN where missing.
        share: of each window's landmarks in view, in [0, 1).
        rng: decides.

    Returns:
        bool `[B, T, 75]`, True only at landmarks in view.
    """
    in_view = ~np.isnan(points).any(-1)
    masked = np.zeros_like(in_view)
    for window, chosen in zip(in_view, masked, strict=True):
        _draw_spans(window, chosen, round(share * int(window.sum())), rng)
    return masked


def hide(points: FloatArray, masked: BoolArray) -> FloatArray:
    """A copy of the points in which those that are masked are missing."""
    return np.where(masked[..., None], np.float32(np.nan), points)


def _draw_spans(in_view: BoolArray, chosen: BoolArray, wanted: int, rng: Generator) -> None:
    """Mark `wanted` landmarks of one window `[T, 75]`, a part of the body over a stretch of time after the other."""
    free = in_view.copy()
    free[:, _FIXED] = False
    frames = len(free)
    missing = min(wanted, int(free.sum()))
    for _ in range(_MAX_TRIES):
        if missing == 0:
            return
        parts = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
        part = parts[int(rng.integers(len(parts)))]
        length = int(rng.integers(1, max(2, frames // 2 + 1)))
        start = int(rng.integers(0, frames - length + 1))
        steps, places = np.nonzero(free[start : start + length, part])  # in the order of time: the end is left out
        steps, places = steps[:missing] + start, part[places[:missing]]
        chosen[steps, places] = True
        free[steps, places] = False
        missing -= len(steps)
    steps, places = np.nonzero(free)
    rest = rng.permutation(len(steps))[:missing]
    chosen[steps[rest], places[rest]] = True
