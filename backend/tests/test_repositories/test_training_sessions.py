"""Training sessions in each kind of database."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from app.db.database import Database
from app.repositories.training_sessions import (
    TrainingPoint,
    TrainingSession,
    TrainingSessionRepository,
    TrainingStatus,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
async def sessions(database: Database) -> TrainingSessionRepository:
    """The repository, with one session `a` that waits."""
    repository = TrainingSessionRepository(database.sessions)
    session = TrainingSession(
        id="a", status=TrainingStatus.QUEUED, request={"recipe": "trial"}, steps=9, created_at=NOW, queued_at=NOW
    )
    await repository.add(session)
    assert await repository.get("a") == session
    return repository


async def test_of_many_workers_at_once_one_takes_the_session(sessions: TrainingSessionRepository) -> None:
    claims = await asyncio.gather(*(sessions.claim("a", worker=f"here:{number}", now=NOW) for number in range(8)))

    taken = [claim for claim in claims if claim is not None]
    assert [(claim.status, claim.attempt) for claim in taken] == [(TrainingStatus.RUNNING, 1)]


async def test_a_session_goes_from_hand_to_hand_and_only_the_last_one_may_write(
    sessions: TrainingSessionRepository,
) -> None:
    await sessions.claim("a", worker="here:1", now=NOW)
    assert await sessions.cancel("a", now=NOW)
    assert (await sessions.read_orders("a", attempt=1)).is_cancelled
    assert await sessions.lose_silent(before=NOW + timedelta(seconds=1), message="silent", now=NOW) == 1
    assert await sessions.requeue("a", now=NOW)
    claim = await sessions.claim("a", worker="there:2", now=NOW)

    assert claim is not None
    assert (claim.attempt, claim.cancel_requested) == (2, False)
    assert not await sessions.end("a", attempt=1, status=TrainingStatus.FINISHED, now=NOW)
    assert not (await sessions.read_orders("a", attempt=1)).is_own
    assert await sessions.end("a", attempt=2, status=TrainingStatus.FINISHED, now=NOW, result={"version": "v2"})
    session = await sessions.get("a")
    assert session is not None
    assert (session.status, session.result, session.ended_at) == (TrainingStatus.FINISHED, {"version": "v2"}, NOW)


async def test_a_point_that_is_done_again_comes_after_everything_that_was_read(
    sessions: TrainingSessionRepository,
) -> None:
    await sessions.add_points("a", [TrainingPoint(step=step, loss=1.0) for step in (1, 2)])
    _, cursor = await sessions.list_points("a")
    await sessions.drop_points("a", from_step=2)
    again = TrainingPoint(step=2, loss=0.5, val_accuracy=0.9)
    await sessions.add_points("a", [again])

    news, _ = await sessions.list_points("a", after=cursor)
    assert news == [again]
    assert await sessions.delete("a")
    assert (await sessions.list_points("a"))[0] == []
