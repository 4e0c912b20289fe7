"""The only table from our errors to HTTP statuses and to error codes of the WebSocket protocol."""

from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from app.api.ws_messages import ErrorCode
from app.core.errors import (
    InvalidInputError,
    LimitReachedError,
    NoModelError,
    NotAllowedError,
    NotFoundError,
    ServerBusyError,
    SignFlowError,
    TrainingUnavailableError,
    WrongStateError,
)

HTTP_ERRORS: Final[dict[type[SignFlowError], tuple[int, str]]] = {
    NotFoundError: (404, "not_found"),
    NotAllowedError: (401, "not_allowed"),
    InvalidInputError: (422, "invalid_input"),
    WrongStateError: (409, "wrong_state"),
    LimitReachedError: (429, "limit_reached"),
    TrainingUnavailableError: (503, "training_unavailable"),
    NoModelError: (503, "no_model"),
    ServerBusyError: (503, "busy"),
}
WIRE_ERRORS: Final[dict[type[SignFlowError], ErrorCode]] = {
    NotFoundError: ErrorCode.UNKNOWN_SIGN,
    InvalidInputError: ErrorCode.UNKNOWN_LABEL,
    LimitReachedError: ErrorCode.FEEDBACK_FULL,
    NoModelError: ErrorCode.NO_MODEL,
}


class ErrorBody(BaseModel):
    """Body of every HTTP error."""

    code: str
    message: str


def install_error_handlers(app: FastAPI) -> None:
    """Answer every error as an `ErrorBody`."""

    async def on_signflow_error(request: Request, error: Exception) -> JSONResponse:
        status, code = HTTP_ERRORS.get(
            type(error) if isinstance(error, SignFlowError) else SignFlowError, (500, "error")
        )
        headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
        if isinstance(error, ServerBusyError):
            headers["Retry-After"] = str(round(error.retry_after_s))
        return _respond(request, status, code, str(error), headers)

    async def on_http_error(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "error")
        return _respond(request, error.status_code, code, str(error.detail), dict(error.headers or {}))

    async def on_invalid_request(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        return _respond(request, 422, "invalid_input", f"{'.'.join(map(str, first['loc']))}: {first['msg']}", {})

    app.add_exception_handler(SignFlowError, on_signflow_error)
    app.add_exception_handler(HTTPException, on_http_error)
    app.add_exception_handler(RequestValidationError, on_invalid_request)


def _respond(request: Request, status: int, code: str, message: str, headers: dict[str, str]) -> JSONResponse:
    request.app.state.services.metrics.error_told("http", code)
    return JSONResponse(ErrorBody(code=code, message=message).model_dump(), status_code=status, headers=headers)
