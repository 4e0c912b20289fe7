"""Every network, from training to the live stream: each named configuration, and small ones that recognise signs."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="installed by: make lab")

from app.bootstrap.app import build_app
from app.ml.landmarks.wire import encode_frame
from app.ml.model_configs import Architecture, ModelConfig, get_model_config
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from app.services.operator_service import load_operator
from tests.parametric_signer import make_person, perform_stream
from tests.test_api.live import (
    LiveServer,
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
from tests.tiny_model import CONFIG, TINY, write_tiny_model

NAMED = ("baseline", "large", "student", "spatial", "spatial_tcn")
SPATIAL = replace(TINY, architecture=Architecture.SPATIAL, joint_channels=8, joint_outputs=4)
SMALL = {
    "transformer": replace(TINY, architecture=Architecture.TRANSFORMER, num_conv_blocks=0, num_layers=2),
    "spatial": SPATIAL,
    "spatial_tcn": replace(SPATIAL, num_conv_blocks=0, num_tokens=64),
}
SIGNS = ("sun", "rain", "letter_v", "stone")


def write_model(folder: Path, model: ModelConfig, *, steps: int, batch_size: int = CONFIG.batch_size) -> None:
    """Train on what the network reads, for so many steps, and export."""
    spec = "landmarks75" if model.reads_landmarks else CONFIG.feature_spec
    trainer = replace(CONFIG, feature_spec=spec, steps=steps, batch_size=batch_size, eval_every=steps)
    write_tiny_model(folder, model=model, trainer=trainer, signs=SIGNS)


@asynccontextmanager
async def serve_models(data_dir: Path) -> AsyncGenerator[LiveServer]:
    """Serve what lies in the model folder, as `python -m app.main` does."""
    settings = make_settings(data_dir)
    operator, _ = load_operator(data_dir, configured="operator-token-for-tests")
    async with run_app(build_app(settings, operator=operator), settings) as live:
        yield live


async def stream(live: LiveServer, clip: Clip) -> list[Message]:
    """Send a recording as fast as the server reads, and return all that it answers."""
    frames = [
        encode_frame(landmarks, sequence=number, time_ms=float(time_ms))
        for number, (landmarks, time_ms) in enumerate(zip(clip.landmarks, clip.times_ms, strict=True))
    ]
    async with client(live) as socket:
        await hello(socket, pace="replay")
        await send_all(socket, frames)
        await send(socket, type="end")
        return await collect_until(socket, "ended", timeout_s=60)


@pytest.mark.parametrize("name", NAMED)
async def test_each_named_network_is_trained_exported_and_served(tmp_path: Path, name: str) -> None:
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models", get_model_config(name), steps=1, batch_size=4)
    clip = perform_stream(make_person(120), SIGNS[:2], seed=4).clip

    async with serve_models(tmp_path) as live, http_client(live) as http:
        received = await stream(live, clip)
        active = (await http.get("/api/v1/models/active")).json()

    assert (active["backend"], active["file_name"]) == ("onnx", "model_v1.onnx")
    assert not [message for message in received if message["type"] == "error"]
    assert {"RECORDING", "IDLE"} <= {message["state"] for message in received if message["type"] == "state"}
    assert received[-1]["last_sequence"] == clip.num_frames - 1


@pytest.mark.parametrize("kind", SMALL)
async def test_each_kind_of_network_recognises_signs_of_strangers_live(tmp_path: Path, kind: str) -> None:
    (tmp_path / "models").mkdir()
    write_model(tmp_path / "models", SMALL[kind], steps=120)
    streams = [perform_stream(make_person(seed), SIGNS, seed=seed, rest_ms=1500.0) for seed in (120, 121, 122)]
    pipeline = SignFlowInferencePipeline.load(tmp_path / "models")
    window = streams[0].clip.to_window()
    (prediction,) = pipeline.infer_batch([window])
    pipeline.close()

    async with serve_models(tmp_path) as live:
        answers = [
            [message["label"] for message in await stream(live, one.clip) if message["type"] == "sign"]
            for one in streams
        ]

    in_sign = np.zeros(len(window.times_ms), np.bool_)
    for sign in streams[0].signs:
        in_sign |= (window.times_ms >= sign.start_ms) & (window.times_ms <= sign.end_ms)
    assert prediction.signing[in_sign].mean() > 2 * prediction.signing[~in_sign].mean()
    right = sum(sign in own for own in answers for sign in SIGNS)
    assert right >= 8, answers  # of 12; guessing finds three
    assert all(3 <= len(own) <= 6 for own in answers), answers
