"""The live stream over a real socket: the protocol as DESIGN.md describes it."""

import asyncio
from pathlib import Path

from app.api.ws_messages import SERVER_MESSAGES
from tests.fakes import FakePredictor, StreamWriter
from tests.test_api.live import client, collect_until, hello, receive_until, send, send_all, serve


async def test_a_signed_word_comes_back_as_a_sign_and_a_caption(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        ready = await hello(socket)
        writer = StreamWriter()
        await send_all(socket, [*writer.rest(), *writer.sign("thank_you")])
        await send(socket, type="end")
        received = await collect_until(socket, "ended")

    assert ready["model_version"] == "v7"
    assert ready["vocabulary_size"] == 6
    assert ready["resumed"] is False
    (sign,) = [message for message in received if message["type"] == "sign"]
    assert (sign["id"], sign["label"]) == (1, "thank_you")
    assert len(sign["alternatives"]) == 5
    assert [message["text"] for message in received if message["type"] == "caption"] == ["thank you"]
    assert received[-1]["last_sequence"] == writer.sequence - 1


async def test_frames_without_hello_are_taken_with_the_defaults(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await send_all(socket, StreamWriter().sign("yes"))
        await send(socket, type="end")
        received = await collect_until(socket, "ended")

    assert received[0]["type"] == "ready"
    assert [message["label"] for message in received if message["type"] == "sign"] == ["yes"]


async def test_captions_follow_the_locale_of_hello(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket, locale="fr-FR")
        await send_all(socket, StreamWriter().sign("thank_you"))
        await send(socket, type="end")
        received = await collect_until(socket, "ended")

    assert [message["text"] for message in received if message["type"] == "caption"] == ["merci"]


async def test_a_mirrored_stream_is_unmirrored_before_it_is_recognised(tmp_path: Path) -> None:
    predictor = FakePredictor()
    async with serve(tmp_path, predictor=predictor) as live, client(live) as socket:
        await send(socket, type="hello", width=640, height=480, mirrored=True, client="test")
        await send_all(socket, StreamWriter().sign("hello"))
        await send(socket, type="end")
        await collect_until(socket, "ended")

    window = predictor.windows[-1]
    assert (window.landmarks[:, 33, 0] > 0).any()  # the right hand of the picture was the person's left hand
    assert not (window.landmarks[:, 54, 0] > 0).any()


async def test_undo_reset_and_a_second_hello(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        first = await hello(socket)
        writer = StreamWriter()
        await send_all(socket, [*writer.sign("hello"), *writer.sign("yes")])
        await send(socket, type="end")
        before = await collect_until(socket, "ended")
        await send(socket, type="undo")
        undone = await receive_until(socket, "caption")
        await send(socket, type="reset")
        reset = await receive_until(socket, "caption")
        await send(socket, type="hello", width=480, height=640, mirrored=False, client="turned phone", locale="fr")
        turned = await receive_until(socket, "ready")
        await send_all(socket, StreamWriter().sign("thank_you"))
        await send(socket, type="end")
        after = await collect_until(socket, "ended")

    assert [message["text"] for message in before if message["type"] == "caption"] == ["hello", "hello yes"]
    assert (undone["text"], reset["text"]) == ("hello", "")
    assert turned["session_id"] == first["session_id"]
    assert turned["last_sequence"] == -1
    assert [message["id"] for message in after if message["type"] == "sign"] == [3]
    assert [message["text"] for message in after if message["type"] == "caption"][-1] == "merci"


async def test_every_message_follows_the_published_types(tmp_path: Path) -> None:
    async with serve(tmp_path) as live, client(live) as socket:
        ready = await hello(socket)
        await send_all(socket, [b"rubbish", *StreamWriter().sign("hello", duration_ms=1_500)])
        await send(socket, type="ping")
        await receive_until(socket, "stats")
        await send(socket, type="end")
        received = [ready, *await collect_until(socket, "ended")]

    for message in received:
        assert SERVER_MESSAGES.validate_python(message).model_dump(mode="json") == message


async def test_a_client_at_thirty_frames_a_second_is_never_cut_off(tmp_path: Path) -> None:
    writer = StreamWriter()
    frames = [frame for _ in range(40) for frame in writer.sign("hello", duration_ms=600, rest_ms=600)]
    async with serve(tmp_path) as live, client(live) as socket:
        await hello(socket)
        for start in range(0, len(frames), 30):  # far more messages a minute than any rate limit would allow
            await send_all(socket, frames[start : start + 30])
            await asyncio.sleep(0.03)
        await send(socket, type="end")
        received = await collect_until(socket, "ended", timeout_s=30)

    assert received[-1]["last_sequence"] == len(frames) - 1
    assert len([message for message in received if message["type"] == "sign"]) == 40
