"""From logits to a decision: calibrated probabilities, the best signs, and whether the answer is good enough to give.

Serving and evaluation both decide here, so that a measured threshold means the same thing live.

Shapes: N windows, C labels (background included), S signs (background left out).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts import Calibration, ModelManifest
from app.ml.types import Alternative, BoolArray, FloatArray, Prediction

NUM_ALTERNATIVES: Final = 5


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
    return decide_on(softmax(logits / np.float32(calibration.temperature)), manifest, threshold=calibration.threshold)


def decide_on(probabilities: FloatArray, manifest: ModelManifest, *, threshold: float) -> Decisions:
    """Turn calibrated probabilities `[N, C]` into decisions.

    Args:
        probabilities: float32 `[N, C]`, in the manifest's label order.
        manifest: of the model that gave them.
        threshold: the best sign's probability under which the answer is "not sure".
    """
    signs = np.array([i for i, name in enumerate(manifest.label_names) if name not in manifest.background])
    order = np.argsort(-probabilities[:, signs], axis=1, kind="stable")
    ranking = signs[order]
    confidence = np.take_along_axis(probabilities, ranking[:, :1], 1)[:, 0]
    score = np.where(confidence >= probabilities.max(-1), confidence, np.float32(0))
    # A threshold of 0 accepts every sign, but never what looks more like background.
    accepted = (score >= threshold) & (score > 0)
    return Decisions(
        probabilities=probabilities, ranking=ranking, confidence=confidence, score=score, accepted=accepted
    )


def to_prediction(decisions: Decisions, row: int, manifest: ModelManifest, *, signing: FloatArray) -> Prediction:
    """What a `Predictor` answers for one window.

    Args:
        decisions: of a batch that the window is in.
        row: its place in the batch.
        manifest: of the model.
        signing: float32 `[T]`, one for each of the window's own frames.
    """
    names = manifest.label_names
    alternatives = tuple(
        Alternative(label=names[i], confidence=float(decisions.probabilities[row, i]))
        for i in decisions.ranking[row, :NUM_ALTERNATIVES]
    )
    return Prediction(
        label=alternatives[0].label if decisions.accepted[row] else None,
        confidence=alternatives[0].confidence,
        alternatives=alternatives,
        model_version=manifest.version,
        signing=signing,
        probabilities=decisions.probabilities[row],
    )


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Logistic function, without overflow at large negative values."""
    return (0.5 * (np.tanh(0.5 * logits) + 1.0)).astype(np.float32)
