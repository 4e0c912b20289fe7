"""Plays many streams at once, from processes of their own, while something else watches or disturbs the server."""

import multiprocessing
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from app.client.stream_client import PATIENCE, Pace, Patience
from app.harness.load_worker import ClientPlan, ClientResult, WorkerPlan, run_worker
from app.ml.evaluation.signed_streams import SignedStream
from app.ml.recordings.clips import save_clip

PROCESS_START_S: Final = 4.0
"""Time for the client processes to start and load their streams before the first frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """How streams are played.

    Attributes:
        url: of the stream; may be that of a faulty line.
        num_clients: how many at once; with more clients than streams, several play the same.
        num_processes: client processes; each has one event loop.
        pace: as `StreamClient` takes it.
        spread_s: clients begin within this time, evenly: people do not start, and cameras do not tick, in step.
    """

    url: str
    num_clients: int
    num_processes: int = 1
    pace: Pace = "live"
    spread_s: float = 1.0
    patience: Patience = PATIENCE


WhilePlaying = Callable[[Sequence[Future[list[ClientResult]]], float], None]
"""Called with what the client processes will return, and when their first frame is due on the monotonic clock."""


@contextmanager
def stream_files(streams: Sequence[SignedStream]) -> Generator[Mapping[Path, SignedStream]]:
    """Write streams where client processes can read them."""
    with TemporaryDirectory(prefix="signflow-") as folder:
        files: dict[Path, SignedStream] = {}
        for number, stream in enumerate(streams):
            path = Path(folder) / f"{number}.npz"
            save_clip(path, stream.clip)
            files[path] = stream
        yield files


def play(
    files: Sequence[Path], plan: LoadPlan, *, while_playing: WhilePlaying = lambda _futures, _begin_at_s: None
) -> list[ClientResult]:
    """Play stream files as planned, and return what every client saw when all are done."""
    begin_at_s = time.monotonic() + PROCESS_START_S
    clients = [
        ClientPlan(stream=files[number % len(files)], start_s=plan.spread_s * number / plan.num_clients)
        for number in range(plan.num_clients)
    ]
    num_processes = min(plan.num_processes, plan.num_clients)
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [
            pool.submit(
                run_worker,
                WorkerPlan(
                    url=plan.url,
                    clients=tuple(clients[first::num_processes]),
                    pace=plan.pace,
                    begin_at_s=begin_at_s,
                    patience=plan.patience,
                ),
            )
            for first in range(num_processes)
        ]
        while_playing(futures, begin_at_s)
        return [result for future in futures for result in future.result()]
