"""Measures what counting costs: a frame, and an answer of the recogniser, in one process and as one of several workers.

Reads and writes nothing but a temporary folder; prints microseconds, the best of several rounds, and a calibration
loop's time to compare machines by.

    python -m scripts.benchmark_metrics
"""

import subprocess
import sys
import tempfile
import timeit
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.table import Table

from app.core.metrics import TIMED_EVERY, ServerMetrics
from app.harness.benchmark import measure_calibration_ms
from app.ml.metrics import Stage
from app.ml.types import Alternative, Prediction
from scripts.console import results

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m scripts.benchmark_metrics --json")
def main(
    *,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="Rounds; the fastest counts.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
    multiprocess_dir: Annotated[
        Path | None, typer.Option(hidden=True, help="Measure as a worker that counts in this folder.")
    ] = None,
) -> None:
    """Print microseconds for each frame and each answer."""
    if multiprocess_dir is not None:
        typer.echo(orjson.dumps(_measure(rounds, multiprocess_dir)).decode())
        return
    result = {"one process": _measure(rounds, None), "several workers": _measure_as_worker(rounds)}
    calibration = measure_calibration_ms()
    if as_json:
        typer.echo(orjson.dumps({"us": result, "calibration_ms": calibration}).decode())
        return
    table = Table("us", "one frame", "one answer", box=None)
    for name, costs in result.items():
        table.add_row(name, f"{costs['frame']:.2f}", f"{costs['answer']:.2f}")
    results().print(table)
    results().print(f"{calibration} ms calibration loop", highlight=False)


def _measure_as_worker(rounds: int) -> dict[str, float]:
    """In a process of its own, because prometheus_client chooses between memory and files when it is imported."""
    with tempfile.TemporaryDirectory(prefix="signflow-") as folder:
        command = ["env", f"PROMETHEUS_MULTIPROC_DIR={folder}", sys.executable, "-m", "scripts.benchmark_metrics"]
        options = ["--rounds", str(rounds), "--multiprocess-dir", folder]
        done = subprocess.run([*command, *options], capture_output=True, check=True)
        return dict(orjson.loads(done.stdout))


def _measure(rounds: int, multiprocess_dir: Path | None) -> dict[str, float]:
    metrics = ServerMetrics(multiprocess_dir=multiprocess_dir)
    metrics.inference.add_model(version="v1", backend="onnx", sha256="0" * 64, signs=("hello",))
    prediction = Prediction(
        label="hello", confidence=0.9, alternatives=(Alternative(label="hello", confidence=0.9),), model_version="v1"
    )

    def frames() -> None:
        """As many frames as share one timing of their stages."""
        for _ in range(TIMED_EVERY):
            metrics.frame_received()
            metrics.frame_handled(0.0004)
        metrics.inference.stage_done(Stage.DECODE, 1e-6)
        metrics.inference.stage_done(Stage.SEGMENT, 3e-4)

    def answer() -> None:
        metrics.inference.stage_done(Stage.MODEL, 0.001)
        metrics.inference.batch_run(1)
        metrics.inference.answered(prediction, 0.002)

    return {"frame": _best_us(frames, rounds) / TIMED_EVERY, "answer": _best_us(answer, rounds)}


def _best_us(work: Callable[[], None], rounds: int) -> float:
    number = 5_000
    return min(timeit.repeat(work, number=number, repeat=rounds)) / number * 1e6


if __name__ == "__main__":
    app()
