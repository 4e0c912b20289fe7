"""The training part of `app.bootstrap`, on its own because a worker needs nothing of the server."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING

from app.core.config import BACKEND_DIR, Settings, worker_environment
from app.core.errors import ConfigurationError
from app.db.database import Database
from app.repositories.training_sessions import TrainingSessionRepository, TrainingStatus
from app.services.dataset_catalog import DatasetCatalog
from app.services.training_plans import TrainingPlaces
from app.services.training_runners import (
    TASK,
    CeleryRunner,
    ProcessRunner,
    TrainingRunner,
    make_celery,
    worker_name,
)
from app.services.training_service import TrainingService, TrainingTiming, run_training_session

if TYPE_CHECKING:
    from celery import Celery


def _training_places(settings: Settings) -> TrainingPlaces:
    return TrainingPlaces(
        model_dir=settings.model_dir,
        runs_dir=settings.data_dir / "training",
        tracking=settings.training.tracking,
        tracking_uri=settings.training.tracking_uri,
    )


def make_training(settings: Settings, database: Database) -> TrainingService:
    """The server's side of training.

    Raises:
        ConfigurationError: Celery is asked for and not installed.
    """
    places = _training_places(settings)
    runner: TrainingRunner
    if settings.training.runner == "celery":
        runner = CeleryRunner(_require_redis_url(settings))
    else:
        runner = ProcessRunner(
            (sys.executable, "-m", "app.training_worker"),
            folder=BACKEND_DIR,
            environment=worker_environment(settings),
            places=places,
        )
    return TrainingService(
        TrainingSessionRepository(database.sessions),
        catalog=DatasetCatalog(settings.datasets_dir),
        runner=runner,
        places=places,
        timing=TrainingTiming(heartbeat_timeout_s=settings.training.heartbeat_timeout_s),
    )


def _require_redis_url(settings: Settings) -> str:
    """Redis' address, with its password.

    Raises:
        ConfigurationError: none is set.
    """
    if settings.redis_url is None:
        msg = "set SIGNFLOW_REDIS_URL, e.g. redis://127.0.0.1:6379/0"
        raise ConfigurationError(msg)
    return settings.redis_url.get_secret_value()


async def work_on_session(settings: Settings, session_id: str) -> TrainingStatus | None:
    """Train one queued session in this process; see `run_training_session`."""
    database = Database(settings.resolved_database_url)
    try:
        return await run_training_session(
            session_id,
            sessions=TrainingSessionRepository(database.sessions),
            catalog=DatasetCatalog(settings.datasets_dir),
            places=_training_places(settings),
            worker=worker_name(os.getpid()),
        )
    finally:
        await database.close()


def make_training_celery(settings: Settings) -> "Celery":
    """The Celery application whose workers train.

    Raises:
        ConfigurationError: Redis' address is not set, or Celery is not installed.
    """
    celery = make_celery(_require_redis_url(settings))

    def train(session_id: str) -> None:
        asyncio.run(work_on_session(settings, session_id))

    celery.task(name=TASK, ignore_result=True)(train)
    return celery
