"""The uvicorn server that serves SignFlow: its sockets, its limits, and how it lets go of its streams."""

import errno
import socket
import ssl
import sys
from collections.abc import Callable
from typing import Final

import uvicorn
from fastapi import FastAPI

from app.api.deps import AppServices
from app.core.config import Settings
from app.core.errors import ConfigurationError

_BACKLOG: Final = 2_048
_GRACE_S: Final = 5
"""Time for open HTTP answers at shutdown, after the streams have been drained."""
_TICKS_A_BEAT: Final = 10
"""uvicorn ticks ten times a second."""

SWITCH_INTERVAL_S: Final = 0.0005
"""How long the recogniser's thread may hold the interpreter; measured with 64 streams against Python's 5 ms."""

SPREADS_CONNECTIONS: Final = sys.platform == "linux"
"""Whether the kernel spreads connections evenly over sockets that share a port (SO_REUSEPORT); BSD and macOS do not."""


class SignFlowServer(uvicorn.Server):
    """Finishes the signs in progress before the connections are closed.

    Args:
        config: uvicorn's.
        app: the application that it serves.
        on_beat: called once a second by the event loop; that it is called says that the server makes progress.
    """

    def __init__(self, config: uvicorn.Config, *, app: FastAPI, on_beat: Callable[[], None] = lambda: None) -> None:
        super().__init__(config)
        self._app = app
        self._on_beat = on_beat

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's regular work, and our beat."""
        if counter % _TICKS_A_BEAT == 0:
            self._on_beat()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, drain the live streams, then shut down as usual."""
        for server in self.servers:
            server.close()
        services = getattr(self._app.state, "services", None)
        if isinstance(services, AppServices):
            await services.hub.drain()
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: Settings, *, on_beat: Callable[[], None] = lambda: None) -> SignFlowServer:
    """A uvicorn server with the limits of our sockets.

    Silence is measured by the streams themselves (`idle_timeout_s`), so uvicorn's own WebSocket pings are off;
    compressing random-looking coordinates would only cost time.
    """
    config = uvicorn.Config(
        app,
        ws="websockets-sansio",
        ws_max_size=settings.stream.max_message_bytes,
        ws_ping_interval=None,
        ws_ping_timeout=None,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=_GRACE_S,
        log_config=None,
        access_log=False,
        server_header=False,
        ssl_certfile=settings.tls.certificate,
        ssl_keyfile=settings.tls.key,
    )
    return SignFlowServer(config, app=app, on_beat=on_beat)


def check_tls(settings: Settings) -> None:
    """Read certificate and key once, before anything starts.

    Raises:
        ConfigurationError: they cannot be read, or do not belong together.
    """
    if settings.tls.certificate is None:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(settings.tls.certificate, settings.tls.key)
    except OSError as error:  # ssl.SSLError too
        msg = (
            f"SIGNFLOW_TLS__CERTIFICATE={settings.tls.certificate} and SIGNFLOW_TLS__KEY={settings.tls.key} cannot be "
            f"used ({error.strerror or error}); both are PEM files, and the key is the certificate's"
        )
        raise ConfigurationError(msg) from error


def open_socket(settings: Settings) -> socket.socket:
    """Listen on the address of the settings.

    Raises:
        ConfigurationError: the port is taken, or the address cannot be used.
    """
    listener = _make_socket(settings)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(_BACKLOG)  # at once: two bound sockets that do not listen yet would not see each other
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            msg = (
                f"port {settings.port} on {settings.host} is taken, perhaps by another SignFlow; "
                f"stop that one or choose another port: SIGNFLOW_PORT={settings.port % 65_535 + 1}"
            )
        else:
            msg = f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; see SIGNFLOW_HOST"
        raise ConfigurationError(msg) from error
    return listener


def bind_beside(settings: Settings, *, port: int) -> socket.socket:
    """A socket that shares `port` with others of its kind; it gets connections once it listens.

    Raises:
        ConfigurationError: the address can no longer be used.
    """
    shared = _make_socket(settings)
    shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        shared.bind((settings.host, port))
    except OSError as error:
        shared.close()
        msg = f"cannot listen on {settings.host}:{port}: {error.strerror or error}"
        raise ConfigurationError(msg) from error
    return shared


def _make_socket(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Where uvloop is missing, asyncio turns Nagle's algorithm off only if the protocol is named: with it on, the second
    # message of an answer waits until the client's next frame has confirmed the first.
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: a peer that takes nothing is cut even after we have closed
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.stream.send_timeout_s * 1_000))
    return made
