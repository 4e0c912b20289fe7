import asyncio
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from app.ml.artifacts.manifest import Calibration
from app.ml.artifacts.prototypes import prototypes_from_text
from app.ml.errors import InvalidLandmarksError, ManifestMismatchError, OverloadedError
from app.ml.evaluation.unseen import predict_clips
from app.ml.inference.confidence import softmax
from app.ml.inference.decision import decide
from app.ml.inference.familiarity import RawAnswers, mean_answers
from app.ml.inference.torch_backend import load_model
from app.ml.landmarks.layout import mirror
from app.ml.pipeline import SignFlowInferencePipeline
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import BACKGROUND
from app.ml.training.config import TrainerConfig
from app.ml.tta import NUM_VIEWS, TtaPredictor, make_views
from app.ml.types import FloatArray, LandmarkWindow, Prediction
from tests.fakes import FakePredictor
from tests.parametric_signer import make_person, perform_sign
from tests.untrained_model import LABELS, make_manifest, make_window

MANIFEST = make_manifest(calibration=Calibration(temperature=1.0, threshold=0.5))


@dataclass(slots=True)
class ScriptedPredictor:
    """Answers its rows of logits in turn."""

    logits: FloatArray
    familiarity: FloatArray = field(default_factory=lambda: np.zeros((NUM_VIEWS, 0), np.float32))
    asked: list[LandmarkWindow] = field(default_factory=list)

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Answer the next row."""
        row = len(self.asked)
        self.asked.append(window)
        return Prediction(
            label=None,
            confidence=0.0,
            alternatives=(),
            model_version="v1",
            signing=np.full(len(window.times_ms), row / 4, np.float32),
            probabilities=softmax(self.logits[row]),
            familiarity=self.familiarity[row],
        )


def test_the_views_are_the_window_its_mirror_image_two_speeds_and_noise() -> None:
    window = make_window()

    plain, mirrored, fast, slow, noisy = make_views(window)

    assert plain is window
    np.testing.assert_array_equal(mirrored.landmarks, mirror(window.landmarks))
    duration = window.times_ms[-1] - window.times_ms[0]
    for view, speed in ((fast, 1.05), (slow, 0.95)):
        np.testing.assert_array_equal(view.landmarks, window.landmarks)
        assert view.times_ms[0] == window.times_ms[0]
        assert view.times_ms[-1] - view.times_ms[0] == pytest.approx(duration / speed)
    shift = noisy.landmarks - window.landmarks
    np.testing.assert_array_equal(np.isnan(noisy.landmarks), np.isnan(window.landmarks))
    assert 0.0045 < np.nanmax(np.abs(shift)) < 0.00501
    assert abs(np.nanmean(shift)) < 0.0003


def test_the_views_do_not_change_from_call_to_call_and_leave_the_window_alone() -> None:
    window = make_window()
    before = window.landmarks.copy()
    longer = replace(
        window,
        landmarks=np.concatenate([window.landmarks, window.landmarks[-1:]]),
        times_ms=np.append(window.times_ms, window.times_ms[-1] + 50),
    )

    first, again, of_longer = make_views(window), make_views(window), make_views(longer)

    for one, two, three in zip(first, again, of_longer, strict=True):
        np.testing.assert_array_equal(one.landmarks, two.landmarks)
        np.testing.assert_array_equal(one.landmarks, three.landmarks[:-1])
    np.testing.assert_array_equal(window.landmarks, before)


async def test_the_answer_is_the_mean_of_five_views() -> None:
    logits = np.random.default_rng(0).normal(0, 2, (NUM_VIEWS, len(LABELS))).astype(np.float32)
    familiarity = np.random.default_rng(1).random((NUM_VIEWS, len(LABELS)), np.float32)
    predictor = ScriptedPredictor(logits, familiarity)
    window = make_window()

    answer = await TtaPredictor(predictor, manifest=MANIFEST).infer(window)

    assert len(predictor.asked) == NUM_VIEWS
    views = [RawAnswers(logits[row : row + 1], familiarity[row : row + 1]) for row in range(NUM_VIEWS)]
    expected = decide(mean_answers(views), MANIFEST)
    np.testing.assert_allclose(answer.probabilities, expected.probabilities[0], atol=1e-6)
    np.testing.assert_allclose(answer.familiarity, expected.familiarity[0], atol=1e-6)
    assert answer.alternatives[0].label == LABELS[expected.ranking[0, 0]]
    assert (answer.label is not None) == bool(expected.accepted[0])
    np.testing.assert_allclose(answer.signing, np.full(len(window.times_ms), 0.5), atol=1e-6)
    assert answer.model_version == "v1"


@pytest.mark.parametrize(("others", "label"), [(4.0, "sun"), (-4.0, None)])
async def test_one_view_alone_does_not_decide(others: float, label: str | None) -> None:
    logits = np.zeros((NUM_VIEWS, len(LABELS)), np.float32)
    logits[0, LABELS.index("sun")] = 4.0
    logits[1:, LABELS.index("sun")] = others

    answer = await TtaPredictor(ScriptedPredictor(logits), manifest=MANIFEST).infer(make_window())

    assert answer.label == label


async def test_a_recogniser_that_does_not_tell_its_probabilities_is_refused() -> None:
    with pytest.raises(ManifestMismatchError, match=r"told \[0\]: set SIGNFLOW_INFERENCE__TTA=false"):
        await TtaPredictor(FakePredictor(), manifest=MANIFEST).infer(make_window())


@dataclass(slots=True)
class FullQueue:
    """Refuses the second question; the others wait for ever."""

    asked: int = 0
    taken_back: int = 0

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Wait, or refuse."""
        self.asked += 1
        if self.asked == 2:
            msg = "too much waits"
            raise OverloadedError(msg)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.taken_back += 1
            raise
        raise AssertionError


async def test_when_one_view_is_refused_the_others_are_taken_back() -> None:
    queue = FullQueue()

    with pytest.raises(OverloadedError, match="too much waits"):
        await TtaPredictor(queue, manifest=MANIFEST).infer(make_window())

    assert queue.taken_back == queue.asked - 1 == NUM_VIEWS - 1


async def test_a_window_that_cannot_be_used_is_refused() -> None:
    window = make_window()
    empty = replace(window, landmarks=window.landmarks[:0], times_ms=window.times_ms[:0])

    with pytest.raises(InvalidLandmarksError):
        await TtaPredictor(FakePredictor(), manifest=MANIFEST).infer(empty)


async def test_live_answers_are_what_the_evaluation_measures(tiny_model_dir: Path) -> None:
    clips = [perform_sign(make_person(seed), "sun", seed=seed) for seed in (70, 71)]
    model, manifest = load_model(tiny_model_dir / "model_v1.pt")

    prototypes = prototypes_from_text(manifest.prototypes, num_labels=len(manifest.labels))
    measured = predict_clips(model, clips, prototypes, TrainerConfig(), tta=True)
    plain = predict_clips(model, clips, prototypes, TrainerConfig(), tta=False)
    live = [await answer_live(tiny_model_dir, clip) for clip in clips]

    decisions = decide(measured, manifest)
    np.testing.assert_allclose(decisions.probabilities, [answer.probabilities for answer in live], atol=2e-3)
    np.testing.assert_allclose(decisions.familiarity, [answer.familiarity for answer in live], atol=2e-3)
    np.testing.assert_allclose(decisions.certainty, [answer.certainty for answer in live], atol=5e-3)
    assert not np.allclose(measured.logits, plain.logits, atol=1e-3)
    assert set(BACKGROUND) < set(manifest.label_names)


async def answer_live(model_dir: Path, clip: Clip) -> Prediction:
    """What the server would answer with test-time augmentation."""
    pipeline = SignFlowInferencePipeline.load(model_dir)
    try:
        return await TtaPredictor(pipeline, manifest=pipeline.manifest).infer(clip.to_window())
    finally:
        pipeline.close()
