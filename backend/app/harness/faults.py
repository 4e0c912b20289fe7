"""What can go wrong between clients and a server, done on purpose while streams run: each fault is one function.

A fault acts, and returns when the disturbance is over; whether everything recovers is for the clients to see.
"""

import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final

from app.harness.fault_proxy import FaultProxy
from app.harness.redis_process import RedisProcess
from app.harness.server_process import ServerProcess, worker_pids

_LAST_S: Final = 4.0
"""How long the line is bad."""
_CUT_S: Final = 0.7


@dataclass(slots=True, kw_only=True)
class Site:
    """What faults act on: a server of our own, its Redis, the line to it, and a way to bring more clients.

    Attributes:
        join: lets so many clients more come at the same instant, and returns when they have gone.
    """

    server: ServerProcess
    redis: RedisProcess
    line: FaultProxy
    model_dir: Path
    join: Callable[[], None]
    notes: list[str] = field(default_factory=list)


def _latency(site: Site) -> None:
    site.line.misbehave(latency_ms=150.0, jitter_ms=100.0)
    time.sleep(_LAST_S)
    site.line.behave()


def _loss(site: Site) -> None:
    site.line.misbehave(loss=0.05)
    time.sleep(_LAST_S)
    site.line.behave()


def _cut(site: Site) -> None:
    site.line.cut()
    time.sleep(_CUT_S)
    site.line.mend()


def _half_open(site: Site) -> None:
    site.line.half_open()
    time.sleep(_LAST_S)


def _slow_reader(site: Site) -> None:
    site.line.misbehave(down_bytes_per_s=300.0)
    time.sleep(_LAST_S)
    site.line.behave()


def _burst(site: Site) -> None:
    site.join()


def _worker_killed(site: Site) -> None:
    os.kill(min(worker_pids(site.server.pid)), signal.SIGKILL)


def _workers_replaced(site: Site) -> None:
    before = worker_pids(site.server.pid)
    os.kill(site.server.pid, signal.SIGHUP)
    deadline_s = time.monotonic() + 120.0
    while worker_pids(site.server.pid) & before and time.monotonic() < deadline_s:
        time.sleep(0.2)


def _redis_restarted(site: Site) -> None:
    site.redis.kill()
    time.sleep(1.0)
    site.redis.start()


def _model_replaced(site: Site) -> None:
    """Nonsense in place of the model files, as a copy that was interrupted; put right a moment later."""
    files = [path for path in site.model_dir.iterdir() if path.suffix in {".onnx", ".pt"}]
    kept = site.model_dir.parent / "kept_models"
    kept.mkdir()
    for path in files:
        shutil.move(path, kept / path.name)
        path.write_bytes(b"half a model")
    time.sleep(_LAST_S)
    for path in files:
        (kept / path.name).replace(path)
    kept.rmdir()


def _server_restarted(site: Site) -> None:
    site.server.stop()
    site.server.start()


FAULTS: Final[Mapping[str, Callable[[Site], None]]] = MappingProxyType(
    {
        "latency": _latency,
        "loss": _loss,
        "cut": _cut,
        "half-open": _half_open,
        "slow-reader": _slow_reader,
        "burst": _burst,
        "model-replaced": _model_replaced,
        "redis-restart": _redis_restarted,
        "worker-kill": _worker_killed,
        "workers-replaced": _workers_replaced,
        "server-restart": _server_restarted,
    }
)
"""By name, in the order in which a test does them: those that shake the server most come last."""
