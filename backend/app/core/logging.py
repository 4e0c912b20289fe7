"""Log output: readable lines for a person, or one JSON object a line for a collector.

No person's landmarks are ever logged: messages carry ids, counts and reasons.
"""

import logging
import sys
from datetime import UTC, datetime
from typing import Literal

import orjson
from rich.console import Console
from rich.logging import RichHandler

LogFormat = Literal["readable", "json"]

_QUIET = ("uvicorn.error", "uvicorn.access", "alembic", "websockets", "httpx", "httpcore")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Render one record."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(entry).decode()


def is_worth_logging(record: logging.LogRecord) -> bool:
    """False for what uvicorn logs as its own error whenever a socket is refused with an HTTP answer, as ours are."""
    return record.msg != "ASGI callable returned without completing handshake."


def configure_logging(*, log_format: LogFormat, level: str) -> None:
    """Send all logs to stderr in one format; libraries that chatter are held to warnings."""
    if log_format == "json":
        handler: logging.Handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter())
    else:
        handler = RichHandler(console=Console(stderr=True), show_path=False, rich_tracebacks=False, markup=False)
        handler.setFormatter(logging.Formatter("%(message)s", datefmt="[%H:%M:%S]"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(is_worth_logging)
