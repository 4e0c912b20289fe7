"""The one number that an answer is worth: what decides about it is what is shown.

    confidence of a sign = gate(familiarity of the best sign) x probability of the sign

The gate is a logistic curve: a softmax compares signs with each other and is sure of movement that is none, familiarity
(`familiarity.py`) tells. So the confidences of all signs add up to at most 1, are ordered as the logits are, and rise
with both. Three numbers, the temperature of the probabilities and the curve's bias and slope, are fitted on people held
out, the answers to strangers' idle hands among them (`app/ml/evaluation/calibration.py`): of the answers shown with
80 %, about 80 % are right. A model without prototypes has no familiarity: its confidence is the probability.

Shapes: N windows, C labels, background included.
"""

from typing import Final

import numpy as np

from app.ml.artifacts.manifest import Calibration, FamiliarityGate, ModelManifest
from app.ml.types import BoolArray, FloatArray

STANDARD: Final = Calibration(temperature=0.93, threshold=0.4, gate=FamiliarityGate(bias=-14.5, slope=18.1))
"""For a model with prototypes that nobody could be held out of: what the recipe `starter` gave on people never seen."""
NOBODY: Final = "nobody"
"""How `calibrated_on` begins in the provenance of a model whose confidences were not measured; the reason follows."""
_AT_OLD_THRESHOLD: Final = 0.5


def settle_calibration(manifest: ModelManifest) -> Calibration:
    """The calibration to decide with; for a model that was written before confidences were, it is derived.

    Such a model compares familiarity with its threshold and has no gate. It gets the standard curve, moved so that it
    says one half at that threshold: what was answered is mostly answered still, less where signs compete. Nobody has
    measured these confidences, which `explain_unmeasured` says.
    """
    calibration = manifest.calibration
    if calibration.gate is not None or not manifest.prototypes:
        return calibration
    assert STANDARD.gate is not None
    slope = STANDARD.gate.slope
    return Calibration(
        temperature=calibration.temperature,
        threshold=_AT_OLD_THRESHOLD,
        gate=FamiliarityGate(bias=-slope * calibration.threshold, slope=slope),
    )


def explain_unmeasured(manifest: ModelManifest) -> str | None:
    """Why nobody knows how often the model is right at which confidence; None where that was measured."""
    if manifest.prototypes and manifest.calibration.gate is None:
        return (
            "its file is older than measured confidences; they are derived from its familiarity threshold, "
            f"{manifest.calibration.threshold:.3f}; scripts.calibrate_model or training it again measures them"
        )
    calibrated_on = str(manifest.provenance.get("calibrated_on", ""))
    if calibrated_on.startswith(NOBODY):
        return f"calibrated on {calibrated_on}"
    return None


def measure_confidence(
    probabilities: FloatArray, familiarity: FloatArray, *, is_sign: BoolArray, gate: FamiliarityGate | None
) -> FloatArray:
    """The confidence of each label, 0 for background: float32 `[N, C]`, each in [0, 1], a row's sum at most 1.

    Args:
        probabilities: float32 `[N, C]`, after temperature.
        familiarity: float32 `[N, C]`, or `[N, 0]` without prototypes.
        is_sign: bool `[C]`.
        gate: what familiarity adds; None leaves the probabilities as they are.
    """
    of_signs = np.where(is_sign, probabilities, np.float32(0))
    if gate is None or len(probabilities) == 0:
        return of_signs
    of_best = np.take_along_axis(familiarity, of_signs.argmax(1)[:, None], 1)
    return of_signs * sigmoid(np.float32(gate.bias) + np.float32(gate.slope) * of_best)


def softmax(logits: FloatArray) -> FloatArray:
    """Softmax over the last axis."""
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Logistic function, without overflow at large negative values."""
    return (0.5 * (np.tanh(0.5 * logits) + 1.0)).astype(np.float32)
