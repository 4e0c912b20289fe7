"""From logits to a decision: each sign's confidence, the best signs, and whether the answer is good enough to give.

Serving and evaluation both decide here, so that a measured threshold means the same thing live. What is compared with
the threshold is the confidence that is shown (`confidence.py`).

Shapes: N windows, C labels (background included), S signs (background left out).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts.manifest import Calibration, ModelManifest
from app.ml.inference.confidence import measure_confidence, settle_calibration, softmax
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
        confidences: float32 `[N, S]`, one for each of `ranking`, largest first; they add up to at most 1.
        certainty: float32 `[N]`, the best sign's confidence as a part of the threshold.
        accepted: bool `[N]`, whether the best sign is given as the answer; false is "not sure".
    """

    probabilities: FloatArray
    familiarity: FloatArray
    ranking: NDArray[np.int64]
    confidences: FloatArray
    certainty: FloatArray
    accepted: BoolArray

    @property
    def confidence(self) -> FloatArray:
        """float32 `[N]`, of the best sign."""
        return self.confidences[:, 0]


def decide(raw: RawAnswers, manifest: ModelManifest) -> Decisions:
    """Turn a model's answers into decisions, with its manifest's calibration."""
    is_sign = np.array([name not in manifest.background for name in manifest.label_names])
    return decide_by(raw, settle_calibration(manifest), is_sign=is_sign)


def decide_by(raw: RawAnswers, calibration: Calibration, *, is_sign: BoolArray) -> Decisions:
    """Turn a model's answers into decisions, with a calibration that need not be its own; `is_sign` is bool `[C]`."""
    probabilities = softmax(raw.logits / np.float32(calibration.temperature))
    signs = np.flatnonzero(is_sign)
    ranking = signs[np.argsort(-probabilities[:, signs], axis=1, kind="stable")]
    of_labels = measure_confidence(probabilities, raw.familiarity, is_sign=is_sign, gate=calibration.gate)
    confidences = np.take_along_axis(of_labels, ranking, 1)
    threshold = np.float32(calibration.threshold)
    return Decisions(
        probabilities=probabilities,
        familiarity=raw.familiarity,
        ranking=ranking,
        confidences=confidences,
        certainty=confidences[:, 0] / np.maximum(threshold, np.float32(1e-6)),
        accepted=confidences[:, 0] >= threshold,
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
        Alternative(label=names[label], confidence=float(confidence))
        for label, confidence in zip(
            decisions.ranking[row, :NUM_ALTERNATIVES], decisions.confidences[row, :NUM_ALTERNATIVES], strict=True
        )
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
