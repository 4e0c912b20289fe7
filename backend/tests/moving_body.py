"""A noise-free body whose hands move by a known function of time, for properties of landmarks and features."""

from dataclasses import replace
from functools import cache

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, RIGHT_HAND, RIGHT_WRIST
from app.ml.types import FloatArray, LandmarkWindow
from tests.parametric_signer import make_person, perform_stream

_RIDES_ON_LEFT_WRIST = (LEFT_WRIST, 17, 19, 21, *range(LEFT_HAND.start, LEFT_HAND.stop))
_RIDES_ON_RIGHT_WRIST = (RIGHT_WRIST, 18, 20, 22, *range(RIGHT_HAND.start, RIGHT_HAND.stop))


@cache
def make_frame() -> FloatArray:
    """One frame `[75, 3]` of somebody with both hands up, in a 640x480 picture."""
    person = replace(make_person(1), jitter=0.0, dropout=0.0)
    stream = perform_stream(person, ("rain",), fps=20.0)
    middle = (stream.signs[0].start_ms + stream.signs[0].end_ms) / 2
    frame = stream.clip.landmarks[int(np.searchsorted(stream.clip.times_ms, middle))]
    assert np.isfinite(frame).all()
    return frame


def make_waving(*, fps: float = 20.0, duration_ms: float = 2000.0, period_ms: float = 1500.0) -> LandmarkWindow:
    """Both hands swing smoothly, out of step with each other, while the body keeps still."""
    times_ms = np.arange(0.0, duration_ms + 1e-6, 1000.0 / fps)
    phase = 2 * np.pi * times_ms / period_ms
    landmarks = np.tile(make_frame(), (len(times_ms), 1, 1))
    landmarks[:, _RIDES_ON_LEFT_WRIST, 1] += (0.08 * np.sin(phase)).astype(np.float32)[:, None]
    landmarks[:, _RIDES_ON_RIGHT_WRIST, 0] += (0.06 * np.cos(phase)).astype(np.float32)[:, None]
    return LandmarkWindow(landmarks=landmarks, times_ms=times_ms)
