"""Test-time augmentation: a window is asked about in five views, and the mean of the five answers is given.

The views are made on raw landmarks, before any feature: as it is, mirrored, 5 % faster, 5 % slower, with 0.5 % of
noise. They are the same at every call, so a recording replayed gives the same answers.

The mean is taken of the logits (of log probabilities, which is the same after the softmax): it commutes with the
temperature, so what was measured on logits holds live.

Shapes: T frames, 75 points, V views, N windows, C labels.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ManifestMismatchError
from app.ml.inference.decision import decide, to_prediction
from app.ml.inference.familiarity import RawAnswers
from app.ml.landmarks.layout import mirror
from app.ml.landmarks.normalise import check_window
from app.ml.types import FloatArray, LandmarkWindow, Prediction, Predictor

SPEEDS: Final = (1.05, 0.95)
NOISE: Final = 0.005
"""Largest shift of a coordinate in the noisy view, in frame sizes."""
NUM_VIEWS: Final = 3 + len(SPEEDS)
_LEAST_PROBABILITY: Final = np.float32(1e-12)


class TtaPredictor:
    """A `Predictor` that asks another one about every view of a window and answers their mean."""

    def __init__(self, predictor: Predictor, *, manifest: ModelManifest) -> None:
        """Wrap a predictor.

        Args:
            predictor: must fill `Prediction.probabilities`.
            manifest: of the model behind it; its threshold decides on the mean.
        """
        self._predictor = predictor
        self._manifest = manifest

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Recognise the window as one sign.

        Raises:
            InvalidLandmarksError: the window, or its slower view, cannot be used.
            ManifestMismatchError: the predictor does not tell probabilities of the manifest's labels.
        """
        check_window(window)
        answers = await self._ask(make_views(window))
        found = sorted({len(answer.probabilities) for answer in answers})
        if found != [len(self._manifest.labels)]:
            msg = (
                f"test-time augmentation needs the probabilities of all {len(self._manifest.labels)} labels of model "
                f"{self._manifest.version}; the recogniser told {found}: set SIGNFLOW_INFERENCE__TTA=false"
            )
            raise ManifestMismatchError(msg)
        logs = [np.log(np.maximum(answer.probabilities, _LEAST_PROBABILITY)) for answer in answers]
        # `decide` divides by the temperature, which the probabilities have behind them.
        logits = _mean(logs) * np.float32(self._manifest.calibration.temperature)
        familiarity = _mean([answer.familiarity for answer in answers])
        decisions = decide(RawAnswers(logits[None], familiarity[None]), self._manifest)
        prediction = to_prediction(decisions, 0, self._manifest, signing=_mean([answer.signing for answer in answers]))
        return replace(prediction, model_version=answers[0].model_version)

    async def _ask(self, views: Sequence[LandmarkWindow]) -> list[Prediction]:
        """The answers to all views; when one is refused, those still waiting are taken back from the queue below."""
        try:
            async with asyncio.TaskGroup() as group:
                questions = [group.create_task(self._predictor.infer(view)) for view in views]
        except ExceptionGroup as refusals:
            raise refusals.exceptions[0] from refusals
        return [question.result() for question in questions]


def make_views(window: LandmarkWindow) -> tuple[LandmarkWindow, ...]:
    """The window itself and its variations, `NUM_VIEWS` in all; frames keep their number and order."""
    start = window.times_ms[0]
    # The first rows of the noise do not depend on how many follow: a frame is shifted alike in a longer window.
    noise = np.random.default_rng(0).uniform(-NOISE, NOISE, window.landmarks.shape).astype(np.float32)
    return (
        window,
        replace(window, landmarks=mirror(window.landmarks)),
        *(replace(window, times_ms=start + (window.times_ms - start) / speed) for speed in SPEEDS),
        replace(window, landmarks=window.landmarks + noise),
    )


def _mean(views: Sequence[FloatArray]) -> FloatArray:
    return np.mean(views, axis=0, dtype=np.float32)
