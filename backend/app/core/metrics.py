"""The server's numbers for Prometheus: streams, frames, messages, errors. Those of inference are in `app.ml.metrics`.

Counting a frame may cost 5 us at most, with several workers (which count in files) too: scripts/benchmark_metrics.py.
Labels are few and fixed: never a session or a person, and signs only as far as the budget in docs/metrics.md allows.
"""

import platform
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from app.core.config import get_multiprocess_dir, set_multiprocess_dir
from app.core.version import VERSION
from app.ml.metrics import CONFIDENCE_BUCKETS, MAX_SIGNS, NAMESPACE, STAGE_BUCKETS_S, PrometheusInferenceMetrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
TIMED_EVERY: Final = 8
"""Decoding takes a microsecond: timing each frame's stages would cost more than what it measures."""
_LAG_BUCKETS_S: Final = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)


class DropReason(StrEnum):
    """Why a frame was taken and then dropped."""

    BACKLOG = "backlog"
    """Too many frames waited: the oldest made room."""
    STRAY = "stray"
    """It came after frames of later capture times."""
    REPEAT = "repeat"
    """A frame of its capture time was there already."""


class SessionOutcome(StrEnum):
    """What became of somebody's wish to translate."""

    OPENED = "opened"
    RESUMED = "resumed"
    BUSY = "busy"
    """Refused: full, or shutting down."""
    NO_MODEL = "no_model"


@contextmanager
def shared_by_workers() -> Generator[None]:
    """Let the worker processes that start inside the block count together; what they counted goes when it ends."""
    with TemporaryDirectory(prefix="signflow-metrics-") as folder:
        set_multiprocess_dir(Path(folder))
        yield


def forget_worker(pid: int) -> None:
    """A worker has ended, as its supervisor says: what it counted stays, what it held (sessions, a model) is gone."""
    mark_process_dead(pid, path=str(get_multiprocess_dir()))


class ServerMetrics:
    """What one server process counts; `watch` adds numbers that are read when they are asked for."""

    def __init__(self, *, multiprocess_dir: Path | None = None, max_signs: int = MAX_SIGNS) -> None:
        """Begin at zero.

        Args:
            multiprocess_dir: where the workers of one server count together; the environment variable
                PROMETHEUS_MULTIPROC_DIR must have named it when this process started. None: this is the only process.
            max_signs: signs that get series of their own.
        """
        disable_created_metrics()  # a second series for each counter, which nothing here reads
        self._multiprocess_dir = multiprocess_dir
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self.inference = PrometheusInferenceMetrics(self._registry, max_signs=max_signs)
        received = self._counter("frames_received", "Well-formed frames")
        frames = self._histogram("frame_seconds", "From a frame's arrival to the end of its step", STAGE_BUCKETS_S)
        dropped = self._counter("frames_dropped", "Frames dropped after they were received", "reason")
        self._frames_repeated = self._counter("frames_repeated", "Frames that a resuming client sent once more")
        self._messages_dropped = self._counter("messages_dropped", "Messages that slow readers did not get")
        self._feedback_clips = self._counter("feedback_clips_kept", "Feedback clips stored, with consent")
        signs = self._counter("signs", "Finished signs", "outcome")
        self._sign_confidence = self._histogram(
            "sign_confidence", "Confidence of finished signs, sure or not", CONFIDENCE_BUCKETS
        )
        sessions = self._counter("sessions", "Wishes to translate, by what became of them", "outcome")
        self._errors = self._counter("errors", "Errors told to clients", "channel", "code")
        self._closed = self._counter("streams_closed", "Streams that ended, by close code", "code")
        self._lag = self._histogram("loop_lag_seconds", "How late the event loop runs what is due", _LAG_BUCKETS_S)
        Gauge(
            "build_info",
            "1; version of the server and of Python",
            ["version", "python"],
            namespace=NAMESPACE,
            registry=self._registry,
            multiprocess_mode="livemax",
        ).labels(VERSION, platform.python_version()).set(1)
        self._dropped = {reason: dropped.labels(reason.value) for reason in DropReason}
        self._sessions = {outcome: sessions.labels(outcome.value) for outcome in SessionOutcome}
        self._signs = {True: signs.labels("recognised"), False: signs.labels("not_sure")}
        # Called for every frame: bound once.
        self.frame_received: Callable[[], None] = received.inc
        self.frame_handled: Callable[[float], None] = frames.observe

    def frame_dropped(self, reason: DropReason, number: int = 1) -> None:
        """Received frames were dropped."""
        self._dropped[reason].inc(number)

    def frame_repeated(self) -> None:
        """A frame that was handled before came once more."""
        self._frames_repeated.inc()

    def messages_dropped(self, num: int) -> None:
        """A slow reader did not get so many messages."""
        self._messages_dropped.inc(num)

    def sign_finished(self, confidence: float, *, is_sure: bool) -> None:
        """Count a finished sign."""
        self._signs[is_sure].inc()
        self._sign_confidence.observe(confidence)

    def feedback_kept(self) -> None:
        """A feedback clip was stored."""
        self._feedback_clips.inc()

    def session_wanted(self, outcome: SessionOutcome) -> None:
        """Somebody wanted to translate."""
        self._sessions[outcome].inc()

    def stream_closed(self, code: str) -> None:
        """A stream ended; `code` comes from one enum."""
        self._closed.labels(code).inc()

    def error_told(self, channel: Literal["stream", "http"], code: str) -> None:
        """An error occurred that a client is told; `code` comes from one enum or table."""
        self._errors.labels(channel, code).inc()

    def loop_lagged(self, seconds: float) -> None:
        """The event loop ran something so late."""
        self._lag.observe(seconds)

    def watch(
        self, name: str, documentation: str, read: Callable[[], float], *, workers: Literal["sum", "min"] = "sum"
    ) -> None:
        """Add a gauge that is read when asked for; `workers` says how several workers' values make one."""
        gauge = Gauge(
            name,
            documentation,
            namespace=NAMESPACE,
            registry=self._registry,
            multiprocess_mode="livesum" if workers == "sum" else "livemin",
        )
        self._watched.append((gauge, read))

    def refresh(self) -> None:
        """Read the watched numbers. With several workers each does so once a second, for whoever is scraped."""
        for gauge, read in self._watched:
            gauge.set(read())

    def render(self) -> bytes:
        """The page that Prometheus scrapes: this process, or all workers together."""
        self.refresh()
        if self._multiprocess_dir is None:
            return generate_latest(self._registry)
        together = CollectorRegistry()
        MultiProcessCollector(together, path=str(self._multiprocess_dir))
        together.register(_WorkerProcesses(self._multiprocess_dir))
        return generate_latest(together)

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(name, documentation, labels, namespace=NAMESPACE, registry=self._registry)

    def _histogram(self, name: str, documentation: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, documentation, namespace=NAMESPACE, buckets=buckets, registry=self._registry)


class _WorkerProcesses:
    """Processor time and memory of every living worker, whichever of them is asked."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """Called by the registry for each scrape."""
        families: dict[str, Metric] = {}
        for pid in sorted({path.stem.rsplit("_", 1)[1] for path in self._directory.glob("gauge_live*.db")}):
            for family in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():
                joint = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    joint.add_sample(sample.name, {**sample.labels, "worker": pid}, sample.value)
        yield from families.values()
