"""One attempt at a training session, inside its worker: the run in a thread, its news in the database."""

import asyncio
import errno
import logging
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from typing import Final, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from app.core.errors import SignFlowError
from app.ml.errors import MlError
from app.ml.evaluation.figures import CurvePoint
from app.ml.recordings.importers.source import Skipped
from app.ml.recordings.source_files import show_path
from app.ml.tracking import NullTracker, Tracker, make_tracker
from app.ml.trainer import Progress, TrainingStoppedError
from app.ml.training.run import Phase, TrainingOutcome, TrainingPlan, run_training
from app.repositories.training_sessions import (
    News,
    TrainingPoint,
    TrainingSession,
    TrainingSessionRepository,
    TrainingStatus,
)
from app.services.dataset_catalog import DatasetCatalog
from app.services.training_plans import TrainingPlaces, TrainingRequest, chosen_recipe, describe_outcome, load_clips

logger = logging.getLogger(__name__)

MAX_POINTS: Final = 600
"""Of one session's loss curve; longer runs keep the mean of several steps."""
_WRITE_EVERY_S: Final = 0.5
_STUCK_S: Final = 900.0
_END_ATTEMPTS: Final = 12
_END_PAUSE_S: Final = 5.0

_T = TypeVar("_T")


class _CancelledError(TrainingStoppedError):
    """The session was cancelled; what was learned so far is kept for resuming."""


class _TakenOverError(Exception):
    """The session is not this worker's any more: it must not write another word, nor a checkpoint."""


class TrainingJob:
    """Trains one session that this worker has taken."""

    def __init__(
        self,
        session: TrainingSession,
        *,
        sessions: TrainingSessionRepository,
        catalog: DatasetCatalog,
        places: TrainingPlaces,
    ) -> None:
        self._session = session
        self._sessions = sessions
        self._catalog = catalog
        self._places = places
        self._loop = asyncio.get_running_loop()
        self._news_s = time.monotonic()
        self._written_s = 0.0
        self._first_step: int | None = None
        self._waiting: list[TrainingPoint] = []
        self._stride = max(1, session.steps // MAX_POINTS)
        self._losses: list[float] = []
        self._left_out: Sequence[Skipped] = ()
        self.message = ""

    def is_stuck(self, now_s: float) -> bool:
        """Whether nothing was heard of the run for so long that it will not end any more."""
        return now_s - self._news_s > _STUCK_S

    async def run(self) -> TrainingStatus | None:
        """Train and write down how it ended.

        Returns:
            How it ended; None when the session is not this worker's any more.
        """
        points, _ = await self._sessions.list_points(self._session.id)
        try:
            outcome = await asyncio.to_thread(self._train, points)
        except _CancelledError:
            return await self._end(TrainingStatus.CANCELLED)
        except _TakenOverError:
            return None
        except (MlError, SignFlowError) as error:
            return await self._end(TrainingStatus.FAILED, str(error))
        except OSError as error:
            return await self._end(TrainingStatus.FAILED, _explain(error))
        except Exception as error:
            # A mistake of ours: say so where the operator looks, and let the log have all of it.
            await self._end(TrainingStatus.FAILED, f"{type(error).__name__}: {error}; the worker's log has the rest")
            raise
        result = describe_outcome(
            outcome, left_out=self._left_out, data_dir=self._catalog.folder, model_dir=self._places.model_dir
        )
        return await self._end(TrainingStatus.FINISHED, result=result.model_dump())

    def _train(self, points: Sequence[TrainingPoint]) -> TrainingOutcome:
        request = TrainingRequest.model_validate(self._session.request)
        recipe = chosen_recipe(request)
        output = self._places.reserve_candidate()
        tracker = self._make_tracker()
        try:
            data = load_clips(self._catalog.require(request.datasets), language=request.language)
            self._left_out = data.left_out
            for item in data.left_out:
                logger.warning("left out: %s: %s", show_path(item.path), item.reason)
            return run_training(
                TrainingPlan(
                    clips=data.clips,
                    background=data.background,
                    recipe=recipe,
                    seed=request.seed,
                    held_out=request.held_out,
                    output=output,
                    checkpoint=self._places.checkpoint(self._session.id),
                    curve_so_far=[
                        CurvePoint(step=point.step, loss=point.loss, val_accuracy=point.val_accuracy)
                        for point in points
                    ],
                    facts={"session": self._session.id, "datasets": list(request.datasets)},
                ),
                tracker=tracker,
                on_progress=self._on_progress,
                on_phase=lambda phase: self._on_phase(phase, tracker),
            )
        finally:
            if not any(output.parent.iterdir()):
                output.parent.rmdir()
            if tracker.problem is not None:
                self._ask(
                    self._sessions.note(
                        self._session.id,
                        attempt=self._session.attempt,
                        now=datetime.now(UTC),
                        tracking_problem=tracker.problem,
                    )
                )

    def _make_tracker(self) -> Tracker:
        places = self._places
        if not places.tracking:
            return NullTracker()
        return make_tracker(places.tracking_uri, model_dir=places.model_dir, run_id=self._session.tracking_run)

    def _on_phase(self, phase: Phase, tracker: Tracker) -> None:
        self._news_s = time.monotonic()
        self._ask(
            self._sessions.note(
                self._session.id,
                attempt=self._session.attempt,
                now=datetime.now(UTC),
                phase=phase.value,
                tracking_run=tracker.run_id,
            )
        )
        self._obey()

    def _on_progress(self, progress: Progress) -> None:
        """Write the news down twice a second, but look after every batch whether to go on."""
        self._news_s = time.monotonic()
        if self._first_step is None:
            self._begin(progress)
        self._losses.append(progress.loss)
        is_evaluation = progress.val_accuracy is not None
        is_last = progress.step == progress.steps
        if is_evaluation or is_last or progress.step % self._stride == 0:
            mean = sum(self._losses) / len(self._losses)
            self._losses.clear()
            self._waiting.append(TrainingPoint(step=progress.step, loss=mean, val_accuracy=progress.val_accuracy))
        if is_evaluation or is_last or self._news_s - self._written_s >= _WRITE_EVERY_S:
            self._ask(self._write(progress))
            self._written_s = self._news_s
        try:
            self._obey()
        except _CancelledError:
            self._ask(self._write(progress))  # the checkpoint is of this step: so is what is shown
            raise

    def _begin(self, progress: Progress) -> None:
        self._first_step = progress.step - 1
        self._ask(self._sessions.drop_points(self._session.id, from_step=progress.step))
        self._ask(
            self._sessions.note(
                self._session.id,
                attempt=self._session.attempt,
                now=datetime.now(UTC),
                first_step=self._first_step,
                step=self._first_step,
                training_at=datetime.now(UTC),
            )
        )

    async def _write(self, progress: Progress) -> bool:
        points, self._waiting = self._waiting, []
        await self._sessions.add_points(self._session.id, points)
        news: News = {"step": progress.step, "loss": points[-1].loss if points else progress.loss}
        if progress.val_accuracy is not None:
            news["val_accuracy"] = progress.val_accuracy
        return await self._sessions.note(self._session.id, attempt=self._session.attempt, now=datetime.now(UTC), **news)

    def _obey(self) -> None:
        orders = self._ask(self._sessions.read_orders(self._session.id, attempt=self._session.attempt))
        if orders is not None and not orders.is_own:
            raise _TakenOverError
        if orders is not None and orders.is_cancelled:
            raise _CancelledError

    def _ask(self, work: Coroutine[None, None, _T]) -> _T | None:
        """Use the database from the training's thread; None when it does not answer, which stops no training."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop).result()
        except SQLAlchemyError as error:
            logger.warning("the database does not answer, training goes on: %s", error)
            return None

    async def _end(
        self, status: TrainingStatus, message: str = "", *, result: dict[str, object] | None = None
    ) -> TrainingStatus | None:
        """Write the ending, patiently: hours of work hang on it."""
        self.message = message
        news: News = {} if result is None else {"result": result, "step": self._session.steps}
        for pauses_left in reversed(range(_END_ATTEMPTS)):
            try:
                is_own = await self._sessions.end(
                    self._session.id,
                    attempt=self._session.attempt,
                    status=status,
                    message=message,
                    now=datetime.now(UTC),
                    **news,
                )
            except SQLAlchemyError:
                if not pauses_left:
                    raise
                await asyncio.sleep(_END_PAUSE_S)
            else:
                return status if is_own else None
        return None


def _explain(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}; make room, then resume: training goes on from its last checkpoint"
    return f"{error.strerror or error}{where}"
