"""Training from the product: sessions in the database, workers that take them, and the run itself.

`TrainingService` is the server's side; `run_training_session` is the worker's. They meet in the database only.
"""

import asyncio
import logging
import shutil
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import (
    InvalidInputError,
    LimitReachedError,
    NotFoundError,
    TrainingUnavailableError,
    WrongStateError,
)
from app.core.tasks import TaskSet
from app.ml.training.recipes import Recipe, get_recipe, recipe_names, total_steps
from app.repositories.training_sessions import (
    TrainingPoint,
    TrainingSession,
    TrainingSessionRepository,
    TrainingStatus,
)
from app.services.dataset_catalog import DataSet, DatasetCatalog
from app.services.training_plans import TrainingPlaces, TrainingRequest, TrainingResult, chosen_recipe
from app.services.training_runners import INSTALL_COMMAND, TrainingRunner

if TYPE_CHECKING:
    from app.services.training_job import TrainingJob

logger = logging.getLogger(__name__)

MAX_SESSIONS: Final = 500
_SUPERSEDED: Final = "this session was taken over by another worker, or deleted; stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTiming:
    """How often things are looked at.

    Attributes:
        tick_s: between two looks at what waits and who has died.
        heartbeat_timeout_s: a running session that is silent for so long is lost.
    """

    tick_s: float = 1.0
    heartbeat_timeout_s: float = 30.0


class TrainingService:
    """Lists, starts, cancels, resumes and deletes training sessions, and notices dead workers."""

    def __init__(
        self,
        sessions: TrainingSessionRepository,
        *,
        catalog: DatasetCatalog,
        runner: TrainingRunner,
        places: TrainingPlaces,
        timing: TrainingTiming,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sessions = sessions
        self._catalog = catalog
        self._runner = runner
        self._places = places
        self._timing = timing
        self._clock = clock
        self._wake = asyncio.Event()

    @property
    def runner(self) -> TrainingRunner:
        """Who trains."""
        return self._runner

    @property
    def datasets_dir(self) -> str:
        """Where the operator puts data sets."""
        return str(self._catalog.folder)

    def recipes(self) -> Sequence[Recipe]:
        """What can be chosen."""
        return [get_recipe(name) for name in recipe_names()]

    async def list_datasets(self) -> Sequence[DataSet]:
        """The data sets on this server."""
        return await asyncio.to_thread(self._catalog.list)

    async def list(self) -> Sequence[TrainingSession]:
        """All sessions, newest first."""
        return await self._sessions.list(limit=MAX_SESSIONS)

    async def require(self, session_id: str) -> TrainingSession:
        """One session.

        Raises:
            NotFoundError: there is none of that id.
        """
        session = await self._sessions.get(session_id)
        if session is None:
            msg = f"there is no training session {session_id}"
            raise NotFoundError(msg)
        return session

    async def list_points(self, session_id: str, *, after: int = 0) -> tuple[Sequence[TrainingPoint], int]:
        """Points of a session's curves after a cursor, and the next cursor."""
        return await self._sessions.list_points(session_id, after=after)

    async def create(self, request: TrainingRequest) -> TrainingSession:
        """Put a session in the queue.

        Raises:
            TrainingUnavailableError: this installation cannot train.
            InvalidInputError: a recipe, data set or person is not known, or everybody is held out.
            LimitReachedError: too many sessions are kept.
        """
        self._require_packages()
        if request.recipe not in recipe_names():
            msg = f"unknown recipe {request.recipe!r}; known: {', '.join(recipe_names())}"
            raise InvalidInputError(msg)
        sets = await asyncio.to_thread(self._catalog.require, request.datasets)
        signers = {signer for one in sets for signer in one.summary.signers}
        unknown = sorted(set(request.held_out) - signers)
        if unknown:
            msg = f"{', '.join(unknown)} signs in none of the chosen data sets; there are: {', '.join(sorted(signers))}"
            raise InvalidInputError(msg)
        if signers <= set(request.held_out):
            msg = "everybody is held out; leave somebody to learn from"
            raise InvalidInputError(msg)
        if await self._sessions.count() >= MAX_SESSIONS:
            msg = f"{MAX_SESSIONS} training sessions are kept; delete old ones first"
            raise LimitReachedError(msg)
        now = self._clock()
        session = TrainingSession(
            id=uuid.uuid4().hex,
            status=TrainingStatus.QUEUED,
            request=request.model_dump(),
            steps=total_steps(chosen_recipe(request)),
            created_at=now,
            queued_at=now,
        )
        await self._sessions.add(session)
        self._wake.set()
        return session

    async def cancel(self, session_id: str) -> TrainingSession:
        """Stop a session: at once while it waits, within a batch while it runs.

        Raises:
            NotFoundError: there is none of that id.
            WrongStateError: it has ended.
        """
        session = await self.require(session_id)
        if not await self._sessions.cancel(session_id, now=self._clock()):
            msg = f"this session is {session.status} already; there is nothing to cancel"
            raise WrongStateError(msg)
        return await self.require(session_id)

    async def resume(self, session_id: str) -> TrainingSession:
        """Queue a session again; it goes on from its last checkpoint.

        Raises:
            NotFoundError: there is none of that id.
            TrainingUnavailableError: this installation cannot train.
            WrongStateError: it waits, runs or is finished.
        """
        session = await self.require(session_id)
        self._require_packages()
        if not await self._sessions.requeue(session_id, now=self._clock()):
            msg = f"this session is {session.status}; only failed, cancelled and lost ones can be resumed"
            raise WrongStateError(msg)
        self._wake.set()
        return await self.require(session_id)

    async def delete(self, session_id: str) -> None:
        """Delete a session with its curves, checkpoint and log; model files that it has written stay.

        Raises:
            NotFoundError: there is none of that id.
            WrongStateError: it is running.
        """
        await self.require(session_id)
        if not await self._sessions.delete(session_id):
            msg = "this session is running; cancel it first"
            raise WrongStateError(msg)
        await asyncio.to_thread(shutil.rmtree, self._places.run_dir(session_id), ignore_errors=True)

    async def require_file(self, session_id: str, name: str) -> Path:
        """A model file that a session has written; `name` is one that its result lists.

        Raises:
            NotFoundError: there is no such session or file.
        """
        session = await self.require(session_id)
        result = None if session.result is None else TrainingResult.model_validate(session.result)
        if result is not None and name in result.files:
            path = Path(result.folder) / name
            if await asyncio.to_thread(path.is_file):
                return path
        msg = f"this session has no file {name}; it may have been moved or deleted on the server"
        raise NotFoundError(msg)

    def _require_packages(self) -> None:
        if self._runner.missing:
            missing = ", ".join(self._runner.missing)
            msg = f"training needs packages that are missing here ({missing}): run '{INSTALL_COMMAND}', then try again"
            raise TrainingUnavailableError(msg)

    async def supervise(self) -> None:
        """Wake workers for what waits and mark what was lost, until cancelled."""
        is_reachable = True
        try:
            while True:
                try:
                    await self.tick()
                    is_reachable = True
                except (SQLAlchemyError, OSError) as error:  # the database may come back
                    if is_reachable:
                        logger.warning("training sessions cannot be looked after: %s", error)
                    is_reachable = False
                try:
                    async with asyncio.timeout(self._timing.tick_s):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            await self._runner.close()

    async def tick(self) -> None:
        """Look once."""
        now = self._clock()
        for death in self._runner.reap():
            reason = death.reason or "the worker ended before the session did"
            if await self._sessions.lose(death.session_id, worker=death.worker, message=reason, now=now):
                logger.warning("training session %s is lost: %s", death.session_id, reason)
            elif death.reason:
                await self._sessions.fail_queued(death.session_id, message=reason, now=now)
        limit_s = self._timing.heartbeat_timeout_s
        num_lost = await self._sessions.lose_silent(
            before=now - timedelta(seconds=limit_s),
            message=f"its worker has not been heard of for {limit_s:.0f} s; resuming goes on from its last checkpoint",
            now=now,
        )
        if num_lost:
            logger.warning("%d training sessions are lost: no heartbeat for %.0f s", num_lost, limit_s)
        waiting = await self._sessions.list(limit=MAX_SESSIONS, status=TrainingStatus.QUEUED)
        if waiting:
            num_running = await self._sessions.count(TrainingStatus.RUNNING)
            problem = await self._runner.dispatch(waiting, num_running=num_running)
            for session in waiting:
                if session.message != problem:
                    await self._sessions.say(session.id, problem)


async def run_training_session(
    session_id: str,
    *,
    sessions: TrainingSessionRepository,
    catalog: DatasetCatalog,
    places: TrainingPlaces,
    worker: str,
    heartbeat_s: float = 2.0,
) -> TrainingStatus | None:
    """Take one queued session and train it, in this process; how it ends is written to the database.

    Args:
        session_id: which.
        sessions: the database.
        catalog: where its data sets are looked up.
        places: where it writes.
        worker: who this is; see `training_runners.worker_name`.
        heartbeat_s: between two signs of life.

    Returns:
        How it ended; None when it was not there to be taken, or somebody else has taken it over.
    """
    from app.services.training_job import TrainingJob  # needs PyTorch, which the server does without

    session = await sessions.claim(session_id, worker=worker, now=datetime.now(UTC))
    if session is None:
        logger.info("training session %s does not wait any more", session_id)
        return None
    tasks = TaskSet("training worker")
    try:
        job = TrainingJob(session, sessions=sessions, catalog=catalog, places=places)
        tasks.start(_beat(session, sessions, job, every_s=heartbeat_s), name="heartbeat")
        ending = await job.run()
    finally:
        await tasks.close()
    if ending is None:
        logger.warning("training session %s: %s", session_id, _SUPERSEDED)
    else:
        logger.info("training session %s is %s %s", session_id, ending.value, job.message)
    return ending


async def _beat(
    session: TrainingSession, sessions: TrainingSessionRepository, job: "TrainingJob", *, every_s: float
) -> None:
    """Say that the session is alive, as long as its training moves: a hung worker must look dead."""
    while True:
        await asyncio.sleep(every_s)
        if not job.is_stuck(time.monotonic()):
            try:
                await sessions.note(session.id, attempt=session.attempt, now=datetime.now(UTC))
            except SQLAlchemyError as error:
                logger.warning("the heartbeat could not be written: %s", error)
