"""Two servers that share sessions in a real Redis: a stream that moves between them loses and repeats nothing.

Each server here is all that a worker process holds; workers as processes are in test_core/test_supervisor.py and
test_harness/test_load_test.py.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from app.api.ws_messages import CloseCode
from app.core.config import StreamSettings
from tests.fakes import FakePredictor, StreamWriter
from tests.redis_server import RedisServer
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
from tests.test_api.test_resume import LABELS, lasting, run_through, stream


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(folder=tmp_path)
    server.start()
    yield server
    server.kill()


@asynccontextmanager
async def serve_two(
    folder: Path, redis: RedisServer, *, stream: StreamSettings | None = None
) -> AsyncGenerator[tuple[LiveServer, LiveServer]]:
    """Two servers that share a Redis, and nothing else."""
    async with (
        serve(folder / "a", stream=stream, redis_url=redis.url) as first,
        serve(folder / "b", stream=stream, redis_url=redis.url) as second,
    ):
        yield first, second


async def finish_on(live: LiveServer, ready: Message, last_sign_id: int) -> tuple[Message, list[Message]]:
    """Resume on a server, send the rest of the stream, and read to the end."""
    async with client(live) as socket:
        again = await hello(socket, resume_token=ready["resume_token"], last_sign_id=last_sign_id)
        await send_all(socket, stream()[again["last_sequence"] + 1 :])
        await send(socket, type="end")
        return again, await collect_until(socket, "ended", timeout_s=30)


@pytest.mark.parametrize("cut_at", [20, 95, 140, 230, 330])
async def test_a_stream_that_moves_to_another_process_equals_an_uninterrupted_one(
    tmp_path: Path, redis: RedisServer, cut_at: int
) -> None:
    async with serve_two(tmp_path, redis) as (first, second):
        whole = await run_through(first, pace="live")
        async with client(first) as socket:
            ready = await hello(socket)
            await send_all(socket, stream()[:cut_at])
            await asyncio.sleep(0.3)
            socket.transport.abort()
        again, received = await finish_on(second, ready, last_sign_id=0)

    assert again["resumed"] is True
    assert again["session_id"] == ready["session_id"]
    assert lasting(received, "sign", "ended") == lasting(whole, "sign", "ended")
    assert [m for m in received if m["type"] == "caption"][-1] == [m for m in whole if m["type"] == "caption"][-1]


@pytest.mark.parametrize("cut_at", [95, 140])
async def test_a_process_that_is_stopped_hands_its_streams_over_in_the_middle_of_a_sign(
    tmp_path: Path, redis: RedisServer, cut_at: int
) -> None:
    async with serve(tmp_path / "b", redis_url=redis.url) as second:
        whole = await run_through(second, pace="live")
        async with serve(tmp_path / "a", redis_url=redis.url, predictor=FakePredictor(delay_s=0.02)) as first:
            socket = await connect(first.stream, compression=None, ping_interval=None)
            ready = await hello(socket)
            await send_all(socket, stream()[:cut_at])
            await asyncio.sleep(0.2)
        before = await read_to_close(socket)
        seen = [message["id"] for message in before if message["type"] == "sign"]
        again, after = await finish_on(second, ready, last_sign_id=max(seen, default=0))

    assert socket.close_code == CloseCode.GOING_AWAY
    assert again["resumed"] is True
    assert not [message for message in before if message["type"] == "ended"]  # nobody ended the sign in progress
    assert lasting([*before, *after], "sign") == lasting(whole, "sign")


async def read_to_close(socket: ClientConnection) -> list[Message]:
    """Everything that was told before the server closed."""
    return [json.loads(text) async for text in socket]


async def test_signs_that_the_client_has_but_redis_has_not_are_not_told_again(
    tmp_path: Path, redis: RedisServer
) -> None:
    async with serve_two(tmp_path, redis) as (first, second):
        async with client(first) as socket:
            ready = await hello(socket)
            await send_all(socket, stream()[:50])
            await asyncio.sleep(1.5)
            async with redis.client() as spy:
                (name,) = await spy.keys("*session*")
                before_the_sign = await spy.dump(name)
            await send_all(socket, stream()[50:120])
            await receive_until(socket, "sign")
            socket.transport.abort()
        await asyncio.sleep(0.3)
        async with redis.client() as spy:  # as if the first one had died before it could keep the sign
            assert before_the_sign is not None
            await spy.restore(name, 60_000, before_the_sign, replace=True)
        again, received = await finish_on(second, ready, last_sign_id=1)

    assert again["resumed"] is True
    assert [message["id"] for message in received if message["type"] == "sign"] == list(range(2, len(LABELS) + 1))


async def test_a_half_open_connection_on_another_process_is_superseded(tmp_path: Path, redis: RedisServer) -> None:
    async with serve_two(tmp_path, redis) as (first, second), client(first) as old, client(second) as new:
        ready = await hello(old)
        again = await hello(new, resume_token=ready["resume_token"])
        assert again["resumed"] is True
        assert await close_code(old, timeout_s=20) == CloseCode.SUPERSEDED
        await send_all(new, StreamWriter().sign("yes"))
        sign = await receive_until(new, "sign")
        assert first.services.sessions.num_open == 0

    assert sign["label"] == "yes"


async def test_places_are_counted_over_both_processes(tmp_path: Path, redis: RedisServer) -> None:
    limits = StreamSettings(max_sessions=2, retry_after_s=3)
    async with serve_two(tmp_path, redis, stream=limits) as (first, second):
        async with client(first) as one, client(second) as two, client(first) as three:
            await hello(one)
            ready = await hello(two)
            await send(three, type="hello", width=640, height=480, mirrored=False, client="test")
            assert json.loads(await three.recv()) == {"type": "busy", "retry_after_s": 3.0}
            async with client(first) as same_person:  # has a place already, only elsewhere
                assert (await hello(same_person, resume_token=ready["resume_token"]))["resumed"] is True
        async with client(second) as four:
            await asyncio.sleep(0.3)
            assert (await hello(four))["resumed"] is False


async def test_without_redis_streams_go_on_and_it_comes_back_by_itself(tmp_path: Path, redis: RedisServer) -> None:
    async with serve_two(tmp_path, redis) as (first, second):
        async with client(first) as socket:
            ready = await hello(socket)
            redis.kill()
            await send_all(socket, stream()[:140])
            await receive_until(socket, "sign")
            async with client(second) as newcomer:  # admitted by the places of its own process
                assert (await hello(newcomer))["resumed"] is False
            socket.transport.abort()
        await asyncio.sleep(0.2)
        async with client(first) as socket:  # the process that had it still resumes it
            again = await hello(socket, resume_token=ready["resume_token"], last_sign_id=1)
            assert again["resumed"] is True
            redis.start()
            for _ in range(200):
                if await is_kept_again(first, redis):
                    break
                await asyncio.sleep(0.1)
            socket.transport.abort()
        _, received = await finish_on(second, ready, last_sign_id=1)

    assert [message["id"] for message in received if message["type"] == "sign"] == list(range(2, len(LABELS) + 1))


async def is_kept_again(live: LiveServer, redis: RedisServer) -> bool:
    """Whether a server has found Redis again and has kept its session there."""
    if not live.services.sessions.store.is_reachable:
        return False
    async with redis.client() as spy:
        return bool(await spy.keys("*session*"))
