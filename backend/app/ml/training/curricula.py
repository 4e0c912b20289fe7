"""In which order a curriculum lets clips in: settings and schedule as pure functions.

Shapes: N clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from app.ml.types import BoolArray, FloatArray, TimesArray

CurriculumKind: TypeAlias = Literal["length", "confidence"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurriculumConfig:
    """Easy clips first (Bengio et al. 2009), every class from the start.

    Attributes:
        kind: what makes a clip easy: `length`, a short recording; `confidence`, a small loss of the model itself.
        start: part of each class's clips that the first stage lets in, in (0, 1].
        full_at: part of the steps after which all clips are in, in [0, 1].
        num_stages: stages until then, each letting in the same number of clips more. By confidence, the first stage
            lets all in, because an untrained model has no opinion; at the start of each later one clips are scored.
    """

    kind: CurriculumKind
    start: float = 0.4
    full_at: float = 0.6
    num_stages: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.start <= 1 or not 0 <= self.full_at <= 1 or self.num_stages < 1:
            msg = (
                f"curriculum start={self.start} must be in (0, 1], full_at={self.full_at} in [0, 1] and "
                f"num_stages={self.num_stages} at least 1"
            )
            raise ValueError(msg)

    def stage(self, step: int, *, steps: int) -> int:
        """The stage of a step, from 0; `num_stages` when all clips are in."""
        ramp = round(self.full_at * steps)
        return self.num_stages if step >= ramp else step * self.num_stages // ramp

    def fraction(self, stage: int) -> float:
        """Part of each class's clips that a stage lets in."""
        return min(1.0, self.start + (1 - self.start) * stage / self.num_stages)


def easiest(difficulty: FloatArray | TimesArray, targets: Sequence[int], *, fraction: float, seed: int) -> BoolArray:
    """The easiest part of each class, at least one clip; which of equally difficult ones is drawn, not taken in order.

    Recordings of one project mostly last equally long: in their order, whole projects would be in or out.

    Args:
        difficulty: `[N]`, of each clip.
        targets: N classes.
        fraction: part of each class to take, in (0, 1].
        seed: of the draw among equals.

    Returns:
        bool `[N]`.
    """
    tie_break = np.random.default_rng([seed, 2]).permutation(len(targets))
    order = np.lexsort((tie_break, difficulty))
    classes = np.asarray(targets)[order]
    chosen = np.zeros(len(targets), np.bool_)
    for target in np.unique(classes):
        own = order[classes == target]
        chosen[own[: max(1, int(np.ceil(fraction * len(own) - 1e-9)))]] = True
    return chosen
