"""Load test of a server with real signing streams: many clients at once, results held against what was signed."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.client.stream_client import PATIENCE, Pace, Patience, stream_url
from app.harness.load_run import LoadPlan, play, stream_files
from app.harness.load_worker import ClientResult
from app.harness.server_process import (
    Histogram,
    ResourceWatch,
    RunningServer,
    read_model,
    read_numbers,
    read_vocabulary,
)
from app.ml.evaluation.scoring import TimedSign, match_signs
from app.ml.evaluation.signed_streams import SignedStream

_LOOK_EVERY_S: Final = 0.5
_CALIBRATION_ROUNDS: Final = 200_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantiles:
    """Milliseconds that half, 95 % and 99 % of all stay below; None when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Quantiles":
        """Quantiles of measured values."""
        if not values:
            return cls(p50=None, p95=None, p99=None)
        p50, p95, p99 = (round(float(value), 3) for value in np.percentile(values, (50, 95, 99)))
        return cls(p50=p50, p95=p95, p99=p99)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """What a load test measured.

    Attributes:
        model: what the server says about its model.
        pace: `live` (cameras) or `replay` (as fast as the server reads).
        num_clients: streams at once.
        duration_s: from the first frame sent to the last answer.
        frames_sent: by all clients; `frames_handled` and `frames_dropped` are the server's own counts.
        frames_unaccounted: sent, and neither handled nor told to the client as dropped; over clients, without sign.
        frames_per_s: handled, over `duration_s`.
        frame_handled_ms: from a frame's arrival to the end of its step, told by the server (from histogram buckets).
        frame_round_trip_ms: a `ping` behind a frame until its `pong`, seen by the client; live pace only.
        inference_ms: from a question to the recogniser to its answer, told by the server.
        sign_answered_ms: from sending the frame that ended a sign until the sign arrived, seen by the client.
        sign_latency_ms: the same, told by the server.
        sign_delay_ms: from the real end of a sign until it arrived, the segmenter's waiting included; live pace only.
        signs_expected: signs made that the model knows; None when it knows none of them.
        signs_recognised: signs reported, and `f1` of one-to-one matching within 300 ms.
        cpu_cores: processor time of the server over the test, in cores.
        memory_mb: the server's largest resident memory.
        ready_s: from start to readiness, when we started the server.
        calibration_ms: time of a fixed loop on this machine just before: the yardstick for the other figures.
        reconnects: connections that were lost and taken up again.
        clients_refused: clients that the server was too full for until they gave up; they count nowhere else.
        refusal_ms: from connecting until `busy`.
        errors: why clients gave up.
    """

    model: Mapping[str, Any]
    pace: Pace
    num_clients: int
    duration_s: float
    frames_sent: int
    frames_handled: int
    frames_dropped: int
    frames_unaccounted: int
    frames_per_s: float
    frame_handled_ms: Quantiles
    frame_round_trip_ms: Quantiles
    inference_ms: Quantiles
    sign_answered_ms: Quantiles
    sign_latency_ms: Quantiles
    sign_delay_ms: Quantiles
    signs_expected: int | None
    signs_recognised: int
    f1: float | None
    cpu_cores: float | None
    memory_mb: float | None
    ready_s: float | None
    calibration_ms: float
    reconnects: int
    clients_refused: int
    refusal_ms: Quantiles
    errors: tuple[str, ...] = field(default_factory=tuple)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def measure_calibration_ms() -> float:
    """Milliseconds that a fixed loop takes: the yardstick beside every speed figure. Best of five, single core."""

    def loop() -> float:
        begin_s, total = time.perf_counter(), 0
        for number in range(_CALIBRATION_ROUNDS):
            total += number * number % 7
        assert total > 0
        return (time.perf_counter() - begin_s) * 1000.0

    return round(min(loop() for _ in range(5)), 2)


def run_benchmark(
    server: RunningServer,
    streams: Sequence[SignedStream],
    *,
    num_clients: int,
    pace: Pace = "live",
    num_processes: int = 1,
    patience: Patience = PATIENCE,
    on_progress: Callable[[float], None] = lambda _share: None,
) -> BenchmarkReport:
    """Play `num_clients` streams at once and measure.

    Args:
        server: a server that is ready.
        streams: what is played; with more clients than streams, several play the same.
        num_clients: how many at once.
        pace: `live` or `replay`.
        num_processes: client processes; each has one event loop.
        patience: how long a client tries to come in when the server is full.
        on_progress: called twice a second with the share of the expected time that has passed.
    """
    vocabulary = read_vocabulary(server.url)
    calibration_ms = measure_calibration_ms()
    plan = LoadPlan(
        url=stream_url(server.url),
        num_clients=num_clients,
        num_processes=num_processes,
        pace=pace,
        patience=patience,
    )
    expected_s = max(stream.clip.duration_ms for stream in streams) / 1000.0 + plan.spread_s
    watches: list[ResourceWatch] = []

    def watch(futures: Sequence[Future[list[ClientResult]]], begin_at_s: float) -> None:
        watches.append(_watch(server, futures, begin_at_s, expected_s, on_progress))

    with stream_files(streams) as files:
        before = read_numbers(server.url)
        results = play(list(files), plan, while_playing=watch)
    cpu_cores, peak_memory_bytes = watches[0].cpu_cores, watches[0].peak_memory_bytes
    after = read_numbers(server.url)
    begin_s, end_s = min(result.begin_s for result in results), max(result.end_s for result in results)
    frames, inferences = after.frames.since(before.frames), after.inferences.since(before.inferences)
    admitted = [result for result in results if not result.is_refused]
    expected, recognised, right, delays_ms = _judge(admitted, files, vocabulary)
    duration_s = max(end_s - begin_s, 1e-9)
    return BenchmarkReport(
        model=read_model(server.url),
        pace=pace,
        num_clients=num_clients,
        duration_s=round(duration_s, 3),
        frames_sent=sum(len(result.sent_s) for result in results),
        frames_handled=int(frames.total),
        frames_dropped=int(after.frames_dropped - before.frames_dropped),
        frames_unaccounted=sum(result.num_unaccounted for result in admitted if result.error is None),
        frames_per_s=round(frames.total / duration_s, 1),
        frame_handled_ms=_quantiles_of(frames),
        frame_round_trip_ms=Quantiles.of([value for result in results for value in result.round_trips_ms]),
        inference_ms=_quantiles_of(inferences),
        sign_answered_ms=Quantiles.of([value for result in results for value in result.answered_ms]),
        sign_latency_ms=Quantiles.of([value for result in results for value in result.server_latency_ms]),
        sign_delay_ms=Quantiles.of(delays_ms if pace == "live" else []),
        signs_expected=expected or None,
        signs_recognised=recognised,
        f1=round(2 * right / (expected + recognised), 4) if expected else None,
        cpu_cores=None if cpu_cores is None else round(cpu_cores, 3),
        memory_mb=round(peak_memory_bytes / 1e6, 1) or None,
        ready_s=None if server.ready_s is None else round(server.ready_s, 2),
        calibration_ms=calibration_ms,
        reconnects=sum(result.num_reconnects for result in results),
        clients_refused=sum(result.is_refused for result in results),
        refusal_ms=Quantiles.of([value for result in results for value in result.refusals_ms]),
        errors=tuple(sorted({result.error for result in results if result.error is not None})),
    )


def _watch(
    server: RunningServer,
    futures: Sequence[Future[list[ClientResult]]],
    begin_at_s: float,
    expected_s: float,
    on_progress: Callable[[float], None],
) -> ResourceWatch:
    """Look at the server's memory until all clients are done; processor time counts from the first frame."""
    pending = wait(futures, timeout=max(begin_at_s - time.monotonic(), 0.0)).not_done
    watch = ResourceWatch(server)
    while pending:
        pending = wait(pending, timeout=_LOOK_EVERY_S).not_done
        watch.look()
        on_progress(min(max(time.monotonic() - begin_at_s, 0.0) / expected_s, 1.0))
    watch.end()
    return watch


def _judge(
    results: Sequence[ClientResult], files: Mapping[Path, SignedStream], vocabulary: frozenset[str]
) -> tuple[int, int, int, list[float]]:
    """Numbers of signs expected, recognised and right, and the delay of each right one. Unknown signs don't count."""
    expected = recognised = right = 0
    delays_ms: list[float] = []
    for result in results:
        stream = files[result.stream]
        made = [sign for sign in stream.signs if sign.label in vocabulary]
        others = [sign for sign in stream.signs if sign.label not in vocabulary]
        named = [index for index, sign in enumerate(result.signs) if not _is_about(sign, others)]
        score = match_signs(made, [result.signs[index] for index in named])
        expected += score.num_made
        recognised += score.num_recognised
        right += len(score.matches)
        times_ms = stream.clip.times_ms
        for sign, answer in score.matches:
            last = min(int(np.searchsorted(times_ms, made[sign].end_ms)), len(times_ms) - 1)
            sent_s = result.sent_s.get(float(times_ms[last]))
            if sent_s is not None:
                delays_ms.append((result.received_s[named[answer]] - sent_s) * 1000.0)
    return expected, recognised, right, delays_ms


def _is_about(sign: TimedSign, others: Sequence[TimedSign]) -> bool:
    """Whether a recognised sign lies mostly within one of `others`."""
    middle_ms = (sign.start_ms + sign.end_ms) / 2
    return any(other.start_ms <= middle_ms <= other.end_ms for other in others)


def _quantiles_of(histogram: Histogram) -> Quantiles:
    p50, p95, p99 = (histogram.quantile_ms(share) for share in (0.5, 0.95, 0.99))
    return Quantiles(p50=_rounded(p50), p95=_rounded(p95), p99=_rounded(p99))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
