"""`python -m app.main` serves SignFlow: the page, the live stream and the HTTP interface, in one process or several."""

import argparse
import asyncio
import logging
import socket
import sys
from collections.abc import Sequence

from rich.console import Console

from app.bootstrap.app import build_app, check_exposure, prepare_database
from app.bootstrap.sessions import make_session_store
from app.core.config import Settings, find_misspelt, load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging
from app.core.metrics import shared_by_workers
from app.server import SPREADS_CONNECTIONS, SWITCH_INTERVAL_S, bind_beside, check_tls, make_server, open_socket
from app.services.operator_service import OperatorService, load_operator
from app.supervisor import WorkerSupervisor

logger = logging.getLogger("app.main")
console = Console(soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m app.main", description=__doc__)
    parser.add_argument(
        "--new-operator-token", action="store_true", help="forget the operator's token and print a new one"
    )
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        check_exposure(settings)
        check_tls(settings)
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        configured = None if settings.operator_token is None else settings.operator_token.get_secret_value()
        listener = open_socket(settings)
        operator, new_token = load_operator(
            settings.data_dir / "secrets", configured=configured, renew=options.new_operator_token
        )
        make_session_store(settings)  # names what is missing before anything starts
        asyncio.run(prepare_database(settings))
    except (ConfigurationError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        console.print(f"SignFlow did not start: {reason}", style="red", markup=False)
        return 2
    for name, meant in find_misspelt().items():
        logger.warning("%s is no setting and changes nothing; did you mean %s?", name, meant)
    _announce(settings, listener, new_token=new_token)
    return _serve(settings, operator, listener) if settings.workers == 1 else _supervise(settings, operator, listener)


def _serve(settings: Settings, operator: OperatorService, listener: socket.socket) -> int:
    """Serve in this process."""
    # Each answer to a socket would otherwise wait up to Python's 5 ms for the recogniser's thread to let go.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    server = make_server(build_app(settings, operator=operator, is_prepared=True), settings)
    server.run(sockets=[listener])
    return 0 if server.started else 1


def _supervise(settings: Settings, operator: OperatorService, listener: socket.socket) -> int:
    """Serve in several processes, which this one watches."""
    if SPREADS_CONNECTIONS:
        # Listening alone proved that nobody else has the port; from here on each worker brings a socket of its own.
        port = listener.getsockname()[1]
        listener.close()
        listener = bind_beside(settings, port=port)
    if settings.redis_url is None:
        logger.warning(
            "%d workers without SIGNFLOW_REDIS_URL: a lost stream can only be resumed by the worker that had it, and "
            "each counts its own sessions",
            settings.workers,
        )
    with shared_by_workers():
        return WorkerSupervisor(settings, operator, listener).run()


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
