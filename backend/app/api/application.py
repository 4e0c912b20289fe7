"""Puts the endpoints together. Without `lifespan` it serves nothing, but its schema can be read."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from fastapi import FastAPI

from app.api import docs, feedback, health, models, signs, training, translate
from app.api.errors import ErrorBody, install_error_handlers
from app.api.page import SecurityHeaders, install_page
from app.core.version import VERSION

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def create_app(*, lifespan: Lifespan | None = None, frontend_dir: Path | None = None) -> FastAPI:
    """Make the application; `lifespan` has to set `app.state.services`."""
    app = FastAPI(
        title="SignFlow",
        version=VERSION,
        description="Live sign-language translation. The live stream is the WebSocket /api/v1/translate/stream.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={422: {"model": ErrorBody}},
    )
    install_error_handlers(app)
    for module in (health, signs, models, feedback, training, translate, docs):
        app.include_router(module.router)
    app.include_router(training.socket_router)
    app.add_middleware(SecurityHeaders)
    if frontend_dir is not None:
        install_page(app, frontend_dir)
    return app
