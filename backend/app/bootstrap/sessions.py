"""Puts the live sessions together: their store, their limits, and the hub that holds their sockets."""

from app.api.connection import ConnectionLimits
from app.api.hub import HubSettings, StreamHub
from app.bootstrap.recogniser import LoadedRecogniser
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.services.captions import CaptionRules
from app.services.feedback_service import FeedbackService
from app.services.load_gate import LoadGate, LoadLimits
from app.services.session_service import SessionLimits, SessionService
from app.services.session_store import MemorySessionStore, SessionStore
from app.services.sign_catalog import SignCatalog
from app.services.streams import Recogniser, SessionContext, SessionRules


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
        msg = "SIGNFLOW_REDIS_URL needs the package redis; 'make extra NAME=scale' installs it"
        raise ConfigurationError(msg) from error
    except ValueError as error:
        msg = f"SIGNFLOW_REDIS_URL: {error}"
        raise ConfigurationError(msg) from error


def make_session_context(
    settings: Settings, loaded: LoadedRecogniser, catalog: SignCatalog, tasks: TaskSet, metrics: ServerMetrics
) -> SessionContext:
    """What every session of this process works with."""
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


def make_sessions(settings: Settings, context: SessionContext | None, *, no_model_reason: str) -> SessionService:
    """The sessions of this process; without a context, every newcomer is told why."""
    stream = settings.stream
    return SessionService(
        context,
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


def make_hub(
    settings: Settings, *, sessions: SessionService, feedback: FeedbackService, tasks: TaskSet, metrics: ServerMetrics
) -> StreamHub:
    """What holds the sockets."""
    stream = settings.stream
    return StreamHub(
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
