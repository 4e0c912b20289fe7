"""The whole server with an inference server beside it: asked first, replaced by the model in the process, and shown."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.bootstrap.app import build_app
from app.core.config import RemoteSettings
from app.ml.pipeline import SignFlowInferencePipeline
from app.services.operator_service import load_operator
from tests.fake_model_server import FakeModelServer, serve_model
from tests.parametric_signer import make_person, perform_stream
from tests.test_api.live import (
    OPERATOR_TOKEN,
    LiveServer,
    client,
    collect_until,
    hello,
    http_client,
    make_settings,
    run_app,
    send,
    send_all,
)


@pytest.fixture
async def inference_server(tiny_model_dir: Path) -> AsyncIterator[FakeModelServer]:
    pipeline = SignFlowInferencePipeline.load(tiny_model_dir)
    async with serve_model(pipeline) as server:
        yield server
    pipeline.close()


async def read_remote(live: LiveServer) -> dict[str, object]:
    async with http_client(live) as http:
        ready = await http.get("/ready")
        assert ready.status_code == 200, "the model in the process can always stand in"
        return ready.json()["remote"]


async def wait_for(live: LiveServer, state: str) -> dict[str, object]:
    async with asyncio.timeout(15):
        while (remote := await read_remote(live))["state"] != state:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.05)
    return remote


async def recognise(live: LiveServer) -> list[str]:
    """The signs that are read in a made-up stream."""
    from app.ml.landmarks.wire import encode_frame

    clip = perform_stream(make_person(0), ("rain", "house"), fps=20.0).clip
    frames = [
        encode_frame(frame, sequence=i, time_ms=float(time_ms) + 1_000)
        for i, (frame, time_ms) in enumerate(zip(clip.landmarks, clip.times_ms, strict=True))
    ]
    async with client(live) as socket:
        await hello(socket, pace="replay")
        await send_all(socket, frames)
        await send(socket, type="end")
        messages = await collect_until(socket, "ended")
    return [message["label"] for message in messages if message["type"] == "sign"]


async def test_signs_are_the_same_with_the_inference_server_without_it_and_after_it(
    inference_server: FakeModelServer, tiny_model_dir: Path, tmp_path: Path
) -> None:
    settings = make_settings(tmp_path).model_copy(
        update={"model_dir": tiny_model_dir, "remote": RemoteSettings(url=inference_server.url, timeout_s=5.0)}
    )
    operator, _ = load_operator(tmp_path, configured=OPERATOR_TOKEN)
    async with run_app(build_app(settings, operator=operator), settings) as live:
        await wait_for(live, "closed")
        with_server = await recognise(live)
        served = await read_remote(live)
        await inference_server.kill()
        without_server = await recognise(live)
        lonely = await wait_for(live, "open")
        async with http_client(live) as http:
            metrics = (await http.get("/metrics")).text
        await inference_server.start()
        await wait_for(live, "closed")
        after_restart = await recognise(live)

    assert with_server
    assert with_server == without_server == after_restart
    assert (served["protocol"], served["url"], served["fallbacks"]) == ("torchserve", inference_server.url, 0)
    assert isinstance(served["answered"], int)
    assert served["answered"] > 0
    assert isinstance(lonely["fallbacks"], int)
    assert lonely["fallbacks"] > 0
    assert "cannot be reached" in str(lonely["reason"])
    assert "signflow_remote_asked 0.0" in metrics


async def test_without_an_address_no_inference_server_is_shown(tiny_model_dir: Path, tmp_path: Path) -> None:
    settings = make_settings(tmp_path).model_copy(update={"model_dir": tiny_model_dir})
    operator, _ = load_operator(tmp_path, configured=OPERATOR_TOKEN)
    async with run_app(build_app(settings, operator=operator), settings) as live:
        assert (await read_remote(live)) is None
