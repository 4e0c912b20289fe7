"""Cuts a live stream of frames into signs: the state machine IDLE -> RECORDING -> INFERRING.

Pure and deterministic: it takes frames and predictions, holds no clock, and times everything on the frames' capture
times, so a
recording replayed gives the same events as the live run. When a step asks for a prediction (`Step.request`), the
caller answers with
`resolve` before it hands in the next frame.

    IDLE       nobody signs; frames only fill the pre-roll
    RECORDING  hands are active; partial answers are asked for
    INFERRING  the sign has ended and its final answer is awaited
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, RIGHT_HAND
from app.ml.types import Alternative, FloatArray, LandmarkWindow, Prediction


class SegmenterState(StrEnum):
    """What the segmenter is doing; the wire protocol shows these names."""

    IDLE = "IDLE"
    RECORDING = "RECORDING"
    INFERRING = "INFERRING"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterConfig:
    """Limits of the state machine; times in milliseconds of capture time, speeds in shoulder widths per second."""

    pre_roll_ms: float = 200.0
    min_sign_ms: float = 250.0
    max_sign_ms: float = 3000.0
    hands_gone_ms: float = 250.0
    ask_interval_ms: float = 200.0
    partial_interval_ms: float = 200.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame: `landmarks` float32 `[75, 3]` (NaN where missing, un-mirrored), `time_ms` its capture time."""

    landmarks: FloatArray
    time_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The machine entered `state` at `at_ms`."""

    state: SegmenterState
    at_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PartialSign:
    """The best candidates while a sign is still being made."""

    alternatives: tuple[Alternative, ...]
    at_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SignRecognised:
    """A finished sign; `label` None is "not sure". Its own frames are in `window`, for feedback clips."""

    label: str | None
    confidence: float
    alternatives: tuple[Alternative, ...]
    start_ms: float
    end_ms: float
    model_version: str
    window: LandmarkWindow


SegmenterEvent = StateChanged | PartialSign | SignRecognised


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one step did: events in order, and a window to ask the recogniser about, if any."""

    events: tuple[SegmenterEvent, ...] = ()
    request: LandmarkWindow | None = None


class Segmenter:
    """The state machine of one stream. `width` and `height` are the stream's frame size in pixels."""

    def __init__(self, config: SegmenterConfig, *, width: int = 640, height: int = 480) -> None:
        self._config = config
        self._width = width
        self._height = height
        self._frames: deque[Frame] = deque()
        self._state = SegmenterState.IDLE
        self._start_ms = 0.0
        self._last_hands_ms = -np.inf
        self._next_ask_ms = 0.0
        self._asked: LandmarkWindow | None = None
        self._final = False

    @property
    def state(self) -> SegmenterState:
        """The current state."""
        return self._state

    def step(self, frame: Frame) -> Step:
        """Take the next frame; its `time_ms` must be above the last one's.

        Raises:
            ValueError: the previous step's request has not been resolved.
        """
        if self._asked is not None:
            msg = "the last step's request is unanswered; call resolve first"
            raise ValueError(msg)
        self._frames.append(frame)
        has_hands = bool(np.isfinite(frame.landmarks[(LEFT_HAND.start, RIGHT_HAND.start), 0]).any())
        if has_hands:
            self._last_hands_ms = frame.time_ms
        if self._state is SegmenterState.IDLE:
            while self._frames[0].time_ms < frame.time_ms - self._config.pre_roll_ms:
                self._frames.popleft()
            if not has_hands:
                return Step()
            self._start_ms = frame.time_ms
            self._next_ask_ms = frame.time_ms + self._config.ask_interval_ms
            return Step(events=(self._enter(SegmenterState.RECORDING, frame.time_ms),))
        gone = frame.time_ms - self._last_hands_ms >= self._config.hands_gone_ms
        if gone or frame.time_ms - self._start_ms >= self._config.max_sign_ms:
            return self._close(frame.time_ms)
        if frame.time_ms >= self._next_ask_ms:
            self._next_ask_ms = frame.time_ms + self._config.ask_interval_ms
            self._asked = self._window()
            return Step(request=self._asked)
        return Step()

    def resolve(self, prediction: Prediction) -> Step:
        """Take the answer to the last step's request; it takes effect at that window's last capture time.

        Raises:
            ValueError: nothing was requested.
        """
        if self._asked is None:
            msg = "no request is waiting for a prediction"
            raise ValueError(msg)
        window, self._asked = self._asked, None
        at_ms = float(window.times_ms[-1])
        if not self._final:
            return Step(events=(PartialSign(alternatives=prediction.alternatives, at_ms=at_ms),))
        self._final = False
        self._frames.clear()
        sign = SignRecognised(
            label=prediction.label,
            confidence=prediction.confidence,
            alternatives=prediction.alternatives,
            start_ms=self._start_ms,
            end_ms=self._last_hands_ms,
            model_version=prediction.model_version,
            window=window,
        )
        return Step(events=(sign, self._enter(SegmenterState.IDLE, at_ms)))

    def finish(self) -> Step:
        """The stream ends: finish a sign in progress. May return a request; resolve it as usual."""
        if self._state is not SegmenterState.RECORDING or not self._frames:
            return Step()
        return self._close(self._frames[-1].time_ms)

    def _close(self, at_ms: float) -> Step:
        if self._last_hands_ms - self._start_ms < self._config.min_sign_ms:
            self._frames.clear()
            return Step(events=(self._enter(SegmenterState.IDLE, at_ms),))
        self._final = True
        self._asked = self._window()
        return Step(events=(self._enter(SegmenterState.INFERRING, at_ms),), request=self._asked)

    def _enter(self, state: SegmenterState, at_ms: float) -> StateChanged:
        self._state = state
        return StateChanged(state=state, at_ms=at_ms)

    def _window(self) -> LandmarkWindow:
        return LandmarkWindow(
            landmarks=np.stack([frame.landmarks for frame in self._frames]),
            times_ms=np.array([frame.time_ms for frame in self._frames]),
            width=self._width,
            height=self._height,
        )
