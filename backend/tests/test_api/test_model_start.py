"""The server with model files as it finds them: usable, broken, broken with a spare."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.bootstrap.app import build_app
from app.services.operator_service import load_operator
from tests.fakes import StreamWriter
from tests.test_api.live import (
    LiveServer,
    client,
    collect_until,
    hello,
    http_client,
    make_settings,
    receive_until,
    run_app,
    send,
    send_all,
)
from tests.untrained_model import LABELS, write_untrained_model


@asynccontextmanager
async def serve_models(data_dir: Path) -> AsyncGenerator[LiveServer]:
    """Serve whatever lies in the model folder, as `python -m app.main` does."""
    settings = make_settings(data_dir)
    operator, _ = load_operator(data_dir, configured="operator-token-for-tests")
    async with run_app(build_app(settings, operator=operator), settings) as live:
        yield live


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data folder with an empty model folder."""
    (tmp_path / "models").mkdir()
    return tmp_path


async def test_a_model_on_disk_is_served_and_recorded(data_dir: Path) -> None:
    write_untrained_model(data_dir / "models")
    async with serve_models(data_dir) as live, client(live) as socket, http_client(live) as http:
        ready = await hello(socket, pace="replay")
        await send_all(socket, StreamWriter().sign("yes"))
        await send(socket, type="end")
        received = await collect_until(socket, "ended", timeout_s=30)
        active = (await http.get("/api/v1/models/active")).json()
        health = (await http.get("/health")).json()

    assert (ready["model_version"], ready["vocabulary_size"]) == ("v1", len(LABELS) - 1)
    assert not [message for message in received if message["type"] == "error"]
    assert (active["backend"], active["file_name"]) == ("onnx", "model_v1.onnx")
    assert len(active["sha256"]) == 64
    assert health["model"]["fallback_reason"] is None


async def test_a_corrupt_model_is_reported_and_nothing_pretends(data_dir: Path) -> None:
    (data_dir / "models" / "model_v1.onnx").write_bytes(b"this is not a model")
    async with serve_models(data_dir) as live, client(live) as socket, http_client(live) as http:
        ready = await http.get("/ready")
        await send(socket, type="hello", width=640, height=480, mirrored=False, client="test")
        error = await receive_until(socket, "error")

    assert ready.status_code == 503
    assert "model_v1.onnx" in ready.json()["reasons"][0]
    assert error["code"] == "no_model"
    assert "model_v1.onnx" in error["message"]


async def test_a_broken_onnx_falls_back_to_the_pt_beside_it_and_says_so(data_dir: Path) -> None:
    write_untrained_model(data_dir / "models", onnx=False)
    (data_dir / "models" / "model_v1.onnx").write_bytes(b"this is not a model")
    async with serve_models(data_dir) as live, http_client(live) as http:
        ready = await http.get("/ready")
        health = (await http.get("/health")).json()

    assert ready.status_code == 200
    assert health["model"]["backend"] == "torch"
    assert "model_v1.onnx" in health["model"]["fallback_reason"]
