"""HTTP to an inference server: a pool of kept connections, time-outs, and one kind of error. The only user of httpx."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import orjson

from app.ml.errors import RemoteUnavailableError

CONNECT_TIMEOUT_S: Final = 1.0
_RETRYABLE_STATUSES: Final = (502, 503, 504)
_MAX_MESSAGE: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpAnswer:
    """A whole answer; header names in small letters."""

    status: int
    content: bytes
    headers: Mapping[str, str]

    def require_ok(self, what: str) -> "HttpAnswer":
        """The answer itself.

        Raises:
            RemoteUnavailableError: its status is not 200; holds what the server said.
        """
        if self.status == 200:
            return self
        msg = f"{what} was answered with {self.status}: {_read_message(self.content)}"
        raise RemoteUnavailableError(msg, is_retryable=self.status in _RETRYABLE_STATUSES)


class HttpPool:
    """Connections to one server, used again and again."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float,
        max_connections: int,
        token: str | None = None,
        certificate: Path | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            url: `http://` or `https://` address of the server.
            timeout_s: of one request, at most; connecting takes at most `CONNECT_TIMEOUT_S` of it.
            max_connections: requests at the same time; more wait.
            token: sent as a bearer token.
            certificate: PEM file to trust instead of the system's authorities.

        Raises:
            ValueError: `url` is no such address.
            OSError: `certificate` cannot be read.
        """
        try:
            address = httpx.URL(url)
        except httpx.InvalidURL as error:
            msg = f"{url!r} is no address: {error}"
            raise ValueError(msg) from error
        if address.scheme not in ("http", "https") or not address.host:
            msg = f"{url!r} is no address that begins with http:// or https://"
            raise ValueError(msg)
        self.url = str(address.copy_with(userinfo=b"")).rstrip("/")
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=address,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
            limits=httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections),
            verify=True if certificate is None else ssl.create_default_context(cafile=certificate),
            # The address is a setting; proxies and passwords that the environment holds are for other programs.
            trust_env=False,
        )

    async def get(self, path: str) -> HttpAnswer:
        """Ask for `path`.

        Raises:
            RemoteUnavailableError: no whole answer came, or not in time.
        """
        return await self._send("GET", path, b"", {})

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        """Send `content` to `path`.

        Raises:
            RemoteUnavailableError: no whole answer came, or not in time.
        """
        return await self._send("POST", path, content, headers)

    async def close(self) -> None:
        """Close all connections; a second call does nothing."""
        await self._client.aclose()

    async def _send(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        try:
            answer = await self._client.request(method, path, content=content, headers=headers)
        except httpx.PoolTimeout as error:
            msg = f"all connections to {self.url} are in use since {self._timeout_s:g} s"
            raise RemoteUnavailableError(msg) from error
        except httpx.TimeoutException as error:
            msg = f"{self.url} did not answer within {self._timeout_s:g} s"
            raise RemoteUnavailableError(msg) from error
        except httpx.HTTPError as error:
            msg = f"{self.url} cannot be reached: {error or type(error).__name__}"
            raise RemoteUnavailableError(msg, is_retryable=isinstance(error, httpx.TransportError)) from error
        return HttpAnswer(
            status=answer.status_code,
            content=answer.content,
            headers={name.lower(): value for name, value in answer.headers.items()},
        )


def _read_message(content: bytes) -> str:
    """What an error body says: ours and TorchServe's have `message`, the Open Inference Protocol `error`."""
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        body = None
    if isinstance(body, dict):
        text = body.get("message") or body.get("error")
        if isinstance(text, str):
            return text[:_MAX_MESSAGE]
    return content[:_MAX_MESSAGE].decode(errors="replace").strip() or "nothing more"
