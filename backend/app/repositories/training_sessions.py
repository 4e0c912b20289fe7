"""Training sessions and their curves. The database is the only place where a session's state is kept.

    queued ──▶ running ──▶ finished | failed | cancelled | lost
      ▲  └─▶ cancelled          │
      └──────────────── resume ─┘ (of all but finished)

Each time a worker takes a session, its `attempt` counts up. A worker writes under its own attempt only: one that was
taken for dead and comes back finds that the session is no longer its own, and stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypedDict, Unpack

from sqlalchemy import ColumnElement, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker

from app.db.models import TrainingPointRow, TrainingSessionRow


class TrainingStatus(StrEnum):
    """Where a session stands."""

    QUEUED = "queued"
    """Waits for a worker."""
    RUNNING = "running"
    FINISHED = "finished"
    """The model is written."""
    FAILED = "failed"
    """Something has to be changed first; `message` says what."""
    CANCELLED = "cancelled"
    LOST = "lost"
    """Its worker died. What it had saved is there."""


JsonObject = dict[str, object]
RESUMABLE: Final = (TrainingStatus.FAILED, TrainingStatus.CANCELLED, TrainingStatus.LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSession:
    """One session; times are UTC.

    Attributes:
        phase: what the worker is doing, in `app.ml.training.run.Phase`'s words; None before it began.
        message: a sentence for the operator: why it failed, or what it waits for.
        request: what was asked for, as `services.training_plans` wrote it.
        attempt: how often a worker has taken it.
        worker: who has it, `host:pid`.
        first_step: the step from which the present attempt went on; None before its first step.
        training_at: when that was, to tell how long the rest will take.
        tracking_run: name of the run in MLflow.
        tracking_problem: why the run is not fully recorded there.
        result: what came out, as `services.training_plans` wrote it.
    """

    id: str
    status: TrainingStatus
    phase: str | None = None
    message: str = ""
    request: JsonObject
    attempt: int = 0
    cancel_requested: bool = False
    worker: str | None = None
    steps: int
    step: int = 0
    first_step: int | None = None
    loss: float | None = None
    val_accuracy: float | None = None
    tracking_run: str | None = None
    tracking_problem: str | None = None
    result: JsonObject | None = None
    created_at: datetime
    queued_at: datetime
    started_at: datetime | None = None
    training_at: datetime | None = None
    heartbeat_at: datetime | None = None
    ended_at: datetime | None = None


class News(TypedDict, total=False):
    """What a worker has to say about its session."""

    phase: str
    step: int
    first_step: int
    loss: float
    val_accuracy: float
    training_at: datetime
    tracking_run: str | None
    tracking_problem: str | None
    result: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPoint:
    """One point of the curves; `val_accuracy` only where an evaluation was made."""

    step: int
    loss: float
    val_accuracy: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a worker has to obey: go on only while the session is its own and nobody has cancelled it."""

    is_own: bool
    is_cancelled: bool


_FIELDS: Final = tuple(field.name for field in fields(TrainingSession))


class TrainingSessionRepository:
    """Reads and writes the tables `training_sessions` and `training_points`."""

    def __init__(self, sessions: async_sessionmaker[AsyncSession]) -> None:
        self._sessions = sessions

    async def add(self, session: TrainingSession) -> None:
        """Store a new session."""
        async with self._sessions.begin() as db:
            db.add(TrainingSessionRow(**{name: getattr(session, name) for name in _FIELDS}))

    async def get(self, session_id: str) -> TrainingSession | None:
        """One session; None when there is none."""
        async with self._sessions() as db:
            row = await db.get(TrainingSessionRow, session_id)
            return None if row is None else _read(row)

    async def list(self, *, limit: int, status: TrainingStatus | None = None) -> Sequence[TrainingSession]:
        """Sessions, newest first; of one status, those that have waited longest first."""
        query = select(TrainingSessionRow).limit(limit)
        if status is None:
            query = query.order_by(TrainingSessionRow.created_at.desc(), TrainingSessionRow.id)
        else:
            query = query.where(TrainingSessionRow.status == status).order_by(TrainingSessionRow.queued_at)
        async with self._sessions() as db:
            return [_read(row) for row in await db.scalars(query)]

    async def count(self, status: TrainingStatus | None = None) -> int:
        """How many sessions there are, of one status or in all."""
        query = select(func.count()).select_from(TrainingSessionRow)
        if status is not None:
            query = query.where(TrainingSessionRow.status == status)
        async with self._sessions() as db:
            return await db.scalar(query) or 0

    async def claim(self, session_id: str, *, worker: str, now: datetime) -> TrainingSession | None:
        """Take a queued session; None when somebody else was faster, or it was cancelled."""
        taken = await self._change(
            and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status == TrainingStatus.QUEUED),
            status=TrainingStatus.RUNNING,
            attempt=TrainingSessionRow.attempt + 1,
            worker=worker,
            message="",
            phase=None,
            first_step=None,
            training_at=None,
            tracking_problem=None,
            started_at=now,
            heartbeat_at=now,
        )
        return await self.get(session_id) if taken else None

    async def read_orders(self, session_id: str, *, attempt: int) -> Orders:
        """What the worker of this attempt has to obey. Reading changes nothing: a cancellation stays."""
        query = select(
            TrainingSessionRow.status, TrainingSessionRow.attempt, TrainingSessionRow.cancel_requested
        ).where(TrainingSessionRow.id == session_id)
        async with self._sessions() as db:
            row = (await db.execute(query)).one_or_none()
        if row is None:
            return Orders(is_own=False, is_cancelled=True)
        is_own = row.status == TrainingStatus.RUNNING and row.attempt == attempt
        return Orders(is_own=is_own, is_cancelled=row.cancel_requested)

    async def note(self, session_id: str, *, attempt: int, now: datetime, **news: Unpack[News]) -> bool:
        """Write the worker's news and its heartbeat; False when the session is no longer its own."""
        return await self._change(_is_own(session_id, attempt), heartbeat_at=now, **news)

    async def add_points(self, session_id: str, points: Sequence[TrainingPoint]) -> None:
        """Append to the curves."""
        if points:
            rows = [
                {"session_id": session_id, "step": point.step, "loss": point.loss, "val_accuracy": point.val_accuracy}
                for point in points
            ]
            async with self._sessions.begin() as db:
                await db.execute(insert(TrainingPointRow), rows)

    async def drop_points(self, session_id: str, *, from_step: int) -> None:
        """Forget what an earlier attempt did after its last checkpoint: it is done again."""
        async with self._sessions.begin() as db:
            await db.execute(
                delete(TrainingPointRow).where(
                    TrainingPointRow.session_id == session_id, TrainingPointRow.step >= from_step
                )
            )

    async def list_points(self, session_id: str, *, after: int = 0) -> tuple[Sequence[TrainingPoint], int]:
        """Points that were added after a cursor, in order of step, and the cursor to ask with next time."""
        query = (
            select(TrainingPointRow)
            .where(TrainingPointRow.session_id == session_id, TrainingPointRow.id > after)
            .order_by(TrainingPointRow.id)
        )
        async with self._sessions() as db:
            rows = list(await db.scalars(query))
        points = [TrainingPoint(step=row.step, loss=row.loss, val_accuracy=row.val_accuracy) for row in rows]
        return points, rows[-1].id if rows else after

    async def end(
        self,
        session_id: str,
        *,
        attempt: int,
        status: TrainingStatus,
        now: datetime,
        message: str = "",
        **news: Unpack[News],
    ) -> bool:
        """Write how an attempt ended; False when the session is no longer its own."""
        return await self._change(
            _is_own(session_id, attempt), status=status, message=message, ended_at=now, heartbeat_at=now, **news
        )

    async def lose(self, session_id: str, *, worker: str, message: str, now: datetime) -> bool:
        """Mark a running session whose worker is known to be dead; False when it is not that worker's any more."""
        return await self._change(
            and_(
                TrainingSessionRow.id == session_id,
                TrainingSessionRow.status == TrainingStatus.RUNNING,
                TrainingSessionRow.worker == worker,
            ),
            status=TrainingStatus.LOST,
            message=message,
            ended_at=now,
        )

    async def lose_silent(self, *, before: datetime, message: str, now: datetime) -> int:
        """Mark running sessions without a heartbeat since `before`; returns how many."""
        async with self._sessions.begin() as db:
            changed = await db.execute(
                update(TrainingSessionRow)
                .where(TrainingSessionRow.status == TrainingStatus.RUNNING, TrainingSessionRow.heartbeat_at < before)
                .values(status=TrainingStatus.LOST, message=message, ended_at=now)
                .returning(TrainingSessionRow.id)
            )
            return len(changed.all())

    async def cancel(self, session_id: str, *, now: datetime) -> bool:
        """Cancel: at once while it waits, and within a batch while it runs; False when it does neither."""
        waiting = and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status == TrainingStatus.QUEUED)
        if await self._change(waiting, status=TrainingStatus.CANCELLED, message="", ended_at=now):
            return True
        running = and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status == TrainingStatus.RUNNING)
        return await self._change(running, cancel_requested=True)

    async def requeue(self, session_id: str, *, now: datetime) -> bool:
        """Put a session back in the queue to go on from its checkpoint; False when it cannot be resumed."""
        return await self._change(
            and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status.in_(RESUMABLE)),
            status=TrainingStatus.QUEUED,
            message="",
            phase=None,
            cancel_requested=False,
            queued_at=now,
            ended_at=None,
        )

    async def fail_queued(self, session_id: str, *, message: str, now: datetime) -> bool:
        """Mark a session whose worker could not even take it."""
        return await self._change(
            and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status == TrainingStatus.QUEUED),
            status=TrainingStatus.FAILED,
            message=message,
            ended_at=now,
        )

    async def say(self, session_id: str, message: str) -> None:
        """Tell what a queued session waits for."""
        await self._change(
            and_(TrainingSessionRow.id == session_id, TrainingSessionRow.status == TrainingStatus.QUEUED),
            message=message,
        )

    async def delete(self, session_id: str) -> bool:
        """Delete a session that no worker has, and its curves; False when it runs or is not there."""
        async with self._sessions.begin() as db:
            gone = await db.execute(
                delete(TrainingSessionRow)
                .where(TrainingSessionRow.id == session_id, TrainingSessionRow.status != TrainingStatus.RUNNING)
                .returning(TrainingSessionRow.id)
            )
            if not gone.all():
                return False
            # SQLite does not enforce foreign keys unless told to on every connection.
            await db.execute(delete(TrainingPointRow).where(TrainingPointRow.session_id == session_id))
            return True

    async def _change(self, which: ColumnElement[bool], **values: Any) -> bool:
        async with self._sessions.begin() as db:
            changed = await db.execute(
                update(TrainingSessionRow).where(which).values(**values).returning(TrainingSessionRow.id)
            )
            return bool(changed.all())


def _is_own(session_id: str, attempt: int) -> ColumnElement[bool]:
    return and_(
        TrainingSessionRow.id == session_id,
        TrainingSessionRow.status == TrainingStatus.RUNNING,
        TrainingSessionRow.attempt == attempt,
    )


def _read(row: TrainingSessionRow) -> TrainingSession:
    session = TrainingSession(**{name: getattr(row, name) for name in _FIELDS})
    return replace(session, status=TrainingStatus(row.status))
