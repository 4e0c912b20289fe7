"""What training makes of a window, step by step as `dataset.py` does it: what is served is held to this."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.ml.landmarks.features import FeatureSpec, features_of
from app.ml.landmarks.normalise import check_window, resample, to_isotropic
from app.ml.types import BoolArray, FloatArray, LandmarkWindow, TimesArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSequence:
    """Features of one window: `values` float32 `[G, F]` (landmarks `[G, 75, 3]`), `times_ms` float64 `[G]`."""

    values: FloatArray
    times_ms: TimesArray


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureBatch:
    """Features of several windows: `values` float32 `[B, G, F]`, zeros (landmarks: NaN) where `mask` is false."""

    values: FloatArray
    mask: BoolArray
    times_ms: list[TimesArray]


def extract_features(window: LandmarkWindow, spec: FeatureSpec) -> FeatureSequence:
    """Check, resample, normalise and describe one window.

    Raises:
        InvalidLandmarksError: the window cannot be used; see `check_window`.
    """
    check_window(window)
    points, times_ms = resample(window.landmarks, window.times_ms, step_ms=spec.step_ms)
    isotropic = to_isotropic(points, width=window.width, height=window.height)
    return FeatureSequence(values=features_of(isotropic, spec), times_ms=times_ms)


def extract_batch(windows: Sequence[LandmarkWindow], spec: FeatureSpec) -> FeatureBatch:
    """The same for several windows, each by itself, padded to the longest."""
    sequences = [extract_features(window, spec) for window in windows]
    counts = np.array([len(one.times_ms) for one in sequences])
    missing = np.float32(np.nan if spec.is_landmarks else 0)
    values = np.full((len(windows), counts.max(), *spec.shape), missing, np.float32)
    for row, one in enumerate(sequences):
        values[row, : counts[row]] = one.values
    mask = np.arange(counts.max()) < counts[:, None]
    return FeatureBatch(values=values, mask=mask, times_ms=[one.times_ms for one in sequences])
