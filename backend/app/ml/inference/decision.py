"""From logits to a decision: calibrated probabilities, the best signs, and whether the answer is good enough to give.

Serving and evaluation both decide here, so that a measured threshold means the same thing live.

Shapes: N windows, C labels (background included), S signs (background left out).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts.manifest import ModelManifest
from app.ml.inference.familiarity import RawAnswers
from app.ml.types import Alternative, BoolArray, FloatArray, Prediction

NUM_ALTERNATIVES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decisions:
    """What a model's answers mean.

    Attributes:
        probabilities: float32 `[N, C]`, after temperature.
        familiarity: float32 `[N, C]`; `[N, 0]` for a model without prototypes.
        ranking: int `[N, S]`, label indices of the signs, best first; background is never among them.
        confidence: float32 `[N]`, probability of the best sign.
        score: float32 `[N]`, what the threshold is compared with: the best sign's familiarity, or its probability for a
            model without prototypes; 0 where background is likelier.
        certainty: float32 `[N]`, `score` as a part of the threshold.
        accepted: bool `[N]`, whether the best sign is given as the answer; false is "not sure".
    """

    probabilities: FloatArray
    familiarity: FloatArray
    ranking: NDArray[np.int64]
    confidence: FloatArray
    score: FloatArray
    certainty: FloatArray
    accepted: BoolArray


def decide(raw: RawAnswers, manifest: ModelManifest) -> Decisions:
    """Turn a model's answers into decisions, with its manifest's calibration."""
    calibration = manifest.calibration
    probabilities = softmax(raw.logits / np.float32(calibration.temperature))
    return decide_on(probabilities, raw.familiarity, manifest)


def decide_on(probabilities: FloatArray, familiarity: FloatArray, manifest: ModelManifest) -> Decisions:
    """Turn calibrated probabilities `[N, C]`, and familiarity `[N, C]` or `[N, 0]`, into decisions.

    Both in the manifest's label order.
    """
    threshold = np.float32(manifest.calibration.threshold)
    signs = np.array([i for i, name in enumerate(manifest.label_names) if name not in manifest.background])
    order = np.argsort(-probabilities[:, signs], axis=1, kind="stable")
    ranking = signs[order]
    score = score_signs(probabilities, familiarity, signs)
    return Decisions(
        probabilities=probabilities,
        familiarity=familiarity,
        ranking=ranking,
        confidence=np.take_along_axis(probabilities, ranking[:, :1], 1)[:, 0],
        score=score,
        certainty=score / np.maximum(threshold, np.float32(1e-6)),
        # A threshold of 0 accepts every sign, but never what looks more like background.
        accepted=(score >= threshold) & (score > 0),
    )


def score_signs(probabilities: FloatArray, familiarity: FloatArray, signs: NDArray[np.int64]) -> FloatArray:
    """How much speaks for giving the best of the `signs` (label indices) as the answer: `Decisions.score`, `[N]`."""
    if len(probabilities) == 0:
        return np.zeros(0, np.float32)
    best = signs[probabilities[:, signs].argmax(1)][:, None]
    confidence = np.take_along_axis(probabilities, best, 1)[:, 0]
    score = np.take_along_axis(familiarity, best, 1)[:, 0] if familiarity.shape[1] else confidence
    return np.where(confidence >= probabilities.max(-1), score, np.float32(0))


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
        certainty=float(decisions.certainty[row]),
        probabilities=decisions.probabilities[row],
        familiarity=decisions.familiarity[row],
    )


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)
