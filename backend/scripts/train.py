"""Trains a model and writes it as `model_vN.pt`, `model_vN.onnx` and `model_vN.int8.onnx`, ready to be served.

Reads the recordings of a corpus folder (docs/training.md), or any data sets of your own; the calibration (temperature
and "not
sure" threshold) comes from the report of `evaluate_unseen`, which judged the same recipe on people it had never seen.

    python -m scripts.train --corpus ../../shared/data --unseen data/models/unseen_v1.json --output
    data/models/model_v1.pt
    python -m scripts.train --data my_signs.npz --language ase --output runs/mine/model_v1.pt --val-signer anna
"""

import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from app.ml.artifacts import Calibration, ModelManifest, save_torch_artifact
from app.ml.clips import Clip, load_dataset
from app.ml.dataset import BACKGROUND, LandmarkDataset, data_fingerprint, find_copies, sign_labels, split_by_signer
from app.ml.errors import DatasetError
from app.ml.export import export_to_onnx
from app.ml.recipes import Recipe, get_recipe
from app.ml.trainer import Progress as TrainingProgress
from app.ml.trainer import SignTrainer
from app.ml.unseen import describe_model
from scripts.console import STDERR, fail, user_errors
from scripts.corpus import load_corpus
from scripts.options import check_recipe


def main(
    output: Annotated[Path, typer.Option(help="The .pt file to write, e.g. data/models/model_v2.pt.")],
    *,
    corpus: Annotated[Path | None, typer.Option(help="Folder with the shipped model's recordings.")] = None,
    data: Annotated[list[Path] | None, typer.Option(help="Data sets of your own, instead; may be repeated.")] = None,
    language: Annotated[str, typer.Option(help="ISO 639-3 code of the signs.")] = "ase",
    recipe: Annotated[
        str, typer.Option(callback=check_recipe, help="Which recipe; see app/ml/recipes.py.")
    ] = "starter",
    steps: Annotated[int | None, typer.Option(min=1, help="Batches, instead of the recipe's.")] = None,
    seed: Annotated[int, typer.Option(help="Same machine, same seed, same weights.")] = 0,
    unseen: Annotated[Path | None, typer.Option(help="Report of evaluate_unseen, for calibration.")] = None,
    val_signer: Annotated[list[str] | None, typer.Option(help="Hold this person out and watch accuracy.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Resume from and save to this file.")] = None,
    int8: Annotated[bool, typer.Option(help="Also write an int8 ONNX file.")] = True,
) -> None:
    """Train a model, export it and check the export."""
    if (corpus is None) == (not data):
        raise fail("give either --corpus FOLDER or --data FILE")
    if output.suffix != ".pt":
        raise fail(f"--output {output} must end in .pt; the ONNX files are written beside it")
    with user_errors():
        output.parent.mkdir(parents=True, exist_ok=True)  # now, rather than fail when the training is done
        chosen = get_recipe(recipe)
        if steps is not None:
            chosen = replace(chosen, trainer=replace(chosen.trainer, steps=steps))
        clips, background = load_corpus(corpus, language) if corpus else (load_dataset(data or []), [])
        clips = [replace(clip, language=clip.language or language) for clip in clips]
        calibration = _read_calibration(unseen, recipe) if unseen else Calibration()
        manifest = _train(clips, background, chosen, seed, val_signer or [], checkpoint, output, calibration)
        export_to_onnx(output, output.with_suffix(".onnx"))
        if int8:
            export_to_onnx(output, output.with_suffix(".int8.onnx"), int8=True)
    Console().print(f"{output}: {len(manifest.labels)} labels, weights {manifest.weights_sha256[:16]}")


def _train(
    clips: list[Clip],
    background: list[Clip],
    recipe: Recipe,
    seed: int,
    val_signers: list[str],
    checkpoint: Path | None,
    output: Path,
    calibration: Calibration,
) -> ModelManifest:
    copies = find_copies(clips)
    if copies:
        STDERR.print(f"note: {sum(map(len, copies)) - len(copies)} clips are copies of others")
    train, val = split_by_signer(clips, val_signers) if val_signers else (clips, [])
    labels = (*sign_labels(train), *BACKGROUND)
    dataset = LandmarkDataset([*train, *background], labels=labels)
    known = [clip for clip in val if clip.label in labels]
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=STDERR,
    ) as progress:
        bar = progress.add_task("training", total=recipe.trainer.steps)

        def show(state: TrainingProgress) -> None:
            val_text = "" if state.val_accuracy is None else f", {', '.join(val_signers)} {state.val_accuracy:.3f}"
            if val_text or state.step % 10 == 0:
                progress.update(bar, completed=state.step, description=f"loss {state.loss:.3f}{val_text}")

        result = SignTrainer(recipe.model, recipe.with_seed(seed)).fit(
            dataset,
            val=LandmarkDataset(known, labels=labels, is_complete=False) if known else None,
            checkpoint=checkpoint,
            on_progress=show,
        )
    manifest = describe_model(
        train,
        labels,
        recipe,
        version=output.stem.removeprefix("model_"),
        provenance={
            "seed": seed,
            "date": datetime.now(tz=UTC).date().isoformat(),
            "revision": _git_revision(),
            "data": data_fingerprint([*train, *background]),
            "signers": list(dataset.signers),
            "licence": "weights: MIT and Apache-2.0 data, see MODEL_CARD.md",
        },
    )
    manifest = replace(manifest, calibration=calibration)
    return save_torch_artifact(output, state_dict=result.model.state_dict(), manifest=manifest)


def _read_calibration(path: Path, recipe: str) -> Calibration:
    try:
        report = orjson.loads(path.read_bytes())
        judged, calibration = report["recipe"], Calibration(**report["calibration"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        msg = f"{path} is no report of evaluate_unseen ({error}); write one with its --output"
        raise DatasetError(msg) from error
    if judged != recipe:
        msg = f"{path} judged recipe {judged!r}, not {recipe!r}; run evaluate_unseen for this recipe"
        raise DatasetError(msg)
    return calibration


def _git_revision() -> str:
    """The revision that the code was at, or `unknown` outside a checkout."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


if __name__ == "__main__":
    typer.run(main)
