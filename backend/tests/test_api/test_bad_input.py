"""Bad input over a real socket: a coded error or a counted drop, and the stream and the other clients go on."""

import asyncio
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from app.api.ws_messages import CloseCode
from app.core.config import StreamSettings
from app.ml.landmarks.wire import encode_frame
from tests.fakes import StreamWriter, still_frame
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

GOOD_FRAME = encode_frame(still_frame(), sequence=0, time_ms=1.0)


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        ("not json", "bad_json"),
        ("", "bad_json"),
        ("[1, 2]", "bad_message"),
        ("{}", "unknown_type"),
        ('{"type": "dance"}', "unknown_type"),
        ('{"type": "hello", "width": -5, "height": 480}', "bad_message"),
        ('{"type": "hello", "width": 1e400, "height": 480}', "bad_message"),
        ('{"type": "hello", "width": 640, "height": 480, "pace": "fast"}', "bad_message"),
        ('{"type": "feedback", "sign_id": 1, "label": "../../etc", "consent": true}', "bad_message"),
        ('{"type": "feedback", "sign_id": 99, "label": "yes", "consent": true}', "unknown_sign"),
        (GOOD_FRAME.decode("latin-1"), "bad_json"),
        (b'{"type": "ping"}', "bad_magic"),
        (GOOD_FRAME[:-1], "bad_size"),
        (b"SF\x02" + GOOD_FRAME[3:], "bad_version"),
    ],
)
async def test_malformed_input_is_answered_with_its_code_and_the_stream_goes_on(
    tmp_path: Path, bad: str | bytes, code: str
) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        await socket.send(bad)
        error = await receive_until(socket, "error")
        await send_all(socket, StreamWriter().sign("yes"))
        sign = await receive_until(socket, "sign")

    assert error["code"] == code
    assert error["message"]
    assert sign["label"] == "yes"


async def test_malformed_messages_without_end_close_with_abuse(tmp_path: Path) -> None:
    stream = StreamSettings(max_violations=10)
    async with serve(tmp_path, stream=stream) as live, client(live) as socket, client(live) as other:
        await send_all(socket, [b"rubbish"] * 20)
        assert await close_code(socket) == CloseCode.ABUSE
        await hello(other)


async def test_frames_that_go_back_in_time_are_dropped_and_counted(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        for sequence, time_ms in enumerate((100.0, 133.0, 50.0, 133.0, 166.0)):
            await socket.send(encode_frame(still_frame(), sequence=sequence, time_ms=time_ms))
        error = await receive_until(socket, "error")
        stats = await receive_until(socket, "stats")

    assert error["code"] == "time_not_increasing"
    assert (stats["frames_handled"], stats["frames_dropped"], stats["last_sequence"]) == (3, 2, 4)


async def test_a_clock_that_jumped_back_for_good_is_followed(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        writer = StreamWriter(time_ms=1e9)
        await send_all(socket, writer.rest())
        writer.time_ms = 0.0
        await send_all(socket, [*writer.rest(), *writer.sign("yes")])
        sign = await receive_until(socket, "sign")

    assert sign["label"] == "yes"


async def test_an_absurd_leap_forward_does_not_reach_the_recogniser_as_one_endless_sign(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        writer = StreamWriter()
        first = writer.sign("yes", rest_ms=0)
        writer.time_ms = 9e12
        second = writer.sign("hello")
        await send_all(socket, [*first, *second])
        signs = [await receive_until(socket, "sign") for _ in range(2)]

    assert [sign["label"] for sign in signs] == ["yes", "hello"]
    assert all(sign["end_ms"] - sign["start_ms"] < 3_000 for sign in signs)


async def test_frames_full_of_nan_and_of_absurd_values_are_taken_as_empty_pictures(tmp_path: Path) -> None:
    absurd = np.full((75, 3), 1e30, np.float32)
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        await socket.send(encode_frame(np.full((75, 3), np.nan, np.float32), sequence=0, time_ms=1.0))
        for sequence in range(1, 200):
            await socket.send(encode_frame(absurd, sequence=sequence, time_ms=1.0 + 33 * sequence))
        await send(socket, type="end")
        received = await collect_until(socket, "ended")

    assert received[-1]["last_sequence"] == 199
    assert [message["code"] for message in received if message["type"] == "error"] == ["bad_values"]


async def test_a_ten_megabyte_message_closes_only_its_own_socket(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket, client(live) as other:
        await hello(socket)
        await hello(other)
        with suppress(ConnectionClosed):
            await socket.send(bytes(10_000_000))
        assert await close_code(socket) in {CloseCode.TOO_BIG, 1006}
        await send_all(other, StreamWriter().sign("yes"))
        sign = await receive_until(other, "sign")

    assert sign["label"] == "yes"


async def test_fifteen_hundred_frames_at_once_are_all_handled_or_counted(tmp_path: Path) -> None:
    writer = StreamWriter()
    frames = [frame for _ in range(27) for frame in writer.sign("yes")][:1_500]
    async with serve(tmp_path) as live, client(live) as socket, client(live) as other:
        await hello(socket)
        await hello(other)
        await asyncio.gather(send_all(socket, frames), send_all(other, StreamWriter().sign("hello")))
        sign = await receive_until(other, "sign")
        stats: Message = {"frames_handled": 0, "frames_dropped": 0}
        while stats["frames_handled"] + stats["frames_dropped"] < len(frames):
            stats = await receive_until(socket, "stats")

    assert sign["label"] == "hello"
    assert stats["frames_handled"] + stats["frames_dropped"] == len(frames)


async def test_a_foreign_page_is_refused_and_our_own_and_none_are_accepted(tmp_path: Path) -> None:
    async with serve(tmp_path, allowed_origins=["https://friend.example"]) as live:
        for origin in ("https://evil.example", f"http://127.0.0.1:{live.port + 1}", "null"):
            with pytest.raises(Exception, match="403"):
                async with client(live, origin=origin):
                    pass
        for origin in (f"http://127.0.0.1:{live.port}", "https://friend.example", None):
            async with client(live, origin=origin) as socket:
                assert socket.subprotocol == "signflow.v1"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3),
    max_leaves=8,
)
TYPES = ("hello", "reset", "undo", "feedback", "end", "ping")
FIELDS = ("width", "height", "mirrored", "pace", "locale", "resume_token", "last_sign_id", "sign_id", "label")
message_like = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | st.text(max_size=8)}, optional=dict.fromkeys(FIELDS, json_values)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(message_like | json_values | st.binary(max_size=64), min_size=1, max_size=20))
async def test_no_sequence_of_messages_harms_the_stream(tmp_path: Path, batch: list[Any]) -> None:
    async with serve(tmp_path) as live:
        async with client(live) as socket:
            for item in batch:
                await socket.send(item if isinstance(item, bytes) else json.dumps(item))
            await send(socket, type="ping")
            await receive_until(socket, "pong")
        assert "internal" not in str(live.services.metrics.render())
