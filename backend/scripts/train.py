"""Trains a model and writes it as `model_vN.pt`, `model_vN.onnx` and `model_vN.int8.onnx`, ready to be served.

Reads the recordings of a corpus folder (docs/training.md), or any data sets of your own; the calibration (temperature
and "not sure" threshold) comes from the report of `evaluate_unseen`, which judged the same recipe on unseen people.

    python -m scripts.train --corpus RECORDINGS --unseen data/models/unseen_v1.json --output data/models/model_v1.pt
    python -m scripts.train --data my_signs.npz --language ase --output runs/mine/model_v1.pt --val-signer anna
    torchrun --standalone --nproc_per_node=2 -m scripts.train --checkpoint runs/mine/run.ckpt ...
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.ml.artifacts.manifest import Calibration
from app.ml.errors import DatasetError
from app.ml.evaluation.calibration import read_calibration
from app.ml.recordings.copies import find_copies
from app.ml.tracking import NullTracker, make_tracker
from app.ml.training.config import Precision
from app.ml.training.recipes import get_recipe, recipe_for_model, total_steps, with_technique
from scripts.console import STDERR, fail, needs_packages, results, user_errors
from scripts.corpus import load_corpus
from scripts.data_at_hand import load_usable_recordings
from scripts.options import MODEL_DIR, check_language, check_model, check_recipe

with needs_packages():
    from app.ml.distillation import teacher_from
    from app.ml.inference.torch_backend import load_model
    from app.ml.trainer import Progress as TrainingProgress
    from app.ml.training.curricula import CurriculumKind
    from app.ml.training.pretrained import PretrainedEncoder
    from app.ml.training.run import TrainingPlan, assist_training, run_training
    from app.ml.training.world import joined_world


def main(
    output: Annotated[Path, typer.Option(help="The .pt file to write, e.g. data/models/model_v2.pt.")],
    *,
    corpus: Annotated[Path | None, typer.Option(help="Folder with the shipped model's recordings.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="Data sets of your own, instead; may be repeated.")] = None,
    language: Annotated[str, typer.Option(callback=check_language, help="ISO 639-3 code of the signs.")] = "ase",
    recipe: Annotated[
        str,
        typer.Option(
            callback=check_recipe, help="Network, data and training settings under one name; a wrong name lists them."
        ),
    ] = "starter",
    model: Annotated[
        str | None,
        typer.Option(
            callback=check_model, help="The starter recipe with this network; scripts/list_networks.py lists them."
        ),
    ] = None,
    pretrained: Annotated[Path | None, typer.Option(help="File of pretrain_encoder to start from.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Number of batches, instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Same machine, same seed, same weights.")] = 0,
    unseen: Annotated[Path | None, typer.Option(help="Report of evaluate_unseen, for calibration.")] = None,
    val_signer: Annotated[list[str] | None, typer.Option(help="Hold this person out and watch accuracy.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Save the run to this file now and then; if it is there, go on from it.")
    ] = None,
    eval_every: Annotated[
        int | None, typer.Option(min=1, help="Batches between checkpoints, and validations, instead of the recipe's.")
    ] = None,
    curriculum: Annotated[
        CurriculumKind | None, typer.Option(help="Begin with short clips, or with those that the model finds easy.")
    ] = None,
    teacher: Annotated[Path | None, typer.Option(help="A .pt model to learn from as well (distillation).")] = None,
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, cuda:1 ...; unset takes a GPU if there is one.")
    ] = None,
    precision: Annotated[
        Precision | None, typer.Option(help="Precision of matrix products; unset is bf16 or fp16 on a GPU, else f32.")
    ] = None,
    int8: Annotated[bool, typer.Option(help="Also write an int8 ONNX file.")] = True,
    tracking_uri: Annotated[str | None, typer.Option(help="MLflow server; unset keeps runs in data/models.")] = None,
    tracking: Annotated[bool, typer.Option(help="Record the run with MLflow; see it with `make mlflow`.")] = True,
) -> None:
    """Train a model, export it and check the export."""
    if (corpus is None) == (not data):
        raise fail("give either --corpus FOLDER or --data FILE")
    if model is not None and recipe != "starter":
        raise fail(f"give either --recipe {recipe} or --model {model}: a recipe names its network")
    if output.suffix != ".pt":
        raise fail(f"--output {output} must end in .pt; the ONNX files are written beside it")
    with joined_world() as world, user_errors():
        output.parent.mkdir(parents=True, exist_ok=True)  # now, rather than fail when the training is done
        chosen = recipe_for_model(model) if model else get_recipe(recipe)
        if curriculum is not None:
            chosen = with_technique(chosen, curriculum)
        trainer = replace(chosen.trainer, device=device, precision=precision)
        trainer = replace(trainer, steps=steps or trainer.steps, eval_every=eval_every or trainer.eval_every)
        chosen = replace(chosen, trainer=trainer)
        clips, background = (
            load_corpus(corpus, language) if corpus else (load_usable_recordings(data or [], tell=world.is_first), [])
        )
        clips = [replace(clip, language=clip.language or language) for clip in clips]
        plan = TrainingPlan(
            clips=clips,
            background=background,
            recipe=chosen,
            seed=seed,
            held_out=val_signer or [],
            output=output,
            calibration=_read_calibration(unseen, chosen.name) if unseen else None,
            int8=int8,
            checkpoint=checkpoint,
            pretrained=PretrainedEncoder.load(pretrained) if pretrained else None,
            teacher=None if teacher is None else teacher_from(*load_model(teacher)),
            world=world,
            facts={"licence": "weights: MIT and Apache-2.0 data, see MODEL_CARD.md"} if corpus else {},
        )
        if not world.is_first:
            assist_training(plan)
            return
        copies = find_copies(clips)
        if copies:
            STDERR.print(f"note: {sum(map(len, copies)) - len(copies)} clips are copies of others")
        tracker = make_tracker(tracking_uri, model_dir=MODEL_DIR) if tracking else NullTracker()
        with shown_progress(total_steps(chosen, has_teacher=teacher is not None), held_out=plan.held_out) as show:
            outcome = run_training(plan, tracker=tracker, on_progress=show)
    manifest, judgement = outcome.manifest, outcome.judgement
    if judgement is not None:
        for signer, score in judgement.signers.items():
            STDERR.print(f"{signer}, held out: {score.accuracy:.3f} of {score.num_clips} clips right", markup=False)
    if tracker.problem is not None:
        STDERR.print(f"warning: this run was not fully recorded: {tracker.problem}", style="yellow", markup=False)
    STDERR.print(f"{outcome.seconds:.0f} s, of which the network waited {outcome.waited_s:.1f} s for batches")
    results().print(f"{output}: {len(manifest.labels)} labels, weights {manifest.weights_sha256[:16]}")


@contextmanager
def shown_progress(steps: int, *, held_out: Sequence[str]) -> Generator[Callable[[TrainingProgress], None]]:
    """A progress bar on stderr; what it gives takes the trainer's reports."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=STDERR,
    ) as progress:
        bar = progress.add_task("training", total=steps)

        def show(state: TrainingProgress) -> None:
            val_text = "" if state.val_accuracy is None else f", {escape(', '.join(held_out))} {state.val_accuracy:.3f}"
            if val_text or state.step % 10 == 0:
                progress.update(bar, completed=state.step, description=f"loss {state.loss:.3f}{val_text}")

        yield show


def _read_calibration(path: Path, recipe: str) -> Calibration:
    judged, calibration = read_calibration(path)
    if judged != recipe:
        msg = f"{path} judged recipe {judged!r}, not {recipe!r}; run evaluate_unseen for this recipe"
        raise DatasetError(msg)
    return calibration


if __name__ == "__main__":
    typer.run(main)
