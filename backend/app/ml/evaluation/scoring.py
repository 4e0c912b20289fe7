"""What a recogniser's answers are worth: accuracy per person and sign, calibration, refusal, streams. Pure functions.

Shapes: N clips, C labels.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.ml.errors import DatasetError
from app.ml.types import BoolArray, FloatArray

SHIPPED_ACCEPTANCE: Final = 0.75
"""Part of unseen people's signs that the shipped threshold lets pass: with more, idle hands speak
(docs/training.md)."""

_GOLDEN = (np.sqrt(5.0) - 1.0) / 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A fraction in [0, 1] and how many clips it was measured on."""

    accuracy: float
    num_clips: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over people and its bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    num_people: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often clips of `label` were taken for `predicted`; `fraction` is of all clips of `label`."""

    label: str
    predicted: str
    count: int
    fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedSign:
    """A sign in a stream, made or recognised; times in milliseconds."""

    label: str
    start_ms: float
    end_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamScore:
    """Recognised signs of a stream against those that were made; `matches` pairs indices (made, recognised)."""

    num_made: int
    num_recognised: int
    matches: tuple[tuple[int, int], ...]

    @property
    def precision(self) -> float:
        """Fraction of the recognised signs that were made; 1 when nothing was recognised."""
        return len(self.matches) / self.num_recognised if self.num_recognised else 1.0

    @property
    def recall(self) -> float:
        """Fraction of the signs made that were recognised; 1 when none was made."""
        return len(self.matches) / self.num_made if self.num_made else 1.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 when nothing was made and nothing recognised."""
        total = self.num_made + self.num_recognised
        return 2 * len(self.matches) / total if total else 1.0


def score_by_group(correct: BoolArray, groups: Sequence[str]) -> dict[str, Score]:
    """Accuracy within each group, e.g. per signer or per sign, in order of name.

    Args:
        correct: bool `[N]`.
        groups: N names.
    """
    members: dict[str, list[bool]] = defaultdict(list)
    for is_correct, group in zip(correct.tolist(), groups, strict=True):
        members[group].append(is_correct)
    return {
        group: Score(accuracy=sum(values) / len(values), num_clips=len(values))
        for group, values in sorted(members.items())
    }


def find_confusions(truth: Sequence[str], predicted: Sequence[str]) -> list[Confusion]:
    """Which signs are taken for which, most frequent first."""
    totals = Counter(truth)
    pairs = Counter(pair for pair in zip(truth, predicted, strict=True) if pair[0] != pair[1])
    return [
        Confusion(label=label, predicted=other, count=count, fraction=count / totals[label])
        for (label, other), count in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    ]


def measure_log_loss(logits: FloatArray, targets: NDArray[np.int64], *, temperature: float = 1.0) -> float:
    """Mean negative log likelihood of the right labels, in nats: logits `[N, C]`, targets `[N]`."""
    scaled = logits.astype(np.float64) / temperature
    top = scaled.max(-1)
    log_sum = top + np.log(np.exp(scaled - top[:, None]).sum(-1))
    return float((log_sum - scaled[np.arange(len(targets)), targets]).mean())


def fit_temperature(
    logits: FloatArray,
    targets: NDArray[np.int64],
    *,
    bounds: tuple[float, float] = (0.05, 20.0),
) -> float:
    """The temperature under which held-out logits have the least log loss (Guo et al. 2017).

    The loss is convex in 1 / temperature, so a golden-section search finds its one minimum, or the bound it lies past.

    Args:
        logits: float32 `[N, C]` of people who were not trained on.
        targets: int64 `[N]`.
        bounds: where to look; past them the model is either always right or knows nothing.

    Raises:
        DatasetError: there is no clip to fit on.
    """
    if len(targets) == 0:
        msg = "no held-out clip to fit the temperature on"
        raise DatasetError(msg)
    inverse = find_minimum(
        lambda inverse: measure_log_loss(logits, targets, temperature=1 / inverse), 1 / bounds[1], 1 / bounds[0]
    )
    return 1 / inverse


def find_minimum(loss: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-6) -> float:
    """Where a function with one minimum between two bounds has it (golden-section search), or the bound it lies past.

    Args:
        loss: the function.
        low: the lower bound.
        high: the upper one.
        tolerance: how far off the answer may be, as a part of the larger bound.
    """
    limit = tolerance * max(abs(low), abs(high))
    while high - low > limit:
        step = _GOLDEN * (high - low)
        left, right = high - step, low + step
        if loss(left) <= loss(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def choose_threshold(scores: FloatArray, *, acceptance: float) -> float:
    """The highest threshold that still accepts a given part of real signs.

    Args:
        scores: float32 `[N]`, `Decisions.confidence` of held-out clips of signs.
        acceptance: fraction of them to accept, in (0, 1].

    Returns:
        A threshold in [0, 1]; `scores >= threshold` holds for at least `acceptance` of them.

    Raises:
        DatasetError: there is no clip to choose on.
        ValueError: `acceptance` is outside (0, 1].
    """
    if not 0 < acceptance <= 1:
        msg = f"acceptance is {acceptance}; expected a fraction in (0, 1]"
        raise ValueError(msg)
    if len(scores) == 0:
        msg = "no held-out clip to choose the threshold on"
        raise DatasetError(msg)
    num_accepted = int(np.ceil(acceptance * len(scores) - 1e-9))
    return float(np.sort(scores)[::-1][num_accepted - 1])


def accepted_fraction(scores: FloatArray, *, threshold: float) -> float:
    """Part of the clips that get an answer; NaN without clips. Of idle or non-sign clips the rest is the refusal."""
    return float((scores >= threshold).mean()) if len(scores) else float("nan")


def selective_accuracy(scores: FloatArray, correct: BoolArray, *, threshold: float) -> float:
    """Part of the given answers that are right; NaN when none is given."""
    given = scores >= threshold
    return float(correct[given].mean()) if given.any() else float("nan")


def bootstrap_over_people(
    per_person: Mapping[str, float], *, seed: int = 0, num_samples: int = 10_000, level: float = 0.95
) -> Interval:
    """Mean over people with a percentile bootstrap interval in which whole people are drawn, never single clips.

    For a comparison, hand in each person's difference: the interval is then paired.

    Args:
        per_person: one number a person, e.g. accuracy.
        seed: of the draws.
        num_samples: draws.
        level: of the interval.

    Raises:
        DatasetError: there is nobody.
    """
    if not per_person:
        msg = "no person to average over"
        raise DatasetError(msg)
    values = np.array([per_person[name] for name in sorted(per_person)])
    draws = np.random.default_rng(seed).integers(0, len(values), size=(num_samples, len(values)))
    tail = (1 - level) / 2
    low, high = np.quantile(values[draws].mean(1), (tail, 1 - tail))
    return Interval(mean=float(values.mean()), low=float(low), high=float(high), num_people=len(values))


def match_signs(
    made: Sequence[TimedSign], recognised: Sequence[TimedSign], *, tolerance_ms: float = 300.0
) -> StreamScore:
    """Match recognised signs with those made: same label, one to one, as many pairs as possible.

    Two signs can be paired when they overlap or at most `tolerance_ms` lies between them.
    """
    partners = [
        [
            position
            for position, sign in enumerate(recognised)
            if sign.label == real.label
            and sign.start_ms <= real.end_ms + tolerance_ms
            and sign.end_ms >= real.start_ms - tolerance_ms
        ]
        for real in made
    ]
    owner: dict[int, int] = {}

    def pair(start: int, seen: set[int]) -> bool:
        """Find a partner for `start`, moving earlier pairs aside where needed (Kuhn's augmenting paths)."""
        for position in partners[start]:
            if position in seen:
                continue
            seen.add(position)
            if position not in owner or pair(owner[position], seen):
                owner[position] = start
                return True
        return False

    for index in range(len(made)):
        pair(index, set())
    matches = tuple(sorted((real, position) for position, real in owner.items()))
    return StreamScore(num_made=len(made), num_recognised=len(recognised), matches=matches)
