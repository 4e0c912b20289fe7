"""The live stream over a real socket: the protocol as DESIGN.md describes it."""

from pathlib import Path

from tests.fakes import FakePredictor, StreamWriter
from tests.test_api.live import client, collect_until, hello, send, send_all, serve


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
