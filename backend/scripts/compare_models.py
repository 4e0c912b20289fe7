"""Says whether one model is better than another on people whom neither has seen, and how sure that is.

Reads model files (.pt, .onnx, .int8.onnx) and data sets; writes a report (.html with its pictures inside, or .md) if
asked to. The n-th candidate is paired with the n-th baseline: give one file a training seed. A person whom a model was
trained on, a recording under two names, or answers that fit permuted labels as well, end or void the comparison.
Without `--data` it judges on the people in the data folder (docs/data.md) whom none of the models has seen.

Exit code: 0 the candidate is better, 1 it is worse, 2 the comparison cannot be made, 3 no difference was shown.

    python scripts/compare_models.py --baseline data/models/model_v1.pt --candidate data/models/model_v2.pt
"""

import platform
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.harness.benchmark import measure_calibration_ms
from app.ml.errors import MissingExtraError
from app.ml.evaluation.comparison import Outcome
from app.ml.evaluation.model_comparison import Comparison, Rules, Side, compare_models
from scripts.console import STDERR, fail, results, user_errors
from scripts.data_at_hand import DATA_HELP, load_unseen, load_usable_recordings

EXIT_CODES: Final = {Outcome.BETTER: 0, Outcome.WORSE: 1, Outcome.INCONCLUSIVE: 3}
_FORMS: Final = (".html", ".md")


def main(
    baseline: Annotated[
        list[Path], typer.Option(help="The model in use, .pt or .onnx; repeat it for several trainings.")
    ],
    candidate: Annotated[list[Path], typer.Option(help="The model that might replace it; as many, in the same order.")],
    *,
    data: Annotated[list[Path] | None, typer.Option(help=DATA_HELP)] = None,
    training_data: Annotated[
        list[Path] | None, typer.Option(help="Data sets that the models learned from: no clip may be in both.")
    ] = None,
    skip_seen: Annotated[
        bool, typer.Option("--skip-seen", help="Leave out people whom a model has seen, instead of refusing.")
    ] = False,
    assume_unseen: Annotated[
        bool,
        typer.Option(
            "--assume-unseen",
            help="Believe that a model which does not say whom it was trained on has seen nobody here.",
        ),
    ] = False,
    baseline_tta: Annotated[
        bool, typer.Option("--baseline-tta", help="Ask the baseline with test-time augmentation.")
    ] = False,
    candidate_tta: Annotated[
        bool, typer.Option("--candidate-tta", help="Ask the candidate with test-time augmentation.")
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Report to write, .html or .md.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Compare two models on the same unseen people."""
    if output is not None and output.suffix not in _FORMS:
        raise fail(f"--output {output} must end in {' or '.join(_FORMS)}")
    console = results(stderr=as_json)
    with user_errors(), Progress(console=STDERR, transient=True) as progress:
        models = [*baseline, *candidate]
        clips = (
            load_usable_recordings(data) if data else load_unseen(models, console=console, assume_unseen=assume_unseen)
        )
        bar = progress.add_task("clips", total=len(clips) * 2 * len(baseline))
        is_full = baseline[0].name == candidate[0].name and baseline_tta == candidate_tta
        comparison = compare_models(
            Side(name=_name(baseline, tta=baseline_tta, is_full=is_full), paths=tuple(baseline), tta=baseline_tta),
            Side(name=_name(candidate, tta=candidate_tta, is_full=is_full), paths=tuple(candidate), tta=candidate_tta),
            clips,
            training_clips=load_usable_recordings(training_data) if training_data else (),
            rules=Rules(skip_seen=skip_seen, assume_unseen=assume_unseen),
            on_progress=lambda count: progress.advance(bar, count),
        )
        calibration_ms = measure_calibration_ms()
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            machine = f"{platform.machine()}, calibration loop {calibration_ms} ms."
            for path in _write(output, comparison, machine):
                STDERR.print(f"wrote {path}", highlight=False)
    if as_json:
        typer.echo(orjson.dumps({**asdict(comparison), "calibration_ms": calibration_ms}).decode())
    else:
        _print(console, comparison)
    raise typer.Exit(EXIT_CODES[comparison.verdict.outcome])


def _write(output: Path, comparison: Comparison, machine: str) -> list[Path]:
    try:
        from app.ml.evaluation.comparison_report import write_report
    except ImportError as error:
        msg = f"--output {output} needs matplotlib; 'make lab' installs it; or leave --output out"
        raise MissingExtraError(msg) from error
    return write_report(output, comparison, machine=machine)


def _name(paths: list[Path], *, tta: bool, is_full: bool) -> str:
    """What a side is called; with its folder where the file's name alone would not tell the two apart."""
    first = str(paths[0]) if is_full else paths[0].name
    return f"{first}{f' and {len(paths) - 1} more' if len(paths) > 1 else ''}{' with TTA' if tta else ''}"


def _print(console: Console, comparison: Comparison) -> None:
    sides = (comparison.baseline, comparison.candidate)
    table = Table("", *(side.name for side in sides), box=None)
    table.add_row("accuracy, mean over people", *(f"{side.accuracy:.1%}" for side in sides))
    table.add_row("signs answered", *(f"{side.accepted:.1%}" for side in sides))
    table.add_row("calibration error", *(f"{side.ece:.3f}" for side in sides))
    table.add_row("latency p50 / p95, ms", *(f"{one.latency.p50_ms:.2f} / {one.latency.p95_ms:.2f}" for one in sides))
    table.add_row("size, MB", *(f"{side.size_bytes / 1e6:.2f}" for side in sides))
    for title, scores in (("person", comparison.per_signer), ("sign", comparison.per_sign)):
        for name, score in sorted(scores.items(), key=lambda item: item[1].difference):
            table.add_row(f"{title} {name}", f"{score.baseline:.1%}", f"{score.candidate:.1%}")
    console.print(table)
    for control in comparison.controls:
        console.print(
            f"{control.name}: {'passed' if control.passed else 'FAILED'}; {control.sentence}", highlight=False
        )
    console.print(comparison.verdict.sentence, highlight=False)


if __name__ == "__main__":
    typer.run(main)
