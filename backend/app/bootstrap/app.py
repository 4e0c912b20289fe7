"""Puts the whole server together."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app.api.application import create_app
from app.api.deps import AppServices
from app.bootstrap.recogniser import LoadedRecogniser, Loader, load_recogniser, try_loading
from app.bootstrap.sessions import make_hub, make_session_context, make_sessions
from app.bootstrap.training import make_training
from app.core.config import Settings, get_multiprocess_dir
from app.core.errors import ConfigurationError
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.db.database import Database
from app.ml.inference.remote_policy import BreakerState
from app.repositories.feedback_clips import FeedbackClipRepository
from app.repositories.model_versions import ModelVersionRepository
from app.repositories.signs import SignRepository
from app.services.feedback_service import FeedbackLimits, FeedbackService
from app.services.model_service import ModelService
from app.services.operator_service import OperatorService
from app.services.sign_catalog import SignCatalog

logger = logging.getLogger(__name__)


def check_exposure(settings: Settings) -> None:
    """Refuse to listen to the world without credentials.

    Raises:
        ConfigurationError: the address can be reached from other machines and no operator token is set.
    """
    if not settings.is_loopback and settings.operator_token is None:
        msg = (
            f"SIGNFLOW_HOST={settings.host} can be reached from other machines: set SIGNFLOW_OPERATOR_TOKEN (at least "
            "16 characters) first, or listen on 127.0.0.1"
        )
        raise ConfigurationError(msg)


async def prepare_database(settings: Settings) -> None:
    """Bring the database's tables and signs up to date; once for all workers, and for one server at a time.

    Raises:
        ConfigurationError: a file of display texts cannot be read, or the database cannot be used.
    """
    catalog = SignCatalog.load(settings.signs_dir)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    try:
        async with database.alone():
            await database.migrate()
            await SignRepository(database.sessions).replace_all(catalog.signs)
    finally:
        await database.close()


def build_app(
    settings: Settings,
    *,
    operator: OperatorService,
    loader: Loader = load_recogniser,
    worker: int = 0,
    is_prepared: bool = False,
) -> FastAPI:
    """Make the application; model and database are opened when it starts.

    Without a usable model the server starts all the same, and says why on `/ready` and to every client.

    Args:
        settings: everything that can be set.
        operator: who may do what changes the server.
        loader: loads the recogniser.
        worker: which of the server's processes this is, from 0.
        is_prepared: `prepare_database` has run; otherwise it runs at start.

    Raises:
        ConfigurationError: a file of display texts cannot be read.
    """
    catalog = SignCatalog.load(settings.signs_dir)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        if not is_prepared:
            await prepare_database(settings)
        database = Database(settings.resolved_database_url)
        tasks = TaskSet("server")
        metrics = ServerMetrics(multiprocess_dir=get_multiprocess_dir(), max_signs=settings.metrics.max_signs)
        loading = await asyncio.to_thread(try_loading, loader, settings, metrics)
        try:
            services = _make_services(settings, database, catalog, tasks, operator, metrics, loading, worker)
            await services.models.record()
            app.state.services = services
            services.hub.start()
            if loading[0] is not None and loading[0].queue is not None:
                tasks.start(loading[0].queue.run(), name="batch queue")
            if worker == 0:  # one of the server's processes is enough to look after training
                tasks.start(services.training.supervise(), name="training")
            if services.models.remote is not None:
                tasks.start(services.models.remote.watch(), name="inference server")
            yield
            await tasks.close()
            await services.sessions.stop()
        finally:
            await tasks.close()
            await database.close()
            if loading[0] is not None and loading[0].remote is not None:
                await loading[0].remote.close()
            if loading[0] is not None:
                await asyncio.to_thread(loading[0].close)

    return create_app(lifespan=lifespan, frontend_dir=settings.frontend_dir)


def _make_services(
    settings: Settings,
    database: Database,
    catalog: SignCatalog,
    tasks: TaskSet,
    operator: OperatorService,
    metrics: ServerMetrics,
    loading: tuple[LoadedRecogniser | None, str],
    worker: int,
) -> AppServices:
    loaded, no_model_reason = loading
    active = None if loaded is None else loaded.active
    if active is not None:
        metrics.inference.add_model(
            version=active.manifest.version, backend=active.backend, sha256=active.sha256, signs=active.sign_labels
        )
    context = None if loaded is None else make_session_context(settings, loaded, catalog, tasks, metrics)
    sessions = make_sessions(settings, context, no_model_reason=no_model_reason)
    metrics.watch(
        "session_store_up",
        "1 when sessions can be kept for resuming",
        lambda: float(sessions.store.is_reachable),
        workers="min",
    )
    feedback = FeedbackService(
        FeedbackClipRepository(database.sessions),
        catalog=catalog,
        metrics=metrics,
        limits=FeedbackLimits(
            max_clips=settings.feedback.max_clips, max_clips_per_giver=settings.feedback.max_clips_per_giver
        ),
    )
    hub = make_hub(settings, sessions=sessions, feedback=feedback, tasks=tasks, metrics=metrics)
    queue = None if loaded is None else loaded.queue
    if queue is not None:
        metrics.watch("queue_depth", "Windows waiting for the recogniser", lambda: queue.num_waiting)
    remote = None if loaded is None else loaded.remote
    metrics.watch(
        "remote_asked",
        "1 when an inference server answers; 0 when none is set, or the model in this process stands in for it",
        lambda: float(remote is not None and remote.state.state is BreakerState.CLOSED),
        workers="min",
    )
    metrics.watch("model_loaded", "1 when signs can be translated", lambda: float(active is not None), workers="min")
    return AppServices(
        hub=hub,
        sessions=sessions,
        feedback=feedback,
        models=ModelService(
            active,
            no_model_reason=no_model_reason,
            versions=ModelVersionRepository(database.sessions),
            get_problem=(lambda: None) if queue is None else queue.get_problem,
            remote=remote,
        ),
        training=make_training(settings, database),
        catalog=catalog,
        operator=operator,
        metrics=metrics,
        worker=worker,
        num_workers=settings.workers,
        started_s=time.monotonic(),
    )
