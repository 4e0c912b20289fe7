"""Fakes that implement our Protocols, and streams of frames to feed them."""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from app.ml.artifacts.manifest import ModelManifest, SignLabel
from app.ml.errors import InvalidLandmarksError
from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, POSE, RIGHT_HAND, RIGHT_WRIST
from app.ml.landmarks.wire import encode_frame
from app.ml.types import Alternative, FloatArray, LandmarkWindow, Prediction
from app.services.model_service import ActiveModel

FAKE_LABELS = ("hello", "thank_you", "letter_c", "letter_a", "letter_t", "yes")


@dataclass(slots=True, kw_only=True)
class FakePredictor:
    """Answers from the window alone: the height of the right wrist chooses the label, `delay_s` later.

    Attributes:
        delay_s: how long each answer takes.
        failures: so many answers raise first.
        is_sure: False answers "not sure".
        num_asked: how many windows were asked about.
    """

    delay_s: float = 0.0
    failures: int = 0
    is_sure: bool = True
    num_asked: int = 0
    windows: list[LandmarkWindow] = field(default_factory=list)

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Answer one window."""
        self.num_asked += 1
        self.windows.append(window)
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if self.failures:
            self.failures -= 1
            msg = "the fake was told to fail"
            raise InvalidLandmarksError(msg)
        wrist_y = np.nan_to_num(window.landmarks[:, RIGHT_HAND.start, 1], nan=0.0)
        best = round(float(wrist_y.max()) * 20) % len(FAKE_LABELS)
        order = [FAKE_LABELS[(best + i) % len(FAKE_LABELS)] for i in range(5)]
        return Prediction(
            label=order[0] if self.is_sure else None,
            confidence=0.9,
            alternatives=tuple(Alternative(label=label, confidence=0.9 / 2**i) for i, label in enumerate(order)),
            model_version="v7",
            signing=np.isfinite(window.landmarks[:, RIGHT_HAND.start, 0]).astype(np.float32),
        )


def fake_active_model(*, fallback_reason: str | None = None) -> ActiveModel:
    """A model that knows the labels of `FakePredictor`, and idle."""
    labels = tuple(
        SignLabel(label=label, language="ase", num_people=num)
        for num, label in enumerate((*FAKE_LABELS, "idle"), start=1)
    )
    manifest = ModelManifest(version="v7", config={"name": "fake"}, feature_spec="fake", num_features=1, labels=labels)
    return ActiveModel(
        manifest=manifest,
        backend="fake",
        file_name="model_v7.onnx",
        sha256="0" * 64,
        fallback_reason=fallback_reason,
    )


def still_frame() -> FloatArray:
    """A person standing still with the hands out of view; float32 `[75, 3]`."""
    landmarks = np.full((75, 3), np.nan, np.float32)
    landmarks[POSE] = np.random.default_rng(0).uniform(0.3, 0.7, (33, 3)).astype(np.float32)
    landmarks[11] = (0.6, 0.5, 0.0)
    landmarks[12] = (0.4, 0.5, 0.0)
    return landmarks


def signing_frame(time_ms: float, *, label: str = "hello", left: bool = False) -> FloatArray:
    """The same person with a hand moving fast; its height is what `FakePredictor` answers with."""
    landmarks = still_frame()
    hand = LEFT_HAND if left else RIGHT_HAND
    level = FAKE_LABELS.index(label) + len(FAKE_LABELS)
    offsets = np.random.default_rng(1).uniform(-0.04, 0.04, (21, 3))
    offsets[0] = 0.0
    landmarks[hand] = np.add(offsets, (0.5 + 0.15 * np.sin(time_ms / 80.0), level / 20, 0.0))
    landmarks[hand, 1] = np.minimum(landmarks[hand, 1], level / 20)
    landmarks[LEFT_WRIST if left else RIGHT_WRIST] = landmarks[hand.start]
    return landmarks


@dataclass(slots=True, kw_only=True)
class StreamWriter:
    """Writes the frames of a made-up stream, one after the other."""

    frame_ms: float = 33.0
    time_ms: float = 1_000.0
    sequence: int = 0

    def rest(self, duration_ms: float = 900.0) -> list[bytes]:
        """Frames of a person at rest."""
        return self._frames(duration_ms, label=None)

    def sign(self, label: str = "hello", *, duration_ms: float = 900.0, rest_ms: float = 900.0) -> list[bytes]:
        """Frames of one sign and the rest after it."""
        return [*self._frames(duration_ms, label=label), *self.rest(rest_ms)]

    def _frames(self, duration_ms: float, *, label: str | None) -> list[bytes]:
        frames: list[bytes] = []
        for _ in range(round(duration_ms / self.frame_ms)):
            landmarks = still_frame() if label is None else signing_frame(self.time_ms, label=label)
            frames.append(encode_frame(landmarks, sequence=self.sequence, time_ms=self.time_ms))
            self.time_ms += self.frame_ms
            self.sequence += 1
        return frames
