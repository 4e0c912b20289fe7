"""The client of an inference server: same answers as here, and an answer whatever the server does."""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.manifest import Calibration, FamiliarityGate, ModelManifest
from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.errors import InvalidLandmarksError, RemoteMismatchError, RemoteModelError, RemoteUnavailableError
from app.ml.inference.remote import RemoteOptions, RemotePredictor, RemoteProtocol
from app.ml.inference.remote_policy import BreakerRules, BreakerState
from app.ml.landmarks.batches import stack_windows
from app.ml.landmarks.layout import LEFT_HAND
from app.ml.model_configs import get_model_config
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import LandmarkWindow, Prediction
from tests.fake_model_server import FakeModelServer, serve_model, uses_raw_bytes
from tests.untrained_model import LABELS, make_manifest, make_window, write_untrained_model

TOLERANCE = 1e-5
"""Of probabilities: padding to another length changes the last bits."""
WINDOWS = [make_window(label, seed=seed, fps=8.0 + 3 * seed) for seed, label in enumerate(("sun", "rain", "bird"))]
FAST = BreakerRules(first_probe_s=0.05, confirm_s=0.01, max_probe_s=0.1, check_s=60.0)
PROTOCOLS: tuple[RemoteProtocol, ...] = ("torchserve", "oip")


def manifest_with_gate() -> ModelManifest:
    """With prototypes and a gate, as every trained model has them: what decides needs familiarity too."""
    embeddings = np.random.default_rng(0).normal(size=(len(LABELS), get_model_config("tiny").embedding))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    return make_manifest(
        prototypes=prototypes_to_text(embeddings.astype(np.float32)),
        calibration=Calibration(temperature=1.5, threshold=0.1, gate=FamiliarityGate(bias=-1.0, slope=6.0)),
    )


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignFlowInferencePipeline]:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder, manifest=manifest_with_gate())
    loaded = SignFlowInferencePipeline.load(folder)
    yield loaded
    loaded.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[SignFlowInferencePipeline]:
    """Another model: more labels and other weights."""
    write_untrained_model(tmp_path, manifest=make_manifest(version="v2", labels=(*LABELS, "wind")), seed=5)
    loaded = SignFlowInferencePipeline.load(tmp_path)
    yield loaded
    loaded.close()


@pytest.fixture
async def server(pipeline: SignFlowInferencePipeline) -> AsyncIterator[FakeModelServer]:
    async with serve_model(pipeline) as running:
        yield running


def open_remote(
    server: FakeModelServer, local: SignFlowInferencePipeline, protocol: RemoteProtocol, *, timeout_s: float = 5.0
) -> RemotePredictor:
    return RemotePredictor.open(
        RemoteOptions(url=server.url, protocol=protocol, timeout_s=timeout_s, breaker=FAST), local
    )


@contextlib.asynccontextmanager
async def connected(
    server: FakeModelServer, local: SignFlowInferencePipeline, protocol: RemoteProtocol, *, timeout_s: float = 5.0
) -> AsyncGenerator[RemotePredictor]:
    remote = open_remote(server, local, protocol, timeout_s=timeout_s)
    await remote.connect()
    try:
        yield remote
    finally:
        await remote.close()


def assert_same(found: Prediction, expected: Prediction) -> None:
    assert found.label == expected.label
    assert [one.label for one in found.alternatives] == [one.label for one in expected.alternatives]
    assert found.confidence == pytest.approx(expected.confidence, abs=TOLERANCE)
    assert found.model_version == expected.model_version
    np.testing.assert_allclose(
        [one.confidence for one in found.alternatives],
        [one.confidence for one in expected.alternatives],
        atol=TOLERANCE,
    )
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=TOLERANCE)
    np.testing.assert_allclose(found.familiarity, expected.familiarity, atol=TOLERANCE)
    np.testing.assert_allclose(found.signing, expected.signing, atol=TOLERANCE)


async def wait_for(remote: RemotePredictor, state: BreakerState) -> None:
    async with asyncio.timeout(10):
        while remote.state.state is not state:  # noqa: ASYNC110 - there is no event for each state
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_the_server_answers_as_the_local_model_does(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    async with connected(server, pipeline, protocol) as remote:
        together = await remote.infer_many(WINDOWS)
        alone = [await remote.infer(window) for window in WINDOWS]

        assert (remote.state.answered, remote.state.fallbacks) == (6, 0)
    for found, single, expected in zip(together, alone, pipeline.infer_batch(WINDOWS), strict=True):
        assert_same(found, expected)
        assert_same(single, expected)


@pytest.mark.parametrize("extensions", [("binary_tensor_data",), ()])
async def test_a_model_that_reads_landmarks_is_sent_landmarks_with_their_gaps(
    tmp_path: Path, extensions: tuple[str, ...]
) -> None:
    write_untrained_model(tmp_path, manifest=make_manifest(config="spatial"))
    pipeline = SignFlowInferencePipeline.load(tmp_path)
    assert np.isnan(stack_windows(WINDOWS).landmarks).any()
    async with serve_model(pipeline) as server:
        server.extensions = extensions
        async with connected(server, pipeline, "oip") as remote:
            answers = await remote.infer_many(WINDOWS)

            assert remote.state.answered == len(WINDOWS)
    for found, expected in zip(answers, pipeline.infer_batch(WINDOWS), strict=True):
        assert_same(found, expected)
    pipeline.close()


@pytest.mark.parametrize(("extensions", "expected"), [(("binary_tensor_data",), True), ((), False)])
async def test_tensors_are_sent_raw_where_the_server_says_that_it_can_read_them(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, extensions: tuple[str, ...], *, expected: bool
) -> None:
    server.extensions = extensions
    async with connected(server, pipeline, "oip") as remote:
        assert_same(await remote.infer(WINDOWS[0]), pipeline.infer_batch(WINDOWS[:1])[0])

    assert uses_raw_bytes(server) == expected


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_more_windows_than_fit_one_request_are_answered_in_order(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    windows = [make_window(LABELS[i % 2], seed=i, fps=8 + i % 7) for i in range(40)]
    async with connected(server, pipeline, protocol) as remote:
        before = len(server.requests)
        answers = await remote.infer_many(windows)

    assert len(server.requests) - before == 2
    for found, expected in zip(answers, pipeline.infer_batch(windows), strict=True):
        assert_same(found, expected)


async def test_nothing_is_sent_before_the_server_was_checked(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline
) -> None:
    remote = open_remote(server, pipeline, "torchserve")

    assert_same(await remote.infer(WINDOWS[0]), pipeline.infer_batch(WINDOWS[:1])[0])

    assert server.requests == []
    assert (remote.state.reason, remote.state.fallbacks) == ("not checked yet", 1)
    await remote.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_an_unusable_window_is_refused_here_and_never_sent(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    backwards = replace(WINDOWS[0], times_ms=WINDOWS[0].times_ms[::-1].copy())
    async with connected(server, pipeline, protocol) as remote:
        asked = len(server.requests)
        with pytest.raises(InvalidLandmarksError, match="strictly increasing"):
            await remote.infer_many([WINDOWS[0], backwards])

        assert len(server.requests) == asked
        assert (remote.state.answered, remote.state.failures) == (0, 0)


async def test_a_window_that_frames_cannot_carry_exactly_stays_here(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline
) -> None:
    partly = WINDOWS[0].landmarks.copy()
    partly[:, LEFT_HAND.start + 1 : LEFT_HAND.start + 4] = np.nan
    partly[:, LEFT_HAND.start] = 0.4
    windows = [WINDOWS[1], LandmarkWindow(landmarks=partly, times_ms=WINDOWS[0].times_ms), WINDOWS[2]]
    async with connected(server, pipeline, "torchserve") as remote:
        answers = await remote.infer_many(windows)

        assert (remote.state.answered, remote.state.kept_local, remote.state.fallbacks) == (2, 1, 0)
    for found, expected in zip(answers, pipeline.infer_batch(windows), strict=True):
        assert_same(found, expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_server_that_hangs_costs_the_time_out_once_a_call_until_it_is_left_alone(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    expected = pipeline.infer_batch(WINDOWS[:1])[0]
    async with connected(server, pipeline, protocol, timeout_s=0.2) as remote:
        server.hangs = True
        begin_s = time.perf_counter()
        answers = await asyncio.gather(*(remote.infer(WINDOWS[0]) for _ in range(4)))
        waited_s = time.perf_counter() - begin_s
        asked = len(server.requests)
        answers.append(await remote.infer(WINDOWS[0]))

        assert 0.2 <= waited_s < 1.5
        assert remote.state.state is BreakerState.OPEN
        assert "did not answer within 0.2 s" in remote.state.reason
        assert len(server.requests) == asked, "an open breaker sends nothing"
        assert (remote.state.fallbacks, remote.state.failures) == (5, 4)
    for found in answers:
        assert_same(found, expected)


async def test_a_lost_connection_is_asked_again_once(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline
) -> None:
    async with connected(server, pipeline, "torchserve") as remote:
        server.drops = 1
        await remote.infer(WINDOWS[0])
        assert (remote.state.answered, remote.state.retries, remote.state.failures) == (1, 1, 0)

        server.drops = 2
        await remote.infer(WINDOWS[0])

        assert (remote.state.answered, remote.state.retries, remote.state.failures) == (1, 2, 1)
        assert remote.state.fallbacks == 1


@pytest.mark.parametrize(("status", "retries"), [(503, 1), (500, 0), (404, 0), (507, 0)])
async def test_an_error_of_the_server_becomes_a_local_answer(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, status: int, retries: int
) -> None:
    async with connected(server, pipeline, "torchserve") as remote:
        server.status = status
        assert_same(await remote.infer(WINDOWS[0]), pipeline.infer_batch(WINDOWS[:1])[0])

        assert remote.state.retries == retries
        assert f"answered with {status}: the fake was told so" in remote.state.last_failure


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_nonsense_from_the_server_is_never_taken_for_an_answer(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    async with connected(server, pipeline, protocol) as remote:
        server.garbage = b"<html>login</html>"
        assert_same(await remote.infer(WINDOWS[0]), pipeline.infer_batch(WINDOWS[:1])[0])

        assert remote.state.state is BreakerState.OPEN
        assert "answered something else than" in remote.state.reason


@pytest.mark.parametrize(
    ("protocol", "message"), [("torchserve", "only the second has wind"), ("oip", r"gives float32 \[2, 8\] as logits")]
)
async def test_another_model_is_refused_with_what_differs(
    server: FakeModelServer,
    pipeline: SignFlowInferencePipeline,
    other: SignFlowInferencePipeline,
    protocol: RemoteProtocol,
    message: str,
) -> None:
    server.model = other
    remote = open_remote(server, pipeline, protocol)

    with pytest.raises(RemoteMismatchError, match=message):
        await remote.connect()

    assert not remote.state.answered
    await remote.close()


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_other_weights_behind_the_same_labels_are_refused(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol, tmp_path: Path
) -> None:
    write_untrained_model(tmp_path, seed=9, manifest=manifest_with_gate())
    server.model = SignFlowInferencePipeline.load(tmp_path)
    remote = open_remote(server, pipeline, protocol)

    with pytest.raises(RemoteMismatchError, match=r"weights_sha256|logits differ by up to"):
        await remote.connect()

    await remote.close()
    server.model.close()


async def test_a_model_that_is_exchanged_while_running_is_noticed_by_its_first_answer(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, other: SignFlowInferencePipeline
) -> None:
    async with connected(server, pipeline, "torchserve") as remote:
        server.model = other
        assert_same(await remote.infer(WINDOWS[0]), pipeline.infer_batch(WINDOWS[:1])[0])

        assert remote.state.state is BreakerState.OPEN
        assert "answered with other weights" in remote.state.reason


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_killed_server_loses_no_window_and_is_used_again_when_it_is_back(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, protocol: RemoteProtocol
) -> None:
    remote = open_remote(server, pipeline, protocol, timeout_s=1.0)
    watching = asyncio.ensure_future(remote.watch())
    await wait_for(remote, BreakerState.CLOSED)
    asking = [asyncio.ensure_future(ask_for(remote, seconds=1.2)) for _ in range(3)]
    await asyncio.sleep(0.2)
    await server.kill()
    await wait_for(remote, BreakerState.OPEN)
    lost = remote.state.fallbacks
    await server.start()
    await wait_for(remote, BreakerState.CLOSED)
    answered = remote.state.answered

    answers = [answer for batch in await asyncio.gather(*asking) for answer in batch]
    await remote.infer(WINDOWS[0])

    assert lost > 0
    assert remote.state.answered > answered
    assert remote.state.openings == 1
    assert len(answers) == remote.state.answered + remote.state.fallbacks - 1
    expected = pipeline.infer_batch(WINDOWS[:1])[0]
    for answer in answers:
        assert_same(answer, expected)
    watching.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await watching
    await remote.close()


async def ask_for(remote: RemotePredictor, *, seconds: float) -> list[Prediction]:
    deadline_s = time.monotonic() + seconds
    answers: list[Prediction] = []
    while time.monotonic() < deadline_s:
        answers.append(await remote.infer(WINDOWS[0]))
    return answers


async def test_the_same_trouble_is_logged_once(
    server: FakeModelServer, pipeline: SignFlowInferencePipeline, caplog: pytest.LogCaptureFixture
) -> None:
    remote = open_remote(server, pipeline, "torchserve")
    server.status = 404
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            await remote.probe()
    server.status = None
    await remote.probe()
    await remote.probe()

    assert [record.levelno for record in caplog.records if record.name.endswith("remote")].count(logging.WARNING) == 1
    assert remote.state.state is BreakerState.CLOSED
    await remote.close()


@pytest.mark.parametrize("url", ["localhost:8080", "ftp://server", "http://"])
def test_an_address_that_is_none_is_refused(pipeline: SignFlowInferencePipeline, url: str) -> None:
    with pytest.raises(RemoteModelError, match="cannot be asked"):
        RemotePredictor.open(RemoteOptions(url=url), pipeline)


async def test_passwords_in_an_address_are_not_shown(pipeline: SignFlowInferencePipeline) -> None:
    options = RemoteOptions(url="http://user:secret@127.0.0.1:9/", token="key", breaker=FAST)
    remote = RemotePredictor.open(options, pipeline)

    with pytest.raises(RemoteUnavailableError) as caught:
        await remote.connect()

    assert "secret" not in f"{remote.state} {caught.value}"
    assert "key" not in repr(options)
    await remote.close()


async def test_the_token_is_sent(server: FakeModelServer, pipeline: SignFlowInferencePipeline) -> None:
    remote = RemotePredictor.open(RemoteOptions(url=server.url, token="a-token"), pipeline)
    await remote.connect()

    assert server.requests[-1][2]["authorization"] == "Bearer a-token"
    await remote.close()
