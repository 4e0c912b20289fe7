"""Scores models on recorded clips, over the labels that model and data share; answers come from the whole vocabulary.

Reads `.onnx` or `.pt` models and clip or data set `.npz` files (docs/data.md); `--predictions` writes one row a clip.
With `--data`, whether the people in it were trained on is for you to know: the model's provenance lists its signers.
Without it, the people in the data folder are asked about whom none of the models has seen.

    python scripts/evaluate_models.py --models data/models/model_v1.pt,data/models/model_v2.pt
"""

import csv
import io
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.ml.artifacts.whole_files import write_text_whole
from app.ml.evaluation.model_report import ModelReport, score_model
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from scripts.console import STDERR, fail, results, user_errors
from scripts.data_at_hand import DATA_HELP, load_unseen, load_usable_recordings

_COLUMNS = ("model", "clip_id", "signer", "label", "predicted", "named", "confidence", "correct", "accepted", "scored")


def main(
    models: Annotated[str, typer.Option(help="Model files, .onnx or .pt, separated by commas.")],
    *,
    data: Annotated[list[Path] | None, typer.Option(help=DATA_HELP)] = None,
    assume_unseen: Annotated[
        bool,
        typer.Option(
            "--assume-unseen",
            help="Without --data: as compare_models does, believe models that do not say whom they have seen.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    predictions: Annotated[Path | None, typer.Option(help="CSV file to write, one row a clip and model.")] = None,
    tta: Annotated[bool, typer.Option("--tta", help="Ask with test-time augmentation, about five views.")] = False,
    include_suspect: Annotated[
        bool, typer.Option("--include-suspect", help="Score clips that their data set marks as doubtful, too.")
    ] = False,
) -> None:
    """Score models on recorded clips."""
    paths = [Path(text.strip()) for text in models.split(",") if text.strip()]
    if not paths:
        raise fail("--models names no file")
    console = results(stderr=as_json)
    with user_errors():
        clips = (
            load_usable_recordings(data) if data else load_unseen(paths, console=console, assume_unseen=assume_unseen)
        )
        reports = {path: _score(path, clips, include_suspect=include_suspect, tta=tta) for path in paths}
        if predictions is not None:
            _write_predictions(predictions, reports)
    if as_json:
        typer.echo(orjson.dumps({"models": [report.to_dict(str(path)) for path, report in reports.items()]}).decode())
        return
    for path, report in reports.items():
        _print_report(console, path, report)


def _score(path: Path, clips: list[Clip], *, include_suspect: bool, tta: bool) -> ModelReport:
    pipeline = SignFlowInferencePipeline.load_file(path)
    try:
        with Progress(console=STDERR, transient=True) as progress:
            task = progress.add_task(path.name, total=len(clips))
            return score_model(
                pipeline,
                clips,
                include_suspect=include_suspect,
                tta=tta,
                on_progress=lambda count: progress.advance(task, count),
            )
    finally:
        pipeline.close()


def _write_predictions(path: Path, reports: dict[Path, ModelReport]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(_COLUMNS)
    for model, report in reports.items():
        for row in report.rows:
            correct = int(row.is_correct) if row.is_scored else ""
            told = (row.clip_id, row.signer or "", row.label or "", row.predicted, row.named, f"{row.confidence:.6f}")
            writer.writerow((str(model), *told, correct, int(row.is_accepted), int(row.is_scored)))
    write_text_whole(path, table.getvalue())


def _print_report(console: Console, path: Path, report: ModelReport) -> None:
    people, calibration = report.over_people, report.calibration
    console.print(f"{path}: {report.accuracy:.1%} of {report.num_clips} clips, {len(report.labels)} labels")
    if people.num_people > 1:
        interval = f"95 % interval {people.low:.1%} to {people.high:.1%}"
        console.print(f"mean over {people.num_people} people {people.mean:.1%} ({interval})")
    table = Table("", "accuracy", "clips", box=None)
    for title, scores in (("person", report.per_signer), ("sign", report.per_sign)):
        for name, score in sorted(scores.items(), key=lambda item: item[1].accuracy):
            table.add_row(f"{title} {name}", f"{score.accuracy:.1%}", str(score.num_clips))
    console.print(table)
    for confusion in report.confusions[:10]:
        console.print(
            f"{confusion.label} taken for {confusion.predicted}: {confusion.count} ({confusion.fraction:.0%})"
        )
    facts = (
        ("signs alone", calibration.sign_accuracy),
        ("signs answered", calibration.accepted),
        ("answers right", calibration.selective_accuracy),
        ("background refused", calibration.background_refused and calibration.background_refused.refused),
        ("other movement refused", calibration.other_refused and calibration.other_refused.refused),
        ("calibration error", calibration.ece),
    )
    for name, value in facts:
        if value is not None:
            console.print(f"{name} {value:.1%}")
    for one in calibration.reliability:
        console.print(f"shown with {one.confidence:.0%}: {one.accuracy:.0%} of {one.num_answers} right")
    if calibration.unmeasured is not None:
        console.print(f"confidences not measured: {calibration.unmeasured}")


if __name__ == "__main__":
    typer.run(main)
