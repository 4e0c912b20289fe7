"""Is the process alive, can it translate, and its numbers for Prometheus."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.api.deps import Services
from app.core.metrics import CONTENT_TYPE
from app.core.version import VERSION
from app.ml.inference.remote_policy import BreakerState
from app.services.model_service import ActiveModel

if TYPE_CHECKING:
    from app.ml.inference.remote import RemotePredictor

router = APIRouter(tags=["health"])


class QueueLimits(BaseModel):
    """Windows in one call of the model, how long one is held back for others at most, and how many may wait."""

    batch_size: int
    max_latency_ms: float
    capacity: int


class ModelHealth(BaseModel):
    """Which model answers; `fallback_reason` says why it is not the preferred file, null when it is.

    `tta` tells whether every window is asked about in several views (test-time augmentation); `batch` the limits of the
    queue in front of the model, null without one.
    """

    version: str
    backend: str
    fallback_reason: str | None
    tta: bool
    batch: QueueLimits | None


class RemoteHealth(BaseModel):
    """The inference server that is asked before the model in this process.

    Only in state `closed` (its circuit breaker's) is it asked; `reason` says why it is not. `answered` and `fallbacks`
    count windows that it answered, and that the model in this process answered in its place.
    """

    protocol: str
    url: str
    model: str
    state: BreakerState
    reason: str
    state_s: float
    answered: int
    fallbacks: int
    kept_local: int
    retries: int
    failures: int
    openings: int
    last_failure: str


class Health(BaseModel):
    """The process is alive; `worker` is which of the server's processes answered, from 0."""

    status: Literal["ok"] = "ok"
    version: str
    worker: int
    model: ModelHealth | None


class Readiness(BaseModel):
    """Whether the worker that answers can translate signs now; `reasons` says what is missing."""

    ready: bool
    worker: int
    reasons: list[str]
    model: ModelHealth | None
    remote: RemoteHealth | None


def queue_limits(active: ActiveModel) -> QueueLimits | None:
    """Limits of the queue in front of the active model."""
    limits = active.batch
    if limits is None:
        return None
    return QueueLimits(batch_size=limits.batch_size, max_latency_ms=limits.max_latency_ms, capacity=limits.capacity)


def model_health(active: ActiveModel | None) -> ModelHealth | None:
    """The short facts of the active model."""
    if active is None:
        return None
    return ModelHealth(
        version=active.manifest.version,
        backend=active.backend,
        fallback_reason=active.fallback_reason,
        tta=active.tta,
        batch=queue_limits(active),
    )


def remote_health(remote: "RemotePredictor | None") -> RemoteHealth | None:
    """How it stands with the inference server; None where none is asked."""
    return None if remote is None else RemoteHealth(**asdict(remote.state))


@router.head("/health", include_in_schema=False)
@router.get("/health")
async def get_health(services: Services) -> Health:
    """Liveness: answers as long as the process does, with or without a model."""
    return Health(version=VERSION, worker=services.worker, model=model_health(services.models.active))


@router.head("/ready", include_in_schema=False)
@router.get("/ready", responses={503: {"model": Readiness}})
async def get_readiness(services: Services, response: Response) -> Readiness:
    """Readiness: 200 when signs can be translated, else 503 with the reasons."""
    reasons: list[str] = []
    if services.models.active is None:
        reasons.append(services.models.no_model_reason)
    problem = services.models.get_problem()
    if problem is not None:
        reasons.append(problem)
    if services.sessions.is_draining:
        reasons.append("the server is shutting down")
    response.status_code = 503 if reasons else 200
    return Readiness(
        ready=not reasons,
        worker=services.worker,
        reasons=reasons,
        model=model_health(services.models.active),
        remote=remote_health(services.models.remote),
    )


@router.head("/metrics", include_in_schema=False)
@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(services: Services) -> Response:
    """Numbers in Prometheus' text format."""
    return Response(services.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
