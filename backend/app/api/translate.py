"""`/api/v1/translate/stream`: the live translation socket, protocol `signflow.v1`."""

import logging
from urllib.parse import urlsplit

from fastapi import APIRouter, WebSocket
from starlette.responses import JSONResponse

from app.api.deps import get_services
from app.api.errors import ErrorBody
from app.api.ws_messages import SUBPROTOCOL

router = APIRouter(prefix="/api/v1/translate")
logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@router.websocket("/stream")
async def stream(websocket: WebSocket) -> None:
    """Translate a stream of landmark frames; `ws_messages` and `wire` say what is spoken."""
    hub = get_services(websocket).hub
    offered = websocket.scope.get("subprotocols", [])
    origin = websocket.headers.get("origin")
    if origin is not None and not is_allowed_origin(
        origin, host=websocket.headers.get("host", ""), allowed=hub.settings.allowed_origins
    ):
        await refuse(
            websocket, 403, "foreign_origin", f"pages of {origin} may not use this server; see SIGNFLOW_ALLOWED_ORIGINS"
        )
    elif offered and SUBPROTOCOL not in offered:
        await refuse(
            websocket, 400, "unknown_subprotocol", f"this server speaks {SUBPROTOCOL}, got {', '.join(offered)}"
        )
    elif not hub.has_room:
        await refuse(websocket, 503, "busy", "too many connections; try again later")
    else:
        await websocket.accept(subprotocol=SUBPROTOCOL if offered else None)
        await hub.serve(websocket)


def is_allowed_origin(origin: str, *, host: str, allowed: frozenset[str]) -> bool:
    """True when a page's origin is this server itself (the host that the browser asked for) or is listed."""
    if origin.lower().rstrip("/") in allowed:
        return True
    parts = urlsplit(origin)
    try:
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
        asked = urlsplit(f"//{host}")
        asked_port = asked.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return False
    return parts.hostname is not None and (parts.hostname, port) == (asked.hostname, asked_port)


async def refuse(websocket: WebSocket, status: int, code: str, message: str) -> None:
    """Answer the wish for a socket with an HTTP error."""
    logger.warning("refused a socket: %s", message)
    body = ErrorBody(code=code, message=message).model_dump()
    await websocket.send_denial_response(JSONResponse(body, status_code=status))
