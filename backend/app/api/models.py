"""The model in use, and for operators the state of the whole server."""

import platform
import time
from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel

from app.api.deps import OperatorOnly, Services
from app.api.errors import ErrorBody
from app.api.health import QueueLimits, queue_limits
from app.core.version import VERSION
from app.ml.inference.confidence import explain_unmeasured, settle_calibration
from app.services.model_service import ActiveModel
from app.services.session_store import StoreKind

router = APIRouter(prefix="/api/v1", tags=["models"])


class ModelInfo(BaseModel):
    """The active model: what it is, what runs it and how it decides.

    `threshold`: the confidence from which it answers. `confidence_unmeasured`: why nobody knows how often it is right
    at which confidence; null where that was measured.
    """

    version: str
    sha256: str
    file_name: str
    backend: str
    fallback_reason: str | None
    tta: bool
    batch: QueueLimits | None
    feature_spec: str
    config: dict[str, str | int | float | bool]
    languages: list[str]
    num_signs: int
    threshold: float
    confidence_unmeasured: str | None
    provenance: dict[str, str | int | float | list[str]]


class LoadedModelInfo(BaseModel):
    """A model file that this server has loaded; `loaded_at` is the last time."""

    version: str
    sha256: str
    backend: str
    file_name: str
    num_labels: int
    loaded_at: datetime


class ServerStatus(BaseModel):
    """What an operator wants to see at a glance.

    `worker` is which of the server's `workers` processes answers; `sessions_open` is of all that share `session_store`,
    `connections` and `sessions_kept` are its own.
    """

    version: str
    python: str
    uptime_s: float
    ready: bool
    no_model_reason: str | None
    model: ModelInfo | None
    worker: int
    workers: int
    session_store: StoreKind
    session_store_reachable: bool
    connections: int
    sessions_open: int
    sessions_kept: int
    max_sessions: int
    feedback_clips: int
    models_loaded: list[LoadedModelInfo]


@router.get("/models/active", responses={503: {"model": ErrorBody}})
async def get_active_model(services: Services) -> ModelInfo:
    """The model that answers now; 503 with the reason when there is none."""
    return _describe(services.models.require_active())


@router.get("/status", dependencies=[OperatorOnly], responses={401: {"model": ErrorBody}})
async def get_status(services: Services) -> ServerStatus:
    """The state of this server, for its operator."""
    active = services.models.active
    return ServerStatus(
        version=VERSION,
        python=platform.python_version(),
        uptime_s=round(time.monotonic() - services.started_s, 1),
        ready=active is not None,
        no_model_reason=None if active is not None else services.models.no_model_reason,
        model=None if active is None else _describe(active),
        worker=services.worker,
        workers=services.num_workers,
        session_store=services.sessions.store.kind,
        session_store_reachable=services.sessions.store.is_reachable,
        connections=services.hub.num_connections,
        sessions_open=await services.sessions.count_open(),
        sessions_kept=services.sessions.num_kept,
        max_sessions=services.sessions.limits.max_sessions,
        feedback_clips=await services.feedback.count(giver_token=None),
        models_loaded=[
            LoadedModelInfo(
                version=item.version,
                sha256=item.sha256,
                backend=item.backend,
                file_name=item.file_name,
                num_labels=item.num_labels,
                loaded_at=item.loaded_at,
            )
            for item in await services.models.list_loaded()
        ],
    )


def _describe(active: ActiveModel) -> ModelInfo:
    manifest = active.manifest
    return ModelInfo(
        version=manifest.version,
        sha256=active.sha256,
        file_name=active.file_name,
        backend=active.backend,
        fallback_reason=active.fallback_reason,
        tta=active.tta,
        batch=queue_limits(active),
        feature_spec=manifest.feature_spec,
        config=manifest.config,
        languages=sorted({item.language for item in manifest.labels if item.label in active.sign_labels}),
        num_signs=len(active.sign_labels),
        threshold=settle_calibration(manifest).threshold,
        confidence_unmeasured=explain_unmeasured(manifest),
        provenance=manifest.provenance,
    )
