"""What a training session is asked to do, where its files lie, and what it reports at the end."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import BaseModel, Field, StringConstraints

from app.ml.recordings.clips import Clip
from app.ml.recordings.importers.npz_files import load_usable
from app.ml.recordings.importers.source import Skipped
from app.ml.recordings.source_files import show_path
from app.ml.training.recipes import Recipe, get_recipe
from app.services.dataset_catalog import DataSet

if TYPE_CHECKING:
    from app.ml.training.run import TrainingOutcome

Name = Annotated[str, StringConstraints(min_length=1, max_length=255)]
_VERSION: Final = re.compile(r"model_v(\d+)\.|v(\d+)$")
_NUM_CONFUSIONS: Final = 20
_NUM_LEFT_OUT: Final = 20


class TrainingRequest(BaseModel):
    """A training session as the operator wants it."""

    datasets: list[Name] = Field(min_length=1, max_length=200, description="Names from the list of data sets.")
    recipe: Name = Field(default="starter", description="Which recipe; see the options.")
    language: str = Field(
        default="ase", pattern=r"^[a-z]{3}$", description="ISO 639-3 code of the signs to learn, e.g. ase."
    )
    held_out: list[Name] = Field(
        default=[], max_length=200, description="People who are kept out of training and judge the model."
    )
    steps: int | None = Field(default=None, ge=1, le=1_000_000, description="Batches; null is the recipe's.")
    seed: int = Field(default=0, ge=0, lt=2**31, description="Same machine, data and seed: same weights.")


def chosen_recipe(request: TrainingRequest) -> Recipe:
    """The recipe, with the steps that were asked for."""
    recipe = get_recipe(request.recipe)
    return replace(recipe, trainer=replace(recipe.trainer, steps=request.steps or recipe.trainer.steps))


class SignerScore(BaseModel):
    """How many of a held-out person's clips the model's first answer got right."""

    signer: str
    accuracy: float
    num_clips: int


class ConfusedSigns(BaseModel):
    """Clips of `label` that were taken for `predicted`; `fraction` is of all clips of `label`."""

    label: str
    predicted: str
    count: int
    fraction: float


class LeftOutRecording(BaseModel):
    """A file, or a recording in one, that could not be learned from."""

    name: str
    reason: str


class TrainingResult(BaseModel):
    """What came out. `accuracy` null: nobody was held out, so nothing is known about new people.

    `left_out` are the first of the `num_left_out` recordings that could not be used. `folder` is where the files lie
    on the server, `activate` the command that puts them where the server looks.
    """

    version: str
    folder: str
    files: list[str]
    activate: str
    num_labels: int
    num_clips: int
    num_copies: int
    num_left_out: int = 0
    left_out: list[LeftOutRecording] = []
    seconds: float
    accuracy: float | None
    num_judged: int
    signers: list[SignerScore]
    confusions: list[ConfusedSigns]
    threshold: float
    data_fingerprint: str
    revision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlaces:
    """Where training reads and writes.

    Attributes:
        model_dir: finished models go to `candidates` below it.
        runs_dir: a folder a session, with checkpoint and log.
        tracking: whether runs are recorded with MLflow.
        tracking_uri: the MLflow server; None keeps runs in `model_dir`.
    """

    model_dir: Path
    runs_dir: Path
    tracking: bool = True
    tracking_uri: str | None = None

    def run_dir(self, session_id: str) -> Path:
        """Folder of one session."""
        return self.runs_dir / session_id

    def checkpoint(self, session_id: str) -> Path:
        """From which a session is resumed."""
        return self.run_dir(session_id) / "checkpoint.pt"

    def log(self, session_id: str) -> Path:
        """What the session's worker printed."""
        return self.run_dir(session_id) / "worker.log"

    def reserve_candidate(self) -> Path:
        """Make a folder for the next model version, which nobody else gets; returns the `.pt` file to write."""
        candidates = self.model_dir / "candidates"
        candidates.mkdir(parents=True, exist_ok=True)
        used = [
            int(match[1] or match[2])
            for path in (*self.model_dir.iterdir(), *candidates.iterdir())
            if (match := _VERSION.match(path.name))
        ]
        number = max(used, default=0) + 1
        while True:
            folder = candidates / f"v{number}"
            try:
                folder.mkdir()
            except FileExistsError:  # another session was faster
                number += 1
                continue
            return folder / f"model_v{number}.pt"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """What data sets give a training.

    Attributes:
        clips: of the language to learn.
        background: others, taught as unknown movement.
        left_out: what cannot be used, and why.
    """

    clips: Sequence[Clip]
    background: Sequence[Clip]
    left_out: Sequence[Skipped]


def load_clips(sets: Sequence[DataSet], *, language: str) -> TrainingData:
    """Read data sets.

    Recordings that name no language are taken for the one to learn. Clips of another language that agree with other
    people (`ok`) are left out: a wave that says hello in one language must not be taught as meaningless in another.

    Raises:
        ClipFileError: a file is gone.
        DatasetError: no recording can be used.
    """
    clips, left_out = load_usable([path for one in sets for path in one.files])
    own: list[Clip] = []
    others: list[Clip] = []
    for clip in clips:
        if clip.language in (None, "", language):
            own.append(replace(clip, language=language))
        elif clip.quality != "ok":
            others.append(clip)
    return TrainingData(clips=own, background=others, left_out=left_out)


def describe_outcome(
    outcome: "TrainingOutcome", *, left_out: Sequence[Skipped], data_dir: Path, model_dir: Path
) -> TrainingResult:
    """What is kept of an outcome and shown."""
    judgement = outcome.judgement
    manifest = outcome.manifest
    folder = outcome.files[0].parent.resolve()
    return TrainingResult(
        version=manifest.version,
        folder=str(folder),
        files=[file.name for file in outcome.files],
        activate=f"cp {folder}/model_{manifest.version}.* {model_dir.resolve()}/",
        num_labels=len(manifest.labels) - len(manifest.background),
        num_clips=outcome.num_clips,
        num_copies=outcome.num_copies,
        num_left_out=len(left_out),
        left_out=[
            LeftOutRecording(name=_name_below(data_dir, item.path), reason=item.reason)
            for item in left_out[:_NUM_LEFT_OUT]
        ],
        seconds=outcome.seconds,
        accuracy=None if judgement is None else judgement.accuracy,
        num_judged=0 if judgement is None else judgement.num_clips,
        signers=[
            SignerScore(signer=signer, accuracy=score.accuracy, num_clips=score.num_clips)
            for signer, score in ({} if judgement is None else judgement.signers).items()
        ],
        confusions=[
            ConfusedSigns(label=item.label, predicted=item.predicted, count=item.count, fraction=item.fraction)
            for item in (() if judgement is None else judgement.confusions[:_NUM_CONFUSIONS])
        ],
        threshold=manifest.calibration.threshold,
        data_fingerprint=str(manifest.provenance["data"]),
        revision=str(manifest.provenance["revision"]),
    )


def _name_below(folder: Path, path: Path) -> str:
    """A path below the data folder, as the list of data sets names it."""
    return show_path(path.relative_to(folder) if path.is_relative_to(folder) else path)
