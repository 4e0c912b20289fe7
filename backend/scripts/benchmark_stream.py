"""Load test: many clients stream real signing through the shipped recogniser; what comes back is checked.

Starts a server with the shipped settings (or takes --url), joins clips of --data to continuous streams with hand
transit and idle between the signs (without --data a made-up signer performs made-up signs, which the shipped model does
not know: speed only), and plays them with many clients at once, as cameras do or with --max-throughput as fast as the
server reads. Prints frames handled and dropped, latencies, F1 of the signs, processor and memory, and a calibration
loop's time to compare machines by.

    python -m scripts.benchmark_stream --clients 16 --fps 30 --seconds 60 --data signs.npz
"""

import signal
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.harness.benchmark import BenchmarkReport, Quantiles, run_benchmark
from app.harness.server_process import RunningServer, read_vocabulary, require_ready, start_server
from scripts.console import STDERR, fail, results, user_errors
from scripts.signing_streams import make_streams

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(epilog="Example: python -m scripts.benchmark_stream --clients 16 --fps 30 --seconds 60 --data signs.npz")
def main(
    *,
    clients: Annotated[int, typer.Option(min=1, max=2000, help="Streams at once.")] = 16,
    fps: Annotated[float, typer.Option(min=1.0, max=120.0, help="Frames a second of each stream.")] = 30.0,
    seconds: Annotated[float, typer.Option(min=3.0, max=3600.0, help="Length of each stream.")] = 30.0,
    data: Annotated[
        list[Path] | None, typer.Option(help="Clips to build streams from: .npz or folder; may be repeated.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="A running server; without it one is started.")] = None,
    max_throughput: Annotated[
        bool, typer.Option("--max-throughput", help="Send as fast as the server reads; nothing is dropped.")
    ] = False,
    processes: Annotated[int, typer.Option(min=1, max=64, help="Client processes.")] = 1,
    model_dir: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Another model folder for the started server.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes of the started server.")] = 1,
    min_f1: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Exit 1 below this F1.")] = None,
    max_dropped: Annotated[int | None, typer.Option(min=0, help="Exit 1 when more frames are dropped.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses clips, transits and rests.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print only JSON.")] = False,
) -> None:
    """Play signing streams to a server with many clients at once and check what it answers."""
    with (
        user_errors(),
        _server(url, model_dir, workers) as server,
        Progress(console=STDERR, transient=True) as progress,
    ):
        task = progress.add_task("building streams", total=None)
        vocabulary = read_vocabulary(server.url)
        streams = make_streams(data, vocabulary, num_clients=clients, fps=fps, seconds=seconds, seed=seed)
        progress.update(task, description=f"{clients} clients", total=1.0)
        report = run_benchmark(
            server,
            streams,
            num_clients=clients,
            pace="replay" if max_throughput else "live",
            num_processes=processes,
            on_progress=lambda share: progress.update(task, completed=share),
        )
    if as_json:
        typer.echo(orjson.dumps(report.to_dict()).decode())
    else:
        _print(results(), report)
    too_low = min_f1 is not None and (report.f1 is None or report.f1 < min_f1)
    too_many = max_dropped is not None and report.frames_dropped > max_dropped
    if too_low or too_many or report.errors:
        raise typer.Exit(1)


def _server(url: str | None, model_dir: Path | None, workers: int) -> AbstractContextManager[RunningServer]:
    if url is None:
        # How much it carries is the question here, so it lets everybody in.
        settings = {"WORKERS": str(workers), "STREAM__MAX_SESSIONS": "2000", "STREAM__REFUSE_UNDER_LOAD": "false"}
        return start_server(settings if model_dir is None else {**settings, "MODEL_DIR": str(model_dir.resolve())})
    if model_dir is not None or workers > 1:
        raise fail("--model-dir and --workers are for a server that is started here; leave out --url")
    address = (url if "://" in url else f"http://{url}").rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise fail(f"--url {url} is no server's address; try http://127.0.0.1:8000")
    require_ready(address)
    return nullcontext(RunningServer(url=address))


def _print(console: Console, report: BenchmarkReport) -> None:
    pace = "cameras" if report.pace == "live" else "as fast as the server reads"
    console.print(f"{report.num_clients} clients, {pace}, {report.duration_s:.1f} s; model {report.model['version']}")
    handled = f"{report.frames_handled} frames handled of {report.frames_sent} sent, {report.frames_dropped} dropped"
    console.print(f"{handled}: {report.frames_per_s:.0f} frames/s", highlight=False)
    table = Table("ms", "p50", "p95", "p99", box=None)
    for name, quantiles in (
        ("frame handled (server)", report.frame_handled_ms),
        ("frame and ping, round trip", report.frame_round_trip_ms),
        ("recogniser's answer (server)", report.inference_ms),
        ("sign answered after its last frame", report.sign_answered_ms),
        ("the same (server)", report.sign_latency_ms),
        ("sign told after its real end", report.sign_delay_ms),
    ):
        table.add_row(name, *_cells(quantiles))
    console.print(table)
    if report.f1 is None:
        console.print("F1: the model knows none of these signs")
    else:
        console.print(f"F1 {report.f1:.3f} ({report.signs_expected} signs made, {report.signs_recognised} recognised)")
    resources = (
        ("cores", report.cpu_cores),
        ("MB resident", report.memory_mb),
        ("s to readiness", report.ready_s),
        ("ms calibration loop", report.calibration_ms),
    )
    console.print(" · ".join(f"{value} {name}" for name, value in resources if value is not None), highlight=False)
    if report.clients_refused:
        p50, _, p99 = _cells(report.refusal_ms)
        console.print(f"{report.clients_refused} clients were refused, within {p50} ms (median), {p99} ms (p99)")
    if report.reconnects:
        console.print(f"{report.reconnects} connections were lost and resumed")
    for error in report.errors:
        STDERR.print(f"error: {error}", style="red", markup=False, highlight=False)


def _cells(quantiles: Quantiles) -> list[str]:
    return ["-" if value is None else f"{value:.2f}" for value in (quantiles.p50, quantiles.p95, quantiles.p99)]


if __name__ == "__main__":
    # Leave in order, so that the server that we started ends with us.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    app()
