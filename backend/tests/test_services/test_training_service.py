"""Training sessions in the database, with a runner that only remembers what it was asked."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.errors import TrainingUnavailableError, WrongStateError
from app.db.database import Database
from app.repositories.training_sessions import (
    TrainingPoint,
    TrainingSession,
    TrainingSessionRepository,
    TrainingStatus,
)
from app.services.dataset_catalog import DatasetCatalog
from app.services.training_plans import TrainingPlaces, TrainingRequest
from app.services.training_runners import RunnerName, WorkerDeath
from app.services.training_service import TrainingService, TrainingTiming
from tests.training_workers import write_data

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
REQUEST = TrainingRequest(datasets=["mine.npz"], recipe="trial", held_out=["person2"])


@dataclass
class FakeRunner:
    """Remembers whom it was to wake."""

    name: RunnerName = "process"
    missing: Sequence[str] = ()
    problem: str = ""
    asked: list[tuple[list[str], int]] = field(default_factory=list)
    deaths: list[WorkerDeath] = field(default_factory=list)

    async def dispatch(self, waiting: Sequence[TrainingSession], *, num_running: int) -> str:
        self.asked.append(([session.id for session in waiting], num_running))
        return self.problem

    def reap(self) -> Sequence[WorkerDeath]:
        deaths, self.deaths = self.deaths, []
        return deaths

    async def close(self) -> None:
        """Nothing to let go of."""


@dataclass
class Clock:
    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass(kw_only=True)
class Parts:
    service: TrainingService
    sessions: TrainingSessionRepository
    runner: FakeRunner
    clock: Clock

    async def claimed(self) -> TrainingSession:
        """A session that a worker has just taken."""
        session = await self.service.create(REQUEST)
        claimed = await self.sessions.claim(session.id, worker="here:1", now=self.clock())
        assert claimed is not None
        return claimed


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncGenerator[Parts]:
    write_data(tmp_path / "datasets")
    database = Database(f"sqlite+aiosqlite:///{tmp_path / 'signflow.db'}")
    await database.migrate()
    sessions = TrainingSessionRepository(database.sessions)
    runner, clock = FakeRunner(), Clock()
    service = TrainingService(
        sessions,
        catalog=DatasetCatalog(tmp_path / "datasets"),
        runner=runner,
        places=TrainingPlaces(model_dir=tmp_path / "models", runs_dir=tmp_path / "training"),
        timing=TrainingTiming(heartbeat_timeout_s=30),
        clock=clock,
    )
    yield Parts(service=service, sessions=sessions, runner=runner, clock=clock)
    await database.close()


async def test_one_worker_takes_a_session_and_the_others_go_away(parts: Parts) -> None:
    session = await parts.service.create(REQUEST)

    first = await parts.sessions.claim(session.id, worker="a:1", now=NOW)
    second = await parts.sessions.claim(session.id, worker="b:2", now=NOW)

    assert first is not None
    assert (first.status, first.attempt, first.worker) == (TrainingStatus.RUNNING, 1, "a:1")
    assert second is None


async def test_a_cancellation_is_read_as_often_as_anybody_asks(parts: Parts) -> None:
    session = await parts.claimed()
    await parts.service.cancel(session.id)

    orders = [await parts.sessions.read_orders(session.id, attempt=1) for _ in range(3)]

    assert [(order.is_own, order.is_cancelled) for order in orders] == [(True, True)] * 3


async def test_a_waiting_session_is_cancelled_at_once(parts: Parts) -> None:
    session = await parts.service.create(REQUEST)

    cancelled = await parts.service.cancel(session.id)

    assert cancelled.status is TrainingStatus.CANCELLED
    assert await parts.sessions.claim(session.id, worker="here:1", now=NOW) is None


async def test_a_worker_that_comes_back_from_the_dead_finds_that_the_session_is_not_its_own(parts: Parts) -> None:
    session = await parts.claimed()
    parts.clock.now += timedelta(seconds=31)
    await parts.service.tick()
    assert (await parts.service.require(session.id)).status is TrainingStatus.LOST

    await parts.service.resume(session.id)
    await parts.sessions.claim(session.id, worker="there:2", now=parts.clock())

    assert not (await parts.sessions.read_orders(session.id, attempt=1)).is_own
    assert not await parts.sessions.note(session.id, attempt=1, now=parts.clock(), step=7)
    assert not await parts.sessions.end(session.id, attempt=1, status=TrainingStatus.FINISHED, now=parts.clock())
    now = await parts.service.require(session.id)
    assert (now.status, now.attempt, now.step) == (TrainingStatus.RUNNING, 2, 0)


async def test_a_heartbeat_keeps_a_session_alive(parts: Parts) -> None:
    session = await parts.claimed()
    for _ in range(3):
        parts.clock.now += timedelta(seconds=20)
        await parts.sessions.note(session.id, attempt=1, now=parts.clock())
        await parts.service.tick()

    assert (await parts.service.require(session.id)).status is TrainingStatus.RUNNING


async def test_a_death_that_the_runner_saw_is_told_with_its_reason(parts: Parts) -> None:
    session = await parts.claimed()
    other = await parts.service.create(REQUEST)
    parts.runner.deaths = [
        WorkerDeath(session_id=session.id, worker="here:1", reason="the worker was ended from outside (SIGKILL)"),
        WorkerDeath(session_id=other.id, worker="here:2", reason="the worker failed (exit status 1): no torch"),
    ]

    await parts.service.tick()

    lost, failed = await parts.service.require(session.id), await parts.service.require(other.id)
    assert (lost.status, lost.message) == (TrainingStatus.LOST, "the worker was ended from outside (SIGKILL)")
    assert (failed.status, failed.message) == (TrainingStatus.FAILED, "the worker failed (exit status 1): no torch")


async def test_what_waits_is_told_to_the_runner_oldest_first_and_its_trouble_to_the_operator(parts: Parts) -> None:
    parts.runner.problem = "Redis cannot be reached"
    running = await parts.claimed()
    sessions: list[TrainingSession] = []
    for _ in range(2):
        parts.clock.now += timedelta(seconds=1)
        sessions.append(await parts.service.create(REQUEST))

    await parts.service.tick()

    assert parts.runner.asked == [([session.id for session in sessions], 1)]
    assert (await parts.service.require(sessions[0].id)).message == "Redis cannot be reached"
    parts.runner.problem = ""
    await parts.service.tick()
    assert (await parts.service.require(sessions[0].id)).message == ""
    assert (await parts.service.require(running.id)).status is TrainingStatus.RUNNING


@pytest.mark.parametrize("status", [TrainingStatus.FAILED, TrainingStatus.CANCELLED, TrainingStatus.LOST])
async def test_what_has_ended_unfinished_can_be_resumed(parts: Parts, status: TrainingStatus) -> None:
    session = await parts.claimed()
    await parts.sessions.end(session.id, attempt=1, status=status, message="because", now=NOW)

    resumed = await parts.service.resume(session.id)

    assert (resumed.status, resumed.message, resumed.cancel_requested) == (TrainingStatus.QUEUED, "", False)


async def test_a_finished_session_can_be_neither_resumed_nor_cancelled(parts: Parts) -> None:
    session = await parts.claimed()
    await parts.sessions.end(session.id, attempt=1, status=TrainingStatus.FINISHED, now=NOW)

    with pytest.raises(WrongStateError, match="finished; only failed, cancelled and lost"):
        await parts.service.resume(session.id)
    with pytest.raises(WrongStateError, match="nothing to cancel"):
        await parts.service.cancel(session.id)


async def test_deleting_takes_curves_and_checkpoint_and_a_running_session_refuses(parts: Parts, tmp_path: Path) -> None:
    session = await parts.claimed()
    await parts.sessions.add_points(session.id, [TrainingPoint(step=1, loss=2.0)])
    folder = tmp_path / "training" / session.id
    folder.mkdir(parents=True)
    with pytest.raises(WrongStateError, match="cancel it first"):
        await parts.service.delete(session.id)
    await parts.sessions.end(session.id, attempt=1, status=TrainingStatus.CANCELLED, now=NOW)

    await parts.service.delete(session.id)

    assert await parts.service.list() == []
    assert (await parts.service.list_points(session.id))[0] == []
    assert not folder.exists()


async def test_points_come_once_in_order_and_what_is_done_again_replaces_what_was_lost(parts: Parts) -> None:
    session = await parts.claimed()
    await parts.sessions.add_points(session.id, [TrainingPoint(step=step, loss=1.0) for step in (1, 2, 3)])
    first, cursor = await parts.service.list_points(session.id)
    await parts.sessions.drop_points(session.id, from_step=3)
    await parts.sessions.add_points(session.id, [TrainingPoint(step=3, loss=0.5, val_accuracy=0.9)])

    news, _ = await parts.service.list_points(session.id, after=cursor)
    everything, _ = await parts.service.list_points(session.id)

    assert [point.step for point in first] == [1, 2, 3]
    assert news == [TrainingPoint(step=3, loss=0.5, val_accuracy=0.9)]
    assert [(point.step, point.loss) for point in everything] == [(1, 1.0), (2, 1.0), (3, 0.5)]


async def test_without_the_training_packages_the_command_that_installs_them_is_named(parts: Parts) -> None:
    parts.runner.missing = ["torch", "mlflow"]

    with pytest.raises(TrainingUnavailableError, match=r"torch, mlflow.*make lab"):
        await parts.service.create(REQUEST)


async def test_times_keep_their_zone(parts: Parts) -> None:
    session = await parts.service.create(REQUEST)

    assert (await parts.service.require(session.id)).created_at == NOW


def test_two_sessions_never_write_the_same_version(tmp_path: Path) -> None:
    places = TrainingPlaces(model_dir=tmp_path, runs_dir=tmp_path)
    (tmp_path / "model_v6.onnx").touch()

    names = [places.reserve_candidate().name for _ in range(2)]

    assert names == ["model_v7.pt", "model_v8.pt"]
