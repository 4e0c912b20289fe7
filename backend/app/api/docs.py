"""`/docs`: the HTTP interface to read and try, all from this machine (FastAPI's own page loads from elsewhere)."""

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from starlette.responses import FileResponse, HTMLResponse, Response

router = APIRouter(include_in_schema=False)

_ASSETS: Final = Path(str(files("fastapi_offline"))) / "static"
_SCRIPT: Final = _ASSETS / "swagger-ui-bundle.js"
_STYLE: Final = _ASSETS / "swagger-ui.css"
_PAGE: Final = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SignFlow: HTTP interface</title>
<link rel="icon" href="/icon.svg"><link rel="stylesheet" href="/docs/swagger-ui.css"></head><body><div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>"""
_START: Final = 'SwaggerUIBundle({ url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null });\n'
_STYLES_FROM_SCRIPT: Final = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
}
"""Swagger UI writes style attributes; nothing else of the product may."""


@router.get("/docs")
async def get_docs() -> HTMLResponse:
    """The page."""
    return HTMLResponse(_PAGE, headers=_STYLES_FROM_SCRIPT)


@router.get("/docs/start.js")
async def get_start_script() -> Response:
    """What starts it."""
    return Response(_START, media_type="text/javascript")


@router.get("/docs/swagger-ui-bundle.js")
async def get_script() -> FileResponse:
    """Swagger UI itself."""
    return FileResponse(_SCRIPT, media_type="text/javascript")


@router.get("/docs/swagger-ui.css")
async def get_style() -> FileResponse:
    """Its looks."""
    return FileResponse(_STYLE, media_type="text/css")
