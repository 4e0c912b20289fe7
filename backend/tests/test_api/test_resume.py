"""Lost connections: what a resumed session tells equals what an uninterrupted one tells."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from app.api.ws_messages import CloseCode
from app.core.config import StreamSettings
from tests.fakes import FakePredictor, StreamWriter
from tests.test_api.live import (
    LiveServer,
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

VOLATILE = {"latency_ms", "session_id", "resume_token"}
LABELS = ("hello", "thank_you", "letter_c", "letter_a", "letter_t", "yes", "yes")


def stream() -> list[bytes]:
    """Seven signs with rests between them."""
    writer = StreamWriter()
    return [*writer.rest(), *(frame for label in LABELS for frame in writer.sign(label))]


def lasting(messages: list[Message], *kinds: str) -> list[Message]:
    """Messages of some kinds without what may differ between runs."""
    return [
        {key: value for key, value in message.items() if key not in VOLATILE}
        for message in messages
        if message["type"] in kinds
    ]


async def run_through(live: LiveServer, *, pace: str, pause_s: float = 0.0) -> list[Message]:
    """One whole stream over one connection; everything that was told."""
    async with client(live) as socket:
        await hello(socket, pace=pace)
        received: list[Message] = []
        for start in range(0, len(stream()), 40):
            await send_all(socket, stream()[start : start + 40])
            await asyncio.sleep(pause_s)
        await send(socket, type="end")
        received += await collect_until(socket, "ended", timeout_s=20)
        return received


async def test_replay_tells_the_same_events_as_live_however_slow_the_recogniser(tmp_path: Path) -> None:
    kinds = ("state", "partial", "sign", "caption", "ended")
    async with serve(tmp_path / "fast") as live:
        slow_sender = lasting(await run_through(live, pace="live", pause_s=0.02), *kinds)
    small = StreamSettings(backlog_frames=8)
    async with serve(tmp_path / "slow", predictor=FakePredictor(delay_s=0.01), stream=small) as live:
        replay = lasting(await run_through(live, pace="replay"), *kinds)

    assert [message["label"] for message in slow_sender if message["type"] == "sign"] == list(LABELS)
    assert replay == slow_sender


@pytest.mark.parametrize("cut_at", [35, 100, 190, 260])
async def test_a_resumed_stream_equals_an_uninterrupted_one(tmp_path: Path, cut_at: int) -> None:
    async with serve(tmp_path) as live:
        whole = await run_through(live, pace="live")

        async with client(live) as socket:
            ready = await hello(socket)
            await send_all(socket, stream()[:cut_at])
            await asyncio.sleep(0.05)
            socket.transport.abort()
        async with client(live) as socket:
            again = await hello(socket, resume_token=ready["resume_token"], last_sign_id=0)
            await send_all(socket, stream()[again["last_sequence"] + 1 :])
            await send(socket, type="end")
            received = await collect_until(socket, "ended")

    assert again["resumed"] is True
    assert again["session_id"] == ready["session_id"]
    assert lasting(received, "sign", "ended") == lasting(whole, "sign", "ended")
    assert received[-2]["type"] != "caption" or received[-2]["text"]
    assert [m for m in received if m["type"] == "caption"][-1] == [m for m in whole if m["type"] == "caption"][-1]


async def test_signs_already_seen_are_not_sent_again_and_frames_sent_twice_are_skipped(tmp_path: Path) -> None:
    async with serve(tmp_path) as live:
        async with client(live) as socket:
            ready = await hello(socket)
            await send_all(socket, stream()[:200])
            seen = await receive_until(socket, "sign")
            socket.transport.abort()
        async with client(live) as socket:
            again = await hello(socket, resume_token=ready["resume_token"], last_sign_id=seen["id"])
            await send_all(socket, stream()[again["last_sequence"] - 30 :])
            await send(socket, type="end")
            received = await collect_until(socket, "ended")

    assert [m["id"] for m in received if m["type"] == "sign"] == list(range(seen["id"] + 1, len(LABELS) + 1))
    assert not [m for m in received if m["type"] == "error"]


async def test_a_second_connection_takes_the_session_from_a_half_open_first(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as first, client(live) as second:
        ready = await hello(first)
        again = await hello(second, resume_token=ready["resume_token"])
        assert await close_code(first) == CloseCode.SUPERSEDED
        await send_all(second, StreamWriter().sign("yes"))
        sign = await receive_until(second, "sign")

    assert again["resumed"] is True
    assert sign["label"] == "yes"


async def test_an_unknown_or_expired_token_begins_a_new_session(tmp_path: Path) -> None:
    async with serve(tmp_path, stream=StreamSettings(resume_s=0.05)) as live:
        async with client(live) as socket:
            ready = await hello(socket)
        await asyncio.sleep(0.2)
        for token in (ready["resume_token"], "made-up"):
            async with client(live) as socket:
                assert (await hello(socket, resume_token=token))["resumed"] is False


async def test_only_so_many_lost_sessions_are_kept_and_the_oldest_goes_first(tmp_path: Path) -> None:
    tokens: list[str] = []
    async with serve(tmp_path, stream=StreamSettings(max_kept_sessions=2)) as live:
        for _ in range(3):
            async with client(live) as socket:
                tokens.append((await hello(socket))["resume_token"])
            await asyncio.sleep(0.05)
        assert live.services.sessions.num_kept == 2
        async with AsyncExitStack() as sockets:
            resumed: list[bool] = []
            for token in reversed(tokens):
                socket = await sockets.enter_async_context(client(live))
                resumed.append((await hello(socket, resume_token=token))["resumed"])

    assert resumed == [True, True, False]


async def test_a_sign_that_ends_while_nobody_is_connected_is_told_on_resuming(tmp_path: Path) -> None:
    async with serve(tmp_path, predictor=FakePredictor(delay_s=0.2)) as live:
        async with client(live) as socket:
            ready = await hello(socket)
            await send_all(socket, StreamWriter().sign("yes"))
            await asyncio.sleep(0.02)
            socket.transport.abort()
        await asyncio.sleep(2.5)
        async with client(live) as socket:
            await hello(socket, resume_token=ready["resume_token"])
            sign = await receive_until(socket, "sign")

    assert sign["label"] == "yes"
