"""Values that cross the seams of the ML library.

Shapes: T frames, 75 points, 3 coordinates (x, y, z).
"""

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]
TimesArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
IndexArray: TypeAlias = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class LandmarkWindow:
    """A stretch of one stream: what a recogniser is asked about.

    Attributes:
        landmarks: float32 `[T, 75, 3]`, fractions of width and height, y downwards, NaN where a part was not
            detected; never mirrored.
        times_ms: float64 `[T]`, capture times, strictly increasing.
        width: frame width in pixels; only the ratio to `height` matters.
        height: frame height in pixels.
        deadline_s: when the answer is no longer wanted, on the event loop's clock; None waits for ever. It travels with
            the window, so that every wrapper hands it on.
    """

    landmarks: FloatArray
    times_ms: TimesArray
    width: int = 640
    height: int = 480
    deadline_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One candidate sign; `confidence` in [0, 1] is how often such an answer is right (`inference/confidence.py`)."""

    label: str
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a recogniser says about one window.

    Attributes:
        label: the recognised sign, or None for "not sure" (below the model's threshold, idle or unknown movement).
        confidence: of the best sign, in [0, 1], also when `label` is None: what decided about `label`.
        alternatives: the five best signs, best first; idle is never among them. Their confidences, on the same scale,
            add up to at most 1.
        model_version: version of the model that answered.
        signing: float32 `[T]`, probability that the person is signing at each of the window's frames; empty when the
            model cannot tell.
        certainty: the confidence as a part of the model's threshold: 1 or more where a label is given.
        probabilities: float32 `[C]`, the softmax that the confidence was made from, one for each of the model's labels
            in the manifest's order, background included; empty when the predictor does not tell.
        familiarity: float32 `[C]` in [0, 1], in the same order (`app.ml.inference.familiarity`); empty when the
            model has no prototypes.
    """

    label: str | None
    confidence: float
    alternatives: tuple[Alternative, ...]
    model_version: str
    signing: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    certainty: float = 0.0
    probabilities: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    familiarity: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))


class Predictor(Protocol):
    """Everything that answers a window of landmarks; wrappers (queue, router, shadow) are Predictors too."""

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Recognise the window as one sign.

        Raises:
            InvalidLandmarksError: the window has no frame, or its arrays do not fit together.
        """
        ...


class BatchPredictor(Protocol):
    """A recogniser that answers several windows in one call: the pipeline, or a server far away."""

    def infer_many(self, windows: Sequence[LandmarkWindow]) -> Awaitable[Sequence[Prediction]]:
        """Recognise each window as one sign; an answer a window, in their order. The call begins at once.

        Raises:
            InvalidLandmarksError: a window cannot be used; none is answered then.
        """
        ...
