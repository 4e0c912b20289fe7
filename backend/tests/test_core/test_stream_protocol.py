import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import uvicorn
from websockets.asyncio.client import connect

from app.core.tasks import TaskSet
from app.server import open_socket
from app.stream_protocol import JoinedWrites, StreamProtocol
from tests.test_api.live import make_settings


class Wire(asyncio.Transport):
    """Remembers what was written, and how often."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """One system call."""
        assert not self.is_closed
        self.written.append(bytes(data))

    def close(self) -> None:
        """No more."""
        self.is_closed = True

    def abort(self) -> None:
        """No more."""
        self.is_closed = True


class SlowApp:
    """An ASGI application that takes messages only once it may, and says how many waited until then."""

    def __init__(self) -> None:
        self.may_read = asyncio.Event()
        self.has_ended = asyncio.Event()
        self.taken: list[bytes] = []
        self.protocol: StreamProtocol | None = None

    async def __call__(self, _scope: Any, receive: Any, send: Any) -> None:
        """Serve one socket."""
        assert (await receive())["type"] == "websocket.connect"
        self.protocol = receive.__self__
        await send({"type": "websocket.accept"})
        await self.may_read.wait()
        while (message := await receive())["type"] == "websocket.receive":
            self.taken.append(message["bytes"])
        self.has_ended.set()


@asynccontextmanager
async def serve(app: SlowApp) -> AsyncGenerator[int]:
    config = uvicorn.Config(app, ws=StreamProtocol, port=0, lifespan="off", log_config=None)
    server, tasks = uvicorn.Server(config), TaskSet("test")
    running = tasks.start(server._serve(), name="serve")  # pyright: ignore[reportPrivateUsage]
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await asyncio.wait({running}, timeout=10)
        await tasks.close()


async def test_what_is_written_in_one_turn_leaves_together_and_before_the_end() -> None:
    wire = Wire()
    joined = JoinedWrites(wire)

    joined.write(b"sign ")
    joined.write(b"caption")
    assert wire.written == []
    await asyncio.sleep(0)
    assert wire.written == [b"sign caption"]

    joined.write(b"bye")
    joined.close()
    await asyncio.sleep(0)
    assert (wire.written[1:], wire.is_closed) == ([b"bye"], True)


async def test_nothing_is_written_after_an_abort() -> None:
    wire = Wire()
    joined = JoinedWrites(wire)

    joined.write(b"late")
    joined.abort()
    await asyncio.sleep(0)

    assert wire.written == []


async def test_a_client_that_is_faster_than_the_application_is_held_back_and_loses_nothing() -> None:
    app = SlowApp()
    messages = [number.to_bytes(4) * 10_000 for number in range(400)]
    async with serve(app) as port, connect(f"ws://127.0.0.1:{port}", compression=None, ping_interval=None) as client:
        sending = asyncio.ensure_future(asyncio.gather(*map(client.send, messages)))
        await asyncio.sleep(0.3)
        assert app.protocol is not None
        waiting = app.protocol.queue.qsize()
        assert not sending.done()
        app.may_read.set()
        await sending
        await client.close()
        await app.has_ended.wait()

    assert 1 < waiting <= 16 + 256 * 1024 // len(messages[0])  # what one read of the socket holds may come on top
    assert app.taken == messages


async def test_an_answers_second_message_does_not_wait_for_the_first_to_be_confirmed(tmp_path: Path) -> None:
    options: list[int] = []
    accepted = asyncio.Event()

    class Taking(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            options.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            accepted.set()

    listener = open_socket(make_settings(tmp_path))
    server = await asyncio.get_running_loop().create_server(Taking, sock=listener)
    async with server:
        _, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
        await accepted.wait()
        writer.close()

    assert options == [1]
