"""The model server without a server: batches of requests, each with its own answer or its own fault."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import orjson
import pytest
from numpy.typing import NDArray

from app.ml.inference.backends import BackendOutput
from app.ml.inference.tensor_messages import JSON_LENGTH_HEADER, decode_tensors, encode_tensors
from app.ml.inference.window_messages import decode_answers, encode_windows
from app.ml.inference.window_server import ServerAnswer, ServerRequest, WindowServer
from app.ml.landmarks.batches import WindowBatch
from app.ml.landmarks.wire import encode_frames
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.types import LandmarkWindow, Prediction
from tests.test_ml.test_window_messages import body_of
from tests.untrained_model import make_window, random_batch, write_untrained_model

WINDOWS = [make_window(label, seed=seed, fps=9.0 + 4 * seed) for seed, label in enumerate(("sun", "rain", "bird"))]


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignFlowInferencePipeline]:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder)
    loaded = SignFlowInferencePipeline.load(folder)
    yield loaded
    loaded.close()


class CountingModel:
    """The pipeline, and how many windows each of its calls had."""

    def __init__(self, pipeline: SignFlowInferencePipeline) -> None:
        self._pipeline = pipeline
        self.manifest = pipeline.manifest
        self.sizes: list[int] = []

    def check(self, window: LandmarkWindow) -> None:
        self._pipeline.check(window)

    def infer_batch(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        self.sizes.append(len(windows))
        return self._pipeline.infer_batch(windows)

    def run(self, batch: WindowBatch) -> BackendOutput:
        return self._pipeline.run(batch)


def make_server(pipeline: SignFlowInferencePipeline) -> tuple[WindowServer, CountingModel]:
    model = CountingModel(pipeline)
    return WindowServer(model, backend="onnx", device="cpu"), model


def frames_of(window: LandmarkWindow) -> bytes:
    return encode_frames(window.landmarks, window.times_ms)


def assert_answers(answer: ServerAnswer, expected: Prediction) -> None:
    body = orjson.loads(answer.content)
    assert (answer.status, body["label"]) == (200, expected.label)
    assert body["confidence"] == pytest.approx(expected.confidence, abs=1e-6)
    assert len(body["signing"]) == len(expected.signing)


def test_requests_of_all_forms_share_one_pass_and_a_fault_stays_where_it_is(
    pipeline: SignFlowInferencePipeline,
) -> None:
    server, model = make_server(pipeline)
    first, second, third = WINDOWS
    backwards = LandmarkWindow(landmarks=second.landmarks, times_ms=second.times_ms[::-1].copy())
    requests = [
        ServerRequest(content=orjson.dumps(body_of(first))),
        ServerRequest(content=b"rubbish"),
        ServerRequest(content=body_of(second)),
        ServerRequest(content=frames_of(backwards)),
        ServerRequest(content=encode_windows([third, backwards, first])),
        ServerRequest(content=b""),
    ]

    answers = server.answer(requests)

    assert [answer.status for answer in answers] == [200, 400, 200, 400, 200, 400]
    assert model.sizes == [4], "one pass for the windows of all requests"
    expected = pipeline.infer_batch(WINDOWS)
    assert_answers(answers[0], expected[0])
    assert_answers(answers[2], expected[1])
    assert "strictly increasing" in orjson.loads(answers[3].content)["message"]
    assert orjson.loads(answers[1].content)["code"] == "invalid_window"
    several = decode_answers(answers[4].content)
    assert several.weights_sha256 == pipeline.manifest.weights_sha256
    labels = [one.model_version if isinstance(one, Prediction) else "fault" for one in several.predictions]
    assert labels == ["v1", "fault", "v1"]


def test_a_window_too_long_for_the_model_has_its_own_error(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)
    body = body_of(WINDOWS[0])
    times_ms = WINDOWS[0].times_ms.copy()
    times_ms[-1] += 90_000

    (answer,) = server.answer([ServerRequest(content=orjson.dumps({**body, "times_ms": times_ms.tolist()}))])

    assert answer.status == 400
    assert "limit 60000" in orjson.loads(answer.content)["message"]


def test_a_form_in_which_json_was_lost_is_explained(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)
    headers = {"content-type": "application/x-www-form-urlencoded", "content-length": "9"}

    form, empty = server.answer([ServerRequest(content=b"", headers=headers), ServerRequest(content=b"")])

    assert "curl -H" in orjson.loads(form.content)["message"]
    assert "the body is empty" in orjson.loads(empty.content)["message"]


def test_it_describes_its_model(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)

    (answer,) = server.answer([ServerRequest(content=b"", headers={"describe": "True"})])

    body = orjson.loads(answer.content)
    assert (body["backend"], body["device"]) == ("onnx", "cpu")
    assert body["manifest"]["weights_sha256"] == pipeline.manifest.weights_sha256


@pytest.mark.parametrize("binary", [False, True])
def test_bare_tensors_give_what_the_model_gives(pipeline: SignFlowInferencePipeline, *, binary: bool) -> None:
    server, _ = make_server(pipeline)
    batch = random_batch(3, 20)
    content, headers = encode_tensors(batch.tensors, "inputs", binary=binary)
    request = ServerRequest(content=content, headers={name.lower(): value for name, value in headers.items()})

    (answer,) = server.answer([request])

    assert answer.status == 200
    json_length = {name.lower(): value for name, value in answer.headers.items()}.get(JSON_LENGTH_HEADER)
    assert (json_length is not None) == binary
    found = decode_tensors(answer.content, "outputs", json_length=json_length)
    expected = pipeline.run(batch)
    np.testing.assert_allclose(found["logits"], expected.logits, atol=1e-6)
    np.testing.assert_allclose(found["embedding"], expected.embedding, atol=1e-6)
    np.testing.assert_allclose(found["signing"][batch.mask], expected.signing[batch.mask], atol=1e-6)


def test_only_the_outputs_that_were_asked_for_are_sent(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)
    content, _ = encode_tensors(
        random_batch(1, 10).tensors, "inputs", binary=False, extra={"outputs": [{"name": "logits"}]}
    )

    (answer,) = server.answer([ServerRequest(content=content)])

    assert list(decode_tensors(answer.content, "outputs", json_length=None)) == ["logits"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"landmarks": np.zeros((1, 4, 225), np.float32)}, "expected FP32 [batch, time, 75, 3]"),
        ({"landmarks": np.zeros((0, 4, 75, 3), np.float32), "times_ms": np.zeros((0, 4))}, "expected FP32 [0]"),
        ({"mask": np.ones((1, 5), np.bool_)}, "expected BOOL [1, 4]"),
        ({"mask": np.zeros((1, 4), np.bool_)}, "begins with the window's frames, one at least"),
        ({"mask": np.array([[True, False, True, False]])}, "begins with the window's frames, one at least"),
        ({"times_ms": np.zeros((1, 4), np.float32)}, "times_ms is float32 [1, 4]; expected FP64 [1, 4]"),
        ({"times_ms": np.array([[0.0, 50.0, 50.0, 60.0]])}, "strictly increasing"),
        ({"times_ms": np.array([[0.0, 50.0, np.nan, 60.0]])}, "times_ms must be finite"),
        ({"times_ms": np.array([[0.0, 50.0, 100.0, 90_000.0]])}, "lasts 90000 ms (limit 60000)"),
        ({"aspect": np.zeros(1, np.float32)}, "aspect must be positive"),
    ],
)
def test_tensors_that_the_model_cannot_take_are_refused(
    pipeline: SignFlowInferencePipeline, changed: dict[str, NDArray[Any]], message: str
) -> None:
    server, _ = make_server(pipeline)
    content, headers = encode_tensors({**random_batch(1, 4).tensors, **changed}, "inputs", binary=True)

    (answer,) = server.answer(
        [ServerRequest(content=content, headers={name.lower(): value for name, value in headers.items()})]
    )

    assert answer.status == 400
    assert message in orjson.loads(answer.content)["error"]


def test_tensors_that_would_fill_the_memory_with_padding_are_refused(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)
    batch = random_batch(4, 1_100)
    content, headers = encode_tensors(batch.tensors, "inputs", binary=True)

    (answer,) = server.answer(
        [ServerRequest(content=content, headers={name.lower(): value for name, value in headers.items()})]
    )

    assert answer.status == 400
    assert "4 windows padded to 1100 frames" in orjson.loads(answer.content)["error"]


def test_tensors_by_other_names_are_refused(pipeline: SignFlowInferencePipeline) -> None:
    server, _ = make_server(pipeline)

    (answer,) = server.answer([ServerRequest(content=b'{"inputs": []}')])

    assert orjson.loads(answer.content) == {"error": "expected the inputs landmarks, times_ms, aspect, mask; got none"}
