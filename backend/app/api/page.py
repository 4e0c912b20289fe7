"""Serves the built page: compressed siblings, caching, security headers; a friendly word when it is not built."""

import mimetypes
import os
import stat as stat_flags
from pathlib import Path
from typing import Final

import anyio
from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self'",
        "connect-src 'self' ws: wss:",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_SECURITY_HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
_ENCODINGS: Final = (("br", ".br"), ("gzip", ".gz"))
_MEDIA_TYPES: Final = {
    ".wasm": "application/wasm",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".task": "application/octet-stream",
    ".tflite": "application/octet-stream",
    ".webmanifest": "application/manifest+json",
}
"""What the browser insists on, whatever the machine's own table of types says."""
_HASHED_FOLDER: Final = "assets"
"""Vite puts a content hash in every name there: such a file never changes."""
_NOT_PAGES: Final = ("api/", "health", "ready", "metrics", "docs", "openapi.json")
_NOT_BUILT: Final = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SignFlow</title>
<h1>The page is not built yet</h1>
<p>The server runs, but <code>frontend/dist</code> is missing. Run <code>make run</code> in the repository:
it builds the page and starts the server again.</p>
<p lang="fr">La page n’est pas encore construite : lancez <code>make run</code>.</p></html>"""


class SecurityHeaders:
    """Adds the security headers to every HTTP answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; WebSockets are left alone."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class PageFiles(StaticFiles):
    """The files of the built page. Paths that name no file are the page's own routes and get `index.html`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory, html=True, check_dir=False)
        self._index = directory / "index.html"

    async def check_config(self) -> None:
        """A folder that is not there is no error: the page may be built later."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer one request."""
        try:
            return await super().get_response(path, scope)
        except HTTPException as error:
            is_page = path == "." or ("." not in path.split("/")[-1] and not path.startswith(_NOT_PAGES))
            if error.status_code != 404 or not is_page:
                raise
        if not await anyio.Path(self._index).is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503, headers={"Cache-Control": "no-store"})
        return await super().get_response("index.html", scope)

    def file_response(
        self, full_path: str | os.PathLike[str], stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """Answer with a file, or its compressed sibling when the browser takes that."""
        path = Path(full_path)
        accepted = Headers(scope=scope).get("accept-encoding", "")
        encoding = None
        for name, suffix in _ENCODINGS:
            sibling = path.with_name(path.name + suffix)
            if name in accepted and (found := _stat_file(sibling)) is not None:
                full_path, stat_result, encoding = sibling, found, name
                break
        response = super().file_response(full_path, stat_result, scope, status_code)
        if encoding is not None:
            response.headers["Content-Encoding"] = encoding
        response.headers["Vary"] = "Accept-Encoding"
        if response.status_code != 304:
            response.headers["Content-Type"] = _media_type(path)
        is_hashed = path.parent.name == _HASHED_FOLDER
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if is_hashed else "no-cache"
        return response


def install_page(app: FastAPI, frontend_dir: Path) -> None:
    """Serve the built page on every path that nothing else answers; call it after all routes are there."""
    app.mount("/", PageFiles(frontend_dir), name="page")


def _media_type(path: Path) -> str:
    media_type = _MEDIA_TYPES.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type


def _stat_file(path: Path) -> os.stat_result | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found if stat_flags.S_ISREG(found.st_mode) else None
