"""Too much of everything: frames, sessions, silence, unread answers; and the end of the server."""

import asyncio
import json
import socket as sockets
from contextlib import AsyncExitStack
from pathlib import Path

from websockets.asyncio.client import connect

from app.api.outbox import Outbox
from app.api.ws_messages import CloseCode
from app.core.config import InferenceSettings, StreamSettings
from tests.fakes import FakePredictor, StreamWriter
from tests.test_api.live import (
    Message,
    client,
    close_code,
    collect_until,
    hello,
    receive_until,
    send,
    send_all,
    serve,
)


async def test_live_drops_the_oldest_frames_and_counts_them(tmp_path: Path) -> None:
    writer = StreamWriter()
    frames = [frame for _ in range(10) for frame in writer.sign("yes")]
    stream = StreamSettings(backlog_frames=20)
    async with (
        serve(tmp_path, predictor=FakePredictor(delay_s=0.3), stream=stream) as live,
        client(live) as socket,
    ):
        await hello(socket)
        await send_all(socket, frames)
        stats: Message = {"last_sequence": -1}
        handled = dropped = 0
        while handled + dropped < len(frames):
            stats = await receive_until(socket, "stats", timeout_s=30)
            handled, dropped = stats["frames_handled"], stats["frames_dropped"]

    assert dropped > 100
    assert handled + dropped == len(frames)
    assert stats["last_sequence"] == len(frames) - 1  # the newest survived


async def test_replay_drops_nothing(tmp_path: Path) -> None:
    writer = StreamWriter()
    frames = [frame for _ in range(10) for frame in writer.sign("yes")]
    stream = StreamSettings(backlog_frames=20)
    async with (
        serve(tmp_path, predictor=FakePredictor(delay_s=0.01), stream=stream) as live,
        client(live) as socket,
    ):
        await hello(socket, pace="replay")
        await send_all(socket, frames)
        await send(socket, type="end")
        received = await collect_until(socket, "ended", timeout_s=30)

    assert len([message for message in received if message["type"] == "sign"]) == 10
    assert received[-1]["last_sequence"] == len(frames) - 1


async def test_a_full_server_is_busy_for_newcomers_and_unchanged_for_those_inside(tmp_path: Path) -> None:
    stream = StreamSettings(max_sessions=1, retry_after_s=7)
    async with serve(tmp_path, stream=stream) as live, client(live) as inside:
        ready = await hello(inside)
        async with client(live) as newcomer:
            await send(newcomer, type="hello", width=640, height=480, mirrored=False, client="test")
            assert json.loads(await newcomer.recv()) == {"type": "busy", "retry_after_s": 7.0}
            assert await close_code(newcomer) == CloseCode.BUSY
        async with client(live) as same_person:
            assert (await hello(same_person, resume_token=ready["resume_token"]))["resumed"] is True


async def test_a_silent_client_is_closed_and_a_ping_is_enough_to_stay(tmp_path: Path) -> None:
    stream = StreamSettings(idle_timeout_s=1.5)
    async with serve(tmp_path, stream=stream) as live, client(live) as silent, client(live) as pinging:
        await hello(silent)
        await hello(pinging)
        for _ in range(10):
            await asyncio.sleep(0.4)
            await send(pinging, type="ping")
            await receive_until(pinging, "pong")
        assert await close_code(silent) == CloseCode.IDLE_TIMEOUT


async def test_a_reader_that_never_reads_is_closed_and_the_others_do_not_notice(tmp_path: Path) -> None:
    stream = StreamSettings(outbox_messages=16, send_timeout_s=1.0)
    async with serve(tmp_path, stream=stream) as live, client(live) as other:
        await hello(other)
        raw = sockets.socket()
        raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4_096)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", live.port))
        async with connect(live.stream, sock=raw, compression=None, ping_interval=None) as deaf:
            deaf.transport.pause_reading()
            async with asyncio.timeout(60):
                while live.services.hub.num_connections == 2:
                    deaf.transport.write(_masked_text_frames('{"type":"undo"}', num=200))
                    await asyncio.sleep(0.01)
            await send_all(other, StreamWriter().sign("yes"))
            assert (await receive_until(other, "sign"))["label"] == "yes"
            deaf.transport.abort()


def _masked_text_frames(text: str, *, num: int) -> bytes:
    """WebSocket frames as a client sends them, with a mask of zeros."""
    payload = text.encode()
    return (bytes([0x81, 0x80 | len(payload)]) + bytes(4) + payload) * num


def test_a_full_outbox_makes_room_by_dropping_what_may_be_lost_oldest_first() -> None:
    outbox = Outbox(max_messages=3)
    for text, droppable in (("sign 1", False), ("state", True), ("partial", True), ("sign 2", False)):
        assert outbox.put(text, droppable=droppable)

    assert [outbox.pop() for _ in range(4)] == ["sign 1", "partial", "sign 2", None]
    assert outbox.num_dropped == 1


def test_an_outbox_full_of_signs_refuses_another_instead_of_losing_one() -> None:
    outbox = Outbox(max_messages=2)
    assert outbox.put("sign 1", droppable=False)
    assert outbox.put("sign 2", droppable=False)

    assert outbox.put("state", droppable=True)
    assert not outbox.put("sign 3", droppable=False)
    assert [outbox.pop() for _ in range(3)] == ["sign 1", "sign 2", None]


async def test_an_answer_that_fails_or_never_comes_is_a_coded_error_and_the_stream_goes_on(tmp_path: Path) -> None:
    predictor = FakePredictor(failures=1_000)
    inference = InferenceSettings(timeout_s=0.2)
    async with serve(tmp_path, predictor=predictor, inference=inference) as live, client(live) as socket:
        await hello(socket, pace="replay")
        writer = StreamWriter()
        await send_all(socket, writer.sign("yes"))
        error = await receive_until(socket, "error")
        predictor.failures, predictor.delay_s = 0, 60.0
        await send_all(socket, writer.sign("yes"))
        await asyncio.sleep(1.2)
        predictor.delay_s = 0.0
        await send_all(socket, [*writer.rest(), *writer.sign("thank_you")])
        await send(socket, type="end")
        received = await collect_until(socket, "ended", timeout_s=30)

    assert error["code"] == "inference_failed"
    assert [message["label"] for message in received if message["type"] == "sign"][-1] == "thank_you"


async def test_a_stopping_server_finishes_the_sign_in_progress(tmp_path: Path) -> None:
    async with serve(tmp_path, predictor=FakePredictor(delay_s=0.1)) as live:
        socket = await connect(live.stream, compression=None, ping_interval=None)
        await hello(socket)
        await send_all(socket, StreamWriter().sign("yes", rest_ms=0))
        await asyncio.sleep(0.3)
    received = await collect_until(socket, "ended")

    assert [message["label"] for message in received if message["type"] == "sign"] == ["yes"]
    assert await close_code(socket) == CloseCode.GOING_AWAY


async def test_newcomers_are_told_busy_while_those_inside_lose_frames(tmp_path: Path) -> None:
    writer = StreamWriter()
    frames = [frame for _ in range(12) for frame in writer.sign("yes")]
    async with (
        serve(tmp_path, predictor=FakePredictor(delay_s=0.6), stream=StreamSettings(backlog_frames=20)) as live,
        AsyncExitStack() as sockets,
    ):
        inside = [await sockets.enter_async_context(client(live)) for _ in range(8)]
        for socket in inside:
            await hello(socket)
        for start in range(0, len(frames), 60):
            await send_all(inside[0], frames[start : start + 60])
            await asyncio.sleep(0.3)
        newcomer = await sockets.enter_async_context(client(live))
        await send(newcomer, type="hello", width=640, height=480, mirrored=False, client="test")
        answer = json.loads(await newcomer.recv())
        assert live.services.sessions.gate.is_full

    assert answer == {"type": "busy", "retry_after_s": 10.0}
