"""A real server on a free port, inside the test's own event loop, and a client that speaks to it."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from app.api.deps import AppServices
from app.bootstrap.app import build_app
from app.bootstrap.recogniser import LoadedRecogniser
from app.core.config import FeedbackSettings, InferenceSettings, Settings, StreamSettings, TrainingSettings
from app.core.tasks import TaskSet
from app.ml.batch_processor import BatchedInferenceQueue
from app.ml.errors import ModelNotFoundError
from app.ml.metrics import InferenceMetrics
from app.ml.types import Predictor
from app.server import make_server, open_socket
from app.services.operator_service import load_operator
from tests.fakes import FakePredictor, fake_active_model

OPERATOR_TOKEN = "operator-token-for-tests"
Message = dict[str, Any]


@dataclass(slots=True, kw_only=True)
class LiveServer:
    """A running server."""

    port: int
    services: AppServices
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def http(self) -> str:
        """Base of HTTP addresses."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def stream(self) -> str:
        """Address of the live stream."""
        return f"ws://127.0.0.1:{self.port}/api/v1/translate/stream"


class SettingsWithoutFile(Settings):
    """Settings that read no `.env` file."""

    model_config = SettingsConfigDict(env_file=None)


def make_settings(
    data_dir: Path,
    *,
    stream: StreamSettings | None = None,
    feedback: FeedbackSettings | None = None,
    inference: InferenceSettings | None = None,
    allowed_origins: list[str] | None = None,
    redis_url: str | None = None,
    training: TrainingSettings | None = None,
) -> Settings:
    """Settings that touch nothing outside `data_dir`."""
    return SettingsWithoutFile(
        port=0,
        data_dir=data_dir,
        model_dir=data_dir / "models",
        datasets_dir=data_dir / "datasets",
        frontend_dir=data_dir / "dist",
        stream=stream or StreamSettings(),
        feedback=feedback or FeedbackSettings(),
        inference=inference or InferenceSettings(),
        allowed_origins=allowed_origins or [],
        redis_url=None if redis_url is None else SecretStr(redis_url),
        training=training or TrainingSettings(),
    )


@asynccontextmanager
async def serve(
    data_dir: Path,
    *,
    predictor: Predictor | None = None,
    queue: BatchedInferenceQueue | None = None,
    stream: StreamSettings | None = None,
    feedback: FeedbackSettings | None = None,
    inference: InferenceSettings | None = None,
    allowed_origins: list[str] | None = None,
    redis_url: str | None = None,
    training: TrainingSettings | None = None,
) -> AsyncGenerator[LiveServer]:
    """Serve with a predictor or a queue (a fast fake by default) until the block ends, then shut down properly."""
    settings = make_settings(
        data_dir,
        stream=stream,
        feedback=feedback,
        inference=inference,
        allowed_origins=allowed_origins,
        redis_url=redis_url,
        training=training,
    )
    operator, _ = load_operator(data_dir, configured=OPERATOR_TOKEN)
    loaded = LoadedRecogniser(
        predictor=predictor or queue or FakePredictor(),
        active=fake_active_model(),
        close=lambda: None,
        queue=queue,
    )
    app = build_app(settings, operator=operator, loader=lambda _settings, _metrics: loaded)
    async with run_app(app, settings) as live:
        yield live


@asynccontextmanager
async def serve_without_model(data_dir: Path) -> AsyncGenerator[LiveServer]:
    """Serve with an empty model folder."""
    settings = make_settings(data_dir)
    operator, _ = load_operator(data_dir, configured=OPERATOR_TOKEN)

    def fail(_settings: Settings, _metrics: InferenceMetrics) -> LoadedRecogniser:
        msg = "no model here"
        raise ModelNotFoundError(msg)

    async with run_app(build_app(settings, operator=operator, loader=fail), settings) as live:
        yield live


@asynccontextmanager
async def run_app(app: FastAPI, settings: Settings) -> AsyncGenerator[LiveServer]:
    """Run an application as `python -m app.main` does."""
    listener = open_socket(settings)
    server = make_server(app, settings)
    tasks = TaskSet("test server")
    running = tasks.start(server._serve(sockets=[listener]), name="serve")  # pyright: ignore[reportPrivateUsage]
    try:
        while not server.started:
            assert not running.done(), "the server did not start"
            await asyncio.sleep(0.01)
        yield LiveServer(port=listener.getsockname()[1], services=app.state.services)
    finally:
        server.should_exit = True
        await asyncio.wait({running}, timeout=20)
        await tasks.close()


@asynccontextmanager
async def client(live: LiveServer, **options: Any) -> AsyncGenerator[ClientConnection]:
    """A connected client that offers the subprotocol."""
    async with connect(
        live.stream, subprotocols=[Subprotocol("signflow.v1")], compression=None, ping_interval=None, **options
    ) as socket:
        yield socket


def http_client(live: LiveServer) -> httpx.AsyncClient:
    """A client of the HTTP interface; making a TLS context for each would be most of a test's time."""
    return httpx.AsyncClient(base_url=live.http, verify=False)


async def send(socket: ClientConnection, **message: Any) -> None:
    """Send one JSON message."""
    await socket.send(json.dumps(message))


async def hello(socket: ClientConnection, **values: Any) -> Message:
    """Say hello and return `ready`."""
    await send(socket, type="hello", width=640, height=480, mirrored=False, client="test", **values)
    return await receive_until(socket, "ready")


async def send_all(socket: ClientConnection, frames: list[bytes]) -> None:
    """Send frames as fast as the server takes them."""
    for frame in frames:
        await socket.send(frame)


async def close_code(socket: ClientConnection, *, timeout_s: float = 10.0) -> int | None:
    """The code with which the server closes; what it sends before is read and forgotten."""
    async with asyncio.timeout(timeout_s):
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()
        await socket.wait_closed()
    return socket.close_code


async def receive_until(socket: ClientConnection, kind: str, *, timeout_s: float = 10.0) -> Message:
    """The next message of a type; others are skipped."""
    return (await collect_until(socket, kind, timeout_s=timeout_s))[-1]


async def collect_until(socket: ClientConnection, kind: str, *, timeout_s: float = 10.0) -> list[Message]:
    """All messages up to and with the first of a type."""
    received: list[Message] = []
    async with asyncio.timeout(timeout_s):
        while not received or received[-1]["type"] != kind:
            received.append(json.loads(await socket.recv()))
    return received
