"""Whether a confidence means what it says: of the answers shown with 80 %, about 80 % should be right."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.ml.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ReliabilityBin:
    """Answers of about the same confidence: their mean confidence and how many of them were right."""

    confidence: float
    accuracy: float
    num_answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Whether confidences mean what they say: the expected calibration error and the bins that it is over."""

    ece: float
    bins: tuple[ReliabilityBin, ...]


def measure_calibration_error(
    confidence: FloatArray, correct: BoolArray, *, weights: NDArray[np.float64] | None = None, num_bins: int = 15
) -> float:
    """Expected calibration error: mean distance of confidence from accuracy over bins of equal width (Guo et al. 2017).

    Args:
        confidence: float32 `[N]` in [0, 1], of the answers that `correct` judges.
        correct: bool `[N]`.
        weights: float64 `[N]`, what each answer counts; None counts all the same.
        num_bins: bins over [0, 1].

    Returns:
        In [0, 1]; 0 when there is no clip.
    """
    if len(confidence) == 0:
        return 0.0
    bins = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    counts = np.ones(len(confidence)) if weights is None else weights
    gaps = np.bincount(bins, weights=counts * (confidence - correct), minlength=num_bins)
    return float(np.abs(gaps).sum() / counts.sum())


def measure_reliability(
    confidence: NDArray[np.floating[Any]],
    correct: NDArray[np.generic],
    *,
    weights: NDArray[np.float64] | None = None,
    num_bins: int = 10,
) -> list[ReliabilityBin]:
    """Confidence against accuracy in bins of equal width; empty ones are left out.

    Args:
        confidence: `[N]` in [0, 1].
        correct: bool `[N]`.
        weights: float64 `[N]`, what each answer counts in both means; None counts all the same.
        num_bins: bins over [0, 1].
    """
    counts = np.ones(len(confidence)) if weights is None else weights
    place = np.minimum((confidence * num_bins).astype(np.int64), num_bins - 1)
    return [
        ReliabilityBin(
            confidence=float(np.average(confidence[inside], weights=counts[inside])),
            accuracy=float(np.average(correct[inside].astype(np.float64), weights=counts[inside])),
            num_answers=int(inside.sum()),
        )
        for number in range(num_bins)
        if (inside := place == number).any()
    ]


def describe_reliability(
    confidence: FloatArray, correct: BoolArray, *, weights: NDArray[np.float64] | None = None
) -> Reliability:
    """The reliability table, in ten bins, with the mean distance between the two; arguments as above."""
    return Reliability(
        ece=measure_calibration_error(confidence, correct, weights=weights, num_bins=10),
        bins=tuple(measure_reliability(confidence, correct, weights=weights)),
    )
