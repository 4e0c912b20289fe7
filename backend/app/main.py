"""`python -m app.main` serves SignFlow: the page, the live stream and the HTTP interface, in one process."""

import argparse
import errno
import socket
import sys
from collections.abc import Sequence
from typing import Final

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from rich.console import Console

from app.api.deps import AppServices
from app.bootstrap import build_app, check_exposure
from app.core.config import Settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging
from app.services.operator_service import load_operator

_BACKLOG: Final = 2_048
_GRACE_S: Final = 5
"""Time for open HTTP answers at shutdown, after the streams have been drained."""

_SWITCH_INTERVAL_S: Final = 0.0005
"""How long the recogniser's thread may hold the interpreter; measured with 64 streams against Python's 5 ms."""

console = Console(soft_wrap=True, highlight=False)


class SignFlowServer(uvicorn.Server):
    """Finishes the signs in progress before the connections are closed."""

    def __init__(self, config: uvicorn.Config, *, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain the live streams, then shut down as usual."""
        services = getattr(self._app.state, "services", None)
        if isinstance(services, AppServices):
            await services.hub.drain()
        await super().shutdown(sockets)


def make_server(app: FastAPI, settings: Settings) -> SignFlowServer:
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
    return SignFlowServer(config, app=app)


def open_socket(settings: Settings) -> socket.socket:
    """Listen on the address of the settings.

    Raises:
        ConfigurationError: the port is taken, or the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: a peer that takes nothing is cut even after we have closed
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(settings.stream.send_timeout_s * 1_000))
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.main", description=__doc__)
    parser.add_argument(
        "--new-operator-token", action="store_true", help="forget the operator's token and print a new one"
    )
    options = parser.parse_args(arguments)
    try:
        settings = Settings()
        check_exposure(settings)
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        configured = None if settings.operator_token is None else settings.operator_token.get_secret_value()
        listener = open_socket(settings)
        operator, new_token = load_operator(
            settings.data_dir / "secrets", configured=configured, renew=options.new_operator_token
        )
        app = build_app(settings, operator=operator)
    except (ConfigurationError, ValidationError, OSError) as error:
        console.print(f"SignFlow did not start: {error}", style="red", markup=False)
        return 2
    _announce(settings, listener, new_token=new_token)
    # Each answer to a socket would otherwise wait up to Python's 5 ms for the recogniser's thread to let go.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    server = make_server(app, settings)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _announce(settings: Settings, listener: socket.socket, *, new_token: str | None) -> None:
    scheme = "http" if settings.tls.certificate is None else "https"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    console.print(f"SignFlow is at {scheme}://{host}:{listener.getsockname()[1]}", markup=False)
    if new_token is not None:
        console.print(f"Operator token (shown only now): {new_token}", markup=False)
    elif settings.operator_token is not None:
        console.print("Operator token: the one in SIGNFLOW_OPERATOR_TOKEN", markup=False)
    else:
        console.print("Operator token: as shown at the first start; --new-operator-token makes a new one", markup=False)


if __name__ == "__main__":
    sys.exit(main())
