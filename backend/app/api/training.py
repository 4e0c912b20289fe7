"""Training sessions, for operators: choose data and recipe, watch, cancel, resume, fetch the model."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from enum import IntEnum
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Path, WebSocket
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field, ValidationError
from starlette.websockets import WebSocketDisconnect

from app.api.deps import OperatorOnly, Services, get_services
from app.api.errors import ErrorBody
from app.api.translate import is_allowed_origin, refuse
from app.core.errors import NotFoundError
from app.repositories.training_sessions import TrainingPoint, TrainingSession, TrainingStatus
from app.services.training_plans import TrainingRequest, TrainingResult
from app.services.training_runners import INSTALL_COMMAND, RunnerName
from app.services.training_service import TrainingService

router = APIRouter(
    prefix="/api/v1/training",
    tags=["training"],
    dependencies=[OperatorOnly],
    responses={401: {"model": ErrorBody}},
)
socket_router = APIRouter(prefix="/api/v1/training")

_POLL_S: Final = 0.5
_TOKEN_TIMEOUT_S: Final = 10.0
_ENDED: Final = (TrainingStatus.FINISHED, TrainingStatus.FAILED, TrainingStatus.CANCELLED, TrainingStatus.LOST)


class TrainingCloseCode(IntEnum):
    """Why the server closes a training socket; apart from those of the live stream."""

    ENDED = 1000
    """The session has ended and everything was sent."""
    NOT_ALLOWED = 4010
    """The first message held no valid token."""
    NOT_FOUND = 4011
    """There is no such session."""


SessionId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]


class RecipeInfo(BaseModel):
    """A way to train that can be chosen."""

    name: str
    model: str
    steps: int


class TrainingOptions(BaseModel):
    """What this installation offers. `missing` is not empty: run `install_command` first."""

    recipes: list[RecipeInfo]
    runner: RunnerName
    missing: list[str]
    install_command: str
    datasets_dir: str


class DataSetInfo(BaseModel):
    """A data set on the server: clips of each signer and of each sign. `problem` says why it cannot be used."""

    name: str
    num_clips: int
    signers: dict[str, int]
    signs: dict[str, int]
    languages: list[str]
    problem: str | None


class DataSetList(BaseModel):
    """The data sets in the server's folder."""

    folder: str
    datasets: list[DataSetInfo]


class TrainingSessionInfo(BaseModel):
    """A session as it stands. `eta_s` is null until two steps can be compared; `resumed_from` is the step at which the
    present attempt went on: null in the first one, 0 where an earlier one had ended before anything was kept."""

    id: str
    status: TrainingStatus
    phase: str | None
    message: str
    request: TrainingRequest
    attempt: int
    resumed_from: int | None
    cancelling: bool
    step: int
    steps: int
    loss: float | None
    val_accuracy: float | None
    eta_s: float | None
    tracking_run: str | None
    tracking_problem: str | None
    result: TrainingResult | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class TrainingSessionList(BaseModel):
    """Sessions, newest first."""

    sessions: list[TrainingSessionInfo]


class CurvePointInfo(BaseModel):
    """A point of the curves; `val_accuracy` where an evaluation was made."""

    step: int
    loss: float
    val_accuracy: float | None


class TrainingUpdate(BaseModel):
    """A session and the points that are new since `cursor` was asked for.

    A point at or before one that is known replaces it and all after it: a resumed session does its last steps again.
    """

    session: TrainingSessionInfo
    points: list[CurvePointInfo]
    cursor: int


class StreamOpening(BaseModel):
    """The first message of the socket's client: browsers cannot send headers there."""

    token: str = Field(min_length=1, max_length=500)
    cursor: int = Field(default=0, ge=0)


@router.get("/options")
async def get_options(services: Services) -> TrainingOptions:
    """Recipes, who trains, and what is missing here."""
    training = services.training
    return TrainingOptions(
        recipes=[
            RecipeInfo(name=recipe.name, model=recipe.model.name, steps=recipe.trainer.steps)
            for recipe in training.recipes()
        ],
        runner=training.runner.name,
        missing=list(training.runner.missing),
        install_command=INSTALL_COMMAND,
        datasets_dir=training.datasets_dir,
    )


@router.get("/datasets")
async def list_datasets(services: Services) -> DataSetList:
    """The data sets that lie in the server's folder."""
    return DataSetList(
        folder=services.training.datasets_dir,
        datasets=[
            DataSetInfo(
                name=one.name,
                num_clips=one.summary.num_clips,
                signers=dict(one.summary.signers),
                signs=dict(one.summary.signs),
                languages=sorted(one.summary.languages),
                problem=one.problem or None,
            )
            for one in await services.training.list_datasets()
        ],
    )


@router.get("/sessions")
async def list_sessions(services: Services) -> TrainingSessionList:
    """All sessions."""
    return TrainingSessionList(sessions=[_describe(session) for session in await services.training.list()])


@router.post("/sessions", status_code=201, responses={503: {"model": ErrorBody}, 429: {"model": ErrorBody}})
async def create_session(services: Services, request: TrainingRequest) -> TrainingSessionInfo:
    """Queue a session."""
    return _describe(await services.training.create(request))


@router.get("/sessions/{session_id}", responses={404: {"model": ErrorBody}})
async def get_session(services: Services, session_id: SessionId, cursor: int = 0) -> TrainingUpdate:
    """One session with its curves."""
    return await _read_update(services.training, session_id, cursor=cursor)


@router.post("/sessions/{session_id}/cancel", responses={404: {"model": ErrorBody}, 409: {"model": ErrorBody}})
async def cancel_session(services: Services, session_id: SessionId) -> TrainingSessionInfo:
    """Stop a session; a running one stops within a batch."""
    return _describe(await services.training.cancel(session_id))


@router.post(
    "/sessions/{session_id}/resume",
    responses={404: {"model": ErrorBody}, 409: {"model": ErrorBody}, 503: {"model": ErrorBody}},
)
async def resume_session(services: Services, session_id: SessionId) -> TrainingSessionInfo:
    """Queue a failed, cancelled or lost session again; it goes on from its last checkpoint."""
    return _describe(await services.training.resume(session_id))


@router.delete(
    "/sessions/{session_id}", status_code=204, responses={404: {"model": ErrorBody}, 409: {"model": ErrorBody}}
)
async def delete_session(services: Services, session_id: SessionId) -> None:
    """Delete a session with its curves and checkpoint; its model files stay."""
    await services.training.delete(session_id)


@router.get(
    "/sessions/{session_id}/files/{name}",
    response_class=FileResponse,
    responses={200: {"content": {"application/octet-stream": {}}}, 404: {"model": ErrorBody}},
)
async def download_file(services: Services, session_id: SessionId, name: str) -> FileResponse:
    """One of the model files that a finished session has written."""
    path = await services.training.require_file(session_id, name)
    return FileResponse(
        path, filename=name, media_type="application/octet-stream", headers={"Cache-Control": "no-store"}
    )


@socket_router.websocket("/sessions/{session_id}/stream")
async def stream_session(websocket: WebSocket, session_id: str) -> None:
    """Send a `TrainingUpdate` whenever something is new, until the session has ended.

    The client's first message is a `StreamOpening`; `TrainingCloseCode` says why the server closes.
    """
    services = get_services(websocket)
    origin = websocket.headers.get("origin")
    if origin is not None and not is_allowed_origin(
        origin, host=websocket.headers.get("host", ""), allowed=services.hub.settings.allowed_origins
    ):
        await refuse(
            websocket, 403, "foreign_origin", f"pages of {origin} may not use this server; see SIGNFLOW_ALLOWED_ORIGINS"
        )
        return
    await websocket.accept()
    try:
        async with asyncio.timeout(_TOKEN_TIMEOUT_S):
            opening = StreamOpening.model_validate_json(await websocket.receive_text())
    except (TimeoutError, ValidationError, KeyError):
        opening = None
    except WebSocketDisconnect:
        return
    if opening is None or not services.operator.is_operator(opening.token):
        await websocket.close(TrainingCloseCode.NOT_ALLOWED, 'send {"token": ...} with the operator\'s token first')
        return
    try:
        await _send_updates(websocket, services.training, session_id, cursor=opening.cursor)
    except NotFoundError:
        await websocket.close(TrainingCloseCode.NOT_FOUND, "there is no such training session")
    except WebSocketDisconnect:
        return


async def _send_updates(websocket: WebSocket, training: TrainingService, session_id: str, *, cursor: int) -> None:
    last: TrainingSessionInfo | None = None
    while True:
        update = await _read_update(training, session_id, cursor=cursor)
        if update.points or update.session != last:
            cursor, last = update.cursor, update.session
            await websocket.send_text(orjson.dumps(update.model_dump(mode="json")).decode())
        if update.session.status in _ENDED:
            await websocket.close(TrainingCloseCode.ENDED)
            return
        try:  # waits, and notices at once when the page goes away
            async with asyncio.timeout(_POLL_S):
                while True:
                    message = await websocket.receive()
                    if message["type"] == "websocket.disconnect":
                        raise WebSocketDisconnect(message.get("code", 1_005))
        except TimeoutError:
            continue


async def _read_update(training: TrainingService, session_id: str, *, cursor: int) -> TrainingUpdate:
    # The session first: a point that is written between the two reads comes with the next update.
    session = await training.require(session_id)
    points, cursor = await training.list_points(session_id, after=cursor)
    return TrainingUpdate(session=_describe(session), points=_describe_points(points), cursor=cursor)


def _describe_points(points: Sequence[TrainingPoint]) -> list[CurvePointInfo]:
    return [CurvePointInfo(step=point.step, loss=point.loss, val_accuracy=point.val_accuracy) for point in points]


def _describe(session: TrainingSession) -> TrainingSessionInfo:
    return TrainingSessionInfo(
        id=session.id,
        status=session.status,
        phase=session.phase,
        message=session.message,
        request=TrainingRequest.model_validate(session.request),
        attempt=session.attempt,
        resumed_from=session.first_step if session.attempt > 1 else None,
        cancelling=session.cancel_requested and session.status is TrainingStatus.RUNNING,
        step=session.step,
        steps=session.steps,
        loss=session.loss,
        val_accuracy=session.val_accuracy,
        eta_s=_estimate(session),
        tracking_run=session.tracking_run,
        tracking_problem=session.tracking_problem,
        result=None if session.result is None else TrainingResult.model_validate(session.result),
        created_at=session.created_at,
        started_at=session.started_at,
        ended_at=session.ended_at,
    )


def _estimate(session: TrainingSession) -> float | None:
    """Seconds that the remaining steps will take at the pace of this attempt."""
    if session.status is not TrainingStatus.RUNNING or session.training_at is None or session.heartbeat_at is None:
        return None
    done = session.step - (session.first_step or 0)
    if done < 2:
        return None
    return (session.heartbeat_at - session.training_at).total_seconds() / done * (session.steps - session.step)
