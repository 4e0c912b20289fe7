"""Test-time augmentation through the socket, with a model that recognises the signs."""

import shutil
from pathlib import Path

import pytest

from app.bootstrap.app import build_app
from app.core.config import InferenceSettings
from app.ml.landmarks.wire import encode_frame
from app.services.operator_service import load_operator
from tests.parametric_signer import make_person, perform_stream
from tests.test_api.live import (
    OPERATOR_TOKEN,
    Message,
    client,
    collect_until,
    hello,
    http_client,
    make_settings,
    run_app,
    send,
    send_all,
)


async def translate(data_dir: Path, *, tta: bool) -> tuple[list[Message], Message]:
    """The signs that a stream of a stranger gives, and what `/ready` says about the model."""
    settings = make_settings(data_dir, inference=InferenceSettings(tta=tta))
    operator, _ = load_operator(data_dir, configured=OPERATOR_TOKEN)
    clip = perform_stream(make_person(101), ("sun", "rain"), seed=3, rest_ms=1500.0).clip
    frames = [
        encode_frame(landmarks, sequence=number, time_ms=float(time_ms))
        for number, (landmarks, time_ms) in enumerate(zip(clip.landmarks, clip.times_ms, strict=True))
    ]
    app = build_app(settings, operator=operator)
    async with run_app(app, settings) as live, client(live) as socket, http_client(live) as http:
        await hello(socket, pace="replay")
        await send_all(socket, frames)
        await send(socket, type="end")
        received = await collect_until(socket, "ended", timeout_s=60)
        ready = (await http.get("/ready")).json()
    assert not [message for message in received if message["type"] == "error"]
    return [message for message in received if message["type"] == "sign"], ready["model"]


async def test_a_stream_is_read_from_five_views_when_it_is_on(tiny_model_dir: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model_dir, tmp_path / "models")

    plain, plain_model = await translate(tmp_path, tta=False)
    augmented, model = await translate(tmp_path, tta=True)

    assert [sign["label"] for sign in augmented] == ["sun", "rain"]
    assert (plain_model["tta"], model["tta"]) == (False, True)
    assert [sign["confidence"] for sign in plain] != pytest.approx([sign["confidence"] for sign in augmented], abs=1e-5)
