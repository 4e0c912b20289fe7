"""How workers are woken: processes that end in every way, and a Redis that is away for a while."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.repositories.training_sessions import TrainingSession, TrainingStatus
from app.services.training_plans import TrainingPlaces
from app.services.training_runners import QUEUE, CeleryRunner, ProcessRunner, WorkerDeath
from tests.redis_server import RedisServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(name: str) -> TrainingSession:
    return TrainingSession(id=name, status=TrainingStatus.QUEUED, request={}, steps=1, created_at=NOW, queued_at=NOW)


def process_runner(folder: Path, code: str) -> ProcessRunner:
    """A runner whose workers run this code instead."""
    places = TrainingPlaces(model_dir=folder, runs_dir=folder)
    return ProcessRunner((sys.executable, "-c", code), folder=folder, environment={}, places=places)


async def death_of(runner: ProcessRunner) -> WorkerDeath:
    """Wait for the one worker to end."""
    async with asyncio.timeout(60):
        while True:
            for death in runner.reap():
                return death
            await asyncio.sleep(0.02)


async def test_one_process_at_a_time_is_started_for_what_has_waited_longest(tmp_path: Path) -> None:
    runner = process_runner(tmp_path, "import sys; print(sys.argv)")

    assert await runner.dispatch([session("a"), session("b")], num_running=1) == ""
    assert runner.reap() == []
    assert await runner.dispatch([session("a"), session("b")], num_running=0) == ""
    assert await runner.dispatch([session("b")], num_running=0) == ""
    death = await death_of(runner)

    assert (death.session_id, death.reason) == ("a", "")
    assert (tmp_path / "a" / "worker.log").read_text() == "['-c', '--session', 'a']\n"
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise SystemExit('no room')", "the worker failed (exit status 1): no room (all of it: "),
        ("import os; os.kill(os.getpid(), 9)", "ended from outside (SIGKILL, perhaps because memory ran out)"),
        ("import os; os.kill(os.getpid(), 15)", "ended from outside (SIGTERM); resuming goes on from"),
    ],
)
async def test_how_a_worker_ended_is_told_in_words(tmp_path: Path, code: str, reason: str) -> None:
    runner = process_runner(tmp_path, code)
    await runner.dispatch([session("a")], num_running=0)

    assert reason in (await death_of(runner)).reason


async def test_a_worker_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    places = TrainingPlaces(model_dir=tmp_path, runs_dir=tmp_path)
    runner = ProcessRunner((str(tmp_path / "nothing"),), folder=tmp_path, environment={}, places=places)

    assert "the worker cannot be started" in await runner.dispatch([session("a")], num_running=0)


async def test_a_redis_that_is_away_is_told_and_the_session_is_sent_once_when_it_is_back(tmp_path: Path) -> None:
    redis = RedisServer(folder=tmp_path)
    runner = CeleryRunner(redis.url)
    away = await runner.dispatch([session("a")], num_running=0)
    redis.start()
    try:
        back = [await runner.dispatch([session("a")], num_running=0) for _ in range(3)]
        async with redis.client() as client:
            num_messages = await client.llen(QUEUE)  # pyright: ignore[reportGeneralTypeIssues]
    finally:
        await runner.close()
        redis.kill()

    assert away.startswith("Redis cannot be reached")
    assert back == ["", "", ""]
    assert num_messages == 1
