from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.errors import DatasetError
from app.ml.evaluation.calibration import (
    STRAY_SHARE,
    PersonAnswers,
    even_out,
    explain_shortage,
    fit_calibration,
    read_calibration,
    weigh,
)
from app.ml.evaluation.reliability import measure_calibration_error
from app.ml.inference.confidence import STANDARD, sigmoid, softmax
from app.ml.inference.familiarity import RawAnswers

IS_SIGN = np.array([True] * 6 + [False])
NUM_LABELS = len(IS_SIGN)
TRUE_GATE = FamiliarityGate(bias=-9.0, slope=14.0)


def make_people(
    *, temperature: float = 1.0, num_clips: int = 4000, seed: int = 0, gate: FamiliarityGate = TRUE_GATE
) -> list[PersonAnswers]:
    """Two who sign and one who does not, whose named sign is right exactly as often as its confidence says."""
    generator = np.random.default_rng(seed)
    people: list[PersonAnswers] = []
    for _ in range(2):
        logits = generator.normal(0, 2.5, (num_clips, NUM_LABELS)).astype(np.float32)
        logits[:, -1] -= 3
        familiarity = np.tile(generator.uniform(0.4, 1, (num_clips, 1)), NUM_LABELS).astype(np.float32)
        named = logits[:, IS_SIGN].argmax(1)
        chance = softmax(logits)[np.arange(num_clips), named] * sigmoid(gate.bias + gate.slope * familiarity[:, 0])
        # All clips together: those that are no sign are wrong for certain, so signs are right the more often.
        is_right = generator.random(num_clips) < chance
        people.append(
            PersonAnswers(
                raw=RawAnswers(logits * np.float32(temperature), familiarity),
                targets=np.where(is_right, named, (named + 1) % 6),
                is_sign=IS_SIGN,
            )
        )
    return [*people, make_stranger(seed=seed)]


def make_stranger(*, num_clips: int = 300, familiarity: float = 0.1, seed: int = 0) -> PersonAnswers:
    logits = np.random.default_rng([seed, 1]).normal(0, 2.5, (num_clips, NUM_LABELS)).astype(np.float32)
    return PersonAnswers(
        raw=RawAnswers(logits, np.full((num_clips, NUM_LABELS), familiarity, np.float32)), targets=None, is_sign=IS_SIGN
    )


@pytest.mark.parametrize("temperature", [0.6, 1.0, 1.8])
def test_the_numbers_that_made_the_answers_are_found(temperature: float) -> None:
    found = fit_calibration(make_people(temperature=temperature))

    assert found.temperature == pytest.approx(temperature, rel=0.15)
    assert found.gate is not None
    middle = -found.gate.bias / found.gate.slope
    assert middle == pytest.approx(9 / 14, abs=0.03)
    assert found.gate.slope == pytest.approx(14, rel=0.25)


def test_confidence_agrees_with_how_often_unseen_people_are_answered_right() -> None:
    calibration = fit_calibration(make_people(temperature=2.0, seed=0))

    for person in make_people(temperature=2.0, seed=1)[:2]:
        confidence, is_right = person.judge(calibration)
        plain, _ = person.judge(Calibration())
        assert measure_calibration_error(confidence, is_right) < 0.03
        assert measure_calibration_error(plain, is_right) > 0.15


def test_strangers_who_look_familiar_close_the_gate_further() -> None:
    signing = make_people()[:2]

    def confidence(familiarity: float) -> float:
        calibration = fit_calibration([*signing, make_stranger(familiarity=familiarity)])
        return float(make_stranger(familiarity=0.75).judge(calibration)[0].mean())

    assert confidence(0.75) < confidence(0.1) / 2


def test_familiarity_that_tells_nothing_gets_no_slope() -> None:
    people = make_people()
    turned = [
        PersonAnswers(
            raw=RawAnswers(person.raw.logits, np.float32(1) - person.raw.familiarity),
            targets=person.targets,
            is_sign=IS_SIGN,
        )
        for person in people
    ]

    found = fit_calibration(turned)

    assert found.gate is not None
    assert found.gate.slope == 0.0


@pytest.mark.parametrize("acceptance", [0.5, 0.75, 0.9])
def test_the_threshold_is_a_confidence_that_lets_the_asked_part_of_signs_pass(acceptance: float) -> None:
    people = make_people()

    found = fit_calibration(people, acceptance=acceptance)

    passed = [(person.judge(found)[0] >= found.threshold).mean() for person in people[:2]]
    assert np.mean(passed) == pytest.approx(acceptance, abs=0.01)


@pytest.mark.parametrize(("num_signs", "num_stray"), [(19, 300), (400, 19), (400, 0)])
def test_too_few_clips_measure_nothing_and_the_standard_gate_is_taken(num_signs: int, num_stray: int) -> None:
    people = [*make_people(num_clips=num_signs)[:2], make_stranger(num_clips=num_stray)]

    found = fit_calibration(people)

    assert explain_shortage(people) == (
        f"{2 * num_signs} clips of signs and {num_stray} of hands that make none were held out; "
        "40 and 20 are needed to measure confidences"
    )
    assert (found.gate, found.temperature) == (STANDARD.gate, STANDARD.temperature)
    passed = [(person.judge(found)[0] >= found.threshold).mean() for person in people[:2]]
    assert np.mean(passed) == pytest.approx(0.75, abs=0.06)


def test_just_enough_clips_are_measured() -> None:
    people = [*make_people(num_clips=20)[:2], make_stranger(num_clips=20)]

    assert explain_shortage(people) is None
    assert fit_calibration(people).gate != STANDARD.gate


def test_without_prototypes_only_temperature_and_threshold_are_fitted() -> None:
    nothing = np.zeros((0, 0), np.float32)
    people = [
        PersonAnswers(raw=RawAnswers(one.raw.logits, nothing), targets=one.targets, is_sign=IS_SIGN)
        for one in make_people()
    ]

    found = fit_calibration(people)

    assert found.gate is None
    assert 0.05 < found.temperature < 20


def test_somebody_must_have_made_a_sign() -> None:
    with pytest.raises(DatasetError, match="no held-out clip of a sign"):
        fit_calibration([make_stranger()])


def test_people_count_the_same_and_strangers_as_a_share() -> None:
    people = [*make_people(num_clips=50)[:1], *make_people(num_clips=500)[:1], make_stranger(num_clips=5)]

    weights = weigh(people)

    assert [len(one) for one in weights] == [50, 500, 5]
    assert [one.sum() for one in weights] == pytest.approx([0.5, 0.5, STRAY_SHARE])
    small = weigh([make_stranger(num_clips=5), make_stranger(num_clips=200)])
    assert [one.sum() for one in small] == pytest.approx([STRAY_SHARE / 3, 2 * STRAY_SHARE / 3])


def test_evened_out_people_have_as_many_values_each() -> None:
    even = even_out([np.array([0.2, 0.1], np.float32), np.array([1, 2, 3, 4], np.float32)])

    np.testing.assert_array_equal(even, np.array([0.1, 0.1, 0.2, 0.2, 1, 2, 3, 4], np.float32))


def test_a_report_without_measured_confidences_is_named(tmp_path: Path) -> None:
    report = tmp_path / "unseen.json"
    report.write_text('{"recipe": "starter", "calibration": {"temperature": 0.8, "threshold": 0.8}}')
    with pytest.raises(DatasetError, match=r"unseen\.json is older than measured confidences; run evaluate_unseen"):
        read_calibration(report)
    report.write_text('{"recipe": "starter", "calibration": {"temperature": "warm"}}')
    with pytest.raises(DatasetError, match=r"unseen\.json is no report of evaluate_unseen"):
        read_calibration(report)
    with pytest.raises(DatasetError, match=r"missing\.json is no report"):
        read_calibration(tmp_path / "missing.json")
