"""Where a sign is, as the signing curve tells: the probability of "is signing" in each frame of a window."""

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, RIGHT_HAND
from app.ml.types import BoolArray, FloatArray, LandmarkWindow, TimesArray


def find_sign(
    signing: FloatArray, times_ms: TimesArray, *, on: float, off: float, quiet_ms: float, min_sign_ms: float
) -> tuple[float, float] | None:
    """First stretch of signing in a window: its first and last capture time over `off`; None without one.

    Args:
        signing: float32 `[T]`.
        times_ms: float64 `[T]`, increasing.
        on: what a stretch must reach somewhere.
        off: what it must not fall under for longer than `quiet_ms`; shorter dips are bridged.
        quiet_ms: see `off`; a stretch that ended less long ago may still go on.
        min_sign_ms: shorter stretches that have ended are none.
    """
    times = times_ms.tolist()  # some fifty numbers: plain Python is faster than numpy
    first: int | None = None
    last, peak = 0, 0.0
    for number, value in enumerate(signing.tolist()):
        if not value >= off:
            continue
        # Only frames that are under the limit make a dip; at a few frames a second neighbours are further apart.
        if first is not None and number > last + 1 and times[number] - times[last] > quiet_ms:
            if times[last] - times[first] >= min_sign_ms and peak >= on:
                return times[first], times[last]
            first = None
        if first is None:
            first, peak = number, value
        last, peak = number, max(peak, value)
    if first is None or peak < on:
        return None
    is_open = times[-1] - times[last] < quiet_ms
    return (times[first], times[last]) if is_open or times[last] - times[first] >= min_sign_ms else None


def hands_in_view(window: LandmarkWindow) -> FloatArray:
    """Stands in for the signing curve of a model that has none: 1 where a hand is in view, float32 `[T]`."""
    present: BoolArray = ~np.isnan(window.landmarks[:, (LEFT_HAND.start, RIGHT_HAND.start), 0]).all(axis=1)
    return present.astype(np.float32)
