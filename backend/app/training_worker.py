"""`python -m app.training_worker` takes training sessions from Redis; with `--session ID` it trains that one and ends.

The server starts the second form itself. The first is for `SIGNFLOW_TRAINING__RUNNER=celery`: start one on every
machine that shall train, with the server's settings and its data, model and data set folders.
"""

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from app.bootstrap.training import make_training_celery, work_on_session
from app.core.config import load_settings
from app.core.errors import ConfigurationError
from app.core.logging import configure_logging
from app.services.training_runners import INSTALL_COMMAND, missing_packages

logger = logging.getLogger(__name__)

_NICENESS = 10
"""Live translation on the same machine goes first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Work; returns the exit status: 0 also when the session failed, which the database says."""
    parser = argparse.ArgumentParser(prog="python -m app.training_worker", description=__doc__)
    parser.add_argument("--session", metavar="ID", help="train this queued session and end")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(log_format=settings.log_format, level=settings.log_level)
        missing = missing_packages()
        if missing:
            msg = f"training needs {', '.join(missing)}; install them with '{INSTALL_COMMAND}'"
            raise ConfigurationError(msg)
        os.nice(_NICENESS)
        if options.session is not None:
            asyncio.run(work_on_session(settings, options.session))
        else:
            celery = make_training_celery(settings)
            celery.worker_main(["worker", f"--loglevel={settings.log_level.upper()}", "--without-mingle"])
    except ConfigurationError as error:
        logger.error("the worker did not start: %s", error)  # noqa: TRY400 - the reason is the whole story
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
