import numpy as np
import pytest

from app.ml.errors import DatasetError
from app.ml.evaluation.comparison import (
    Control,
    Outcome,
    compare_folds,
    control_by_permuted_labels,
    judge,
    paired_bootstrap,
    score_pairs,
)
from app.ml.evaluation.scoring import Interval
from app.ml.evaluation.unseen import FoldOutcome
from app.ml.types import BoolArray


def answers(correct: str) -> BoolArray:
    """`1` right, `0` wrong."""
    return np.array([character == "1" for character in correct])


def test_equal_answers_differ_by_nothing() -> None:
    same = answers("1100")

    interval = paired_bootstrap(same, same, signers=["a", "a", "b", "b"], signs=["x", "y", "x", "y"])

    assert (interval.mean, interval.low, interval.high, interval.num_people) == (0.0, 0.0, 0.0, 2)


def test_every_signer_counts_the_same_whatever_their_number_of_signs_and_clips() -> None:
    signers = ["a"] * 9 + ["b"]
    signs = ["x"] * 7 + ["y", "z", "x"]

    interval = paired_bootstrap(answers("0" * 10), answers("1" * 9 + "0"), signers=signers, signs=signs)

    assert interval.mean == pytest.approx(0.5)  # a: all better, b: no better


def test_many_clips_of_one_cell_are_no_more_evidence_than_one() -> None:
    signers, signs = ["a", "a", "b", "b"], ["x", "y", "x", "y"]
    one = paired_bootstrap(answers("0000"), answers("1101"), signers=signers, signs=signs)
    many = paired_bootstrap(answers("0000" * 50), answers("1101" * 50), signers=signers * 50, signs=signs * 50)

    assert (many.mean, many.low, many.high) == pytest.approx((one.mean, one.low, one.high))
    assert one.low < one.mean < one.high


def test_a_difference_that_only_one_seed_shows_is_less_certain_than_one_that_all_show() -> None:
    cells = [(signer, sign) for signer in "abcdefgh" for sign in "xyz"]
    signers, signs = [signer for signer, _ in cells] * 3, [sign for _, sign in cells] * 3
    seeds = [seed for seed in (0, 1, 2) for _ in cells]
    nothing = np.zeros(3 * len(cells))
    by_one_seed = np.where(np.array(seeds) == 0, 0.3, 0.0)

    lucky = paired_bootstrap(nothing, by_one_seed, signers=signers, signs=signs, seeds=seeds)
    steady = paired_bootstrap(nothing, nothing + 0.1, signers=signers, signs=signs, seeds=seeds)

    assert lucky.mean == pytest.approx(steady.mean)
    assert lucky.low == 0.0
    assert steady.low == pytest.approx(0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_promises() -> None:
    rng = np.random.default_rng(0)
    signers = [signer for signer in "abcdefghij" for _ in range(8)]
    signs = list("stuvwxyz") * 10
    hits = 0
    for _ in range(200):
        baseline, candidate = rng.random(80) < 0.5, rng.random(80) < 0.6
        interval = paired_bootstrap(baseline, candidate, signers=signers, signs=signs, num_samples=400)
        hits += interval.low <= 0.1 <= interval.high

    assert 0.89 <= hits / 200 <= 0.99


def test_nothing_to_compare_and_sides_of_different_length_are_refused() -> None:
    with pytest.raises(DatasetError, match="no clip was answered by both"):
        paired_bootstrap(answers(""), answers(""), signers=[], signs=[])
    with pytest.raises(ValueError, match="1 answers of the baseline, 2 of the candidate"):
        paired_bootstrap(answers("1"), answers("11"), signers=["a"], signs=["x"])


def fold(person: str, seed: int, predicted: list[int], targets: list[int]) -> FoldOutcome:
    """A fold over the signs `x` and `y` that answered `predicted`."""
    return FoldOutcome(
        person=person,
        seed=seed,
        labels=("x", "y", "idle", "unknown"),
        targets=np.array(targets),
        logits=np.eye(4, dtype=np.float32)[predicted],
        refuse_logits=np.zeros((0, 4), np.float32),
    )


def test_folds_are_paired_by_person_and_seed_in_any_order() -> None:
    baseline = [fold("a", 0, [0, 0], [0, 1]), fold("b", 0, [1, 0], [0, 1]), fold("a", 1, [0, 0], [0, 1])]
    baseline += [fold("b", 1, [1, 0], [0, 1])]
    candidate = [fold(one.person, one.seed, [0, 1], [0, 1]) for one in reversed(baseline)]

    interval = compare_folds(baseline, candidate)

    assert interval.mean == pytest.approx((0.5 + 1.0) / 2)
    assert interval.num_people == 2


def test_folds_that_do_not_belong_together_are_refused() -> None:
    with pytest.raises(DatasetError, match="only one side has b seed 0"):
        compare_folds([fold("a", 0, [0], [0]), fold("b", 0, [0], [0])], [fold("a", 0, [0], [0])])
    with pytest.raises(DatasetError, match="fold a seed 0 was tested on other clips"):
        compare_folds([fold("a", 0, [0], [0])], [fold("a", 0, [0], [1])])
    with pytest.raises(DatasetError, match="no clip was answered by both"):
        compare_folds([], [])


def test_permuted_labels_expose_answers_by_chance_and_pass_real_ones() -> None:
    rng = np.random.default_rng(0)
    truth = [str(label) for label in rng.choice(list("abcd"), 200)]
    knowing = [label if rng.random() < 0.6 else "a" for label in truth]
    guessing = [str(label) for label in rng.choice(list("abcd"), 200)]

    assert control_by_permuted_labels(truth, knowing, name="x").passed
    assert not control_by_permuted_labels(truth, guessing, name="x").passed
    assert not control_by_permuted_labels(truth, ["a"] * 200, name="x").passed
    assert not control_by_permuted_labels(["a"] * 200, ["a"] * 200, name="one sign proves nothing").passed


PASSED, FAILED = (Control(name="permuted labels", passed=passed, sentence="") for passed in (True, False))


def interval(low: float, mean: float, high: float) -> Interval:
    return Interval(mean=mean, low=low, high=high, num_people=3)


@pytest.mark.parametrize(
    ("bounds", "outcome"),
    [((0.01, 0.05, 0.09), "better"), ((-0.09, -0.05, -0.01), "worse"), ((-0.01, 0.05, 0.1), "inconclusive")],
)
def test_the_verdict_follows_the_interval(bounds: tuple[float, float, float], outcome: str) -> None:
    sure = interval(*bounds)

    verdict = judge(sure, sure, num_cells=9, num_seeds=2, controls=[PASSED])

    assert verdict.outcome == outcome
    assert "on 3 unseen people, 9 cells of signer and sign, 2 trainings a side" in verdict.sentence


def test_two_failed_controls_decide_nothing_and_a_doubt_about_people_is_told() -> None:
    sure, unsure = interval(0.01, 0.05, 0.09), interval(-0.02, 0.05, 0.2)

    void = judge(sure, sure, num_cells=9, num_seeds=1, controls=[FAILED, FAILED])
    half = judge(sure, sure, num_cells=9, num_seeds=1, controls=[FAILED, PASSED])
    doubted = judge(sure, unsure, num_cells=9, num_seeds=1, controls=[PASSED, PASSED])

    assert void.outcome is Outcome.INCONCLUSIVE
    assert half.outcome is Outcome.BETTER
    assert doubted.outcome is Outcome.BETTER
    assert "Drawing whole people the interval is -2.0 to +20.0" in doubted.sentence


def test_groups_are_scored_side_by_side() -> None:
    scores = score_pairs(answers("1100"), answers("1011"), ["x", "y", "x", "y"])

    assert scores["x"].difference == pytest.approx(0.5)
    assert (scores["y"].baseline, scores["y"].candidate, scores["y"].num_answers) == (0.5, 0.5, 2)
