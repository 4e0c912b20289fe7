"""Several worker processes behind one port: started, watched, replaced, and ended without losing a sign.

Why not uvicorn's own supervisor: its workers would close their sockets before our streams are drained, and it takes a
worker for alive as long as a thread of it answers. Ours counts beats of the event loop, so that a worker that hangs is
replaced.

On Linux each worker has a socket of its own on the shared port and the kernel spreads connections evenly over them;
with one shared socket, the worker that wakes first would get most streams, and streams stay. A worker's socket leaves
the port with it, so nobody waits in the queue of a dead worker. Elsewhere the workers share one socket.

Signals: SIGTERM and SIGINT drain all workers and end; SIGHUP replaces them one after the other, each once its successor
is ready.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Final

from uvicorn.config import STARTUP_FAILURE

from app.bootstrap.app import build_app
from app.core.config import Settings
from app.core.logging import configure_logging
from app.core.metrics import forget_worker
from app.server import SPREADS_CONNECTIONS, SWITCH_INTERVAL_S, bind_beside, make_server
from app.services.operator_service import OperatorService

logger = logging.getLogger(__name__)

HUNG_AFTER_S: Final = 20.0
"""A worker whose event loop did nothing for so long is killed; the longest pause measured on a busy machine is 1 s."""
START_WITHIN_S: Final = 120.0
"""A worker that has not begun to serve by then is killed."""
_STEADY_AFTER_S: Final = 60.0
"""A worker that lived for so long and then ended is replaced at once; one that keeps ending, ever more slowly."""
_FIRST_PAUSE_S: Final = 0.5
_LONGEST_PAUSE_S: Final = 30.0
_LOOK_EVERY_S: Final = 0.2
_LEAVE_MARGIN_S: Final = 15.0
"""Above the time for draining: for open HTTP answers and the database; then a worker is killed."""

_spawn = multiprocessing.get_context("spawn")


@dataclass(slots=True, kw_only=True)
class Worker:
    """One process; `is_ready` once it serves."""

    index: int
    process: SpawnProcess
    beats: Connection
    started_s: float
    last_beat_s: float
    is_ready: bool = False
    kill_at_s: float | None = None

    def terminate(self, *, within_s: float) -> None:
        """Ask it to drain and end; it is killed when it takes longer."""
        if self.kill_at_s is None:
            self.kill_at_s = time.monotonic() + within_s
            self.process.terminate()


@dataclass(slots=True)
class WorkerSupervisor:
    """Keeps `settings.workers` workers serving on one port.

    Args:
        settings: of the server; the database has been prepared.
        operator: shared by all workers.
        listener: where the server listens; on Linux it only keeps the port.
    """

    settings: Settings
    operator: OperatorService
    listener: socket.socket
    workers: dict[int, Worker] = field(default_factory=dict)
    _leaving: list[Worker] = field(default_factory=list)
    _due_s: dict[int, float] = field(default_factory=dict)
    _pauses_s: dict[int, float] = field(default_factory=dict)
    _to_replace: deque[int] = field(default_factory=deque)
    _successor: Worker | None = None
    _has_served: bool = False
    _is_ending: bool = False
    _has_failed: bool = False

    def run(self) -> int:
        """Supervise until told to end; returns the exit status."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_end)
        signal.signal(signal.SIGHUP, self._on_replace)
        for index in range(self.settings.workers):
            self.workers[index] = self._start(index)
        while not self._is_ending:
            self._look()
        self._end()
        return 1 if self._has_failed else 0

    def _on_end(self, _number: int, _frame: FrameType | None) -> None:
        self._is_ending = True

    def _on_replace(self, _number: int, _frame: FrameType | None) -> None:
        if not self._to_replace:
            self._to_replace.extend(self.workers)

    def _start(self, index: int) -> Worker:
        beats, send_beats = _spawn.Pipe(duplex=False)
        own = bind_beside(self.settings, port=self.listener.getsockname()[1]) if SPREADS_CONNECTIONS else self.listener
        process = _spawn.Process(
            target=_serve,
            args=(self.settings, self.operator, own, send_beats, index),
            name=f"{index}",
        )
        process.start()
        send_beats.close()
        if own is not self.listener:
            own.close()
        now_s = time.monotonic()
        return Worker(index=index, process=process, beats=beats, started_s=now_s, last_beat_s=now_s)

    def _look(self) -> None:
        """One turn: hear beats, bury the dead, replace who has to be."""
        self._hear(_LOOK_EVERY_S)
        for worker in list(self.workers.values()):
            if worker.process.exitcode is not None:
                self._on_death(worker)
            elif self._is_stuck(worker):
                worker.process.kill()
        self._let_go()
        for index, due_s in list(self._due_s.items()):
            if due_s <= time.monotonic():
                del self._due_s[index]
                self.workers[index] = self._start(index)
        self._go_on_replacing()

    def _hear(self, timeout_s: float) -> None:
        all_workers = [*self.workers.values(), *self._leaving, *([self._successor] if self._successor else [])]
        by_pipe = {worker.beats: worker for worker in all_workers if not worker.beats.closed}
        sentinels = [worker.process.sentinel for worker in all_workers if worker.process.exitcode is None]
        if not by_pipe and not sentinels:
            time.sleep(timeout_s)
        for ready in wait([*by_pipe, *sentinels], timeout=timeout_s):
            if not isinstance(ready, Connection):
                continue
            worker = by_pipe[ready]
            try:
                ready.recv_bytes()
            except EOFError:
                ready.close()
                continue
            worker.last_beat_s = time.monotonic()
            if not worker.is_ready:
                worker.is_ready = self._has_served = True
                logger.info("worker %d serves (process %s)", worker.index, worker.process.pid)

    def _is_stuck(self, worker: Worker) -> bool:
        silent_s = time.monotonic() - worker.last_beat_s
        if silent_s < (HUNG_AFTER_S if worker.is_ready else START_WITHIN_S):
            return False
        logger.error("worker %d did nothing for %.0f s; it is killed and replaced", worker.index, silent_s)
        return True

    def _on_death(self, worker: Worker) -> None:
        self._forget(worker)
        del self.workers[worker.index]
        exitcode = worker.process.exitcode
        if not worker.is_ready and not self._has_served:
            logger.error("worker %d cannot start (exit %s); the server ends", worker.index, exitcode)
            self._has_failed = self._is_ending = True
            return
        lived_s = time.monotonic() - worker.started_s
        pause_s = self._pauses_s.get(worker.index, _FIRST_PAUSE_S) if lived_s < _STEADY_AFTER_S else 0.0
        self._pauses_s[worker.index] = min(max(pause_s * 2, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        self._due_s[worker.index] = time.monotonic() + pause_s
        logger.error(
            "worker %d ended unexpectedly (exit %s) after %.0f s; a new one starts in %.1f s",
            worker.index,
            exitcode,
            lived_s,
            pause_s,
        )

    def _go_on_replacing(self) -> None:
        """At most one successor at a time, and the next one only when the worker that it relieved has gone."""
        successor = self._successor
        if successor is None:
            if self._to_replace and not self._leaving:
                index = self._to_replace.popleft()
                if index in self.workers:
                    self._successor = self._start(index)
            return
        if successor.process.exitcode is not None or self._is_stuck(successor):
            logger.error("the successor of worker %d did not start; the workers stay as they are", successor.index)
            successor.process.kill()
            self._forget(successor)
            self._successor = None
            self._to_replace.clear()
        elif successor.is_ready:
            old = self.workers.get(successor.index)
            self._due_s.pop(successor.index, None)
            self.workers[successor.index] = successor
            self._successor = None
            if old is not None:
                old.terminate(within_s=self._leave_within_s)
                self._leaving.append(old)

    def _let_go(self) -> None:
        """Look after those who drain."""
        for worker in list(self._leaving):
            if worker.process.exitcode is not None:
                self._leaving.remove(worker)
                self._forget(worker)
            elif worker.kill_at_s is not None and time.monotonic() > worker.kill_at_s:
                logger.error("worker %d did not end in time; it is killed", worker.index)
                worker.process.kill()

    def _end(self) -> None:
        """Drain all workers at the same time."""
        self._leaving += [*self.workers.values(), *([self._successor] if self._successor else [])]
        self.workers.clear()
        self._successor = None
        for worker in self._leaving:
            worker.terminate(within_s=self._leave_within_s)
        while self._leaving:
            self._hear(_LOOK_EVERY_S)
            self._let_go()

    @property
    def _leave_within_s(self) -> float:
        return self.settings.stream.drain_timeout_s + _LEAVE_MARGIN_S

    def _forget(self, worker: Worker) -> None:
        worker.process.join()
        worker.beats.close()
        if worker.process.pid is not None:
            forget_worker(worker.process.pid)


def _serve(
    settings: Settings,
    operator: OperatorService,
    listener: socket.socket,
    beats: Connection,
    index: int,
) -> None:
    """What a worker process does."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # meant for the supervisor
    configure_logging(log_format=settings.log_format, level=settings.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    app = build_app(settings, operator=operator, worker=index, is_prepared=True)
    os.set_blocking(beats.fileno(), False)

    def beat() -> None:
        try:
            beats.send_bytes(b".")
        except BlockingIOError:
            return  # the supervisor is busy; it has enough unread beats to know that we live
        except OSError:
            server.should_exit = True  # the supervisor has gone: nobody would ever end or replace us

    server = make_server(app, settings, on_beat=beat)
    server.run(sockets=[listener])
    sys.exit(0 if server.started else STARTUP_FAILURE)
