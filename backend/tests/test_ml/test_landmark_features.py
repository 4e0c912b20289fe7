"""The features that are served (PyTorch, and exported to ONNX) against those that training computes (numpy)."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.artifacts.prototypes import prototypes_to_text
from app.ml.inference.backends import OnnxBackend
from app.ml.inference.torch_backend import TorchBackend, load_model
from app.ml.landmarks.batches import MAX_CELLS, WindowBatch, split_windows, stack_windows
from app.ml.landmarks.features import get_feature_spec
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, POSE, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.landmarks.normalise import check_window
from app.ml.network.landmark_features import LandmarkFeatures
from app.ml.types import BoolArray, FloatArray, LandmarkWindow
from tests.feature_reference import extract_batch
from tests.parametric_signer import LABELS, make_person, perform_stream
from tests.untrained_model import LABELS as MODEL_LABELS
from tests.untrained_model import make_manifest, write_untrained_model

SPECS = ("hands256", "base469", "landmarks75")
NUM_WINDOWS = 1_000
TOLERANCE = 1e-4
PARTS = (POSE, LEFT_HAND, RIGHT_HAND)
Damage = Callable[[FloatArray, np.random.Generator], None]


def lose(part: slice) -> Damage:
    def damage(landmarks: FloatArray, _: np.random.Generator) -> None:
        landmarks[:, part] = np.nan

    return damage


def lose_nothing(_: FloatArray, __: np.random.Generator) -> None:
    pass


def lose_for_a_while(landmarks: FloatArray, rng: np.random.Generator) -> None:
    for part in PARTS:
        start, length = rng.integers(0, len(landmarks)), rng.integers(1, 14)
        landmarks[start : start + length, part] = np.nan


def flicker(landmarks: FloatArray, rng: np.random.Generator) -> None:
    for part in PARTS:
        landmarks[rng.random(len(landmarks)) < 0.3, part] = np.nan


def lose_shoulders(landmarks: FloatArray, _: np.random.Generator) -> None:
    landmarks[:, (LEFT_SHOULDER, RIGHT_SHOULDER)] = np.nan


def lose_points(landmarks: FloatArray, rng: np.random.Generator) -> None:
    landmarks[rng.random(landmarks.shape[:2]) < 0.05] = np.nan


def be_still(landmarks: FloatArray, _: np.random.Generator) -> None:
    landmarks[:] = landmarks[:1]


def lose_all(landmarks: FloatArray, _: np.random.Generator) -> None:
    landmarks[:] = np.nan


def shoulders_in_one_place(landmarks: FloatArray, _: np.random.Generator) -> None:
    landmarks[:, LEFT_SHOULDER] = landmarks[:, RIGHT_SHOULDER]


DAMAGES: tuple[Damage, ...] = (
    lose_nothing,
    lose(LEFT_HAND),
    lose(RIGHT_HAND),
    lose(slice(LEFT_HAND.start, None)),
    lose(POSE),
    lose_for_a_while,
    flicker,
    lose_shoulders,
    lose_points,
    be_still,
    lose_all,
    shoulders_in_one_place,
)
SIZES = ((640, 480), (480, 640), (1280, 720), (720, 1280), (1, 1))


@cache
def make_streams() -> list[LandmarkWindow]:
    return [
        perform_stream(make_person(number), LABELS[number : number + 3], seed=number, fps=fps).clip.to_window()
        for number, fps in enumerate((10.0, 12.5, 15.0, 20.0, 24.0, 25.0, 30.0, 60.0))
    ]


def make_windows(count: int, *, seed: int = 0) -> list[LandmarkWindow]:
    """Made-up signing at 10 to 60 frames a second, even and uneven, from one frame to three seconds, damaged."""
    rng = np.random.default_rng(seed)
    streams = make_streams()
    windows: list[LandmarkWindow] = []
    for number in range(count):
        stream = streams[number % len(streams)]
        length = 1 if number % 17 == 0 else int(rng.integers(2, max(3, round(len(stream.times_ms) * 0.6))))
        start = int(rng.integers(0, len(stream.times_ms) - length))
        landmarks = stream.landmarks[start : start + length].copy()
        times_ms = stream.times_ms[start : start + length].copy()
        if number % 3 == 0:  # a camera that does not keep time
            times_ms = np.cumsum(np.diff(times_ms, prepend=0) * rng.uniform(0.5, 1.6, length)) + 1.7e12
        if number % 5 == 0:  # frames that never came
            kept = rng.random(length) < 0.7
            kept[0] = True
            landmarks, times_ms = landmarks[kept], times_ms[kept]
        DAMAGES[number % len(DAMAGES)](landmarks, rng)
        width, height = SIZES[number % len(SIZES)]
        windows.append(LandmarkWindow(landmarks=landmarks, times_ms=times_ms, width=width, height=height))
    for window in windows:
        check_window(window)
    return windows


def run(features: LandmarkFeatures, batch: WindowBatch) -> tuple[FloatArray, BoolArray]:
    with torch.inference_mode():
        found = features(*(torch.from_numpy(one) for one in batch.tensors.values()))
    return found.values.numpy(), found.mask.numpy()


@pytest.mark.parametrize("name", SPECS)
def test_a_thousand_windows_real_and_damaged_have_the_features_that_training_computes(name: str) -> None:
    spec = get_feature_spec(name)
    features = LandmarkFeatures(spec).eval()
    windows = make_windows(NUM_WINDOWS)

    for start in range(0, NUM_WINDOWS, 25):
        chosen = windows[start : start + 25]
        expected = extract_batch(chosen, spec)
        values, mask = run(features, stack_windows(chosen))
        np.testing.assert_array_equal(mask, expected.mask)
        np.testing.assert_allclose(values[mask], expected.values[mask], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("config", ["tiny", "spatial"])
def test_the_exported_file_answers_as_training_does_on_windows_real_and_damaged(tmp_path: Path, config: str) -> None:
    """The bare network on numpy's features is what training sees."""
    write_untrained_model(tmp_path, manifest=make_manifest(config=config))
    network, manifest = load_model(tmp_path / "model_v1.pt")
    spec = get_feature_spec(manifest.feature_spec)
    backend = OnnxBackend(tmp_path / "model_v1.onnx")
    windows = make_windows(200, seed=5)

    for group in split_windows(windows, max_batch=16):
        chosen = [windows[number] for number in group]
        trained = extract_batch(chosen, spec)
        with torch.inference_mode():
            expected = network(torch.from_numpy(trained.values), torch.from_numpy(trained.mask))
        found = backend.run(stack_windows(chosen))
        np.testing.assert_allclose(found.logits, expected.logits.numpy(), atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(found.embedding, expected.embedding.numpy(), atol=TOLERANCE, rtol=0)
        curves = 1 / (1 + np.exp(-expected.signing.numpy()))
        for row, (window, times_ms) in enumerate(zip(chosen, trained.times_ms, strict=True)):
            signing = np.interp(window.times_ms, times_ms, curves[row, : len(times_ms)])
            np.testing.assert_allclose(found.signing[row, : len(signing)], signing, atol=TOLERANCE)


@pytest.fixture(scope="module")
def backends(tmp_path_factory: pytest.TempPathFactory) -> tuple[OnnxBackend, TorchBackend]:
    folder = tmp_path_factory.mktemp("models")
    prototypes = np.random.default_rng(0).standard_normal((len(MODEL_LABELS), 32)).astype(np.float32)
    write_untrained_model(folder, manifest=make_manifest(prototypes=prototypes_to_text(prototypes)))
    return OnnxBackend(folder / "model_v1.onnx"), TorchBackend(folder / "model_v1.pt")


ABSURD = st.sampled_from([np.nan, np.inf, -np.inf, 1e30, -1e30, 1e4, 999.0, 0.0])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    values=st.lists(ABSURD, min_size=1, max_size=4),
    share=st.floats(0, 1),
    step_ms=st.sampled_from([0.0, 1e-9, 1.0, 33.4, 50.0, 1e3, 1e5, -20.0, np.nan, np.inf]),
    aspect=st.sampled_from([1.0, 1e-3, 1e3, 0.0, -1.0, np.nan, np.inf]),
    seed=st.integers(0, 2**16),
)
def test_whatever_a_foreign_caller_sends_is_answered_with_numbers_and_harms_no_neighbour(
    backends: tuple[OnnxBackend, TorchBackend],
    lengths: list[int],
    values: list[float],
    share: float,
    step_ms: float,
    aspect: float,
    seed: int,
) -> None:
    """A server that runs the bare file checks nothing."""
    rng = np.random.default_rng(seed)
    neighbour = make_windows(12, seed=seed % 7)[5]
    batch = stack_windows([neighbour, *(window_of(length, rng) for length in lengths)])
    landmarks, times_ms, aspects = batch.landmarks.copy(), batch.times_ms.copy(), batch.aspect.copy()
    landmarks[1:][rng.random(landmarks[1:].shape) < share] = rng.choice(values)
    with np.errstate(invalid="ignore"):  # nothing times infinity
        times_ms[1:] = np.arange(times_ms.shape[1]) * step_ms
    aspects[1:] = aspect
    asked = WindowBatch(landmarks=landmarks, times_ms=times_ms, aspect=aspects, mask=batch.mask)

    for backend in backends:
        alone, found = backend.run(stack_windows([neighbour])), backend.run(asked)
        for name in ("logits", "embedding", "signing", "familiarity"):
            assert np.isfinite(getattr(found, name)).all(), name
        np.testing.assert_allclose(found.logits[:1], alone.logits, atol=TOLERANCE)
        np.testing.assert_allclose(found.familiarity[:1], alone.familiarity, atol=TOLERANCE)
        frames = len(neighbour.times_ms)
        np.testing.assert_allclose(found.signing[:1, :frames], alone.signing, atol=TOLERANCE)


def window_of(length: int, rng: np.random.Generator) -> LandmarkWindow:
    return LandmarkWindow(
        landmarks=rng.random((length, 75, 3), np.float32), times_ms=np.cumsum(rng.uniform(5, 120, length))
    )


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.sampled_from([1, 2, 30, 1_200, 3_600]), max_size=12),
    step_ms=st.sampled_from([16.5, 50.0]),
    max_batch=st.integers(1, 8),
)
def test_windows_are_put_together_so_that_padding_never_fills_the_memory(
    lengths: list[int], step_ms: float, max_batch: int
) -> None:
    windows = [
        LandmarkWindow(landmarks=np.zeros((length, 75, 3), np.float32), times_ms=np.arange(length) * step_ms)
        for length in lengths
    ]

    groups = split_windows(windows, max_batch=max_batch)

    assert sorted(number for group in groups for number in group) == list(range(len(windows)))
    for group in groups:
        frames = max(lengths[number] for number in group)
        steps = max((lengths[number] - 1) * step_ms / 50 + 1 for number in group)
        assert 1 <= len(group) <= max_batch
        assert len(group) == 1 or len(group) * frames * int(steps) <= MAX_CELLS


def test_a_minute_among_single_frames_is_answered_as_alone(backends: tuple[OnnxBackend, TorchBackend]) -> None:
    minute = window_of(1_200, np.random.default_rng(0))
    minute = replace(minute, times_ms=np.arange(1_200) * 50.0)
    short = window_of(1, np.random.default_rng(1))
    batch = stack_windows([minute, short])

    for backend in backends:
        together = backend.run(batch)
        for row, window in enumerate((minute, short)):
            alone = backend.run(stack_windows([window]))
            np.testing.assert_allclose(together.logits[row], alone.logits[0], atol=TOLERANCE)
