"""Load and fault tests: are all signs told once, are all drops told, does the server refuse what it cannot carry?

Both commands start a server of their own, with several workers and a redis-server, and need a checkout. `--data` joins
clips of real people; otherwise a made-up signer performs. Exit 1 when a promise is broken.

    python -m scripts.load_test faults --clients 8 --data signs.npz
    python -m scripts.load_test overload --capacity 60 --workers 2 --data signs.npz

`faults` plays streams through a line that is made slow, lossy, cut, half-open or slowly read, brings a burst of
clients, overwrites the model file, restarts Redis, kills a worker, replaces the workers one by one and restarts the
server. `overload` compares the load that the server can carry with several times that.
"""

import shutil
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import orjson
import typer
from rich.console import Console
from rich.table import Table

from app.client.stream_client import Patience
from app.harness.benchmark import BenchmarkReport, run_benchmark
from app.harness.fault_proxy import FaultProxy
from app.harness.faults import FAULTS, Site
from app.harness.load_test import WARM_UP_S, LoadReport, make_joiner, run_load_test
from app.harness.redis_process import RedisProcess
from app.harness.server_process import BACKEND_DIR, RunningServer, ServerProcess, read_vocabulary, start_server
from scripts.console import STDERR, results, user_errors
from scripts.signing_streams import make_streams

FAULT_S = 8.0
"""Generous mean time of one fault without the rest after it; a server that starts slowly needs --seconds."""
PROMISED_GOODPUT = 0.9
REFUSED_WITHIN_MS = 1_000.0
ASK_AGAIN_FOR_S = 5.0

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, help=__doc__)

Data = Annotated[list[Path] | None, typer.Option(help="Clips to build streams from: .npz or folder; may be repeated.")]
Fps = Annotated[float, typer.Option(min=1.0, max=120.0, help="Frames a second of each stream.")]
Workers = Annotated[int, typer.Option(min=1, max=64, help="Processes of the server.")]
Processes = Annotated[int, typer.Option(min=1, max=64, help="Client processes.")]
ModelDir = Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Another model folder.")]
Seed = Annotated[int, typer.Option(help="Chooses clips, transits and rests.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print only JSON.")]


@app.command()
def faults(
    *,
    clients: Annotated[int, typer.Option(min=1, max=500, help="Streams at once.")] = 8,
    fps: Fps = 30.0,
    seconds: Annotated[
        float | None, typer.Option(min=5.0, help="Length of each stream; default by the faults.")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help=f"Faults: {', '.join(FAULTS)}; default all.")] = None,
    rest: Annotated[float, typer.Option(min=0.0, help="Seconds between two faults.")] = 5.0,
    workers: Workers = 2,
    processes: Processes = 1,
    data: Data = None,
    model_dir: ModelDir = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Break everything that can break while streams run; nothing may be lost, repeated or hidden."""
    unknown = sorted(set(only or ()) - set(FAULTS))
    if unknown:
        raise typer.BadParameter(f"no fault is called {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    chosen = [name for name in FAULTS if only is None or name in only]
    length_s = seconds or WARM_UP_S + len(chosen) * (FAULT_S + rest)
    with user_errors(), _site(workers, model_dir, seed) as site:
        vocabulary = read_vocabulary(site.server.url)
        streams = make_streams(data, vocabulary, num_clients=clients, fps=fps, seconds=length_s, seed=seed)
        short = make_streams(data, vocabulary, num_clients=1, fps=fps, seconds=5.0, seed=seed + 1)
        site.join = make_joiner(site.server.url, short[0], num_clients=clients)
        report = run_load_test(
            site,
            streams,
            faults=chosen,
            num_clients=clients,
            rest_s=rest,
            num_processes=processes,
            on_fault=lambda name: STDERR.print(f"fault: {name}", highlight=False),
        )
    typer.echo(orjson.dumps(report.to_dict()).decode()) if as_json else _print_faults(results(), report)
    raise typer.Exit(0 if report.has_passed else 1)


@app.command()
def overload(
    *,
    capacity: Annotated[int, typer.Option(min=1, max=2000, help="Streams that the server carries well.")] = 32,
    factor: Annotated[float, typer.Option(min=1.0, max=20.0, help="How many times the capacity comes.")] = 3.0,
    fps: Fps = 30.0,
    seconds: Annotated[float, typer.Option(min=5.0, max=3600.0, help="Length of each stream.")] = 30.0,
    max_sessions: Annotated[
        int | None, typer.Option(min=1, help="Sessions that the server may open; default: as shipped.")
    ] = None,
    workers: Workers = 2,
    processes: Processes = 2,
    data: Data = None,
    model_dir: ModelDir = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Compare the load that the server carries with several times that: who is inside must not suffer."""
    reports: list[BenchmarkReport] = []
    for num_clients in (capacity, round(capacity * factor)):
        settings = {"WORKERS": str(workers)}
        if max_sessions is not None:
            settings["STREAM__MAX_SESSIONS"] = str(max_sessions)
        if model_dir is not None:
            settings["MODEL_DIR"] = str(model_dir.resolve())
        with user_errors(), _with_redis(settings) as server:
            vocabulary = read_vocabulary(server.url)
            streams = make_streams(data, vocabulary, num_clients=num_clients, fps=fps, seconds=seconds, seed=seed)
            STDERR.print(f"{num_clients} clients", highlight=False)
            # Those who come back much later would only lengthen the test.
            patience = Patience(give_up_s=ASK_AGAIN_FOR_S)
            reports.append(
                run_benchmark(server, streams, num_clients=num_clients, num_processes=processes, patience=patience)
            )
    peak, over = reports
    share = over.frames_per_s / max(peak.frames_per_s, 1e-9)
    refused_ms = over.refusal_ms.p99
    has_passed = (
        share >= PROMISED_GOODPUT
        and not over.frames_unaccounted
        and (refused_ms is None or refused_ms < REFUSED_WITHIN_MS)
    )
    if as_json:
        told = {"peak": peak.to_dict(), "overload": over.to_dict(), "goodput_share": share, "has_passed": has_passed}
        typer.echo(orjson.dumps(told).decode())
    else:
        _print_overload(results(), peak, over, share)
    raise typer.Exit(0 if has_passed else 1)


@contextmanager
def _site(workers: int, model_dir: Path | None, seed: int) -> Generator[Site]:
    """A server with Redis and a line to it, in a temporary folder; the model is a copy, because a fault breaks it."""
    with TemporaryDirectory(prefix="signflow-") as name:
        folder = Path(name)
        models = folder / "models"
        shutil.copytree(model_dir or BACKEND_DIR / "data" / "models", models)
        redis = RedisProcess(folder=folder)
        settings = {
            "WORKERS": str(workers),
            "REDIS_URL": redis.url,
            "MODEL_DIR": str(models),
            "STREAM__MAX_SESSIONS": "2000",
            "STREAM__REFUSE_UNDER_LOAD": "false",
        }
        server = ServerProcess(folder=folder, settings=settings)
        line = FaultProxy(target_port=server.port, seed=seed)
        try:
            redis.start()
            server.start()
            yield Site(server=server, redis=redis, line=line, model_dir=models, join=lambda: None)
        finally:
            line.close()
            server.stop()
            redis.kill()


@contextmanager
def _with_redis(settings: dict[str, str]) -> Generator[RunningServer]:
    """A server whose workers count their sessions together."""
    with TemporaryDirectory(prefix="signflow-") as folder:
        redis = RedisProcess(folder=Path(folder))
        try:
            redis.start()
            with start_server({**settings, "REDIS_URL": redis.url}) as server:
                yield server
        finally:
            redis.kill()


def _print_faults(console: Console, report: LoadReport) -> None:
    table = Table("fault", "at s", "took s", box=None)
    for fault in report.faults:
        table.add_row(fault.name, f"{fault.begin_s:.1f}", f"{fault.end_s - fault.begin_s:.1f}")
    console.print(table)
    signs, answered = report.signs, report.answered_ms
    lines = (
        f"{report.num_clients} clients, {report.duration_s:.0f} s, {report.reconnects} connections lost and taken up "
        f"again, {report.sessions_lost} sessions lost",
        f"{report.frames_sent} frames sent, {report.frames_handled} handled, {report.frames_dropped} told as dropped, "
        f"{report.frames_unaccounted} unaccounted for; {report.goodput:.0f} frames/s",
        f"{signs.expected} signs ({report.clients_compared} clients without drops): {signs.lost} lost, "
        f"{signs.repeated} repeated, {signs.changed} changed",
        f"signs answered in {answered.p50} / {answered.p95} / {answered.p99} ms (p50 / p95 / p99), faults included",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    for name in report.missed:
        STDERR.print(f"error: no stream was left for: {name}; take a longer --seconds", style="red", markup=False)
    for error in report.errors:
        STDERR.print(f"error: {error}", style="red", markup=False, highlight=False)
    passed = ("passed", "bold") if report.has_passed else ("FAILED", "bold red")
    console.print(passed[0], style=passed[1])


def _print_overload(console: Console, peak: BenchmarkReport, over: BenchmarkReport, share: float) -> None:
    table = Table("", "load it carries", "overload", box=None)
    columns = zip(_overload_cells(peak), _overload_cells(over), strict=True)
    for (name, under_peak), (_, under_overload) in columns:
        table.add_row(name, *("-" if value is None else str(value) for value in (under_peak, under_overload)))
    console.print(table)
    console.print(f"goodput under overload: {share:.0%} of that under the load it carries", highlight=False)


def _overload_cells(report: BenchmarkReport) -> list[tuple[str, float | None]]:
    answered = report.sign_answered_ms
    return [
        ("clients", report.num_clients),
        ("refused", report.clients_refused),
        ("frames/s handled", report.frames_per_s),
        ("frames dropped, as told", report.frames_dropped),
        ("frames unaccounted for", report.frames_unaccounted),
        ("sign answered, ms p50", answered.p50),
        ("sign answered, ms p95", answered.p95),
        ("sign answered, ms p99", answered.p99),
        ("refused within, ms p99", report.refusal_ms.p99),
        ("cores", report.cpu_cores),
        ("calibration, ms", report.calibration_ms),
    ]


if __name__ == "__main__":
    # Leave in order, so that the server that we started ends with us.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))
    app()
