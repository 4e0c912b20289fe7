"""Fits the numbers behind a model's confidences to its answers about people whom it has never seen.

The confidence of the named sign (`app/ml/inference/confidence.py`) becomes the probability that it is right:
temperature and gate are those under which what came out is likeliest. In clips that are no sign no answer is right.
Then the threshold lets a given part of the signs pass. All who make signs count the same, whatever their number of
clips, and so do all who make none, who together count `STRAY_SHARE` times as much: hands move in view more often than
they sign.

Shapes: N clips of one person, C labels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from app.ml.artifacts.manifest import Calibration, FamiliarityGate
from app.ml.errors import DatasetError
from app.ml.evaluation.scoring import SHIPPED_ACCEPTANCE, choose_threshold, find_minimum, fit_temperature
from app.ml.inference.confidence import STANDARD, sigmoid, softmax
from app.ml.inference.decision import Decisions, decide_by
from app.ml.inference.familiarity import RawAnswers
from app.ml.types import BoolArray, FloatArray

MIN_SIGNS: Final = 40
"""Held-out clips of signs under which the standard gate is taken: fewer say too little."""
MIN_STRAY: Final = 20
"""The same for clips that are no sign: without them idle hands would be taken for signs with confidence."""
STRAY_SHARE: Final = 3.0
"""Answers about hands that make no sign for each answer about a sign. Chosen on the streams of `scripts.evaluate_live`,
whose answers it makes right about as often as they say; docs/training.md has the figures for 1, 2, 3 and 5."""
_WHOLE_PERSON: Final = 10
"""Somebody with fewer clips of a kind counts by their number."""
_PULL: Final = 1e-4
"""How firmly a gate that little is known about stays near the standard one."""
_TEMPERATURES: Final = (0.3, 3.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PersonAnswers:
    """What a model said of one person's clips of signs, or of one person's clips that are none.

    Attributes:
        raw: logits `[N, C]` and familiarity, `[N, C]` or `[N, 0]`.
        targets: int `[N]`, the labels' indices; None for clips that are no sign.
        is_sign: bool `[C]`.
    """

    raw: RawAnswers
    targets: NDArray[np.int64] | None
    is_sign: BoolArray

    @property
    def num_clips(self) -> int:
        """N."""
        return len(self.raw.logits)

    def decide(self, calibration: Calibration) -> Decisions:
        """What becomes of the answers under a calibration."""
        return decide_by(self.raw, calibration, is_sign=self.is_sign)

    def judge(self, calibration: Calibration) -> tuple[FloatArray, BoolArray]:
        """Confidence of the named sign, and whether it is right: both `[N]`."""
        decisions = self.decide(calibration)
        named = decisions.ranking[:, 0]
        return decisions.confidence, np.zeros(len(named), np.bool_) if self.targets is None else named == self.targets


@dataclass(frozen=True, slots=True, kw_only=True)
class _Report:
    recipe: str
    calibration: Calibration


_REPORT: Final = TypeAdapter(_Report)


def fit_calibration(people: Sequence[PersonAnswers], *, acceptance: float = SHIPPED_ACCEPTANCE) -> Calibration:
    """Fit temperature, gate and threshold; where `explain_shortage` has something to say, only the threshold.

    Args:
        people: each judged by a model that never saw them. All of them have prototypes, or none.
        acceptance: part of the signs that the threshold lets pass, in (0, 1].

    Raises:
        DatasetError: nobody has a clip of a sign.
    """
    signing = [(person, person.targets) for person in people if person.targets is not None and person.num_clips]
    if not signing:
        msg = "no held-out clip of a sign to calibrate on"
        raise DatasetError(msg)
    if not all(person.raw.familiarity.shape[1] for person, _ in signing):
        temperatures = [fit_temperature(person.raw.logits, targets) for person, targets in signing]
        calibration = Calibration(temperature=float(np.median(temperatures)))
    elif explain_shortage(people) is None:
        calibration = _fit_confidence([person for person in people if person.num_clips])
    else:
        calibration = STANDARD
    scores = even_out([person.decide(calibration).confidence for person, _ in signing])
    return replace(calibration, threshold=choose_threshold(scores, acceptance=acceptance))


def explain_shortage(people: Iterable[PersonAnswers]) -> str | None:
    """Why the confidences of a model that is calibrated on these are not measured ones; None if they are."""
    num_signs = num_stray = 0
    for person in people:
        if person.targets is None:
            num_stray += person.num_clips
        else:
            num_signs += person.num_clips
    if num_signs >= MIN_SIGNS and num_stray >= MIN_STRAY:
        return None
    return (
        f"{num_signs} clips of signs and {num_stray} of hands that make none were held out; "
        f"{MIN_SIGNS} and {MIN_STRAY} are needed to measure confidences"
    )


def read_calibration(report: Path) -> tuple[str, Calibration]:
    """The recipe that a report of `scripts.evaluate_unseen` is about, and the calibration that came of it.

    Raises:
        DatasetError: it is no such report, or one of a SignFlow that did not measure confidences yet.
    """
    try:
        found = _REPORT.validate_json(report.read_bytes())
    except (ValidationError, OSError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        msg = f"{report} is no report of evaluate_unseen ({reason}); write one with its --output"
        raise DatasetError(msg) from error
    if found.calibration.gate is None:
        msg = f"{report} is older than measured confidences; run evaluate_unseen again, which keeps finished folds"
        raise DatasetError(msg)
    return found.recipe, found.calibration


def even_out(values: Sequence[FloatArray]) -> FloatArray:
    """One list in which every person counts the same: each one's sorted values read off at even steps.

    Repeating them whole would count the lowest once more.
    """
    longest = max(map(len, values))
    return np.concatenate([np.sort(own)[np.arange(longest) * len(own) // longest] for own in values])


def weigh(people: Sequence[PersonAnswers]) -> list[NDArray[np.float64]]:
    """What each clip of each person counts, `[N]` each: 1 in all for those who make signs, `STRAY_SHARE` for others."""
    shares = [min(1.0, person.num_clips / _WHOLE_PERSON) for person in people]
    kinds = [person.targets is None for person in people]
    totals = {kind: sum(share for share, own in zip(shares, kinds, strict=True) if own is kind) for kind in set(kinds)}
    worth = {False: 1.0, True: STRAY_SHARE}
    return [
        np.full(person.num_clips, worth[kind] * share / totals[kind] / person.num_clips) if share else np.zeros(0)
        for person, share, kind in zip(people, shares, kinds, strict=True)
    ]


def _fit_confidence(people: Sequence[PersonAnswers]) -> Calibration:
    """The temperature and the gate under which it is likeliest that just these answers were right."""
    weights = np.concatenate(weigh(people))
    # Which sign is named, and so whether it is right and how familiar it is, does not depend on the temperature.
    is_right = np.concatenate([person.judge(Calibration())[1] for person in people])
    named = [person.decide(Calibration()).ranking[:, :1] for person in people]
    familiarity = np.concatenate(
        [np.take_along_axis(person.raw.familiarity, one, 1)[:, 0] for person, one in zip(people, named, strict=True)]
    ).astype(np.float64)

    def try_out(temperature: float) -> tuple[float, FamiliarityGate]:
        probability = np.concatenate(
            [softmax(person.raw.logits / np.float32(temperature))[:, person.is_sign].max(1) for person in people]
        )
        return _fit_gate(probability.astype(np.float64), familiarity, is_right, weights)

    low, high = np.log(_TEMPERATURES)
    temperature = float(np.exp(find_minimum(lambda log: try_out(float(np.exp(log)))[0], low, high, tolerance=1e-3)))
    return Calibration(temperature=temperature, gate=try_out(temperature)[1])


def _fit_gate(
    probability: NDArray[np.float64],
    familiarity: NDArray[np.float64],
    is_right: BoolArray,
    weights: NDArray[np.float64],
) -> tuple[float, FamiliarityGate]:
    """The likeliest gate for answers that are right with gate x `probability`, and its log loss.

    Fisher scoring, with halved steps where a whole one leads up; all arguments `[N]`. A slope that would be negative is
    0.
    """
    assert STANDARD.gate is not None
    standard = np.array([STANDARD.gate.bias, STANDARD.gate.slope])
    inputs = np.stack([np.ones_like(familiarity), familiarity], axis=1)

    def open_at(gate: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        is_open = np.clip(sigmoid(inputs @ gate).astype(np.float64), 1e-9, 1 - 1e-9)
        return is_open, np.clip(probability * is_open, 1e-9, 1 - 1e-9)

    def loss_of(gate: NDArray[np.float64]) -> float:
        _, chance = open_at(gate)
        misfit = -(weights * np.where(is_right, np.log(chance), np.log1p(-chance))).sum()
        return float(misfit + 0.5 * _PULL * ((gate - standard) ** 2).sum())

    free, gate = np.array([True, True]), standard
    for _ in range(200):
        is_open, chance = open_at(gate)
        down = inputs.T @ (weights * (is_right - chance) * (1 - is_open) / (1 - chance)) - _PULL * (gate - standard)
        information = weights * chance * (1 - is_open) ** 2 / (1 - chance)
        curvature = (inputs * information[:, None]).T @ inputs + _PULL * np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], down[free])
        loss = loss_of(gate)
        while loss_of(gate + step) > loss and np.abs(step).max() > 1e-6:
            step = step / 2
        gate = gate + step
        if gate[1] < 0:
            free, gate = np.array([True, False]), np.array([gate[0], 0.0])
        elif np.abs(step).max() <= 1e-6:
            break
    return loss_of(gate), FamiliarityGate(bias=float(gate[0]), slope=float(gate[1]))
