"""uvicorn's WebSocket protocol with fewer system calls: they were half of what a live frame costs this process.

uvicorn stops reading after every message until the application has taken it, and writes every message by itself. With
thirty small frames a second from each of many cameras, that is two calls a frame to stop and go on, and three writes
for one sign (its answer, the caption, the new state). Here reading stops when many messages wait, and what is written
within one turn of the event loop leaves together.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_MOST_WAITING: Final = 16
"""Messages that wait for the application before reading stops."""


class StreamProtocol(WebSocketsSansIOProtocol):
    """One WebSocket connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The HTTP protocol hands its connection over."""
        assert isinstance(transport, asyncio.Transport)
        super().connection_made(JoinedWrites(transport))

    def send_receive_event_to_app(self) -> None:
        """A message has come: give it to the application, and stop reading if it falls behind."""
        if self.read_paused or self.queue.qsize() + 1 >= _MOST_WAITING:
            super().send_receive_event_to_app()
            return
        self.read_paused = True  # uvicorn pauses only what is not paused
        super().send_receive_event_to_app()
        self.read_paused = False


class JoinedWrites(asyncio.Transport):
    """A transport that writes once a turn of the event loop; nothing is lost when it is closed."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport
        self._waiting: list[bytes | bytearray | memoryview] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send it at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(data)

    def close(self) -> None:
        """Close once everything has been sent."""
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self._waiting.clear()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._transport.is_closing()

    def pause_reading(self) -> None:
        """Let the client wait."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the connection."""
        return self._transport.get_extra_info(name, default)

    def _flush(self) -> None:
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            self._transport.write(data)
