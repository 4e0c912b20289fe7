"""Who trains: a process on this machine, or Celery workers that take sessions from Redis.

A runner only wakes workers. Which sessions wait, run or have ended is in the database, so that a runner may wake two
workers for one session (one of them takes it, the other goes away), and a message that Redis lost is sent again.
"""

import asyncio
import importlib.util
import logging
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from app.core.errors import ConfigurationError
from app.repositories.training_sessions import TrainingSession
from app.services.training_plans import TrainingPlaces

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger(__name__)

RunnerName = Literal["process", "celery"]
TASK: Final = "signflow.train"
QUEUE: Final = "signflow-training"
SEND_AGAIN_S: Final = 300.0
INSTALL_COMMAND: Final = "make lab"
_PACKAGES: Final = ("torch", "onnx", "onnxscript", "mlflow", "matplotlib")
_LOG_TAIL_BYTES: Final = 4_096
_LEFT_BEHIND: Final[list["subprocess.Popen[bytes]"]] = []
"""Workers that go on without their server. Python takes it for a mistake when the last reference to one goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDeath:
    """A worker of ours has ended; `reason` says how, "" when nothing was wrong."""

    session_id: str
    worker: str
    reason: str


class TrainingRunner(Protocol):
    """Wakes workers for sessions that wait."""

    @property
    def name(self) -> RunnerName:
        """What the page calls it."""
        ...

    @property
    def missing(self) -> Sequence[str]:
        """Packages without which nothing can be trained here; empty when all is there."""
        ...

    async def dispatch(self, waiting: Sequence[TrainingSession], *, num_running: int) -> str:
        """Wake a worker for what waits, oldest first; returns what stands in the way, "" when nothing does."""
        ...

    def reap(self) -> Sequence[WorkerDeath]:
        """Workers that have ended since the last call."""
        ...

    async def close(self) -> None:
        """Let go of connections; workers go on."""
        ...


def missing_packages() -> Sequence[str]:
    """What training needs and this installation lacks."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def worker_name(pid: int) -> str:
    """How a worker signs what it takes."""
    return f"{socket.gethostname()}:{pid}"


class ProcessRunner:
    """Starts one worker process at a time. It outlives this server: its state is in the database."""

    name: RunnerName = "process"

    def __init__(self, command: Sequence[str], *, folder: Path, environment: Mapping[str, str], places: TrainingPlaces):
        """Remember how a worker is started.

        Args:
            command: what runs; `--session ID` is added.
            folder: where it is started.
            environment: all its environment variables.
            places: where its log goes.
        """
        self._command = tuple(command)
        self._folder = folder
        self._environment = dict(environment)
        self._places = places
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def missing(self) -> Sequence[str]:
        """What this installation lacks."""
        return missing_packages()

    async def dispatch(self, waiting: Sequence[TrainingSession], *, num_running: int) -> str:
        """Start a process for the first session when nothing runs."""
        if num_running or self._children or not waiting:
            return ""
        return await asyncio.to_thread(self._start, waiting[0].id)

    def _start(self, session_id: str) -> str:
        log = self._places.log(session_id)
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with log.open("ab") as output:
                self._children[session_id] = subprocess.Popen(
                    [*self._command, "--session", session_id],
                    cwd=self._folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,  # Ctrl-C stops the server, not hours of training
                )
        except OSError as error:
            return f"the worker cannot be started: {error}"
        return ""

    def reap(self) -> Sequence[WorkerDeath]:
        """Processes that have ended."""
        deaths: list[WorkerDeath] = []
        for session_id, child in list(self._children.items()):
            status = child.poll()
            if status is not None:
                del self._children[session_id]
                reason = self._explain(session_id, status)
                deaths.append(WorkerDeath(session_id=session_id, worker=worker_name(child.pid), reason=reason))
        return deaths

    async def close(self) -> None:
        """Say which training goes on without this server."""
        for session_id, child in self._children.items():
            if child.poll() is None:
                logger.warning(
                    "training session %s goes on in process %d; cancel it on the page of the next server, or end it "
                    "with: kill %d",
                    session_id,
                    child.pid,
                    child.pid,
                )
                _LEFT_BEHIND.append(child)

    def _explain(self, session_id: str, status: int) -> str:
        if status == 0:
            return ""
        log = self._places.log(session_id)
        if status < 0:
            name = signal.Signals(-status).name
            hint = ", perhaps because memory ran out" if name == "SIGKILL" else ""
            return f"the worker was ended from outside ({name}{hint}); resuming goes on from its last checkpoint"
        return f"the worker failed (exit status {status}): {_last_line(log)} (all of it: {log})"


class CeleryRunner:
    """Sends sessions to Celery workers (`python -m app.training_worker`) through Redis."""

    name: RunnerName = "celery"
    missing: Sequence[str] = ()

    def __init__(self, redis_url: str) -> None:
        """Prepare to send; nothing is connected yet.

        Raises:
            ConfigurationError: Celery is not installed.
        """
        self._celery = make_celery(redis_url)
        self._sent_s: dict[tuple[str, datetime], float] = {}

    async def dispatch(self, waiting: Sequence[TrainingSession], *, num_running: int) -> str:  # noqa: ARG002 - they queue there
        """Send what was not sent before, or so long ago that the message may be lost."""
        now_s = time.monotonic()
        keys = {(session.id, session.queued_at): session.id for session in waiting}  # a resumed session is another one
        self._sent_s = {key: sent_s for key, sent_s in self._sent_s.items() if key in keys}
        due = {
            key: one for key, one in keys.items() if now_s - self._sent_s.get(key, now_s - SEND_AGAIN_S) >= SEND_AGAIN_S
        }
        if not due:
            return ""
        problem = await asyncio.to_thread(self._send, list(due.values()))
        if not problem:
            self._sent_s |= dict.fromkeys(due, now_s)
        return problem

    def _send(self, session_ids: Sequence[str]) -> str:
        from kombu.exceptions import OperationalError

        try:
            for session_id in session_ids:
                self._celery.send_task(TASK, args=[session_id], queue=QUEUE, retry=False, ignore_result=True)
        except (OperationalError, OSError) as error:
            return f"Redis cannot be reached, so no worker knows of this session yet ({error}); trying again"
        return ""

    def reap(self) -> Sequence[WorkerDeath]:
        """Workers elsewhere are known by their heartbeat only."""
        return []

    async def close(self) -> None:
        """Close the connections to Redis."""
        self._celery.close()


def make_celery(redis_url: str) -> "Celery":
    """The Celery application that servers send with and workers listen with.

    Raises:
        ConfigurationError: Celery is not installed.
    """
    try:
        from celery import Celery
    except ImportError as error:
        msg = "SIGNFLOW_TRAINING__RUNNER=celery needs Celery; 'make extra NAME=scale' installs it"
        raise ConfigurationError(msg) from error
    celery = Celery("signflow", broker=redis_url, set_as_current=False)
    celery.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=QUEUE,
        task_ignore_result=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        worker_max_tasks_per_child=1,  # a session's memory goes with it
        worker_hijack_root_logger=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=3,
        broker_transport_options={"socket_connect_timeout": 3, "socket_timeout": 10},
    )
    return celery


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _LOG_TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return "its log cannot be read"
    return lines[-1].strip() if lines else "it said nothing"
