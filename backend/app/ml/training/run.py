"""One complete training run: clips in; a model judged on the people held out of it, exported, tracked; files out.

The command line (`scripts.train`) and the training service both run this.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.manifest import Calibration, ModelManifest
from app.ml.artifacts.provenance import git_revision
from app.ml.dataset import LandmarkDataset
from app.ml.distillation import Teacher
from app.ml.evaluation.figures import CurvePoint, draw_confusion_matrix, draw_curves
from app.ml.evaluation.scoring import Confusion, Score, find_confusions, score_by_group
from app.ml.export import export_to_onnx
from app.ml.pretraining import pretrain_for
from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import data_fingerprint, find_copies
from app.ml.tracking import Param, RunDescription, Tracker, finished, flatten
from app.ml.trainer import Progress, TrainingResult, find_prototypes
from app.ml.training.curve import TrainingCurve
from app.ml.training.fitting import Given, TrainingSets, describe_model, fit_recipe, split_sets
from app.ml.training.held_out import HeldOutAnswers, ask_held_out, calibrate_run
from app.ml.training.pretrained import PretrainedEncoder
from app.ml.training.recipes import Recipe
from app.ml.training.world import ALONE, World


class Phase(StrEnum):
    """What a run is doing. PRETRAINING, which few recipes have, and TRAINING take long; the steps of the latter are
    reported."""

    PREPARING = "preparing"
    PRETRAINING = "pretraining"
    TRAINING = "training"
    EVALUATING = "evaluating"
    EXPORTING = "exporting"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """Everything that a run needs.

    Attributes:
        clips: recordings of the signs to learn, idle included.
        background: recordings of anything else, taught as unknown movement.
        held_out: signers who are kept out of training and judge the model.
        output: the `.pt` file to write; the ONNX files come beside it.
        pretrained: the encoder to start from; None is as the recipe says.
        calibration: from a report on unseen people; None fits it to the people held out, or takes the standard one.
        teacher: a model to learn from as well; None trains one first if the recipe asks for it.
        world: the processes that train together; only the first of them runs `run_training`.
        curve_so_far: what an earlier attempt of this run had reached, for the picture of the whole curve.
        facts: what else the manifest's provenance should say.
    """

    clips: Sequence[Clip]
    background: Sequence[Clip] = ()
    recipe: Recipe
    seed: int = 0
    held_out: Sequence[str] = ()
    output: Path
    pretrained: PretrainedEncoder | None = None
    calibration: Calibration | None = None
    int8: bool = True
    checkpoint: Path | None = None
    teacher: Teacher | None = None
    world: World = ALONE
    curve_so_far: Sequence[CurvePoint] = ()
    facts: dict[str, str | int | float | list[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """How the model does on the people held out, by their clips of signs that it knows.

    Attributes:
        accuracy: fraction of clips whose sign is the model's first answer.
        signers: accuracy of each person.
        labels: accuracy of each sign.
        confusions: which signs were taken for which, most frequent first.
    """

    accuracy: float
    num_clips: int
    signers: dict[str, Score]
    labels: dict[str, Score]
    confusions: Sequence[Confusion]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """What came out of a run.

    Attributes:
        judgement: None where nobody was held out, so that nothing is known about new people.
        seconds: from the start to the written files.
        waited_s: the part of them in which the network waited until a batch had been made.
    """

    manifest: ModelManifest
    files: Sequence[Path]
    judgement: Judgement | None
    num_clips: int
    num_copies: int
    seconds: float
    waited_s: float


def run_training(
    plan: TrainingPlan,
    *,
    tracker: Tracker,
    on_progress: Callable[[Progress], None],
    on_phase: Callable[[Phase], None] = lambda _: None,
) -> TrainingOutcome:
    """Train, judge, export and track one model.

    Args:
        plan: what to do.
        tracker: told everything; it never makes the run fail.
        on_progress: told after every step; raising stops the run, which then counts as cancelled.
        on_phase: told when a phase begins, and again after every step of pretraining; may raise likewise.

    Raises:
        DatasetError: the data cannot be trained on, or the split would not be honest.
        ArtifactError: the checkpoint is of another run, the pretrained encoder of another network.
        ExportError: the exported model does not answer as the trained one.
        OSError: a file cannot be written.
    """
    with finished(tracker):
        return _run(plan, tracker, on_progress, on_phase)


def assist_training(plan: TrainingPlan) -> None:
    """What every other process of a distributed run does while the first one is in `run_training`: only train.

    Raises:
        DatasetError: the data cannot be trained on, or the split would not be honest.
        TrainingError: another process is gone.
    """
    sets = split_sets(plan.clips, plan.background, held_out=plan.held_out)
    pretrained = plan.pretrained or pretrain_for(plan.recipe, [*sets.train, *plan.background], seed=plan.seed)
    _fit(plan, sets, pretrained, on_progress=None)


def _fit(
    plan: TrainingPlan,
    sets: TrainingSets,
    pretrained: PretrainedEncoder | None,
    *,
    on_progress: Callable[[Progress], None] | None,
) -> TrainingResult:
    return fit_recipe(
        plan.recipe,
        sets.dataset,
        seed=plan.seed,
        val=sets.val,
        given=Given(pretrained=pretrained, teacher=plan.teacher),
        checkpoint=plan.checkpoint,
        on_progress=on_progress,
        world=plan.world,
    )


def _run(
    plan: TrainingPlan,
    tracker: Tracker,
    on_progress: Callable[[Progress], None],
    on_phase: Callable[[Phase], None],
) -> TrainingOutcome:
    started_s = time.monotonic()
    on_phase(Phase.PREPARING)
    sets = split_sets(plan.clips, plan.background, held_out=plan.held_out)
    train, dataset, val, labels = sets.train, sets.dataset, sets.val, sets.dataset.labels
    copies = find_copies(plan.clips)
    fingerprint = data_fingerprint([*train, *plan.background])
    people = sorted(set(plan.held_out))
    tracker.start(
        RunDescription(
            name=f"{plan.recipe.name} seed {plan.seed}",
            params=_params(plan, dataset),
            data_fingerprint=fingerprint,
            train_signers=dataset.signers,
            held_out_signers=people,
        )
    )
    pretrained = plan.pretrained
    if pretrained is None and plan.recipe.pretraining is not None:
        on_phase(Phase.PRETRAINING)
        pretrained = pretrain_for(
            plan.recipe, [*train, *plan.background], seed=plan.seed, on_progress=lambda _: on_phase(Phase.PRETRAINING)
        )
    on_phase(Phase.TRAINING)
    curve = TrainingCurve(tracker, on_progress, plan.curve_so_far)
    config = plan.recipe.with_seed(plan.seed)
    result = _fit(plan, sets, pretrained, on_progress=curve.note)
    on_phase(Phase.EVALUATING)
    prototypes = find_prototypes(result.model, dataset, config)
    answers = None if val is None else ask_held_out(result.model, val, prototypes, config)
    calibration, calibrated_on = calibrate_run(answers, given=plan.calibration)
    manifest = describe_model(
        train,
        labels,
        plan.recipe,
        version=plan.output.stem.removeprefix("model_"),
        prototypes=prototypes,
        provenance={
            "seed": plan.seed,
            "steps": config.steps,
            "date": datetime.now(tz=UTC).date().isoformat(),
            "revision": git_revision(),
            "data": fingerprint,
            "signers": _whom_it_learned_from(plan, dataset, pretrained),
            "held_out": people,
            "calibrated_on": calibrated_on,
            **({} if pretrained is None else {"pretrained": pretrained.sha256}),
            **({} if plan.teacher is None else {"teacher": plan.teacher.name}),
            **plan.facts,
        },
    )
    on_phase(Phase.EXPORTING)
    plan.output.parent.mkdir(parents=True, exist_ok=True)
    manifest = replace(manifest, calibration=calibration)
    manifest = save_torch_artifact(plan.output, state_dict=result.model.state_dict(), manifest=manifest)
    files = [plan.output, plan.output.with_suffix(".onnx")]
    export_to_onnx(plan.output, files[1])
    if plan.int8:
        files.append(plan.output.with_suffix(".int8.onnx"))
        export_to_onnx(plan.output, files[2], int8=True)
    outcome = TrainingOutcome(
        manifest=manifest,
        files=files,
        judgement=None if answers is None else _judge(answers),
        num_clips=len(dataset),
        num_copies=sum(map(len, copies)) - len(copies),
        seconds=time.monotonic() - started_s,
        waited_s=curve.waited_s,
    )
    curve.flush()
    _track_outcome(tracker, outcome, curve.points, answers, step=config.steps)
    return outcome


def _whom_it_learned_from(
    plan: TrainingPlan, dataset: LandmarkDataset, pretrained: PretrainedEncoder | None
) -> list[str]:
    """Everybody whose clips have shaped the model, also by way of its teacher or its pretraining."""
    people = set(dataset.signers)
    if plan.teacher is not None:
        people |= set(plan.teacher.signers)
    if pretrained is not None:
        seen = pretrained.provenance.get("signers", [])
        people |= set(seen if isinstance(seen, list) else [])
    return sorted(people - {""})


def _params(plan: TrainingPlan, dataset: LandmarkDataset) -> dict[str, Param]:
    return {
        "recipe": plan.recipe.name,
        **flatten(plan.recipe.model.to_dict(), prefix="model."),
        **flatten(asdict(plan.recipe.with_seed(plan.seed)), prefix="trainer."),
        "num_clips": len(dataset),
        "num_labels": len(dataset.labels),
        "num_signers": len(dataset.signers),
    }


def _judge(answers: HeldOutAnswers) -> Judgement:
    correct = answers.raw.logits.argmax(1) == answers.targets
    return Judgement(
        accuracy=float(correct.mean()),
        num_clips=len(correct),
        signers=score_by_group(correct, answers.signers),
        labels=score_by_group(correct, answers.truth),
        confusions=find_confusions(answers.truth, answers.predicted),
    )


def _track_outcome(
    tracker: Tracker,
    outcome: TrainingOutcome,
    points: Sequence[CurvePoint],
    answers: HeldOutAnswers | None,
    *,
    step: int,
) -> None:
    metrics = {"seconds": outcome.seconds, "waited_s": outcome.waited_s, "num_copies": float(outcome.num_copies)}
    judgement = outcome.judgement
    if judgement is not None and answers is not None:
        metrics["accuracy"] = judgement.accuracy
        metrics |= {f"signer/{signer}": score.accuracy for signer, score in judgement.signers.items()}
        tracker.log_document("per_signer.json", {name: asdict(score) for name, score in judgement.signers.items()})
        tracker.log_document("per_sign.json", {name: asdict(score) for name, score in judgement.labels.items()})
        tracker.log_document("confusions.json", [asdict(confusion) for confusion in judgement.confusions])
        tracker.log_figure(
            "confusion_matrix.png",
            draw_confusion_matrix(
                answers.truth, answers.predicted, title=f"Clips of {', '.join(judgement.signers)}, held out"
            ),
        )
    if points:
        tracker.log_figure("curves.png", draw_curves(points, title=outcome.manifest.version))
    tracker.log_metrics(metrics, step=step)
    tracker.log_document("manifest.json", asdict(outcome.manifest))
    tracker.log_files(outcome.files)
