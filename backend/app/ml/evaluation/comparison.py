"""Is one model better than another on people whom neither has seen? Paired statistics; pure functions.

Both sides answer the same clips, so each clip is its own control and what makes it hard for everybody drops out.

Shapes: N answers (a clip answered under one training seed), K cells (a signer's clips of one sign), S seeds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.evaluation.scoring import Interval

if TYPE_CHECKING:
    from app.ml.evaluation.unseen import FoldOutcome

_NUM_PERMUTATIONS: Final = 500
_CHANCE_QUANTILE: Final = 0.99


class Outcome(StrEnum):
    """What a comparison found."""

    BETTER = "better"
    WORSE = "worse"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An outcome for the candidate, and the sentence that holds its numbers."""

    outcome: Outcome
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A check of one side's answers; where it fails on both sides, no number of the comparison means anything."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedScore:
    """Accuracy of both sides within a group, and how many answers of a side it was measured on."""

    baseline: float
    candidate: float
    num_answers: int

    @property
    def difference(self) -> float:
        """Above zero when the candidate is better."""
        return self.candidate - self.baseline


def paired_bootstrap(
    baseline_correct: NDArray[np.generic],
    candidate_correct: NDArray[np.generic],
    *,
    signers: Sequence[str],
    signs: Sequence[str],
    seeds: Sequence[int] | None = None,
    num_samples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Candidate minus baseline: mean difference and a percentile bootstrap interval over (signer, sign) cells.

    Clips of one person and sign are near copies of each other, so the cell is drawn, never the clip. Every signer
    counts the same in the mean, whatever their number of signs and clips: a cell weighs one over its signer's cells.
    With `seeds` the training seeds are drawn as well, so that the luck of a training run is part of the interval.

    Args:
        baseline_correct: bool `[N]`, or a score in [0, 1] an answer.
        candidate_correct: `[N]`, of the same clips in the same order, one row a clip and seed.
        signers: N names of who signs.
        signs: N names of what is signed.
        seeds: N training seeds, the n-th of one side paired with the n-th of the other; None for one run a side.
        num_samples: draws.
        level: of the interval.
        seed: of the draws.

    Returns:
        A difference in [-1, 1]; above zero when the candidate is better.

    Raises:
        DatasetError: there is no answer to compare.
        ValueError: the arguments have different lengths.
    """
    runs = [0] * len(signers) if seeds is None else list(seeds)
    lengths = {len(baseline_correct), len(candidate_correct), len(signers), len(signs), len(runs)}
    if len(lengths) > 1:
        msg = (
            f"{len(baseline_correct)} answers of the baseline, {len(candidate_correct)} of the candidate, "
            f"{len(signers)} signers, {len(signs)} signs and {len(runs)} seeds; expected as many of each"
        )
        raise ValueError(msg)
    if lengths == {0}:
        msg = "no clip was answered by both sides; nothing can be compared"
        raise DatasetError(msg)
    difference = candidate_correct.astype(np.float64) - baseline_correct.astype(np.float64)
    pairs = list(zip(signers, signs, strict=True))
    cells, columns = sorted(set(pairs)), sorted(set(runs))
    row_of, column_of = ({key: position for position, key in enumerate(keys)} for keys in (cells, columns))
    place = np.array([row_of[pair] * len(columns) + column_of[run] for pair, run in zip(pairs, runs, strict=True)])
    shape = (len(cells), len(columns))
    count = np.bincount(place, minlength=shape[0] * shape[1]).reshape(shape)
    total = np.bincount(place, weights=difference, minlength=shape[0] * shape[1]).reshape(shape)
    means, known = total / np.maximum(count, 1), (count > 0).astype(np.float64)  # [K, S]
    people = [signer for signer, _ in cells]
    weight = np.array([1 / people.count(signer) for signer in people])

    rng = np.random.default_rng(seed)
    drawn_cells = rng.multinomial(shape[0], np.full(shape[0], 1 / shape[0]), size=num_samples) * weight  # [draws, K]
    drawn_seeds = rng.multinomial(shape[1], np.full(shape[1], 1 / shape[1]), size=num_samples)  # [draws, S]
    covered = ((drawn_cells @ known) * drawn_seeds).sum(1)
    draws = ((drawn_cells @ means) * drawn_seeds).sum(1)[covered > 0] / covered[covered > 0]
    tail = (1 - level) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    mean = float((weight @ means).sum() / (weight @ known).sum())
    return Interval(mean=mean, low=float(low), high=float(high), num_people=len(set(people)))


def compare_folds(baseline: Sequence["FoldOutcome"], candidate: Sequence["FoldOutcome"]) -> Interval:
    """`paired_bootstrap` on folds of two recipes, paired by person and seed; signs only, as `FoldOutcome.correct`.

    Raises:
        DatasetError: the two sides are not the same folds, or a fold's clips differ.
    """
    ours = {(outcome.person, outcome.seed): outcome for outcome in baseline}
    theirs = {(outcome.person, outcome.seed): outcome for outcome in candidate}
    if ours.keys() != theirs.keys():
        alone = ", ".join(f"{person} seed {seed}" for person, seed in sorted(ours.keys() ^ theirs.keys()))
        msg = f"only one side has {alone}; run the missing folds before comparing"
        raise DatasetError(msg)
    order = sorted(ours)
    for key in order:
        first, second = ours[key], theirs[key]
        if first.labels != second.labels or not np.array_equal(first.targets, second.targets):
            msg = f"fold {key[0]} seed {key[1]} was tested on other clips on each side; run both on the same data"
            raise DatasetError(msg)
    rows = [
        (person, ours[person, seed].labels[target], seed)
        for person, seed in order
        for target in ours[person, seed].targets
    ]
    signers, signs, seeds = zip(*rows, strict=True) if rows else ((), (), ())
    return paired_bootstrap(
        np.concatenate([ours[key].correct for key in order]) if order else np.zeros(0),
        np.concatenate([theirs[key].correct for key in order]) if order else np.zeros(0),
        signers=signers,
        signs=signs,
        seeds=seeds,
    )


def score_pairs(
    baseline_correct: NDArray[np.generic], candidate_correct: NDArray[np.generic], groups: Sequence[str]
) -> dict[str, PairedScore]:
    """Accuracy of both sides, `[N]` each, within each of N group names, in order of name."""
    names = np.array(groups)
    scores: dict[str, PairedScore] = {}
    for name in sorted(set(groups)):
        own = names == name
        scores[name] = PairedScore(
            baseline=float(baseline_correct[own].astype(np.float64).mean()),
            candidate=float(candidate_correct[own].astype(np.float64).mean()),
            num_answers=int(own.sum()),
        )
    return scores


def control_by_permuted_labels(truth: Sequence[str], predicted: Sequence[str], *, name: str, seed: int = 0) -> Control:
    """Whether answers fit the labels better than they fit the same labels dealt out at random.

    It fails for a model that knows nothing of these clips, for labels that were mixed up, and for clips of one sign
    only: what a comparison on them says is chance.

    Args:
        truth: N labels.
        predicted: N labels.
        name: whose answers these are.
        seed: of the dealing.
    """
    index = {label: number for number, label in enumerate(sorted({*truth, *predicted}))}
    right, given = (np.array([index[label] for label in labels]) for labels in (truth, predicted))
    rng = np.random.default_rng(seed)
    chance = [float((rng.permutation(right) == given).mean()) for _ in range(_NUM_PERMUTATIONS)]
    limit, accuracy = float(np.quantile(chance, _CHANCE_QUANTILE)), float((right == given).mean())
    passed = accuracy > limit
    return Control(
        name=f"permuted labels, {name}",
        passed=passed,
        sentence=(
            f"{accuracy:.1%} of the labels are recognised, {np.mean(chance):.1%} of permuted ones"
            + ("" if passed else f" (up to {limit:.1%} by chance): the answers have nothing to do with the labels")
        ),
    )


def judge(
    interval: Interval, over_people: Interval, *, num_cells: int, num_seeds: int, controls: Sequence[Control]
) -> Verdict:
    """The verdict on a difference: an interval that includes zero decides nothing, nor do clips that nobody knows.

    One side alone may fail its control: a model that knows nothing is worse than one that does, and the labels are
    shown to be right by the other. When both fail, it may be the labels.

    Args:
        interval: of `paired_bootstrap`.
        over_people: the same difference when whole people are drawn; a wider doubt, told with the verdict.
        num_cells: (signer, sign) cells.
        num_seeds: trainings a side.
        controls: one a side.
    """
    numbers = (
        f"{100 * interval.mean:+.1f} points (95 % interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}) on "
        f"{interval.num_people} unseen {_people(interval.num_people)}, {num_cells} cells of signer and sign, "
        f"{num_seeds} {'training' if num_seeds == 1 else 'trainings'} a side"
    )
    if not any(control.passed for control in controls):
        names = ", ".join(control.name for control in controls)
        sentence = f"Nothing can be said, because the controls failed ({names}): {numbers}."
        return Verdict(outcome=Outcome.INCONCLUSIVE, sentence=sentence)
    if interval.low <= 0 <= interval.high:
        return Verdict(
            outcome=Outcome.INCONCLUSIVE,
            sentence=f"No difference was shown: {numbers}; the interval includes zero.",
        )
    outcome = Outcome.BETTER if interval.mean > 0 else Outcome.WORSE
    doubt = ""
    if over_people.low <= 0 <= over_people.high:
        doubt = (
            f" Drawing whole people the interval is {100 * over_people.low:+.1f} to {100 * over_people.high:+.1f}: "
            "other people may see it otherwise."
        )
    return Verdict(outcome=outcome, sentence=f"The candidate is {outcome}: {numbers}.{doubt}")


def _people(number: int) -> str:
    return "person" if number == 1 else "people"
