"""A real TorchServe: its answers, its faults, and what happens when it is killed or stopped while it is asked."""

import asyncio
import contextlib
import json
import subprocess
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import httpx
import numpy as np
import pytest

from app.harness.torchserve_process import TorchServeProcess, start_torchserve
from app.ml.errors import RemoteMismatchError
from app.ml.inference.remote import RemoteOptions, RemotePredictor, RemoteProtocol
from app.ml.inference.remote_policy import BreakerRules, BreakerState
from app.ml.landmarks.wire import encode_frames
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import Prediction
from tests.binaries import require_binary
from tests.golden.write_sample_request import PATH as SAMPLE
from tests.test_torchserve.conftest import require_torchserve
from tests.untrained_model import LABELS, make_window, write_untrained_model

TOLERANCE = 1e-5
"""Of probabilities, against the pipeline in this process: other padding, and PyTorch instead of ONNX Runtime."""
WINDOWS = [make_window(LABELS[i % 2], seed=i, fps=7.0 + 3 * i) for i in range(6)]
BREAKER = BreakerRules(first_probe_s=0.2, max_probe_s=0.5, confirm_s=0.05)


def options(
    server: TorchServeProcess, protocol: RemoteProtocol = "torchserve", *, timeout_s: float = 20.0
) -> RemoteOptions:
    return RemoteOptions(url=server.url, protocol=protocol, timeout_s=timeout_s, breaker=BREAKER)


@contextlib.asynccontextmanager
async def connected(
    server: TorchServeProcess, local: SignFlowInferencePipeline, protocol: RemoteProtocol = "torchserve"
) -> AsyncGenerator[RemotePredictor]:
    remote = RemotePredictor.open(options(server, protocol), local)
    await remote.connect()
    try:
        yield remote
    finally:
        await remote.close()


def assert_same(found: Prediction, expected: Prediction) -> None:
    assert found.label == expected.label
    assert found.confidence == pytest.approx(expected.confidence, abs=TOLERANCE)
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=TOLERANCE)
    np.testing.assert_allclose(found.signing, expected.signing, atol=TOLERANCE)


def curl(*arguments: str) -> str:
    program = require_binary("curl", install="apt-get install curl")
    return subprocess.run([program, "-s", *arguments], capture_output=True, text=True, timeout=60, check=True).stdout


def test_the_commands_of_the_documentation_answer(torchserve: TorchServeProcess) -> None:
    ping = json.loads(curl(f"{torchserve.url}/ping"))
    answer = json.loads(curl("-X", "POST", f"{torchserve.url}/predictions/signflow", "-d", f"@{SAMPLE}"))
    described = json.loads(curl(f"{torchserve.management_url}/models/signflow?customized=true"))

    assert ping == {"status": "Healthy"}
    assert answer["model_version"] == "v1"
    assert len(answer["alternatives"]) == 5
    assert described[0]["customizedMetadata"]["manifest"]["version"] == "v1"


@pytest.mark.parametrize("protocol", ["torchserve", "oip"])
async def test_windows_of_many_lengths_are_answered_as_here(
    torchserve: TorchServeProcess, local: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    async with connected(torchserve, local, protocol) as remote:
        together = await remote.infer_many(WINDOWS)
        at_once = await asyncio.gather(*(remote.infer(window) for window in WINDOWS))

        assert (remote.state.answered, remote.state.fallbacks) == (2 * len(WINDOWS), 0)
    for found, single, expected in zip(together, at_once, local.infer_batch(WINDOWS), strict=True):
        assert_same(found, expected)
        assert_same(single, expected)


async def test_malformed_requests_do_no_harm_to_those_that_they_are_batched_with(
    torchserve: TorchServeProcess, local: SignFlowInferencePipeline
) -> None:
    bodies = [encode_frames(window.landmarks, window.times_ms) for window in WINDOWS]
    mixed = [body for good in bodies for body in (good, good[:-3], b"{bad", good)]
    async with httpx.AsyncClient(base_url=torchserve.url, timeout=60) as http:
        headers = {"Content-Type": "application/octet-stream"}
        answers = await asyncio.gather(
            *(http.post("/predictions/signflow", content=body, headers=headers) for body in mixed)
        )

    assert [answer.status_code for answer in answers] == [200, 400, 400, 200] * len(bodies)
    assert {answer.json()["code"] for answer in answers if answer.status_code == 400} == {"invalid_window"}
    for number, expected in enumerate(local.infer_batch(WINDOWS)):
        assert answers[4 * number].json()["confidence"] == pytest.approx(expected.confidence, abs=TOLERANCE)


async def test_another_model_there_is_refused(torchserve: TorchServeProcess, tmp_path: Path) -> None:
    write_untrained_model(tmp_path, seed=8)
    other = SignFlowInferencePipeline.load(tmp_path)
    remote = RemotePredictor.open(options(torchserve), other)

    with pytest.raises(RemoteMismatchError, match="weights_sha256"):
        await remote.connect()

    await remote.close()
    other.close()


async def test_a_server_stopped_in_its_tracks_costs_no_more_than_the_time_out(
    torchserve: TorchServeProcess, local: SignFlowInferencePipeline
) -> None:
    remote = RemotePredictor.open(options(torchserve, timeout_s=0.5), local)
    await remote.connect()
    torchserve.pause()
    begin_s = time.perf_counter()
    try:
        (found,) = await remote.infer_many(WINDOWS[:1])
    finally:
        torchserve.resume()
    waited_s = time.perf_counter() - begin_s

    assert_same(found, local.infer_batch(WINDOWS[:1])[0])
    assert 0.5 <= waited_s < 3.0
    assert remote.state.fallbacks == 1
    await remote.close()


async def test_killed_under_load_no_window_is_lost_and_it_is_used_again_after_a_restart(
    torchserve: TorchServeProcess, local: SignFlowInferencePipeline
) -> None:
    remote = RemotePredictor.open(options(torchserve, timeout_s=5.0), local)
    watching = asyncio.ensure_future(remote.watch())
    stop = asyncio.Event()
    try:
        await until(lambda: remote.state.state is BreakerState.CLOSED)
        asking = [asyncio.ensure_future(ask_until(stop, remote, number)) for number in range(4)]
        await until(lambda: remote.state.answered >= 20)
        await asyncio.to_thread(torchserve.kill)
        await until(lambda: remote.state.state is BreakerState.OPEN)
        after_kill = remote.state
        await asyncio.to_thread(torchserve.start)
        await until(lambda: remote.state.state is BreakerState.CLOSED)
        await until(lambda: remote.state.answered >= after_kill.answered + 5)
        stop.set()
        answers = [answer for one in await asyncio.gather(*asking) for answer in one]
    finally:
        stop.set()
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await remote.close()

    expected = local.infer_batch(WINDOWS[:4])
    assert remote.state.fallbacks > 0
    assert len(answers) == remote.state.answered + remote.state.fallbacks
    assert max(waited_s for _, _, waited_s in answers) < 6.0
    for number, answer, _ in answers:
        assert_same(answer, expected[number])


async def ask_until(stop: asyncio.Event, remote: RemotePredictor, number: int) -> list[tuple[int, Prediction, float]]:
    answers: list[tuple[int, Prediction, float]] = []
    while not stop.is_set():
        begin_s = time.perf_counter()
        answer = await remote.infer(WINDOWS[number])
        answers.append((number, answer, time.perf_counter() - begin_s))
        await asyncio.sleep(0.02)
    return answers


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - counters raise no event
            await asyncio.sleep(0.02)


async def test_pytorch_in_the_handler_answers_as_onnx_here(
    archives: dict[str, Path], local: SignFlowInferencePipeline
) -> None:
    require_torchserve()
    with start_torchserve(archives["pt"]) as server:
        for protocol in ("torchserve", "oip"):
            async with connected(server, local, protocol) as remote:
                answers = await remote.infer_many(WINDOWS)
            for found, expected in zip(answers, local.infer_batch(WINDOWS), strict=True):
                assert_same(found, expected)
