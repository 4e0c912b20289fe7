"""Feedback clips: their giver and the operator can list, download and delete them."""

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from app.api.deps import FeedbackAsker, Services
from app.api.errors import ErrorBody
from app.core.errors import InvalidInputError

router = APIRouter(prefix="/api/v1/feedback", tags=["feedback"], responses={401: {"model": ErrorBody}})


class FeedbackClipInfo(BaseModel):
    """A stored correction; `predicted_label` null was "not sure"; `status` is `quarantined` until somebody decides."""

    id: str
    sign_id: int
    status: str
    label: str
    predicted_label: str | None
    confidence: float
    model_version: str
    num_frames: int
    duration_ms: float
    consented_at: datetime
    created_at: datetime


class FeedbackClipList(BaseModel):
    """Clips, newest first; `total` counts those beyond this page too."""

    total: int
    clips: list[FeedbackClipInfo]


class Deleted(BaseModel):
    """How many clips are gone for good."""

    deleted: int


@router.get("")
async def list_feedback(
    services: Services,
    asker: FeedbackAsker,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> FeedbackClipList:
    """List the asker's clips; an operator sees everybody's."""
    clips = await services.feedback.list(giver_token=asker.giver_token, offset=offset, limit=limit)
    return FeedbackClipList(
        total=await services.feedback.count(giver_token=asker.giver_token),
        clips=[
            FeedbackClipInfo(
                id=clip.clip_id,
                sign_id=clip.sign_id,
                status=clip.status,
                label=clip.label,
                predicted_label=clip.predicted_label,
                confidence=clip.confidence,
                model_version=clip.model_version,
                num_frames=clip.num_frames,
                duration_ms=clip.duration_ms,
                consented_at=clip.consented_at,
                created_at=clip.created_at,
            )
            for clip in clips
        ],
    )


@router.get(
    "/{clip_id}/clip",
    response_class=Response,
    responses={200: {"content": {"application/octet-stream": {}}}, 404: {"model": ErrorBody}},
)
async def download_feedback(services: Services, asker: FeedbackAsker, clip_id: str) -> Response:
    """The landmark clip of a correction, as a clip `.npz`."""
    npz = await services.feedback.require_npz(clip_id, giver_token=asker.giver_token)
    return Response(
        npz,
        media_type="application/octet-stream",
        headers={"Content-Disposition": 'attachment; filename="clip.npz"', "Cache-Control": "no-store"},
    )


@router.delete("/{clip_id}", responses={404: {"model": ErrorBody}})
async def delete_feedback(services: Services, asker: FeedbackAsker, clip_id: str) -> Deleted:
    """Delete one clip for good."""
    await services.feedback.delete(clip_id, giver_token=asker.giver_token)
    return Deleted(deleted=1)


@router.delete("")
async def delete_all_feedback(services: Services, asker: FeedbackAsker) -> Deleted:
    """Delete everything that the asker has given. An operator deletes one by one."""
    if asker.giver_token is None:
        msg = "an operator deletes clips one by one; name the clip"
        raise InvalidInputError(msg)
    return Deleted(deleted=await services.feedback.delete_all(giver_token=asker.giver_token))
