"""Accuracy on people whom a model has never seen: one person is held out, everybody else teaches.

Shapes: N test clips of signs, M clips that must be refused, C labels of the fold (background last).
"""

import json
import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from app.ml.artifacts.manifest import Calibration
from app.ml.artifacts.whole_files import write_arrays_whole
from app.ml.dataset import LandmarkDataset, prepare, sign_labels, split_by_signer
from app.ml.distillation import Teacher
from app.ml.errors import DatasetError
from app.ml.evaluation.calibration import PersonAnswers, fit_calibration
from app.ml.evaluation.scoring import SHIPPED_ACCEPTANCE
from app.ml.inference.familiarity import RawAnswers, mean_answers, measure_familiarity
from app.ml.landmarks.layout import has_hands_in_view
from app.ml.model import SignEncoder
from app.ml.pretraining import pretrain_for
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND, IDLE
from app.ml.trainer import ProgressListener, find_prototypes, predict
from app.ml.training.config import TrainerConfig
from app.ml.training.fitting import Given, fit_recipe
from app.ml.training.recipes import Recipe
from app.ml.tta import NUM_VIEWS, make_views
from app.ml.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fold:
    """One split by people.

    Attributes:
        person: who is tested.
        train: clips to learn from, background included.
        test: the person's clips of labels that somebody in `train` has.
        refuse: clips of people outside `train`, hands in view, that are no sign.
        labels: classes of the fold's model, background last.
    """

    person: str
    train: Sequence[Clip]
    test: Sequence[Clip]
    refuse: Sequence[Clip]
    labels: tuple[str, ...]


def _nothing() -> FloatArray:
    return np.zeros((0, 0), np.float32)


class TrainedFold(NamedTuple):
    """A fold's network, its labels' prototypes `[C, D]`, and what it said of the fold's person."""

    model: SignEncoder
    prototypes: FloatArray
    outcome: "FoldOutcome"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FoldOutcome:
    """What a fold's model said of the clips with `targets` `[N]`, and of the M clips that must be refused.

    Logits and familiarity are `[N, C]` and `[M, C]`; without prototypes there is no familiarity. `train_cpu_s` is the
    processor time that training took, over all threads; NaN when not measured.
    """

    person: str
    seed: int
    labels: tuple[str, ...]
    targets: NDArray[np.int64]
    logits: FloatArray
    refuse_logits: FloatArray
    familiarity: FloatArray = field(default_factory=_nothing)
    refuse_familiarity: FloatArray = field(default_factory=_nothing)
    train_cpu_s: float = math.nan

    @property
    def num_signs(self) -> int:
        """Labels that are signs; they come before the background."""
        return sum(label not in BACKGROUND for label in self.labels)

    @property
    def correct(self) -> BoolArray:
        """bool `[N]`: the likeliest of all signs is the right one; background is judged apart, by refusal."""
        return self.logits[:, : self.num_signs].argmax(1) == self.targets

    @property
    def correct_among_all(self) -> BoolArray:
        """bool `[N]`: as `correct`, with background among the possible answers."""
        return self.logits.argmax(1) == self.targets

    @property
    def answers(self) -> tuple[PersonAnswers, PersonAnswers]:
        """The same for calibration: about the signs, and about what must be refused."""
        is_sign = np.array([label not in BACKGROUND for label in self.labels])
        return (
            PersonAnswers(raw=RawAnswers(self.logits, self.familiarity), targets=self.targets, is_sign=is_sign),
            PersonAnswers(raw=RawAnswers(self.refuse_logits, self.refuse_familiarity), targets=None, is_sign=is_sign),
        )

    def confidences(self, calibration: Calibration) -> tuple[FloatArray, FloatArray]:
        """What the threshold is compared with, for the signs `[N]` and for what must be refused `[M]`."""
        signs, refuse = self.answers
        return signs.decide(calibration).confidence, refuse.decide(calibration).confidence

    def save(self, path: Path) -> None:
        """Write the outcome, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays_whole(
            path,
            {
                "about": json.dumps({"person": self.person, "seed": self.seed, "labels": self.labels}),
                "train_cpu_s": self.train_cpu_s,
                "targets": self.targets,
                "logits": self.logits,
                "familiarity": self.familiarity,
                "refuse_logits": self.refuse_logits,
                "refuse_familiarity": self.refuse_familiarity,
            },
        )

    @classmethod
    def load(cls, path: Path) -> "FoldOutcome":
        """Read what `save` wrote.

        Raises:
            DatasetError: an earlier version of SignFlow wrote it.
        """
        with np.load(path, allow_pickle=False) as file:
            if "familiarity" not in file:
                msg = f"{path} was kept by an earlier version; remove it, so that the fold is trained again"
                raise DatasetError(msg)
            about = json.loads(str(file["about"]))
            return cls(
                person=about["person"],
                seed=about["seed"],
                labels=tuple(about["labels"]),
                targets=file["targets"],
                logits=file["logits"],
                familiarity=file["familiarity"],
                refuse_logits=file["refuse_logits"],
                refuse_familiarity=file["refuse_familiarity"],
                train_cpu_s=float(file["train_cpu_s"]),
            )


def hold_out(
    clips: Sequence[Clip], background: Sequence[Clip], *, person: str, also_absent: Iterable[str] = ()
) -> Fold:
    """Split so that one person (and whoever else is named) is never seen in training.

    Args:
        clips: recordings of the language's signs, idle included.
        background: recordings of anything else, taught as unknown movement.
        person: who is tested.
        also_absent: people left out of training without being tested; their non-sign clips are to be refused.

    Raises:
        DatasetError: the person has neither a clip of a sign that anybody else has, nor one that must be refused.
    """
    absent = {person, *also_absent}
    train, _ = split_by_signer(clips, absent & {clip.signer or "" for clip in clips})
    signs = sign_labels(train)
    own = [clip for clip in clips if clip.signer == person and clip.quality not in ("suspect", "nonsign")]
    test = [clip for clip in own if clip.label in signs]
    elsewhere = [clip for clip in background if clip.signer not in absent and clip.quality != "suspect"]
    refuse = [clip for clip in (*clips, *background) if clip.signer in absent and _must_be_refused(clip)]
    if not test and not refuse:
        msg = f"{person} has no clip of a sign that somebody else has too; choose another person"
        raise DatasetError(msg)
    return Fold(person=person, train=(*train, *elsewhere), test=test, refuse=refuse, labels=(*signs, *BACKGROUND))


def train_fold(
    fold: Fold,
    recipe: Recipe,
    *,
    seed: int,
    on_progress: ProgressListener | None = None,
    teacher: Teacher | None = None,
) -> TrainedFold:
    """Train without the fold's person, then ask about that person's clips.

    Args:
        fold: the split.
        recipe: how to train.
        seed: of the training.
        on_progress: told after every step.
        teacher: for a recipe that distils; None trains one inside the fold. It must never have seen the fold's person.

    Raises:
        DatasetError: the teacher knows the fold's person.
    """
    if teacher is not None and fold.person in teacher.signers:
        msg = f"the teacher ({teacher.name}) was trained on {fold.person}, whom this fold tests; train one without"
        raise DatasetError(msg)
    config = recipe.with_seed(seed)
    begin_s = time.process_time()
    train = LandmarkDataset(fold.train, labels=fold.labels)
    given = Given(pretrained=pretrain_for(recipe, fold.train, seed=seed), teacher=teacher)
    model = fit_recipe(recipe, train, seed=seed, given=given, on_progress=on_progress).model
    train_cpu_s = time.process_time() - begin_s
    prototypes = find_prototypes(model, train, config)
    outcome = judge_fold(fold, model, prototypes, config, tta=recipe.tta)
    return TrainedFold(model, prototypes, replace(outcome, seed=seed, train_cpu_s=train_cpu_s))


def judge_fold(
    fold: Fold, model: SignEncoder, prototypes: FloatArray, config: TrainerConfig, *, tta: bool
) -> FoldOutcome:
    """Ask a fold's network about the fold's person."""
    signs = predict_clips(model, fold.test, prototypes, config, tta=tta)
    refuse = predict_clips(model, fold.refuse, prototypes, config, tta=tta)
    return FoldOutcome(
        person=fold.person,
        seed=config.seed,
        labels=fold.labels,
        targets=np.array([fold.labels.index(clip.label or "") for clip in fold.test], np.int64),
        logits=signs.logits,
        familiarity=signs.familiarity,
        refuse_logits=refuse.logits,
        refuse_familiarity=refuse.familiarity,
    )


def predict_clips(
    model: SignEncoder, clips: Sequence[Clip], prototypes: FloatArray, config: TrainerConfig, *, tta: bool
) -> RawAnswers:
    """What a network says of whole clips; with `tta` the mean over five views, as `TtaPredictor` answers live."""
    if not tta:
        return _ask(model, [prepare(clip) for clip in clips], prototypes, config)
    views = [make_views(clip.to_window()) for clip in clips]
    return mean_answers(
        [
            _ask(
                model,
                [
                    prepare(replace(clip, landmarks=seen[number].landmarks, times_ms=seen[number].times_ms))
                    for clip, seen in zip(clips, views, strict=True)
                ],
                prototypes,
                config,
            )
            for number in range(NUM_VIEWS)
        ]
    )


def _ask(model: SignEncoder, windows: list[FloatArray], prototypes: FloatArray, config: TrainerConfig) -> RawAnswers:
    answers = predict(model, windows, config)
    return RawAnswers(answers.logits, measure_familiarity(answers.embeddings, prototypes))


def calibrate(
    outcomes: Sequence[FoldOutcome], *, acceptance: float = SHIPPED_ACCEPTANCE, without: Collection[str] = ()
) -> Calibration:
    """The calibration of a recipe from folds, each judged by a model that never saw its person.

    Args:
        outcomes: folds of one recipe.
        acceptance: part of the signs that the threshold lets pass, in (0, 1]; every person counts the same.
        without: people whose own clips may not take part, because the result is judged on them.

    Raises:
        DatasetError: no fold is left, or none with a clip of a sign.
    """
    used = [outcome for outcome in outcomes if outcome.person not in without]
    if not used:
        msg = "no fold to calibrate on"
        raise DatasetError(msg)
    return fit_calibration([answers for outcome in used for answers in outcome.answers], acceptance=acceptance)


def _must_be_refused(clip: Clip) -> bool:
    return (clip.label == IDLE or clip.quality == "nonsign") and has_hands_in_view(clip.landmarks)
