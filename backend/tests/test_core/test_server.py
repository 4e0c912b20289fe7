import asyncio
import socket
from pathlib import Path

from app.server import open_socket
from tests.test_api.live import make_settings


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
