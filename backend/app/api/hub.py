"""All live connections of this process: how many, their once-a-second work, and their end at shutdown."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Final

from starlette.websockets import WebSocket

from app.api.connection import Connection, ConnectionLimits
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.services.feedback_service import FeedbackService
from app.services.session_service import SessionService

logger = logging.getLogger(__name__)

_TICK_S: Final = 1.0
_GREETING_ROOM: Final = 64
"""Connections that may be open above `max_sessions`: those that have not said hello, or are about to be told `busy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSettings:
    """Who may connect, and how long open signs may take at shutdown."""

    allowed_origins: frozenset[str] = frozenset()
    drain_timeout_s: float = 5.0


class StreamHub:
    """Opens, ticks and drains connections."""

    def __init__(
        self,
        *,
        sessions: SessionService,
        feedback: FeedbackService,
        limits: ConnectionLimits,
        settings: HubSettings,
        tasks: TaskSet,
        metrics: ServerMetrics,
    ) -> None:
        self.settings = settings
        self._sessions = sessions
        self._feedback = feedback
        self._limits = limits
        self._tasks = tasks
        self._metrics = metrics
        self._connections: set[Connection] = set()
        self._all_closed = asyncio.Event()
        metrics.watch("connections", "Open WebSocket connections", lambda: len(self._connections))
        metrics.watch("sessions_open", "Sessions with a connection", lambda: sessions.num_open)
        metrics.watch("sessions_kept", "Lost sessions that can be resumed", lambda: sessions.num_kept)
        metrics.watch("refusing_newcomers", "Processes at the limit of their load", lambda: sessions.gate.is_full)
        metrics.watch(
            "sessions_limit",
            "Sessions that may be open",
            lambda: sessions.limits.max_sessions,
            workers="min" if sessions.store.is_shared else "sum",  # a shared store has one limit for all workers
        )
        metrics.watch(
            "sessions_shared",
            "1 when all servers share one limit of sessions",
            lambda: float(sessions.store.is_shared),
            workers="min",
        )

    @property
    def num_connections(self) -> int:
        """Open connections, greeted or not."""
        return len(self._connections)

    @property
    def has_room(self) -> bool:
        """False when not even a `busy` could be told."""
        return len(self._connections) < self._sessions.limits.max_sessions + _GREETING_ROOM

    def start(self) -> None:
        """Begin the once-a-second work."""
        self._sessions.start(self._tasks)
        self._tasks.start(self._tick_forever(), name="tick")

    async def serve(self, websocket: WebSocket) -> None:
        """Serve an accepted socket until it closes."""
        connection = Connection(
            websocket,
            sessions=self._sessions,
            feedback=self._feedback,
            limits=self._limits,
            metrics=self._metrics,
        )
        self._connections.add(connection)
        try:
            await connection.run(self._tasks)
        finally:
            self._connections.discard(connection)
            if not self._connections:
                self._all_closed.set()

    async def drain(self) -> None:
        """Shutting down: admit nobody, finish the signs in progress, tell everything pending, close."""
        self._sessions.stop_admitting()
        connections = list(self._connections)
        if not connections:
            return
        self._all_closed.clear()
        logger.info("finishing %d streams", len(connections))
        for connection in connections:
            self._tasks.start(connection.finish(), name="finish stream")
        try:
            async with asyncio.timeout(self.settings.drain_timeout_s):
                await self._all_closed.wait()
        except TimeoutError:
            logger.warning("%d streams did not finish in time and are cut", len(self._connections))

    async def _tick_forever(self) -> None:
        while True:
            due_s = time.monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            now_s = time.monotonic()
            lag_s = max(0.0, now_s - due_s)
            self._metrics.loop_lagged(lag_s)
            self._metrics.refresh()
            for connection in list(self._connections):
                connection.tick(now_s)
            self._sessions.tick(now_s=now_s, lag_s=lag_s)
