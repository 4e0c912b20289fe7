"""The queue in front of real models: whoever shares a call gets the answer that he would have got alone."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from app.core.tasks import TaskSet
from app.ml.batch_processor import BatchedInferenceQueue
from app.ml.errors import InvalidLandmarksError
from app.ml.inference.batch_policy import BatchLimits
from app.ml.pipeline import BackendChoice, SignFlowInferencePipeline
from app.ml.types import LandmarkWindow
from tests.parametric_signer import make_person, perform_sign
from tests.untrained_model import write_untrained_model

TOLERANCE: dict[BackendChoice, float] = {"onnx": 1e-5, "torch": 1e-5, "onnx-int8": 0.05, "openvino": 1e-4}
"""Of probabilities. Int8 takes its activations' scales over the whole batch, so company changes an answer a little."""


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_untrained_model(folder, int8=True)
    return folder


def make_windows() -> list[LandmarkWindow]:
    """Windows of many lengths, frame rates and people."""
    return [
        perform_sign(make_person(seed), label, fps=float(8 + seed)).to_window()
        for seed, label in enumerate(("sun", "rain", "stone", "bird") * 6)
    ]


@pytest.mark.parametrize("backend", list(TOLERANCE))
async def test_a_batch_of_n_answers_as_n_singles_do(model_dir: Path, backend: BackendChoice) -> None:
    pipeline = SignFlowInferencePipeline.load(model_dir, backend=backend)
    queue = BatchedInferenceQueue(pipeline, limits=BatchLimits(batch_size=8))
    tasks = TaskSet("test")
    tasks.start(queue.run(), name="queue")
    windows = make_windows()

    together = await asyncio.gather(*(queue.infer(window) for window in windows))

    for window, answer in zip(windows, together, strict=True):
        (alone,) = pipeline.infer_batch([window])
        np.testing.assert_allclose(answer.probabilities, alone.probabilities, atol=TOLERANCE[backend])
        np.testing.assert_allclose(answer.signing, alone.signing, atol=TOLERANCE[backend])
        assert answer.signing.shape == window.times_ms.shape
    await tasks.close()
    pipeline.close()


async def test_an_empty_window_is_refused_and_its_neighbours_answered(model_dir: Path) -> None:
    pipeline = SignFlowInferencePipeline.load(model_dir)
    queue = BatchedInferenceQueue(pipeline)
    tasks = TaskSet("test")
    tasks.start(queue.run(), name="queue")
    empty = LandmarkWindow(landmarks=np.zeros((0, 75, 3), np.float32), times_ms=np.zeros(0))

    answers = await asyncio.gather(
        *(queue.infer(window) for window in (*make_windows()[:2], empty)), return_exceptions=True
    )

    assert isinstance(answers[2], InvalidLandmarksError)
    assert not any(isinstance(answer, BaseException) for answer in answers[:2])
    await tasks.close()
    pipeline.close()
