"""The batch queue through the socket: every question goes through it, and its limits show as honest behaviour."""

import asyncio
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from app.bootstrap.app import build_app
from app.core.config import StreamSettings
from app.ml.batch_processor import BatchedInferenceQueue
from app.ml.inference.batch_policy import BatchLimits
from app.ml.landmarks.wire import encode_frame
from app.ml.types import LandmarkWindow, Prediction
from app.services.operator_service import load_operator
from tests.fakes import FakePredictor, StreamWriter
from tests.parametric_signer import make_person, perform_stream
from tests.test_api.live import (
    OPERATOR_TOKEN,
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
    serve,
)


@dataclass(slots=True, kw_only=True)
class SlowModel:
    """Answers batches as `FakePredictor` answers windows, so many seconds a window."""

    seconds: float
    fake: FakePredictor = field(default_factory=FakePredictor)

    async def infer_many(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Answer every window."""
        await asyncio.sleep(self.seconds * len(windows))
        return [await self.fake.infer(window) for window in windows]


async def read_counts(live: LiveServer) -> dict[str, float]:
    """What /metrics counts, by the series' full name."""
    async with http_client(live) as http:
        page = (await http.get("/metrics")).text
    return {match[1]: float(match[2]) for match in re.finditer(r"^signflow_(\S+) (\S+)$", page, re.MULTILINE)}


async def sign_along(live: LiveServer, frames: list[bytes], *, pace: str) -> list[Message]:
    """Play frames as one client, and return what it is told."""
    async with client(live) as socket:
        await hello(socket, pace=pace)
        await send_all(socket, frames)
        await send(socket, type="end")
        return await collect_until(socket, "ended", timeout_s=60)


async def test_every_question_of_every_client_goes_through_the_queue_and_shares_calls(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    shutil.copytree(tiny_model_dir, tmp_path / "models")
    settings = make_settings(tmp_path)
    operator, _ = load_operator(tmp_path, configured=OPERATOR_TOKEN)
    clip = perform_stream(make_person(101), ("sun", "rain"), seed=3, rest_ms=1500.0).clip
    frames = [
        encode_frame(landmarks, sequence=number, time_ms=float(time_ms))
        for number, (landmarks, time_ms) in enumerate(zip(clip.landmarks, clip.times_ms, strict=True))
    ]
    async with run_app(build_app(settings, operator=operator), settings) as live:
        (alone,) = await asyncio.gather(sign_along(live, frames, pace="replay"))
        together = await asyncio.gather(*(sign_along(live, frames, pace="replay") for _ in range(8)))
        counts = await read_counts(live)
        async with http_client(live) as http:
            ready = (await http.get("/ready")).json()

    for received in (alone, *together):
        assert [message["label"] for message in received if message["type"] == "sign"] == ["sun", "rain"]
        assert not [message for message in received if message["type"] == "error"]
    assert counts["queue_wait_seconds_count"] == counts["batch_size_sum"] > 0
    assert counts["batch_size_count"] < 0.7 * counts["batch_size_sum"]
    assert counts["queue_depth"] == 0
    assert ready["model"]["batch"] == {"batch_size": 32, "max_latency_ms": 50.0, "capacity": 256}


async def test_too_many_streams_are_told_so_and_none_is_closed(tmp_path: Path) -> None:
    queue = BatchedInferenceQueue(SlowModel(seconds=0.05), limits=BatchLimits(batch_size=1, capacity=3))
    async with serve(tmp_path, queue=queue, stream=StreamSettings(backlog_frames=2_000)) as live:
        writer = StreamWriter()
        frames = [frame for _ in range(3) for frame in writer.sign("yes")]
        streams = await asyncio.gather(*(sign_along(live, frames, pace="live") for _ in range(10)))
        counts = await read_counts(live)

    for received in streams:
        errors = {message["code"] for message in received if message["type"] == "error"}
        assert errors <= {"inference_overloaded"}
        assert received[-1]["last_sequence"] == len(frames) - 1
    told = [message["message"] for received in streams for message in received if message["type"] == "error"]
    assert any("overloaded" in message for message in told)
    assert counts['inference_failures_total{error="OverloadedError"}'] > 0


async def test_a_recogniser_that_hangs_makes_the_server_unready_until_it_comes_back(tmp_path: Path) -> None:
    model = SlowModel(seconds=3.0)
    queue = BatchedInferenceQueue(model, limits=BatchLimits(stall_s=0.2))
    async with serve(tmp_path, queue=queue) as live, http_client(live) as http:
        received = await sign_along(live, StreamWriter().sign("yes"), pace="live")
        unready = await http.get("/ready")
        model.seconds = 0.0
        await asyncio.sleep(3.0)
        ready = await http.get("/ready")
        again = await sign_along(live, StreamWriter().sign("yes"), pace="live")

    (reason,) = unready.json()["reasons"]
    assert unready.status_code == 503
    assert reason == "a call of the recogniser has not come back within 0.2 s"
    assert any(message.get("code") == "inference_failed" for message in received)
    assert ready.json()["reasons"] == []
    assert [message["label"] for message in again if message["type"] == "sign"] == ["yes"]
