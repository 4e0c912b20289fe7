import asyncio
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_websocket
from websockets.typing import Subprotocol

from app.api.ws_messages import (
    CaptionMessage,
    Ended,
    Limits,
    Ready,
    ServerMessage,
    SignMessage,
    StateMessage,
    StatsMessage,
)
from app.client.errors import ServerBusyError, ServerHasNoModelError, ServerUnreachableError, StreamRefusedError
from app.client.stream_client import Patience, StreamClient, stream_url
from app.core.config import StreamSettings
from app.harness.fault_proxy import FaultProxy
from app.ml.recordings.clips import Clip
from tests.binaries import require_binary
from tests.e2e.live_server import free_port
from tests.fakes import signing_frame, still_frame
from tests.test_api.live import serve, serve_without_model


def signing_clip(*labels: str, fps: float = 25.0) -> Clip:
    """Each sign for a second, with a second of rest around it."""
    frames = []
    for label in labels:
        frames += [still_frame()] * int(fps)
        frames += [signing_frame(index * 1000 / fps, label=label) for index in range(int(fps))]
    frames += [still_frame()] * int(fps)
    return Clip(landmarks=np.stack(frames), times_ms=np.arange(len(frames)) * 1000 / fps)


class Heard:
    """What the server said."""

    def __init__(self) -> None:
        self.messages: list[ServerMessage] = []

    def __call__(self, message: ServerMessage, received_s: float) -> None:
        assert received_s <= time.monotonic()
        self.messages.append(message)

    @property
    def signs(self) -> list[tuple[int, str | None]]:
        return [(message.id, message.label) for message in self.messages if isinstance(message, SignMessage)]


@pytest.fixture
def line() -> Iterator[FaultProxy]:
    proxy = FaultProxy(target_port=0)
    yield proxy
    proxy.close()


async def test_a_clip_is_played_and_its_signs_are_heard(tmp_path: Path) -> None:
    heard, sent_ms = Heard(), []
    clip = signing_clip("hello", "yes")
    async with (
        serve(tmp_path) as server,
        StreamClient(
            server.stream, pace="replay", on_message=heard, on_sent=lambda time_ms, _: sent_ms.append(time_ms)
        ) as client,
    ):
        await client.play(clip)

    assert heard.signs == [(1, "hello"), (2, "yes")]
    assert isinstance(heard.messages[0], Ready)
    assert {StateMessage, CaptionMessage} <= {type(message) for message in heard.messages}
    assert sent_ms == clip.times_ms.tolist()
    assert client.num_reconnects == 0


async def test_live_pace_takes_as_long_as_the_recording(tmp_path: Path) -> None:
    clip = signing_clip("hello")
    clip = Clip(landmarks=clip.landmarks[:40], times_ms=clip.times_ms[:40])
    heard = Heard()
    async with serve(tmp_path) as server, StreamClient(server.stream, on_message=heard) as client:
        started_s = time.monotonic()
        await client.play(clip)
        elapsed_ms = (time.monotonic() - started_s) * 1000

    assert clip.duration_ms <= elapsed_ms < clip.duration_ms + 1000
    assert heard.signs == [(1, "hello")]
    assert any(isinstance(message, StatsMessage) for message in heard.messages)


async def test_clips_follow_one_another_in_one_session(tmp_path: Path) -> None:
    heard = Heard()
    wide = signing_clip("yes")
    wide = Clip(landmarks=wide.landmarks, times_ms=wide.times_ms, width=1280, height=720)
    async with serve(tmp_path) as server, StreamClient(server.stream, pace="replay", on_message=heard) as client:
        await client.play(signing_clip("hello"))
        await client.play(wide)
        assert server.services.hub.num_connections == 1

    assert heard.signs == [(1, "hello"), (2, "yes")]


async def test_after_a_lost_line_no_sign_is_missing_and_none_comes_twice(tmp_path: Path, line: FaultProxy) -> None:
    heard = Heard()
    clip = signing_clip("hello", "yes", "hello", fps=50.0)
    cuts = 0

    async def cut_now_and_then() -> None:
        nonlocal cuts
        for _ in range(3):
            await asyncio.sleep(1.5)
            line.cut()
            await asyncio.sleep(0.4)
            line.mend()
            cuts += 1

    async with serve(tmp_path) as server:
        line.target_port = server.port
        url = f"ws://127.0.0.1:{line.port}/api/v1/translate/stream"
        async with StreamClient(url, on_message=heard) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(client.play(clip))
            tasks.create_task(cut_now_and_then())

    assert cuts == 3
    assert client.num_reconnects >= 3
    assert heard.signs == [(1, "hello"), (2, "yes"), (3, "hello")]
    assert [message.resumed for message in heard.messages if isinstance(message, Ready)] == [False, True, True, True]


async def test_a_session_that_was_forgotten_is_begun_anew_without_repeating_signs(
    tmp_path: Path, line: FaultProxy
) -> None:
    heard = Heard()
    async with serve(tmp_path, stream=StreamSettings(resume_s=0.0)) as server:
        line.target_port = server.port
        url = f"ws://127.0.0.1:{line.port}/api/v1/translate/stream"
        async with StreamClient(url, on_message=heard) as client, asyncio.TaskGroup() as tasks:
            tasks.create_task(client.play(signing_clip("hello", "yes")))
            tasks.create_task(cut_after(line, 2.6, mend_after_s=0.2))

    assert [message.resumed for message in heard.messages if isinstance(message, Ready)] == [False, False]
    assert heard.signs == [(1, "hello"), (1, "yes")]


async def test_nobody_there_is_said_at_once() -> None:
    async with StreamClient(stream_url(f"127.0.0.1:{free_port()}")) as client:
        with pytest.raises(ServerUnreachableError, match=r"no SignFlow server at ws://.*make run"):
            await client.play(signing_clip("hello"))


async def test_a_server_that_does_not_come_back_is_given_up(tmp_path: Path, line: FaultProxy) -> None:
    async with serve(tmp_path) as server:
        line.target_port = server.port
        url = f"ws://127.0.0.1:{line.port}/api/v1/translate/stream"
        heard = asyncio.Event()
        async with (
            StreamClient(url, patience=Patience(give_up_s=0.5), on_message=lambda _message, _at: heard.set()) as client,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(cut_once(line, heard))
            with pytest.raises(ServerUnreachableError, match="lost the connection to"):
                await client.play(signing_clip("hello"))


async def cut_once(line: FaultProxy, happened: asyncio.Event) -> None:
    await happened.wait()
    line.cut()


async def cut_after(line: FaultProxy, seconds: float, *, mend_after_s: float | None = None) -> None:
    await asyncio.sleep(seconds)
    line.cut()
    if mend_after_s is not None:
        await asyncio.sleep(mend_after_s)
        line.mend()


async def test_a_server_without_a_model_is_said_so(tmp_path: Path) -> None:
    async with serve_without_model(tmp_path) as server, StreamClient(server.stream) as client:
        with pytest.raises(ServerHasNoModelError, match="no model here"):
            await client.play(signing_clip("hello"))


async def test_a_full_server_is_waited_for_and_then_given_up(tmp_path: Path) -> None:
    limits = StreamSettings(max_sessions=1, retry_after_s=0.2)
    async with (
        serve(tmp_path, stream=limits) as server,
        StreamClient(server.stream) as first,
        StreamClient(server.stream, patience=Patience(give_up_s=0.5)) as second,
        asyncio.TaskGroup() as tasks,
    ):
        playing = tasks.create_task(first.play(signing_clip("hello", "yes")))
        await asyncio.sleep(0.3)
        with pytest.raises(ServerBusyError, match="is full"):
            await second.play(signing_clip("yes"))
        playing.cancel()


async def test_another_kind_of_server_is_recognised(tmp_path: Path) -> None:
    async def speak(socket: ServerConnection) -> None:
        await socket.send('{"type": "welcome"}')
        await socket.wait_closed()

    async with serve(tmp_path) as server, StreamClient(f"{server.stream}/elsewhere") as client:
        with pytest.raises(ServerUnreachableError, match="is the address right"):
            await client.play(signing_clip("hello"))
    async with serve_websocket(speak, "127.0.0.1", 0, subprotocols=[Subprotocol("signflow.v1")]) as other:
        port = other.sockets[0].getsockname()[1]
        async with StreamClient(f"ws://127.0.0.1:{port}/") as client:
            with pytest.raises(StreamRefusedError, match="not of signflow"):
                await client.play(signing_clip("hello"))


def make_certificate(folder: Path) -> tuple[Path, Path]:
    openssl = require_binary("openssl", install="sudo apt-get install openssl")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key


async def test_a_secure_server_is_trusted_by_its_own_certificate_only(tmp_path: Path) -> None:
    certificate, key = await asyncio.to_thread(make_certificate, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    async def answer(socket: ServerConnection) -> None:
        limits = Limits(max_message_bytes=1, idle_timeout_s=1, backlog_frames=1, resume_s=1, history_signs=1)
        ready = Ready(session_id="s", resume_token="t", resumed=False, last_sequence=-1, model_version="v1",
                      vocabulary_size=1, limits=limits)  # fmt: skip
        await socket.send(ready.model_dump_json())
        async for message in socket:
            if isinstance(message, str) and "end" in message:
                await socket.send(Ended(last_sequence=0).model_dump_json())

    async with serve_websocket(
        answer, "127.0.0.1", 0, ssl=context, subprotocols=[Subprotocol("signflow.v1")]
    ) as server:
        url = stream_url(f"https://localhost:{server.sockets[0].getsockname()[1]}")
        async with StreamClient(url, pace="replay", certificate=certificate) as client:
            await client.play(signing_clip("hello"))
        async with StreamClient(url, pace="replay") as client:
            with pytest.raises(ServerUnreachableError, match=r"not trusted here .*--certificate"):
                await client.play(signing_clip("hello"))


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("127.0.0.1:8000", "ws://127.0.0.1:8000/api/v1/translate/stream"),
        ("http://localhost:8000/", "ws://localhost:8000/api/v1/translate/stream"),
        ("https://signs.example", "wss://signs.example/api/v1/translate/stream"),
        ("wss://signs.example/behind/a/proxy", "wss://signs.example/behind/a/proxy"),
    ],
)
def test_addresses_are_understood_as_people_type_them(typed: str, url: str) -> None:
    assert stream_url(typed) == url


def test_what_is_no_address_is_refused() -> None:
    for typed in ("ftp://somewhere", "http://", ""):
        with pytest.raises(ValueError, match="try http://127"):
            stream_url(typed)
