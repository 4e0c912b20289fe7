"""Puts the server together: the only reader of `Settings`, and the only place where implementations are chosen."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from app.api.application import create_app
from app.api.connection import ConnectionLimits
from app.api.deps import AppServices
from app.api.hub import HubSettings, StreamHub
from app.core.config import Settings, get_multiprocess_dir
from app.core.errors import ConfigurationError
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.db.database import Database
from app.ml.batch_processor import REMOTE_PARALLEL, BatchedInferenceQueue
from app.ml.errors import MlError
from app.ml.inference.batch_policy import BatchLimits
from app.ml.inference.remote import RemoteOptions, RemotePredictor
from app.ml.inference.remote_policy import BreakerState
from app.ml.metrics import InferenceMetrics
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.tta import TtaPredictor
from app.ml.types import Predictor
from app.repositories.feedback_clips import FeedbackClipRepository
from app.repositories.model_versions import ModelVersionRepository
from app.repositories.signs import SignRepository
from app.services.captions import CaptionRules
from app.services.feedback_service import FeedbackLimits, FeedbackService
from app.services.load_gate import LoadGate, LoadLimits
from app.services.model_service import ActiveModel, ModelService
from app.services.operator_service import OperatorService
from app.services.session_service import SessionLimits, SessionService
from app.services.session_store import MemorySessionStore, SessionStore
from app.services.sign_catalog import SignCatalog
from app.services.streams import Recogniser, SessionContext, SessionRules
from app.training_bootstrap import make_training

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedRecogniser:
    """A predictor that is ready to answer, what is known of its model, and how to let go of it.

    Attributes:
        queue: where windows wait for the model; it has to be run in the background.
        remote: the part that asks an inference server, to be watched in the background; None where none is asked.
    """

    predictor: Predictor
    active: ActiveModel
    close: Callable[[], None]
    queue: BatchedInferenceQueue | None = None
    remote: RemotePredictor | None = None


Loader = Callable[[Settings, InferenceMetrics], LoadedRecogniser]
"""Loads the recogniser, in a thread of its own. Raises MlError with the reason when it cannot."""


def load_recogniser(settings: Settings, metrics: InferenceMetrics) -> LoadedRecogniser:
    """Load the model that the settings choose.

    Raises:
        MlError: there is no model, or it cannot be used.
    """
    pipeline = SignFlowInferencePipeline.load(
        settings.model_dir,
        backend=settings.inference.backend,
        num_threads=settings.inference.num_threads,
        device=settings.inference.device,
        metrics=metrics,
    )
    info = pipeline.backend_info
    tta = settings.inference.tta
    batch = settings.batch
    limits = BatchLimits(
        batch_size=batch.batch_size,
        max_latency_ms=batch.max_latency_ms,
        capacity=batch.capacity,
        stall_s=batch.stall_s,
    )
    remote = _open_remote(settings, pipeline, metrics)
    num_parallel = 1 if remote is None else min(settings.remote.max_connections, REMOTE_PARALLEL)
    queue = BatchedInferenceQueue(remote or pipeline, limits=limits, num_parallel=num_parallel, metrics=metrics)
    predictor = TtaPredictor(queue, manifest=pipeline.manifest) if tta else queue
    active = ActiveModel(
        manifest=pipeline.manifest,
        backend=info.name if info.device == "cpu" else f"{info.name} on {info.device}",
        file_name=info.path.name,
        sha256=info.sha256,
        fallback_reason=info.fallback_reason,
        tta=tta,
        batch=limits,
    )
    return LoadedRecogniser(predictor=predictor, active=active, close=pipeline.close, queue=queue, remote=remote)


def _open_remote(
    settings: Settings, pipeline: SignFlowInferencePipeline, metrics: InferenceMetrics
) -> RemotePredictor | None:
    remote = settings.remote
    if remote.url is None:
        return None
    options = RemoteOptions(
        url=remote.url,
        protocol=remote.protocol,
        model=remote.model,
        timeout_s=remote.timeout_s,
        max_connections=remote.max_connections,
        token=None if remote.token is None else remote.token.get_secret_value(),
        certificate=remote.certificate,
    )
    return RemotePredictor.open(options, pipeline, metrics=metrics)


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
        loading = await asyncio.to_thread(_try_loading, loader, settings, metrics)
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


def _try_loading(loader: Loader, settings: Settings, metrics: ServerMetrics) -> tuple[LoadedRecogniser | None, str]:
    try:
        return loader(settings, metrics.inference), ""
    except MlError as error:
        logger.error("signs cannot be translated: %s", error)  # noqa: TRY400 - the reason is the whole story
        return None, str(error)


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
    stream = settings.stream
    loaded, no_model_reason = loading
    active = None if loaded is None else loaded.active
    if active is not None:
        metrics.inference.add_model(
            version=active.manifest.version, backend=active.backend, sha256=active.sha256, signs=active.sign_labels
        )
    sessions = SessionService(
        None if loaded is None else _session_context(settings, loaded, catalog, tasks, metrics),
        limits=SessionLimits(
            max_sessions=stream.max_sessions,
            max_kept_sessions=stream.max_kept_sessions,
            resume_s=stream.resume_s,
            retry_after_s=stream.retry_after_s,
        ),
        store=make_session_store(settings),
        gate=LoadGate(LoadLimits(max_cores=stream.max_cores) if stream.refuse_under_load else None),
        no_model_reason=no_model_reason,
    )
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
    hub = StreamHub(
        sessions=sessions,
        feedback=feedback,
        limits=ConnectionLimits(
            max_message_bytes=stream.max_message_bytes,
            idle_timeout_s=stream.idle_timeout_s,
            outbox_messages=stream.outbox_messages,
            send_timeout_s=stream.send_timeout_s,
            max_violations=stream.max_violations,
            violations_per_s=stream.violations_per_s,
        ),
        settings=HubSettings(
            allowed_origins=frozenset(origin.lower().rstrip("/") for origin in settings.allowed_origins),
            drain_timeout_s=stream.drain_timeout_s,
        ),
        tasks=tasks,
        metrics=metrics,
    )
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


def make_session_store(settings: Settings) -> SessionStore:
    """Where sessions are kept: in Redis when there is one, else in this process.

    Raises:
        ConfigurationError: the Redis client is not installed, or the address is none.
    """
    stream = settings.stream
    if settings.redis_url is None:
        return MemorySessionStore(
            max_sessions=stream.max_sessions, max_kept=stream.max_kept_sessions, resume_s=stream.resume_s
        )
    try:
        from app.services.redis_session_store import RedisSessionStore  # an optional package

        return RedisSessionStore(
            settings.redis_url.get_secret_value(), max_sessions=stream.max_sessions, resume_s=stream.resume_s
        )
    except ModuleNotFoundError as error:
        msg = "SIGNFLOW_REDIS_URL needs the package redis: pip install -e 'backend[scale]'"
        raise ConfigurationError(msg) from error
    except ValueError as error:
        msg = f"SIGNFLOW_REDIS_URL: {error}"
        raise ConfigurationError(msg) from error


def _session_context(
    settings: Settings, loaded: LoadedRecogniser, catalog: SignCatalog, tasks: TaskSet, metrics: ServerMetrics
) -> SessionContext:
    caption = settings.caption
    rules = SessionRules(
        backlog_frames=settings.stream.backlog_frames,
        history_signs=caption.history_signs,
        clips_in_memory=settings.feedback.clips_in_memory,
        inference_timeout_s=settings.inference.timeout_s,
        captions=CaptionRules(
            letter_join_ms=caption.letter_join_ms,
            repeat_gap_ms=caption.repeat_gap_ms,
            history_signs=caption.history_signs,
        ),
    )
    recogniser = Recogniser(
        predictor=loaded.predictor, version=loaded.active.manifest.version, labels=loaded.active.sign_labels
    )
    return SessionContext(recogniser=recogniser, rules=rules, texts=catalog, tasks=tasks, metrics=metrics)
