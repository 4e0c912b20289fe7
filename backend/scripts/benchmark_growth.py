"""Shows how a server's cost grows with its streams: processor time, and how fast finished signs are answered.

Starts a server for each number of streams and of worker processes, plays real signing as cameras do (see
`benchmark_stream`), and writes a table (.json) and a picture (.png). A last run for each number of workers lets the
server refuse newcomers as it does by default, for 20 seconds: what it lets in is the line in the picture.

    python -m scripts.benchmark_growth --data signs.npz --output growth
"""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import orjson
import typer
from rich.progress import track

from app.client.stream_client import Patience
from app.harness.benchmark import BenchmarkReport, run_benchmark
from app.harness.server_process import read_vocabulary, start_server
from app.ml.artifacts.whole_files import write_whole
from scripts.console import STDERR, needs_packages, results, user_errors
from scripts.signing_streams import make_streams

with needs_packages():
    from app.ml.evaluation.figures import GrowthPoint, draw_growth, to_png

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_OPEN: Final = {"STREAM__MAX_SESSIONS": "2000"}
_PATIENT: Final = Patience(give_up_s=20.0)
"""Newcomers that are refused because many come at once get in soon after, those that the load keeps out do not."""


@app.command(epilog="Example: python -m scripts.benchmark_growth --data signs.npz --output growth")
def main(
    output: Annotated[Path, typer.Option(help="Where the table and the picture go, without .json and .png.")],
    *,
    streams: Annotated[str, typer.Option(help="How many at once, separated by commas.")] = "16,32,64,128,200,256",
    workers: Annotated[str, typer.Option(help="Processes of the server, separated by commas.")] = "1,2",
    seconds: Annotated[float, typer.Option(min=3.0, max=3600.0, help="Length of each stream.")] = 20.0,
    data: Annotated[list[Path] | None, typer.Option(help="Clips to build streams from; may be repeated.")] = None,
    seed: Annotated[int, typer.Option(help="Chooses clips, transits and rests.")] = 0,
) -> None:
    """Measure, and write the table and the picture."""
    sizes, counts = [int(one) for one in streams.split(",")], [int(one) for one in workers.split(",")]
    points: dict[int, list[GrowthPoint]] = {}
    admitted: dict[int, int] = {}
    with user_errors():
        for count in counts:
            for size in track(sizes, f"{count} worker(s)", console=STDERR):
                report = _play(size, count, seconds, data, seed, is_refusing=False)
                points.setdefault(count, []).append(_point(report))
            crowd = _play(max(sizes), count, seconds, data, seed, is_refusing=True)
            admitted[count] = crowd.num_clients - crowd.clients_refused
        figure = draw_growth(
            points, admitted, title="One server, 30 frames a second a stream, clients on the same cores"
        )
        table = {
            str(count): {"points": list(map(asdict, points[count])), "admitted": admitted[count]} for count in counts
        }
        write_whole(output.with_suffix(".json"), orjson.dumps(table, option=orjson.OPT_INDENT_2))
        write_whole(output.with_suffix(".png"), to_png(figure))
    results().print_json(orjson.dumps(table).decode())


def _play(
    num_clients: int, workers: int, seconds: float, data: list[Path] | None, seed: int, *, is_refusing: bool
) -> BenchmarkReport:
    settings = {"WORKERS": str(workers), **_OPEN, "STREAM__REFUSE_UNDER_LOAD": str(is_refusing).lower()}
    with start_server(settings) as server:
        vocabulary = read_vocabulary(server.url)
        signing = make_streams(data, vocabulary, num_clients=num_clients, fps=30.0, seconds=seconds, seed=seed)
        return run_benchmark(server, signing, num_clients=num_clients, patience=_PATIENT)


def _point(report: BenchmarkReport) -> GrowthPoint:
    return GrowthPoint(
        num_streams=report.num_clients,
        cores=report.cpu_cores or 0.0,
        answered_p50_ms=report.sign_answered_ms.p50,
        answered_p95_ms=report.sign_answered_ms.p95,
        frames_dropped=report.frames_dropped,
        memory_mb=report.memory_mb or 0.0,
    )


if __name__ == "__main__":
    app()
