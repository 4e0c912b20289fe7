"""Is the process alive, can it translate, and its numbers for Prometheus."""

from typing import Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel

from app.api.deps import Services
from app.core.metrics import CONTENT_TYPE
from app.core.version import VERSION
from app.services.model_service import ActiveModel

router = APIRouter(tags=["health"])


class ModelHealth(BaseModel):
    """Which model answers; `fallback_reason` says why it is not the preferred file, null when it is.

    `tta` tells whether every window is asked about in several views (test-time augmentation).
    """

    version: str
    backend: str
    fallback_reason: str | None
    tta: bool


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


def model_health(active: ActiveModel | None) -> ModelHealth | None:
    """The short facts of the active model."""
    if active is None:
        return None
    return ModelHealth(
        version=active.manifest.version, backend=active.backend, fallback_reason=active.fallback_reason, tta=active.tta
    )


@router.get("/health")
async def get_health(services: Services) -> Health:
    """Liveness: answers as long as the process does, with or without a model."""
    return Health(version=VERSION, worker=services.worker, model=model_health(services.models.active))


@router.get("/ready", responses={503: {"model": Readiness}})
async def get_readiness(services: Services, response: Response) -> Readiness:
    """Readiness: 200 when signs can be translated, else 503 with the reasons."""
    reasons: list[str] = []
    if services.models.active is None:
        reasons.append(services.models.no_model_reason)
    if services.sessions.is_draining:
        reasons.append("the server is shutting down")
    response.status_code = 503 if reasons else 200
    return Readiness(
        ready=not reasons, worker=services.worker, reasons=reasons, model=model_health(services.models.active)
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def get_metrics(services: Services) -> Response:
    """Numbers in Prometheus' text format."""
    return Response(services.metrics.render(), headers={"Content-Type": CONTENT_TYPE})
