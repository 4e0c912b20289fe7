"""A server of our own for a benchmark, with the settings that we ship; and what any server tells about itself."""

import contextlib
import itertools
import json
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from prometheus_client.parser import text_string_to_metric_families

from app.client.errors import ServerHasNoModelError, ServerUnreachableError
from app.ml.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

    import psutil

BACKEND_DIR: Final = Path(__file__).resolve().parents[2]
START_TIMEOUT_S: Final = 60.0
_ASK_TIMEOUT_S: Final = 10.0
_STOP_WITHIN_S: Final = 30.0


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """A server that answers; `pid` and `ready_s` (from start to readiness) are known when we started it."""

    url: str
    pid: int | None = None
    ready_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts of durations by upper bound, as `/metrics` tells them; `counts` are not cumulative."""

    bounds_s: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    @property
    def total(self) -> float:
        """How many durations."""
        return sum(self.counts)

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was added after `earlier`."""
        if not earlier.counts:
            return self
        counts = tuple(now - before for now, before in zip(self.counts, earlier.counts, strict=True))
        return Histogram(bounds_s=self.bounds_s, counts=counts)

    def quantile_ms(self, share: float) -> float | None:
        """The duration that `share` of all stay below, linear inside its bucket (as Prometheus does); None without any.

        In the last bucket, which has no upper bound, its lower bound is told.
        """
        wanted, seen, lower_s = share * self.total, 0.0, 0.0
        for bound_s, count in zip(self.bounds_s, self.counts, strict=True):
            if count and seen + count >= wanted:
                if bound_s == float("inf"):
                    return lower_s * 1000.0
                return (lower_s + (bound_s - lower_s) * (wanted - seen) / count) * 1000.0
            seen += count
            lower_s = bound_s
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerNumbers:
    """Numbers from `/metrics`; the last two are None where the server's system does not tell them."""

    frames: Histogram
    inferences: Histogram
    frames_dropped: float
    cpu_s: float | None
    memory_bytes: float | None


@dataclass(slots=True, kw_only=True)
class ServerProcess:
    """`python -m app.main` on a port of its own; it can be ended and started again with the same data.

    Attributes:
        folder: its data, and its log.
        settings: names without the prefix to values, e.g. `{"MODEL_DIR": "..."}`; everything else is as shipped.
    """

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    ready_s: float | None = None
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base of its addresses."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process; that of the supervisor when it has several workers."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            ServerUnreachableError: it ended or did not answer in time; the message holds its log.
            ServerHasNoModelError: it runs, but has no model.
        """
        own = {"HOST": "127.0.0.1", "PORT": str(self.port), "DATA_DIR": str(self.folder), **self.settings}
        # `env` adds to the environment and becomes the server, so that signals reach the server itself.
        command = [
            "env",
            *(f"SIGNFLOW_{name}={value}" for name, value in own.items()),
            sys.executable,
            "-m",
            "app.main",
        ]
        log = self.folder / "server.log"
        begin_s = time.monotonic()
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=BACKEND_DIR, stdout=output, stderr=subprocess.STDOUT)
        _wait_until_ready(self.url, self._process, log)
        self.ready_s = time.monotonic() - begin_s

    def stop(self) -> None:
        """End it politely, which drains its streams; after a while, not."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=_STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


@contextmanager
def start_server(settings: Mapping[str, str] | None = None) -> Generator[RunningServer]:
    """Run a server with a data folder of its own until the block ends.

    Args:
        settings: as `ServerProcess` takes them.

    Raises:
        ServerUnreachableError: it ended or did not answer in time; the message holds its log.
        ServerHasNoModelError: it runs, but has no model.
    """
    with TemporaryDirectory(prefix="signflow-") as folder:
        process = ServerProcess(folder=Path(folder), settings=settings or {})
        try:
            process.start()
            yield RunningServer(url=process.url, pid=process.pid, ready_s=process.ready_s)
        finally:
            process.stop()


def require_ready(url: str) -> None:
    """Check that a server answers and can translate.

    Raises:
        ServerUnreachableError: nobody answers.
        ServerHasNoModelError: it cannot translate now; the message holds its reasons.
    """
    try:
        _ask(f"{url}/ready")
    except urllib.error.HTTPError as error:
        with error:
            reasons = ", ".join(json.load(error).get("reasons", [])) if error.code == 503 else str(error)
        msg = f"{url} is not ready: {reasons}"
        raise ServerHasNoModelError(msg) from error
    except OSError as error:
        msg = f"no SignFlow server at {url}: {error}"
        raise ServerUnreachableError(msg) from error


def read_vocabulary(url: str) -> frozenset[str]:
    """Labels of the signs that the server's model recognises."""
    signs: list[dict[str, Any]] = json.loads(_ask(f"{url}/api/v1/signs?recognised=true"))["signs"]
    return frozenset(str(sign["label"]) for sign in signs)


def read_model(url: str) -> dict[str, Any]:
    """The server's facts about its model: version, backend, sha256."""
    model: dict[str, Any] = json.loads(_ask(f"{url}/api/v1/models/active"))
    return {name: model.get(name) for name in ("version", "backend", "file_name", "sha256", "fallback_reason")}


def read_numbers(url: str) -> ServerNumbers:
    """Read `/metrics`."""
    buckets: dict[tuple[str, str | None], list[tuple[float, float]]] = {}
    values: dict[str, float] = {}
    for family in text_string_to_metric_families(_ask(f"{url}/metrics").decode()):
        for sample in family.samples:
            if "le" in sample.labels:
                series = (sample.name, sample.labels.get("stage"))
                buckets.setdefault(series, []).append((float(sample.labels["le"]), sample.value))
            else:  # one series for each reason, or for each worker
                values[sample.name] = values.get(sample.name, 0.0) + sample.value
    return ServerNumbers(
        frames=_histogram(buckets.get(("signflow_frame_seconds_bucket", None), [])),
        inferences=_histogram(buckets.get(("signflow_stage_seconds_bucket", "answer"), [])),
        frames_dropped=values.get("signflow_frames_dropped_total", 0.0),
        cpu_s=values.get("process_cpu_seconds_total"),
        memory_bytes=values.get("process_resident_memory_bytes"),
    )


def _histogram(cumulative: list[tuple[float, float]]) -> Histogram:
    ordered = sorted(cumulative)
    totals = [0.0, *(total for _, total in ordered)]
    counts = tuple(after - before for before, after in itertools.pairwise(totals))
    return Histogram(bounds_s=tuple(bound for bound, _ in ordered), counts=counts)


def _ask(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=_ASK_TIMEOUT_S) as answer:
        return bytes(answer.read())


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while True:
        with contextlib.suppress(ServerUnreachableError):
            require_ready(url)
            return
        if process.poll() is not None or time.monotonic() > deadline_s:
            msg = f"the server did not start:\n{log.read_text(errors='replace')[-2000:]}"
            raise ServerUnreachableError(msg)
        time.sleep(0.02)


@dataclass(slots=True)
class ResourceWatch:
    """CPU and memory of the server over a stretch of time, taken now and then with `look`."""

    server: RunningServer
    peak_memory_bytes: float = 0.0
    cpu_cores: float | None = field(default=None, init=False)
    _begin_cpu_s: float | None = field(default=None, init=False)
    _begin_s: float = field(default_factory=time.monotonic, init=False)

    def __post_init__(self) -> None:
        self._begin_cpu_s = self._cpu_s()

    def look(self) -> None:
        """Note the memory in use now."""
        memory = _memory_bytes(self.server)
        if memory is not None:
            self.peak_memory_bytes = max(self.peak_memory_bytes, memory)

    def end(self) -> None:
        """Take the processor time since the beginning, as `cpu_cores`; None where nobody tells."""
        now_cpu_s = self._cpu_s()
        if now_cpu_s is not None and self._begin_cpu_s is not None:
            self.cpu_cores = (now_cpu_s - self._begin_cpu_s) / max(time.monotonic() - self._begin_s, 1e-9)

    def _cpu_s(self) -> float | None:
        if self.server.pid is None:
            return read_numbers(self.server.url).cpu_s
        times = [process.cpu_times() for process in _processes(self.server.pid)]
        return float(sum(one.user + one.system for one in times))


def worker_pids(supervisor_pid: int) -> set[int]:
    """Process ids of the living workers of a server that was started with several."""
    psutil = _psutil()
    pids: set[int] = set()
    for child in psutil.Process(supervisor_pid).children():
        with contextlib.suppress(psutil.Error):
            if child.status() != psutil.STATUS_ZOMBIE and any("spawn_main" in word for word in child.cmdline()):
                pids.add(child.pid)
    return pids


def _psutil() -> "ModuleType":
    try:
        import psutil  # an optional package
    except ImportError as error:
        msg = "watching the server needs psutil; 'make lab' installs it"
        raise MissingExtraError(msg) from error
    return psutil


def _processes(pid: int) -> "list[psutil.Process]":
    """The server's process and those of its workers."""
    psutil = _psutil()
    return [psutil.Process(pid), *(psutil.Process(worker) for worker in worker_pids(pid))]


def _memory_bytes(server: RunningServer) -> float | None:
    """Resident memory of all processes; what they share counts for each."""
    if server.pid is None:
        return read_numbers(server.url).memory_bytes
    return float(sum(process.memory_info().rss for process in _processes(server.pid)))
