"""Is one model better than another on people whom neither has seen? Paired statistics; pure functions.

Both sides answer the same clips, so each clip is its own control and what makes it hard for everybody drops out.

Shapes: N answers (a clip answered under one training seed), K cells (a signer's clips of one sign), S seeds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.evaluation import Interval

if TYPE_CHECKING:
    from app.ml.unseen import FoldOutcome


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
