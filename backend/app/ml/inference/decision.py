"""From logits to a decision: calibrated probabilities, the best signs, and whether the answer is good enough to give.

Serving and evaluation both decide here, so that a measured threshold means the same thing live.

Shapes: N windows, C labels (background included), S signs (background left out).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts import Calibration, ModelManifest
from app.ml.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """What a model's logits mean.

    Attributes:
        probabilities: float32 `[N, C]`, after temperature.
        ranking: int `[N, S]`, label indices of the signs, best first; background is never among them.
        confidence: float32 `[N]`, probability of the best sign.
        score: float32 `[N]`, what the threshold is compared with: `confidence`, or 0 where background is likelier.
        accepted: bool `[N]`, whether the best sign is given as the answer; false is "not sure".
    """

    probabilities: FloatArray
    ranking: NDArray[np.int64]
    confidence: FloatArray
    score: FloatArray
    accepted: BoolArray


def decide(logits: FloatArray, manifest: ModelManifest, *, calibration: Calibration | None = None) -> Decisions:
    """Turn logits `[N, C]` into decisions.

    Args:
        logits: float32 `[N, C]`, in the manifest's label order.
        manifest: of the model that gave them.
        calibration: another one than the manifest's, to try it out.
    """
    calibration = calibration or manifest.calibration
    signs = np.array([i for i, name in enumerate(manifest.label_names) if name not in manifest.background])
    probabilities = softmax(logits / np.float32(calibration.temperature))
    order = np.argsort(-probabilities[:, signs], axis=1, kind="stable")
    ranking = signs[order]
    confidence = np.take_along_axis(probabilities, ranking[:, :1], 1)[:, 0]
    score = np.where(confidence >= probabilities.max(-1), confidence, np.float32(0))
    # A threshold of 0 accepts every sign, but never what looks more like background.
    accepted = (score >= calibration.threshold) & (score > 0)
    return Decisions(
        probabilities=probabilities, ranking=ranking, confidence=confidence, score=score, accepted=accepted
    )


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Logistic function, without overflow at large negative values."""
    return (0.5 * (np.tanh(0.5 * logits) + 1.0)).astype(np.float32)


def pad_batch(sequences: Sequence[FloatArray]) -> tuple[FloatArray, BoolArray]:
    """Pad sequences with zeros to the longest one.

    Args:
        sequences: float32 `[T, F]` each, T may differ.

    Returns:
        float32 `[B, T, F]` and bool `[B, T]`, true = real.
    """
    lengths = np.array([len(sequence) for sequence in sequences])
    mask = np.arange(lengths.max()) < lengths[:, None]
    batch = np.zeros((*mask.shape, sequences[0].shape[1]), np.float32)
    for row, sequence in enumerate(sequences):
        batch[row, : len(sequence)] = sequence
    return batch, mask
