"""Trains a recipe, with its teacher first when it has one, and describes the model that came of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from app.ml.artifacts.manifest import ModelManifest, SignLabel
from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.dataset import LandmarkDataset, people_per_label, sign_labels, split_by_signer
from app.ml.distillation import DistillationTrainer, Teacher
from app.ml.errors import DatasetError
from app.ml.landmarks.features import get_feature_spec
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import Progress, ProgressListener, SignTrainer, TrainingResult
from app.ml.training.config import DistillationConfig
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.recipes import Recipe, get_recipe
from app.ml.training.world import ALONE, World
from app.ml.types import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingSets:
    """Clips to learn from, as they are and as a data set, and those of the people held out, who judge."""

    train: Sequence[Clip]
    dataset: LandmarkDataset
    val: LandmarkDataset | None


def split_sets(clips: Sequence[Clip], background: Sequence[Clip], *, held_out: Sequence[str]) -> TrainingSets:
    """Split by person; the labels are those that the clips left for training show.

    Args:
        clips: recordings of the signs to learn, idle included.
        background: recordings of anything else, taught as unknown movement.
        held_out: signers who are kept out of training.

    Raises:
        DatasetError: nothing is left to learn, a person has no clip, or a recording is on both sides.
    """
    train, judges = split_by_signer(clips, held_out) if held_out else (list(clips), [])
    signs = sign_labels(train)
    if not signs:
        msg = "no clip shows a sign to learn; choose data with labels, and hold fewer people out"
        raise DatasetError(msg)
    labels = (*signs, *BACKGROUND)
    known = [clip for clip in judges if clip.label in labels]
    return TrainingSets(
        train=train,
        dataset=LandmarkDataset([*train, *background], labels=labels),
        val=LandmarkDataset(known, labels=labels, is_complete=False) if known else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """What a run is handed instead of making it itself.

    Attributes:
        pretrained: the encoder that the network starts from; None starts from random weights.
        teacher: a trained one, or what to train one with; None is what the recipe says.
    """

    pretrained: PretrainedEncoder | None = None
    teacher: Teacher | Recipe | None = None


_NOTHING: Final = Given()


def fit_recipe(
    recipe: Recipe,
    train: LandmarkDataset,
    *,
    seed: int,
    val: LandmarkDataset | None = None,
    checkpoint: Path | None = None,
    on_progress: ProgressListener | None = None,
    given: Given = _NOTHING,
    world: World = ALONE,
) -> TrainingResult:
    """Train one model as its recipe says.

    A teacher that is not given is trained on the same data, with the same seed and a checkpoint of its own beside the
    student's. Its steps are reported as the first part of the run.

    Args:
        recipe: how to train.
        train: what to learn from.
        seed: of everything.
        val: people who judge the student while it learns.
        checkpoint: file that is written at every evaluation and read at the start when it exists.
        on_progress: told after every step.
        given: what was made before.
        world: the processes that train together.

    Raises:
        DatasetError: the sets' labels differ, or a signer or a recording is on both sides or known to the teacher.
        ArtifactError: the checkpoint is of another run.
        ManifestMismatchError: the teacher answers other labels.
        TrainingError: no such device, the checkpoint cannot be written, or another process is gone.
    """
    config = recipe.with_seed(seed)
    distillation, teacher = recipe.distillation, given.teacher
    if distillation is None and teacher is None:
        trainer = SignTrainer(recipe.model, config, world=world)
        return trainer.fit(train, val=val, pretrained=given.pretrained, checkpoint=checkpoint, on_progress=on_progress)
    distillation = distillation or DistillationConfig(recipe="")
    steps_before = 0
    if not isinstance(teacher, Teacher):
        of_teacher = teacher or get_recipe(distillation.recipe)
        steps_before = of_teacher.trainer.steps
        teacher = _train_teacher(
            of_teacher,
            train,
            seed=seed,
            checkpoint=None if checkpoint is None else checkpoint.with_name(f"{checkpoint.stem}.teacher.ckpt"),
            on_progress=_shifted(on_progress, before=0, after=config.steps),
            world=world,
        )
    trainer = DistillationTrainer(recipe.model, config, teacher=teacher, distillation=distillation, world=world)
    shifted = _shifted(on_progress, before=steps_before, after=0)
    return trainer.fit(train, val=val, pretrained=given.pretrained, checkpoint=checkpoint, on_progress=shifted)


def _train_teacher(
    recipe: Recipe,
    train: LandmarkDataset,
    *,
    seed: int,
    checkpoint: Path | None,
    on_progress: ProgressListener | None,
    world: World,
) -> Teacher:
    """A teacher for `train`; the prior on people is the student's to add, once."""
    config = replace(recipe.with_seed(seed), people_prior=0.0)
    result = SignTrainer(recipe.model, config, world=world).fit(train, checkpoint=checkpoint, on_progress=on_progress)
    return Teacher(
        name=f"recipe {recipe.name} {recipe.fingerprint}",
        model=result.model,
        spec=get_feature_spec(config.feature_spec),
        labels=train.labels,
        signers=train.signers,
    )


def _shifted(on_progress: ProgressListener | None, *, before: int, after: int) -> ProgressListener | None:
    """Reports one part of a longer run as such."""
    if on_progress is None or before == after == 0:
        return on_progress
    listener = on_progress

    def report(progress: Progress, /) -> None:
        listener(replace(progress, step=progress.step + before, steps=progress.steps + before + after))

    return report


def describe_model(
    train: Sequence[Clip],
    labels: Sequence[str],
    recipe: Recipe,
    *,
    version: str,
    prototypes: FloatArray | None = None,
    provenance: dict[str, str | int | float | list[str]],
) -> ModelManifest:
    """The manifest of a model that was trained on these clips; calibration is the caller's to add."""
    people = people_per_label(train)
    language = next((clip.language for clip in train if clip.language is not None), "und")
    return ModelManifest(
        version=version,
        config=recipe.model.to_dict(),
        feature_spec=recipe.trainer.feature_spec,
        num_features=get_feature_spec(recipe.trainer.feature_spec).num_features,
        labels=tuple(SignLabel(label=label, language=language, num_people=people.get(label, 0)) for label in labels),
        background=BACKGROUND,
        prototypes="" if prototypes is None else prototypes_to_text(prototypes),
        provenance={"recipe": recipe.name, "people_prior": recipe.trainer.people_prior, **provenance},
    )
