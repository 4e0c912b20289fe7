from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.ml.artifacts.manifest import Calibration, FamiliarityGate, manifest_from_json, manifest_to_json
from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.errors import ArtifactError
from app.ml.inference.confidence import (
    NOBODY,
    STANDARD,
    explain_unmeasured,
    measure_confidence,
    settle_calibration,
    sigmoid,
    softmax,
)
from app.ml.inference.decision import decide, to_prediction
from app.ml.inference.familiarity import RawAnswers
from app.ml.types import FloatArray
from tests.untrained_model import LABELS, make_manifest

PROTOTYPES = prototypes_to_text(np.eye(len(LABELS), 16, dtype=np.float32))
IS_SIGN = np.array([label != "idle" for label in LABELS])
IDLE = LABELS.index("idle")
GATE = FamiliarityGate(bias=-8.0, slope=12.0)
FITTED = make_manifest(prototypes=PROTOTYPES, calibration=Calibration(temperature=1.3, threshold=0.3, gate=GATE))
NO_FAMILIARITY = np.zeros((0, 0), np.float32)


def random_answers(count: int = 300, *, seed: int = 0) -> RawAnswers:
    generator = np.random.default_rng(seed)
    return RawAnswers(
        generator.normal(0, 3, (count, len(LABELS))).astype(np.float32),
        generator.random((count, len(LABELS)), np.float32),
    )


@given(seed=st.integers(0, 2**16), gated=st.booleans())
def test_confidences_are_fractions_that_add_up_to_one_at_most_in_the_order_shown(seed: int, gated: bool) -> None:  # noqa: FBT001
    raw = random_answers(40, seed=seed)

    decisions = decide(raw if gated else RawAnswers(raw.logits, NO_FAMILIARITY), FITTED if gated else make_manifest())

    assert (decisions.confidences >= 0).all()
    assert (decisions.confidences.sum(1) <= 1 + 1e-5).all()
    assert (np.diff(decisions.confidences, axis=1) <= 0).all()
    assert (decisions.ranking != IDLE).all()
    of_signs = np.where(IS_SIGN, raw.logits, -np.inf)
    np.testing.assert_array_equal(decisions.ranking[:, 0], of_signs.argmax(1))


def test_what_is_shown_is_what_decides() -> None:
    raw = random_answers()

    decisions = decide(raw, FITTED)
    shown = [to_prediction(decisions, row, FITTED, signing=np.zeros(0, np.float32)) for row in range(len(raw.logits))]

    threshold = np.float32(0.3)
    assert 0 < decisions.accepted.mean() < 1
    for prediction in shown:
        first = prediction.alternatives[0]
        assert prediction.confidence == first.confidence == max(one.confidence for one in prediction.alternatives)
        assert (prediction.label == first.label) == (prediction.confidence >= threshold)
        assert (prediction.label is None) == (prediction.confidence < threshold)
        assert prediction.certainty == pytest.approx(prediction.confidence / 0.3, rel=1e-5)


def with_best(familiarity: float, probability: float) -> tuple[FloatArray, FloatArray]:
    probabilities = np.full((1, len(LABELS)), (1 - probability) / (len(LABELS) - 1), np.float32)
    probabilities[0, 0] = probability
    return probabilities, np.full((1, len(LABELS)), familiarity, np.float32)


@given(low=st.floats(0, 1), high=st.floats(0, 1), probability=st.floats(0.3, 1))
def test_a_sign_more_familiar_or_more_probable_is_never_less_confident(
    low: float, high: float, probability: float
) -> None:
    low, high = min(low, high), max(low, high)

    def confidence(familiarity: float, of_best: float) -> float:
        return float(measure_confidence(*with_best(familiarity, of_best), is_sign=IS_SIGN, gate=GATE)[0, 0])

    assert confidence(low, probability) <= confidence(high, probability) + 1e-6
    assert confidence(high, min(probability, 0.99)) <= confidence(high, 1.0) + 1e-6


def test_the_gate_closes_on_movement_that_is_like_no_sign_however_sure_the_softmax() -> None:
    probabilities, strange = with_best(0.3, 0.98)
    _, known = with_best(0.95, 0.98)

    def best(familiarity: FloatArray) -> float:
        return float(measure_confidence(probabilities, familiarity, is_sign=IS_SIGN, gate=GATE)[0, 0])

    assert best(strange) == pytest.approx(0.98 / (1 + np.exp(8 - 12 * 0.3)), rel=1e-4)
    assert best(strange) < 0.02
    assert best(known) > 0.9


def test_without_prototypes_the_confidence_is_the_probability() -> None:
    raw = random_answers()
    manifest = make_manifest()

    decisions = decide(RawAnswers(raw.logits, NO_FAMILIARITY), manifest)

    probabilities = softmax(raw.logits / np.float32(1.5))
    np.testing.assert_array_equal(decisions.confidences, np.take_along_axis(probabilities, decisions.ranking, 1))
    assert settle_calibration(manifest) == manifest.calibration
    assert explain_unmeasured(manifest) is None


def test_a_model_from_before_keeps_its_threshold_as_the_middle_of_the_gate_and_says_so() -> None:
    old = make_manifest(prototypes=PROTOTYPES, calibration=Calibration(temperature=1.3, threshold=0.8))

    settled = settle_calibration(old)
    assert settled.gate is not None
    assert sigmoid(np.array([settled.gate.bias + settled.gate.slope * 0.8], np.float32))[0] == pytest.approx(0.5)
    assert (settled.temperature, settled.threshold) == (1.3, 0.5)
    assert "familiarity threshold, 0.800" in (explain_unmeasured(old) or "")

    sure = np.where(np.arange(len(LABELS)) == 0, 40.0, 0.0).astype(np.float32)[None]
    for familiarity, is_answered in ((0.79, False), (0.81, True)):
        (accepted,) = decide(RawAnswers(sure, np.full_like(sure, familiarity)), old).accepted
        assert accepted == is_answered


@pytest.mark.parametrize(
    ("calibrated_on", "is_measured"), [(f"{NOBODY}: 3 clips of signs", False), ("ann, bob", True), ("", True)]
)
def test_a_model_says_whether_its_confidences_were_measured(calibrated_on: str, is_measured: bool) -> None:  # noqa: FBT001
    manifest = replace(FITTED, provenance={"calibrated_on": calibrated_on} if calibrated_on else {})

    assert (explain_unmeasured(manifest) is None) == is_measured


def test_the_standard_calibration_is_a_calibration() -> None:
    assert STANDARD.gate is not None
    manifest = make_manifest(prototypes=PROTOTYPES, calibration=STANDARD)

    assert manifest_from_json(manifest_to_json(manifest)).calibration == STANDARD


def test_a_manifest_without_a_gate_is_read_as_it_always_was() -> None:
    text = manifest_to_json(make_manifest(prototypes=PROTOTYPES)).replace('"gate": null, ', "")

    assert "gate" not in text
    assert manifest_from_json(text).calibration == Calibration(temperature=1.5, threshold=0.2)


@pytest.mark.parametrize(
    ("gate", "prototypes", "problem"),
    [
        (FamiliarityGate(bias=0.0, slope=-1.0), PROTOTYPES, "calibration.gate.slope: it is negative"),
        (GATE, "", "there are no prototypes"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(gate: FamiliarityGate, prototypes: str, problem: str) -> None:
    manifest = make_manifest(prototypes=prototypes, calibration=Calibration(gate=gate))

    with pytest.raises(ArtifactError, match=problem):
        manifest_from_json(manifest_to_json(manifest))


def test_no_window_has_no_confidence() -> None:
    empty: NDArray[np.float32] = np.zeros((0, len(LABELS)), np.float32)

    assert decide(RawAnswers(empty, empty), FITTED).confidences.shape == (0, len(LABELS) - 1)
