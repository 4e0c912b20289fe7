"""What clients do wrong is no error of the server: its log says so in a line, without a traceback."""

import signal
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

from tests.e2e.live_server import LiveServer


async def test_a_foreign_origin_and_an_oversized_message_are_not_logged_as_errors(tmp_path: Path) -> None:
    server = LiveServer(data_dir=tmp_path, model_dir=tmp_path / "models")
    server.start()
    stream = f"ws://127.0.0.1:{server.port}/api/v1/translate/stream"
    try:
        with pytest.raises(InvalidStatus, match="403"):
            await connect(stream, origin=Origin("http://somewhere.else"))
        async with connect(stream, subprotocols=[Subprotocol("signflow.v1")]) as socket:
            await socket.send(b"x" * 200_000)
            await socket.wait_closed()
        assert socket.close_code == 1009
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(timeout=30)
    finally:
        server.stop()

    log = server.log_file.read_text(encoding="utf-8")
    assert "refused a socket: pages of http://somewhere.else" in log
    assert "signs cannot be translated" in log
    assert "Traceback" not in log
    assert log.count("ERROR") == 1, "that there is no model, and nothing else"
