"""Cuts a live stream of frames into signs: the state machine IDLE -> RECORDING -> INFERRING.

A fast gate (are hands in view, do they move) decides whether the recogniser is asked at all; the recogniser's own
per-frame
"is signing" curve decides where a sign begins and ends; a last question about just that stretch names it.

Pure and deterministic: it takes frames and predictions, holds no clock, and times everything on the frames' capture
times, so a recording replayed gives the same events as the live run. When a step asks for a prediction
(`Step.request`), the
caller answers with `resolve` before it hands in the next frame.

    IDLE       nobody signs
    RECORDING  a sign is being made; partial answers come with every question
    INFERRING  the sign has ended and its final answer is awaited
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from app.ml.inference.segmenter_memory import SegmenterMemory, SegmenterState
from app.ml.inference.signing_curve import find_sign, hands_in_view
from app.ml.landmarks.layout import (
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    NUM_POINTS,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.types import Alternative, FloatArray, LandmarkWindow, Prediction

_WRISTS: Final = (LEFT_WRIST, RIGHT_WRIST)
_MOTION_MS: Final = 150.0
"""Over how long the gate measures movement."""
_USUAL_SHOULDER_WIDTH: Final = 0.3
"""In frame widths, where no shoulders are seen: the median of the recordings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmenterConfig:
    """Limits of the state machine; times in milliseconds of capture time.

    Attributes:
        idle_interval_ms: how often the recogniser is asked while hands move and no sign has begun. A question looks
            back `look_back_ms`, so asking late loses nothing; asking often only makes chance beginnings more likely.
        ask_interval_ms: how often it is asked while a sign is made; sooner once, when the last answer saw the signing
            stop: as soon as the sign can have ended.
        look_back_ms: how much of the past is asked about while no sign has begun.
        pre_roll_ms: how much before a sign's first frame is asked about, so that the recogniser sees it begin.
        margin_ms: what the final question adds at both ends of the sign.
        signing_on: probability of "is signing" that begins a sign.
        signing_off: probability under which a sign may end.
        quiet_ms: how long it must stay under `signing_off` for the sign to end; shorter dips belong to the sign.
        min_sign_ms: shorter stretches are not reported.
        max_sign_ms: a longer sign is cut; a pose that is held on beyond is reported once.
        hands_gone_ms: hands out of view for this long end a sign and close the gate.
        still_ms: hands at rest for this long close the gate until they move again.
        still_speed: wrist speed that counts as rest, in shoulder widths per second.
        unsure_certainty: under this part of the model's threshold, a stretch that the model does not accept is ordinary
            movement and not reported at all; above, it is reported as "not sure".
        min_support: the part of the partial answers that must agree with the final one. Answers about a real sign
            settle
            early; about wandering hands they keep changing, and the stretch is then "not sure".
    """

    idle_interval_ms: float = 500.0
    ask_interval_ms: float = 200.0
    look_back_ms: float = 1600.0
    pre_roll_ms: float = 300.0
    margin_ms: float = 100.0
    signing_on: float = 0.6
    signing_off: float = 0.4
    quiet_ms: float = 160.0
    min_sign_ms: float = 250.0
    max_sign_ms: float = 2400.0
    hands_gone_ms: float = 250.0
    still_ms: float = 1200.0
    still_speed: float = 0.25
    unsure_certainty: float = 0.25
    min_support: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame: `landmarks` float32 `[75, 3]` (NaN where missing, un-mirrored), `time_ms` its capture time.

    `sequence` is the stream's own number of it.
    """

    landmarks: FloatArray
    time_ms: float
    sequence: int = -1


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What was asked: where signs are (`span` None), or what the sign in `span` is."""

    window: LandmarkWindow
    span: tuple[float, float] | None = None
    is_cut: bool = False
    is_last: bool = False


class Segmenter:
    """The state machine of one stream. `width` and `height` are the stream's frame size in pixels."""

    def __init__(self, config: SegmenterConfig, *, width: int = 640, height: int = 480) -> None:
        self._config = config
        self._width = width
        self._height = height
        self._keep_ms = config.max_sign_ms + config.pre_roll_ms + config.look_back_ms
        self._frames: deque[Frame] = deque()
        self._question: _Question | None = None
        self._memory = SegmenterMemory()

    @property
    def state(self) -> SegmenterState:
        """The current state."""
        return self._memory.state

    @property
    def oldest_sequence(self) -> int | None:
        """The number of the oldest frame that may still be asked about; None without any."""
        return self._frames[0].sequence if self._frames else None

    def remember(self) -> SegmenterMemory:
        """What another segmenter needs, besides the frames from `oldest_sequence` on, to go on as this one would.

        Raises:
            ValueError: a request has not been resolved.
        """
        if self._question is not None:
            msg = "a request is unanswered; call resolve first"
            raise ValueError(msg)
        return self._memory.copy()

    def recall(self, memory: SegmenterMemory) -> None:
        """Go on from a memory; `refill` with its frames before the next step."""
        self._memory = memory.copy()

    def refill(self, frame: Frame) -> None:
        """Take a frame from before the memory: it is kept for questions and changes nothing else."""
        if not self._frames or frame.time_ms > self._frames[-1].time_ms:
            self._frames.append(frame)

    def step(self, frame: Frame) -> Step:
        """Take the next frame; its `time_ms` must be above the last one's.

        Raises:
            ValueError: the previous step's request has not been resolved.
        """
        if self._question is not None:
            msg = "the last step's request is unanswered; call resolve first"
            raise ValueError(msg)
        self._take(frame)
        now = frame.time_ms
        if self._memory.start_ms is None and not self._is_active(now):
            return Step()
        hands_gone = now - self._memory.last_hands_ms >= self._config.hands_gone_ms
        if self._memory.start_ms is not None and (
            hands_gone or now - self._memory.start_ms >= self._config.max_sign_ms
        ):
            end_ms = self._memory.last_hands_ms if hands_gone else now
            return self._ask_what(self._memory.start_ms, end_ms, at_ms=now, is_cut=not hands_gone)
        if now < self._memory.next_ask_ms:
            return Step()
        is_idle = self._memory.start_ms is None
        self._memory.next_ask_ms = now + (self._config.idle_interval_ms if is_idle else self._config.ask_interval_ms)
        return self._ask_where(is_last=False)

    def resolve(self, prediction: Prediction) -> Step:
        """Take the answer to the last step's request; it takes effect at that window's last capture time.

        Raises:
            ValueError: nothing was requested.
        """
        if self._question is None:
            msg = "no request is waiting for a prediction"
            raise ValueError(msg)
        question, self._question = self._question, None
        if question.span is None:
            return self._resolve_where(question, prediction)
        return self._resolve_what(question, question.span, prediction)

    def go_without(self, *, model_version: str) -> Step:
        """The last step's request stays unanswered: the recogniser is overloaded or down.

        A question about where signs are is left out, and the next one asked in its time; a sign that was to be named is
        told as "not sure".

        Raises:
            ValueError: nothing was requested.
        """
        if self._question is None:
            msg = "no request is waiting for a prediction"
            raise ValueError(msg)
        question, self._question = self._question, None
        memory = self._memory
        if question.span is not None:
            nothing = Prediction(label=None, confidence=0.0, alternatives=(), model_version=model_version)
            return self._resolve_what(question, question.span, nothing, is_answered=False)
        if question.is_last and memory.start_ms is not None:
            return self._ask_what(memory.start_ms, memory.last_hands_ms, at_ms=self._frames[-1].time_ms, is_cut=False)
        return Step()

    def finish(self) -> Step:
        """The stream ends: finish a sign in progress. May return a request; resolve it as usual."""
        if self._question is not None or not self._frames:
            return Step()
        if self._frames[-1].time_ms - self._memory.last_hands_ms > self._config.look_back_ms or self._done():
            return Step()
        return self._ask_where(is_last=True)

    def _done(self) -> bool:
        return self._frames[-1].time_ms - self._memory.done_ms < self._config.min_sign_ms

    def _take(self, frame: Frame) -> None:
        """Keep the frame and note whether hands are in view and move."""
        frames, now = self._frames, frame.time_ms
        points = frame.landmarks
        left_x, right_x = points.item(LEFT_HAND.start, 0), points.item(RIGHT_HAND.start, 0)
        has_hands = left_x == left_x or right_x == right_x  # NaN differs from itself
        if has_hands:
            if now - self._memory.last_hands_ms >= self._config.hands_gone_ms:
                self._memory.last_moved_ms = now  # a hand that comes into view has moved
            self._memory.last_hands_ms = now
        if self._memory.wrists is None or now - self._memory.wrists_ms >= _MOTION_MS:
            wrists = tuple(points.item(wrist, axis) for wrist in _WRISTS for axis in (0, 1))
            if self._memory.wrists is not None:
                self._note_motion(points, wrists, now)
            self._memory.wrists, self._memory.wrists_ms = wrists, now
        frames.append(frame)
        while frames[0].time_ms < now - self._keep_ms:
            frames.popleft()

    def _note_motion(self, points: FloatArray, wrists: tuple[float, ...], now: float) -> None:
        """Compare with the wrists of a moment ago; over a single frame the detector's jitter looks like movement."""
        assert self._memory.wrists is not None
        width = abs(float(points[LEFT_SHOULDER, 0] - points[RIGHT_SHOULDER, 0]))
        width = max(width, 0.05) if width == width else _USUAL_SHOULDER_WIDTH
        pairs = zip(wrists, self._memory.wrists, strict=True)
        moved = max((abs(a - b) for a, b in pairs if a == a and b == b), default=np.inf)
        if moved > self._config.still_speed * width * (now - self._memory.wrists_ms) / 1000.0:
            self._memory.last_moved_ms = now

    def _is_active(self, now: float) -> bool:
        """Whether the gate is open: hands in view a moment ago, and not at rest for long."""
        config = self._config
        in_view = now - self._memory.last_hands_ms < config.hands_gone_ms
        return in_view and now - self._memory.last_moved_ms < config.still_ms

    def _ask_where(self, *, is_last: bool) -> Step:
        if self._memory.start_ms is None:
            first = max(self._frames[-1].time_ms - self._config.look_back_ms, self._memory.done_ms)
        else:
            first = max(self._memory.start_ms - self._config.pre_roll_ms, self._memory.done_ms)
        window = self._window(first, np.inf)
        self._question = _Question(window=window, is_last=is_last)
        return Step(request=window)

    def _ask_what(self, start_ms: float, end_ms: float, *, at_ms: float, is_cut: bool) -> Step:
        """Close a sign: ask what the stretch is, or forget it when it is too short."""
        if end_ms - start_ms < self._config.min_sign_ms:
            self._memory.start_ms, self._memory.done_ms = None, end_ms
            self._memory.partial_labels.clear()
            return Step(events=self._enter(SegmenterState.IDLE, at_ms))
        margin = self._config.margin_ms
        window = self._window(max(start_ms - margin, self._memory.done_ms), end_ms + margin)
        self._question = _Question(window=window, span=(start_ms, end_ms), is_cut=is_cut)
        return Step(events=self._enter(SegmenterState.INFERRING, at_ms), request=window)

    def _resolve_where(self, question: _Question, prediction: Prediction) -> Step:
        times_ms = question.window.times_ms
        now = float(times_ms[-1])
        signing = prediction.signing if prediction.signing.size else hands_in_view(question.window)
        config = self._config
        span = find_sign(
            signing,
            times_ms,
            on=config.signing_on,
            off=config.signing_off,
            quiet_ms=config.quiet_ms,
            min_sign_ms=config.min_sign_ms,
        )
        if span is None:
            self._memory.start_ms = None
            self._memory.partial_labels.clear()
            return Step(events=self._enter(SegmenterState.IDLE, now))
        start_ms, end_ms = span
        if self._memory.start_ms is None:
            self._memory.start_ms = start_ms
        if question.is_last or now - end_ms >= self._config.quiet_ms:
            return self._ask_what(self._memory.start_ms, end_ms, at_ms=now, is_cut=False)
        if end_ms < now:
            self._memory.next_ask_ms = min(self._memory.next_ask_ms, end_ms + self._config.quiet_ms)
        entered = self._enter(SegmenterState.RECORDING, now)
        self._memory.partial_labels += [best.label for best in prediction.alternatives[:1]]
        return Step(events=(*entered, PartialSign(alternatives=prediction.alternatives, at_ms=now)))

    def _resolve_what(
        self, question: _Question, span: tuple[float, float], prediction: Prediction, *, is_answered: bool = True
    ) -> Step:
        start_ms, end_ms = span
        partial_labels, self._memory.partial_labels = self._memory.partial_labels, []
        label = prediction.label
        if label is not None and partial_labels:
            support = partial_labels.count(label) / len(partial_labels)
            label = label if support >= self._config.min_support else None
        continues = start_ms <= self._memory.done_ms and label is not None and label == self._memory.held_label
        self._memory.start_ms = end_ms if question.is_cut else None
        self._memory.done_ms = end_ms
        self._memory.held_label = label if question.is_cut else None
        entered = self._enter(
            SegmenterState.RECORDING if question.is_cut else SegmenterState.IDLE, float(self._frames[-1].time_ms)
        )
        is_movement = is_answered and label is None and prediction.certainty < self._config.unsure_certainty
        if is_movement or continues:
            return Step(events=entered)
        sign = SignRecognised(
            label=label,
            confidence=prediction.confidence,
            alternatives=prediction.alternatives,
            start_ms=start_ms,
            end_ms=end_ms,
            model_version=prediction.model_version,
            window=question.window,
        )
        return Step(events=(sign, *entered))

    def _enter(self, state: SegmenterState, at_ms: float) -> tuple[SegmenterEvent, ...]:
        if state is self._memory.state:
            return ()
        self._memory.state = state
        return (StateChanged(state=state, at_ms=at_ms),)

    def _window(self, first_ms: float, last_ms: float) -> LandmarkWindow:
        """Frames after `first_ms` up to `last_ms`; at least the newest."""
        chosen: list[Frame] = []
        for frame in reversed(self._frames):
            if frame.time_ms <= first_ms:
                break
            if frame.time_ms <= last_ms:
                chosen.append(frame)
        chosen = chosen[::-1] or [self._frames[-1]]
        return LandmarkWindow(
            landmarks=np.concatenate([frame.landmarks for frame in chosen]).reshape(-1, NUM_POINTS, 3),
            times_ms=np.array([frame.time_ms for frame in chosen]),
            width=self._width,
            height=self._height,
        )
