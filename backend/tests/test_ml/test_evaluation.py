import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.evaluation.scoring import (
    Confusion,
    Score,
    TimedSign,
    accepted_fraction,
    bootstrap_over_people,
    choose_threshold,
    find_confusions,
    fit_temperature,
    match_signs,
    measure_log_loss,
    score_by_group,
    selective_accuracy,
)
from app.ml.inference.confidence import softmax
from app.ml.types import FloatArray

scores_in_unit = st.lists(st.floats(2**-10, 1, width=32), min_size=1, max_size=60).map(
    lambda values: np.array(values, np.float32)
)


def calibrated_logits(
    *, temperature: float, num_clips: int = 20_000, num_labels: int = 8, seed: int = 0
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Logits whose softmax at `temperature` is exactly the probability with which their targets are drawn."""
    generator = np.random.default_rng(seed)
    true_logits = generator.normal(0, 2, (num_clips, num_labels)).astype(np.float32)
    steps = softmax(true_logits).cumsum(1)
    targets = (generator.random((num_clips, 1)) > steps).sum(1).clip(max=num_labels - 1)
    return true_logits * np.float32(temperature), targets


def test_accuracy_within_each_group() -> None:
    scores = score_by_group(np.array([True, False, True, True]), ["ann", "ann", "bob", "ann"])

    assert scores == {"ann": Score(accuracy=2 / 3, num_clips=3), "bob": Score(accuracy=1.0, num_clips=1)}


def test_confusions_come_most_frequent_first_without_what_is_right() -> None:
    confusions = find_confusions(["sun", "sun", "sun", "sun", "rain"], ["moon", "sun", "moon", "rain", "sun"])

    assert confusions == [
        Confusion(label="sun", predicted="moon", count=2, fraction=0.5),
        Confusion(label="rain", predicted="sun", count=1, fraction=1.0),
        Confusion(label="sun", predicted="rain", count=1, fraction=0.25),
    ]


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5])
def test_the_temperature_that_made_the_logits_is_found(temperature: float) -> None:
    logits, targets = calibrated_logits(temperature=temperature)

    assert fit_temperature(logits, targets) == pytest.approx(temperature, rel=0.03)


def test_no_temperature_nearby_has_less_loss_than_the_fitted_one() -> None:
    logits, targets = calibrated_logits(temperature=1.7, num_clips=500)
    best = fit_temperature(logits, targets)

    for other in (best * 0.99, best * 1.01, best * 2, best / 2):
        assert measure_log_loss(logits, targets, temperature=best) <= measure_log_loss(
            logits, targets, temperature=other
        )


def test_a_model_that_is_always_right_gets_the_lowest_temperature_and_a_guesser_the_highest() -> None:
    targets = np.array([0, 1, 2])
    right = np.eye(3, dtype=np.float32)

    assert fit_temperature(right, targets, bounds=(0.1, 10.0)) == pytest.approx(0.1, rel=1e-3)
    assert fit_temperature(right[::-1], targets, bounds=(0.1, 10.0)) == pytest.approx(10.0, rel=1e-3)


def test_huge_logits_do_not_overflow() -> None:
    logits = np.array([[1e30, -1e30], [-1e30, 1e30]], np.float32)

    assert measure_log_loss(logits, np.array([0, 1])) == 0.0


@given(scores=scores_in_unit, acceptance=st.floats(0.01, 1))
def test_the_threshold_accepts_what_was_asked_for_and_is_the_highest_that_does(
    scores: FloatArray, acceptance: float
) -> None:
    threshold = choose_threshold(scores, acceptance=acceptance)

    assert accepted_fraction(scores, threshold=threshold) >= acceptance - 1e-6
    assert accepted_fraction(scores, threshold=float(np.nextafter(np.float32(threshold), np.float32(2)))) < acceptance


@given(scores=scores_in_unit, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_threshold_never_accepts_more(scores: FloatArray, low: float, high: float) -> None:
    low, high = min(low, high), max(low, high)

    assert accepted_fraction(scores, threshold=high) <= accepted_fraction(scores, threshold=low)


def test_nothing_to_choose_on_and_nonsense_are_refused() -> None:
    with pytest.raises(DatasetError, match="no held-out clip"):
        choose_threshold(np.zeros(0, np.float32), acceptance=0.9)
    with pytest.raises(DatasetError, match="no held-out clip"):
        fit_temperature(np.zeros((0, 3), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="acceptance is 0"):
        choose_threshold(np.ones(3, np.float32), acceptance=0)
    with pytest.raises(DatasetError, match="no person"):
        bootstrap_over_people({})


def test_selective_accuracy_looks_at_given_answers_only() -> None:
    scores = np.array([0.9, 0.8, 0.3, 0.0], np.float32)
    correct = np.array([True, False, False, False])

    assert selective_accuracy(scores, correct, threshold=0.5) == 0.5
    assert selective_accuracy(scores, correct, threshold=0.85) == 1.0
    assert np.isnan(selective_accuracy(scores, correct, threshold=0.95))
    assert np.isnan(accepted_fraction(scores[:0], threshold=0.5))


def test_the_interval_holds_the_mean_and_narrows_with_people() -> None:
    generator = np.random.default_rng(0)
    few = {f"p{i}": float(generator.uniform(0.5, 1)) for i in range(5)}
    many = {f"p{i}": few[f"p{i % 5}"] for i in range(50)}

    narrow, wide = bootstrap_over_people(many), bootstrap_over_people(few)

    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high
    assert wide.mean == pytest.approx(narrow.mean)
    assert (wide.num_people, narrow.num_people) == (5, 50)
    assert bootstrap_over_people(few) == wide


def test_a_single_person_gives_no_spread() -> None:
    interval = bootstrap_over_people({"ann": 0.7})

    assert interval.low == pytest.approx(0.7)
    assert interval.high == pytest.approx(0.7)


def sign(label: str, start_ms: float, end_ms: float) -> TimedSign:
    return TimedSign(label=label, start_ms=start_ms, end_ms=end_ms)


@pytest.mark.parametrize(
    ("made", "recognised", "matches"),
    [
        ([], [], ()),
        ([sign("a", 0, 100)], [sign("a", 50, 150)], ((0, 0),)),
        ([sign("a", 0, 100)], [sign("b", 50, 150)], ()),
        ([sign("a", 0, 100)], [sign("a", 400, 500)], ((0, 0),)),
        ([sign("a", 0, 100)], [sign("a", 401, 500)], ()),
        ([sign("a", 500, 600)], [sign("a", 100, 200)], ((0, 0),)),
        ([sign("a", 0, 100)], [sign("a", 0, 100), sign("a", 10, 90)], ((0, 0),)),
    ],
    ids=["nothing", "overlap", "other label", "just within", "just outside", "early", "said twice"],
)
def test_signs_match_by_label_and_time_one_to_one(
    made: list[TimedSign], recognised: list[TimedSign], matches: tuple[tuple[int, int], ...]
) -> None:
    assert match_signs(made, recognised).matches == matches


def test_earlier_pairs_move_aside_for_a_better_matching() -> None:
    made = [sign("a", 0, 1000), sign("a", 1100, 1200)]
    recognised = [sign("a", 900, 950), sign("a", 100, 200)]

    assert match_signs(made, recognised).matches == ((0, 1), (1, 0))


def test_stream_scores_of_known_cases() -> None:
    made = [sign("a", 0, 100), sign("b", 1000, 1100), sign("c", 2000, 2100)]

    score = match_signs(made, [sign("a", 0, 100), sign("x", 1000, 1100)])

    assert score.recall == pytest.approx(1 / 3)
    assert score.precision == pytest.approx(1 / 2)
    assert score.f1 == pytest.approx(2 / 5)
    assert (match_signs([], []).f1, match_signs(made, []).f1, match_signs([], made).f1) == (1.0, 0.0, 0.0)
    assert (match_signs([], []).precision, match_signs([], []).recall) == (1.0, 1.0)


timed_signs = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 3000), st.integers(0, 800)).map(
        lambda drawn: sign(drawn[0], drawn[1], drawn[1] + drawn[2])
    ),
    max_size=5,
)


@given(made=timed_signs, recognised=timed_signs)
def test_no_one_to_one_matching_has_more_pairs(made: list[TimedSign], recognised: list[TimedSign]) -> None:
    def can_pair(real: TimedSign, answer: TimedSign) -> bool:
        gap = max(answer.start_ms - real.end_ms, real.start_ms - answer.end_ms)
        return real.label == answer.label and gap <= 300

    short, long = (made, recognised) if len(made) <= len(recognised) else (recognised, made)
    best = max(
        sum(can_pair(one, other) for one, other in zip(short, chosen, strict=True))
        for chosen in itertools.permutations(long, len(short))
    )
    matches = match_signs(made, recognised).matches

    assert len(matches) == best
    assert all(can_pair(made[real], recognised[answer]) for real, answer in matches)
    assert len({real for real, _ in matches}) == len({answer for _, answer in matches}) == len(matches)
