"""Streams landmark clips to a server over `signflow.v1`, as the page does: hello, binary frames on time, `end`.

A lost connection is taken up again with the session's resume token: the server re-sends the signs that were missed and
says which frame it had reached, and the frames after that are sent.
"""

import asyncio
import contextlib
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import ValidationError
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from app.api.ws_messages import (
    SERVER_MESSAGES,
    SUBPROTOCOL,
    Busy,
    CloseCode,
    Ended,
    ErrorCode,
    ErrorMessage,
    Hello,
    Pong,
    Ready,
    ServerMessage,
    SignMessage,
)
from app.client.errors import ServerBusyError, ServerHasNoModelError, ServerUnreachableError, StreamRefusedError
from app.ml.landmarks.wire import encode_frame
from app.ml.recordings.clips import Clip

STREAM_PATH: Final = "/api/v1/translate/stream"
FIRST_RETRY_S: Final = 0.25
LONGEST_RETRY_S: Final = 5.0
_FINAL_CODES: Final = frozenset(
    {CloseCode.ABUSE, CloseCode.SUPERSEDED, CloseCode.TOO_BIG, CloseCode.IDLE_TIMEOUT, CloseCode.NO_MODEL}
)
"""After these another try would end in the same way."""
_YIELD_EVERY: Final = 16
"""Frames between two looks at what has arrived, when nothing else makes the sender wait."""

Pace = Literal["live", "replay", "timed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a client waits.

    Attributes:
        give_up_s: a lost connection or a full server is tried again for so long; 0 gives up at once.
        dead_after_s: a connection that carries nothing for so long is lost, although it looks open.
    """

    give_up_s: float = 30.0
    dead_after_s: float = 20.0


PATIENCE: Final = Patience()


class _LostError(Exception):
    """The connection broke; worth another try."""


def stream_url(server: str) -> str:
    """The stream's address from what people type: `127.0.0.1:8000`, `http://...`, `wss://...`, with or without a path.

    Raises:
        ValueError: it is no address of a server.
    """
    parts = urlsplit(server if "://" in server else f"http://{server}")
    schemes = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
    if parts.scheme not in schemes or not parts.hostname:
        msg = f"{server!r} is not a server's address; try http://127.0.0.1:8000"
        raise ValueError(msg)
    path = parts.path if parts.path.strip("/") else STREAM_PATH
    return f"{schemes[parts.scheme]}://{parts.netloc}{path}"


class StreamClient:
    """One session with a server; an async context manager.

    Args:
        url: as `stream_url` gives it.
        pace: `live` sends each frame at its capture time; `replay` sends as fast as the server reads, which drops
            nothing then; `timed` sends at capture times, and the server drops nothing either.
        on_message: called with every message of the server and its arrival on the clock.
        on_sent: called with the capture time of every frame and when it was sent on the clock.
        patience: how long the client waits for a server that is full, lost or silent.
        certificate: CA or self-signed certificate to trust, for `wss`.
        ping_every: send a `ping` after every so many frames and keep its round trip in `round_trips_ms`; 0 never.
        client: how we call ourselves in `hello`.
    """

    def __init__(
        self,
        url: str,
        *,
        pace: Pace = "live",
        on_message: Callable[[ServerMessage, float], None] = lambda _message, _at: None,
        on_sent: Callable[[float, float], None] = lambda _time_ms, _at: None,
        patience: Patience = PATIENCE,
        certificate: Path | None = None,
        ping_every: int = 0,
        client: str = "signflow-client",
    ) -> None:
        self._url = url
        self._pace: Pace = pace
        self._on_message = on_message
        self._on_sent = on_sent
        self._patience = patience
        self._certificate = certificate
        self._ping_every = ping_every
        self._client = client
        self._socket: ClientConnection | None = None
        self._ready: Ready | None = None
        self._last_sign_id = 0
        self._next_sequence = 0
        self._num_sent = 0
        self._pings_s: deque[float] = deque()
        self._is_greeted = False
        self.num_reconnects = 0
        self.round_trips_ms: list[float] = []
        self.refusals_ms: list[float] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def play(self, clip: Clip) -> None:
        """Send a whole clip, then `end`, and return when the server has answered everything.

        A second clip in the same session starts with a new `hello`, which resets the stream.

        Raises:
            ServerUnreachableError: nobody answers, or not again within `patience.give_up_s`.
            ServerBusyError: the server is full for longer than `patience.give_up_s`.
            ServerHasNoModelError: the server has no model.
            StreamRefusedError: the server closed the stream for good.
        """
        first_sequence = self._next_sequence
        self._num_sent = 0
        self._is_greeted = self._ready is None  # the first clip's hello is the one that opens the session
        wait_s, tried_until_s = FIRST_RETRY_S, time.monotonic() + self._patience.give_up_s
        started_s: float | None = None
        while True:
            try:
                if self._socket is None:
                    first_frame = await self._connect(clip, first_sequence)
                    wait_s, tried_until_s = FIRST_RETRY_S, time.monotonic() + self._patience.give_up_s
                else:
                    await self._send(self._hello(clip))
                    first_frame = 0
                started_s = time.monotonic() if started_s is None else started_s
                await self._exchange(clip, first_sequence, first_frame, started_s)
                break
            except _LostError as error:
                await self._hang_up()
                if self._ready is None or time.monotonic() + wait_s > tried_until_s:
                    lost = "no SignFlow server at" if self._ready is None else "lost the connection to"
                    msg = f"{lost} {self._url}: {error}; start one with 'make run', or check the address"
                    raise ServerUnreachableError(msg) from error
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, LONGEST_RETRY_S)
                self.num_reconnects += 1
        self._next_sequence = first_sequence + clip.num_frames

    async def _exchange(self, clip: Clip, first_sequence: int, first_frame: int, started_s: float) -> None:
        """Send the frames from `first_frame` on and `end`; return when `ended` has come.

        Raises:
            _LostError: the connection broke.
        """
        has_ended = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as tasks:
                receiver = tasks.create_task(self._receive(has_ended))
                await self._send_frames(clip, first_sequence, first_frame, started_s)
                await self._send('{"type":"end"}')
                await has_ended.wait()
                receiver.cancel()
        except* _LostError as group:
            raise _first_of(group) from None
        except* (ServerHasNoModelError, ServerBusyError, StreamRefusedError) as group:
            raise _first_of(group) from None

    async def _send_frames(self, clip: Clip, first_sequence: int, first_frame: int, started_s: float) -> None:
        start_ms = clip.times_ms[0]
        for index in range(first_frame, clip.num_frames):
            time_ms = float(clip.times_ms[index])
            due_s = started_s if self._pace == "replay" else started_s + (time_ms - start_ms) / 1000.0
            wait_s = due_s - time.monotonic()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            elif index % _YIELD_EVERY == 0:
                await asyncio.sleep(0)
            frame = encode_frame(clip.landmarks[index], sequence=first_sequence + index, time_ms=time_ms)
            self._on_sent(time_ms, time.monotonic())
            await self._send(frame)
            self._num_sent = max(self._num_sent, index + 1)
            if self._ping_every and index % self._ping_every == 0:
                self._pings_s.append(time.monotonic())
                await self._send('{"type":"ping"}')

    async def _connect(self, clip: Clip, first_sequence: int) -> int:
        """Open a socket and greet, waiting while the server is full; returns the clip's frame to go on with.

        Raises:
            _LostError: nobody answers, or the line broke before `ready`.
        """
        ready = await self._greet(clip)
        self._ready = ready
        if not ready.resumed:
            # A new session: what it has not seen cannot be made good, but must not be answered twice either.
            self._last_sign_id = 0
            self._is_greeted = True
            return self._num_sent
        if not self._is_greeted:
            await self._send(self._hello(clip))  # the line broke before this clip's own hello was answered
            return 0
        return max(ready.last_sequence + 1 - first_sequence, 0)

    async def _greet(self, clip: Clip) -> Ready:
        busy_until_s = time.monotonic() + self._patience.give_up_s
        while True:
            begin_s = time.monotonic()
            self._socket = await self._open_socket()
            await self._send(self._hello(clip, resume=True))
            answer = await self._next_message(self._socket)
            while not isinstance(answer, (Ready, Busy)):
                self._take(answer)
                answer = await self._next_message(self._socket)
            self._take(answer)
            if isinstance(answer, Ready):
                return answer
            self.refusals_ms.append((time.monotonic() - begin_s) * 1000.0)
            await self._hang_up()
            if time.monotonic() + answer.retry_after_s > busy_until_s:
                msg = f"{self._url} is full; it asks to come back in {answer.retry_after_s:.0f} s"
                raise ServerBusyError(msg)
            await asyncio.sleep(answer.retry_after_s)

    async def _open_socket(self) -> ClientConnection:
        is_secure = self._url.startswith("wss:")
        context = ssl.create_default_context(cafile=self._certificate) if is_secure else None
        try:
            return await connect(
                self._url,
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                compression=None,
                ssl=context,
                max_size=1 << 20,
                ping_interval=self._patience.dead_after_s / 2,
                ping_timeout=self._patience.dead_after_s / 2,
                proxy=None,
            )
        except InvalidStatus as error:
            if error.response.status_code == HTTPStatus.SERVICE_UNAVAILABLE:
                msg = f"{self._url} takes no more connections; try again later"
                raise ServerBusyError(msg) from error
            msg = f"{self._url} refuses the stream with HTTP {error.response.status_code}; is the address right?"
            raise ServerUnreachableError(msg) from error
        except InvalidHandshake as error:
            if isinstance(error.__cause__, EOFError):  # the line broke in the middle of the handshake
                raise _LostError(str(error)) from error
            msg = f"{self._url} answers, but not as a SignFlow server ({error}); is the address right?"
            raise ServerUnreachableError(msg) from error
        except ssl.SSLCertVerificationError as error:
            reason = error.verify_message
            msg = f"{self._url} has a certificate that is not trusted here ({reason}); name it with --certificate"
            raise ServerUnreachableError(msg) from error
        except (OSError, InvalidURI, TimeoutError) as error:
            msg = str(error) or type(error).__name__
            raise _LostError(msg) from error

    def _hello(self, clip: Clip, *, resume: bool = False) -> str:
        hello = Hello(
            type="hello",
            width=clip.width,
            height=clip.height,
            mirrored=False,
            client=self._client,
            pace="live" if self._pace == "live" else "replay",
        )
        if resume and self._ready is not None:
            hello.resume_token = self._ready.resume_token
            hello.last_sign_id = self._last_sign_id
        return hello.model_dump_json(exclude_none=True)

    async def _send(self, data: bytes | str) -> None:
        assert self._socket is not None
        try:
            await self._socket.send(data)
        except ConnectionClosed as error:
            raise _closed(error) from error

    async def _receive(self, has_ended: asyncio.Event) -> None:
        assert self._socket is not None
        while True:
            message = await self._next_message(self._socket)
            self._take(message)
            if isinstance(message, Ready):
                self._is_greeted = True
            if isinstance(message, Ended):
                has_ended.set()

    async def _next_message(self, socket: ClientConnection) -> ServerMessage:
        try:
            text = await socket.recv(decode=False)
            return SERVER_MESSAGES.validate_json(text)
        except ConnectionClosed as error:
            raise _closed(error) from error
        except ValidationError as error:
            msg = f"{self._url} sent a message that is not of {SUBPROTOCOL}: {error}"
            raise StreamRefusedError(msg) from error

    def _take(self, message: ServerMessage) -> None:
        received_s = time.monotonic()
        if isinstance(message, Pong):
            if self._pings_s:
                self.round_trips_ms.append((received_s - self._pings_s.popleft()) * 1000.0)
        elif isinstance(message, SignMessage):
            self._last_sign_id = max(self._last_sign_id, message.id)
        elif isinstance(message, ErrorMessage) and message.code is ErrorCode.NO_MODEL:
            msg = f"{self._url} has no model: {message.message}"
            raise ServerHasNoModelError(msg)
        self._on_message(message, received_s)

    async def _hang_up(self) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                await self._socket.close()
            self._socket = None
            self._pings_s.clear()


def _closed(error: ConnectionClosed) -> Exception:
    code = error.rcvd.code if error.rcvd is not None else None
    if code in _FINAL_CODES:
        reason = CloseCode(code).name.lower().replace("_", " ")
        return StreamRefusedError(f"the server closed the stream: {reason} ({code})")
    return _LostError(str(error))


def _first_of(group: BaseExceptionGroup[Exception]) -> Exception:
    """The first plain error of a (possibly nested) group."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first
