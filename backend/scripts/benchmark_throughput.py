"""Measures how many windows a second each backend answers, through the product's own Predictor.

Side by side: one window a call (single), through the batch queue (batch) and, where asked for, from there to an
inference server (remote: it answers, or the measurement fails), for 1, 8 and 32 clients that ask again as soon as they
are answered; where the time of a call goes (stacking, model, the features in it, answers); and the ratio to a loop
around the bare runtime on the same work. A calibration loop's time stands beside every figure, because machines differ
and drift. Prints the settings that it would choose. Windows are made up: speed does not depend on what is signed, nor
on what was learned, so `--network large` measures a network that nobody has trained yet.

    python -m scripts.benchmark_throughput --mode batch --batch-size 32
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, TypeVar, get_args

import numpy as np
import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.core.config import BACKEND_DIR
from app.harness.benchmark import measure_calibration_ms
from app.ml.errors import MissingExtraError, ModelNotFoundError
from app.ml.evaluation.throughput import BackendFigures, Mode, Plan, measure_backend
from app.ml.inference.remote import RemoteOptions, RemotePredictor, RemoteProtocol
from app.ml.landmarks.batches import WindowBatch
from app.ml.landmarks.features import get_feature_spec
from app.ml.model_configs import model_config_names
from app.ml.pipeline import BackendChoice, SignFlowInferencePipeline
from app.ml.types import LandmarkWindow
from scripts.console import STDERR, fail, results, user_errors
from tests.parametric_signer import LABELS, make_person, perform_stream  # runs from a checkout, as all scripts do

NUM_WINDOWS = 64
BACKENDS: tuple[BackendChoice, ...] = tuple(one for one in get_args(BackendChoice) if one != "auto")
MODES: tuple[Mode, ...] = get_args(Mode)
QUESTIONS_PER_S = 5.0
"""What a stream asks while somebody signs."""

T = TypeVar("T", bound=str)

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m scripts.benchmark_throughput --mode batch --batch-size 32")
def main(
    *,
    mode: Annotated[
        list[str] | None, typer.Option(help="single, batch or remote; may be repeated; default: single and batch.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, max=32, help="Windows in one call, at most.")] = 32,
    backend: Annotated[
        list[str] | None,
        typer.Option(help=f"One of {', '.join(BACKENDS)}; may be repeated; default: all that can run."),
    ] = None,
    clients: Annotated[
        list[int] | None,
        typer.Option(min=1, max=512, help="Clients that ask at once; may be repeated; default: 1, 8, 32."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.2, max=600.0, help="Length of each measurement.")] = 3.0,
    window_ms: Annotated[float, typer.Option(min=100.0, max=10_000.0, help="Length of the windows.")] = 1600.0,
    fps: Annotated[float, typer.Option(min=5.0, max=120.0, help="Frames a second in the windows.")] = 30.0,
    model_dir: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder with the model.")] = BACKEND_DIR
    / "data"
    / "models",
    version: Annotated[str | None, typer.Option(help="Version of the model, e.g. v1; default: the newest.")] = None,
    network: Annotated[
        str | None, typer.Option(help=f"Random weights instead of a model: {', '.join(model_config_names())}.")
    ] = None,
    num_threads: Annotated[int, typer.Option(min=1, max=64, help="Threads inside one call.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    url: Annotated[str, typer.Option(help="Inference server of mode remote.")] = "http://127.0.0.1:8080",
    protocol: Annotated[RemoteProtocol, typer.Option(help="Protocol that the inference server speaks.")] = "torchserve",
    model_name: Annotated[str, typer.Option(help="The model's name on the inference server.")] = "signflow",
    seed: Annotated[int, typer.Option(help="Chooses who signs in the windows.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Measure all backends side by side, and print the settings that follow."""
    chosen: tuple[BackendChoice, ...] = _choose("backend", backend, BACKENDS)
    modes: tuple[Mode, ...] = _choose("mode", mode or ["single", "batch"], MODES)
    options = RemoteOptions(url=url, protocol=protocol, model=model_name, timeout_s=30.0)
    windows = _make_windows(window_ms, fps=fps, seed=seed)
    reports: list[BackendFigures] = []
    with user_errors(), ExitStack() as cleanup, Progress(console=STDERR, transient=True) as progress:
        if network is not None:
            model_dir = Path(cleanup.enter_context(TemporaryDirectory()))
            _write_random_network(network, model_dir)
        task = progress.add_task("loading", total=None)
        plan = Plan(
            modes=modes,
            clients=tuple(clients or (1, 8, 32)),
            batch_size=batch_size,
            seconds=seconds,
            calibrate=measure_calibration_ms,
            open_remote=lambda pipeline: RemotePredictor.open(options, pipeline),
            on_progress=lambda: progress.advance(task),
        )
        for name in chosen:
            try:
                pipeline = SignFlowInferencePipeline.load(
                    model_dir, backend=name, version=version, num_threads=num_threads, device=device
                )
            except (MissingExtraError, ModelNotFoundError) as error:
                if backend is not None:
                    raise
                STDERR.print(f"{name} is left out: {error}", markup=False, highlight=False)
                continue
            plan = replace(plan, run_features=_open_features(pipeline, num_threads))
            progress.update(task, description=name, total=plan.num_measurements, completed=0)
            reports.append(measure_backend(pipeline, windows, plan))
            pipeline.close()
            plan = replace(
                plan, modes=tuple(one for one in plan.modes if one != "remote")
            )  # the same for every backend
    if not reports:
        raise fail(f"{model_dir} has nothing that can run here")
    if as_json:
        typer.echo(orjson.dumps([asdict(report) for report in reports]).decode())
    else:
        _print(results(), reports)


def _open_features(pipeline: SignFlowInferencePipeline, num_threads: int) -> Callable[[WindowBatch], object] | None:
    """The features' graph alone, where ONNX Runtime runs the model and the lab's packages can trace it."""
    if not pipeline.backend_info.name.startswith("onnx"):
        return None
    try:
        from app.ml.export import open_features
    except ModuleNotFoundError:
        return None
    return open_features(get_feature_spec(pipeline.manifest.feature_spec), num_threads=num_threads)


def _write_random_network(network: str, model_dir: Path) -> None:
    try:
        from tests.untrained_model import make_manifest, write_untrained_model
    except ImportError as error:
        raise fail(f"--network needs PyTorch ({error}); `make lab` installs it") from error
    if network not in model_config_names():
        raise fail(f"unknown network {network}; choose from {', '.join(model_config_names())}")
    write_untrained_model(model_dir, manifest=make_manifest(config=network), int8=True)


def _choose(what: str, asked: list[str] | None, known: tuple[T, ...]) -> tuple[T, ...]:
    unknown = [one for one in asked or () if one not in known]
    if unknown:
        raise fail(f"unknown {what} {', '.join(unknown)}; choose from {', '.join(map(str, known))}")
    return tuple(one for one in known if asked is None or one in asked)


def _make_windows(window_ms: float, *, fps: float, seed: int) -> list[LandmarkWindow]:
    """Stretches of made-up signing."""
    rng = np.random.default_rng(seed)
    windows: list[LandmarkWindow] = []
    for number in range(NUM_WINDOWS):
        labels = [LABELS[index] for index in rng.integers(len(LABELS), size=int(window_ms / 1000) + 2)]
        window = perform_stream(
            make_person(seed + number), labels, seed=number, fps=fps, rest_ms=300.0
        ).clip.to_window()
        kept = slice(int(rng.integers(0, 5)), None)
        landmarks, times_ms = window.landmarks[kept], window.times_ms[kept]
        length = int(np.searchsorted(times_ms, times_ms[0] + window_ms, side="right"))
        windows.append(LandmarkWindow(landmarks=landmarks[:length], times_ms=times_ms[:length]))
    return windows


def _print(console: Console, reports: Sequence[BackendFigures]) -> None:
    calls = Table(
        "backend",
        "windows a call",
        "stacking",
        "model",
        "of it features",
        "answers",
        "bare loop/s",
        "calibration",
        box=None,
    )
    loads = Table("backend", "mode", "clients", "windows/s", "p50", "p95", "p99", "of bare", "calibration", box=None)
    for report in reports:
        name = report.backend if report.device == "cpu" else f"{report.backend} on {report.device}"
        for call in report.calls:
            steps = (call.stack_ms, call.model_ms, call.features_ms, call.answers_ms)
            times = ("" if value is None else f"{value:.3f}" for value in steps)
            bare = f"{call.bare_windows_per_s:.0f}"
            calls.add_row(name, str(call.batch_size), *times, bare, f"{call.calibration_ms:.1f}")
        for load in report.loads:
            times = (f"{value:.2f}" for value in (load.p50_ms, load.p95_ms, load.p99_ms))
            rate, part = f"{load.windows_per_s:.0f}", f"{load.of_bare:.0%}"
            loads.add_row(name, load.mode, str(load.num_clients), rate, *times, part, f"{load.calibration_ms:.1f}")
    console.print("Steps of a call, ms by the window", style="bold")
    console.print(calls)
    console.print("\nThrough Predictor.infer, ms", style="bold")
    console.print(loads)
    best = max(reports, key=lambda report: report.advice.windows_per_s)
    advice = best.advice
    console.print("\nThese figures speak for", style="bold")
    console.print(f"SIGNFLOW_INFERENCE__BACKEND={best.backend}", highlight=False)
    console.print(f"SIGNFLOW_BATCH__BATCH_SIZE={advice.batch_size}", highlight=False)
    console.print(f"SIGNFLOW_BATCH__MAX_LATENCY_MS={advice.max_latency_ms:g}", highlight=False)
    console.print(
        f"The recogniser then carries {advice.windows_per_s:.0f} windows/s, as many as "
        f"{advice.windows_per_s / QUESTIONS_PER_S:.0f} streams ask that sign all the time; sockets come on top.",
        highlight=False,
    )


if __name__ == "__main__":
    app()
