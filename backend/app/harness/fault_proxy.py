"""A TCP line that misbehaves on command: slow, lossy, cut, half-open, or read too slowly.

It sits between clients and a server. Its event loop runs in a thread of its own, so that tests and scripts, with or
without an event loop, command it from outside. What a lost packet does to a TCP stream is a stall until it is sent
again, and that is how loss is made here.
"""

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

_T = TypeVar("_T")
_CHUNK_BYTES: Final = 4_096
_WAITING_CHUNKS: Final = 256
"""Chunks in flight on a slow line; more make the sender wait, as a full socket does."""
_ANSWER_S: Final = 10.0
_CONNECT_S: Final = 5.0
_RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: closing sends a reset at once, as a broken line does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFaults:
    """How the line is; the default is a good one.

    Attributes:
        latency_ms: each chunk arrives so much later, in order.
        jitter_ms: and up to this much more.
        loss: share of chunks whose first sending is lost.
        retransmit_ms: how long a lost chunk, and all behind it, waits to be sent again.
        bytes_per_s: how fast bytes pass, in each direction.
        down_bytes_per_s: how fast the client's side takes what the server sends: a slow reader.
    """

    latency_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    retransmit_ms: float = 250.0
    bytes_per_s: float = float("inf")
    down_bytes_per_s: float = float("inf")


@dataclass(slots=True, eq=False)
class _Line:
    """One client's connection and the one that it leads to."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    served_by: asyncio.Task[None]
    is_half_open: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def reset(self) -> None:
        """Break both connections at once."""
        for writer in (self.client, self.server):
            raw = writer.transport.get_extra_info("socket")
            if raw is not None:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        for task in self.tasks:
            task.cancel()


class FaultProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on to `target_port`, which may be set later.

    Args:
        target_port: port of the server, on this machine.
        seed: of jitter and loss.
    """

    def __init__(self, *, target_port: int = 0, seed: int = 0) -> None:
        self.target_port = target_port
        self.faults = LineFaults()
        self.num_connected = 0
        self._random = random.Random(seed)
        self._is_cut = False
        self._lines: set[_Line] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._connect, "127.0.0.1", 0, limit=_CHUNK_BYTES))
        self.port = int(self._server.sockets[0].getsockname()[1])

    @property
    def num_lines(self) -> int:
        """Connections that are open now."""
        return len(self._lines)

    def misbehave(self, **faults: float) -> None:
        """Set some of `LineFaults`, for old and new connections; the others stay as they are."""
        self.faults = replace(self.faults, **faults)

    def slow_down(self, *, bytes_per_s: float) -> None:
        """Carry no more than this from now on."""
        self.misbehave(bytes_per_s=bytes_per_s)

    def behave(self) -> None:
        """Be a good line again."""
        self.faults = LineFaults()

    def cut(self) -> None:
        """Break every connection and refuse new ones until `mend`."""
        self._is_cut = True
        self._do(self._break_all())

    def mend(self) -> None:
        """Let new connections through again."""
        self._is_cut = False

    def half_open(self) -> None:
        """Let every connection look open and carry nothing any more, as after a change of network; new ones work."""

        async def silence() -> None:
            for line in self._lines:
                line.is_half_open = True

        self._do(silence())

    def close(self) -> None:
        """Break everything for good; calling it twice does no harm."""
        if self._thread.is_alive():
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=_ANSWER_S)

    async def _break_all(self) -> None:
        lines = list(self._lines)
        for line in lines:
            line.reset()
        await asyncio.gather(*(line.served_by for line in lines), return_exceptions=True)

    async def _end(self) -> None:
        self._server.close()
        await self._break_all()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK_BYTES)  # the server notices a slow reader early
        raw.setblocking(False)
        try:
            async with asyncio.timeout(_CONNECT_S):
                await self._loop.sock_connect(raw, ("127.0.0.1", self.target_port))
                far_reader, far_writer = await asyncio.open_connection(sock=raw, limit=_CHUNK_BYTES)
        except (OSError, TimeoutError):
            raw.close()
            writer.transport.abort()
            return
        served_by = asyncio.current_task()
        assert served_by is not None
        line = _Line(client=writer, server=far_writer, served_by=served_by)
        self._lines.add(line)
        self.num_connected += 1
        try:
            async with asyncio.TaskGroup() as group:
                line.tasks = [
                    group.create_task(self._carry(line, reader, far_writer, is_down=False)),
                    group.create_task(self._carry(line, far_reader, writer, is_down=True)),
                ]
        finally:
            self._lines.discard(line)
            writer.transport.abort()
            far_writer.transport.abort()

    async def _carry(
        self, line: _Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_down: bool
    ) -> None:
        """Carry bytes in one direction until one side ends; the other direction ends with it."""
        waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING_CHUNKS)
        delivering = asyncio.ensure_future(self._deliver(line, waiting, writer))
        due_s = 0.0
        try:
            while chunk := await reader.read(_CHUNK_BYTES):
                faults = self.faults
                due_s = max(due_s, self._loop.time() + self._delay_s(faults))
                await waiting.put((due_s, chunk))
                speed = min(faults.bytes_per_s, faults.down_bytes_per_s) if is_down else faults.bytes_per_s
                if speed < float("inf"):
                    await asyncio.sleep(len(chunk) / speed)
            await waiting.put((due_s, b""))
            await delivering
        except OSError:
            pass
        finally:
            delivering.cancel()
            for task in line.tasks:
                task.cancel()

    async def _deliver(
        self, line: _Line, waiting: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due_s, chunk = await waiting.get()
                wait_s = due_s - self._loop.time()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                if line.is_half_open:
                    continue  # neither the bytes nor the end of the connection arrive
                if not chunk:
                    return
                writer.write(chunk)
                await writer.drain()

    def _delay_s(self, faults: LineFaults) -> float:
        delay_ms = faults.latency_ms
        if faults.jitter_ms:
            delay_ms += self._random.uniform(0.0, faults.jitter_ms)
        if faults.loss and self._random.random() < faults.loss:
            delay_ms += faults.retransmit_ms
        return delay_ms / 1000.0
