"""One translation session: frames in, events out, the recogniser asked in between.

The segmenter decides on capture time only, and frames that arrive while it waits for an answer are queued and stepped
afterwards, in order. So what comes out depends on the frames alone, never on how fast they came or how long an answer
took.

Everything here runs in the event loop and never waits: there is one task per question to the recogniser (at most a
few a second), none per frame.
"""

import asyncio
import logging
import math
from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import numpy as np

from app.core.errors import SignFlowError
from app.core.metrics import TIMED_EVERY, DropReason
from app.ml.errors import MlError
from app.ml.inference.segmenter import (
    Frame,
    PartialSign,
    Segmenter,
    SignRecognised,
    StateChanged,
    Step,
)
from app.ml.inference.segmenter_memory import SegmenterState
from app.ml.landmarks.layout import mirror
from app.ml.metrics import Stage
from app.ml.types import FloatArray, LandmarkWindow, Prediction
from app.services.captions import CaptionBuilder
from app.services.events import (
    CaptionChanged,
    EventSink,
    ProblemKind,
    ProblemReported,
    SessionEvent,
    SignFinished,
    StreamEnded,
    StreamStats,
)
from app.services.streams import SessionContext, StreamInfo
from app.services.timeline import Timeline, TimeVerdict

logger = logging.getLogger(__name__)

_CONTROL_ROOM = 16
"""Control messages that fit in the backlog above its frames, before reading stops."""
_LATENCIES_KEPT = 512


class _QueuedFrame(NamedTuple):
    landmarks: FloatArray
    sequence: int
    time_ms: float
    received_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reset:
    stream: StreamInfo


class _End(Enum):
    """Why a sign in progress is finished early."""

    STREAM = auto()
    """The client said `end`."""
    PAUSE = auto()
    """The next frame is too far away in time to belong to the same sign."""


class TranslationSession:
    """State of one stream; survives its connection for a while so that it can be resumed."""

    def __init__(self, context: SessionContext, *, session_id: str, token: str, stream: StreamInfo) -> None:
        rules, recogniser = context.rules, context.recogniser
        self.session_id = session_id
        self.token = token
        self.recogniser = recogniser
        self.rules = rules
        self.stream = stream
        self.sink: EventSink | None = None
        self.state = SegmenterState.IDLE
        self.frames_handled = 0
        self.frames_dropped = 0
        self.last_sequence = -1
        self._tasks = context.tasks
        self._metrics = context.metrics
        self._clock = context.clock
        self._caption = CaptionBuilder(rules.captions, context.texts, locale=stream.locale)
        self._signs: deque[SignFinished] = deque(maxlen=rules.history_signs)
        self._windows: dict[int, LandmarkWindow] = {}
        self._num_signs = 0
        self._timeline = Timeline(pause_ms=rules.pause_ms, max_strays=rules.stray_frames)
        self._queue: deque[_QueuedFrame | _Reset | _End] = deque()
        self._num_queued_frames = 0
        self._room = asyncio.Event()
        self._segmenter = Segmenter(recogniser.segmenter, width=stream.width, height=stream.height)
        self._stepped_ms: float | None = None
        self._partial_ms = -math.inf
        self._asking = False
        self._asked_received_s = 0.0
        self._ending: _End | None = None
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._stats_s = self._clock()
        self._stats_handled = 0

    @property
    def caption(self) -> str:
        """The caption as it reads now."""
        return self._caption.text

    @property
    def last_accepted_sequence(self) -> int:
        """The last frame that was taken, -1 if none was; a resuming client sends the frames after it."""
        return self._timeline.last_sequence

    @property
    def is_settled(self) -> bool:
        """True when nothing waits for an answer."""
        return not self._asking and not self._queue

    def accept(self, landmarks: FloatArray, *, sequence: int, time_ms: float) -> None:
        """Take the next frame; when the backlog is full, its oldest frame is dropped and counted.

        Args:
            landmarks: float32 `[75, 3]` as the client's camera saw it, NaN where missing.
            sequence: the client's frame number.
            time_ms: capture time; a frame that does not move on in time is dropped, counted and reported.
        """
        self._metrics.frame_received()
        verdict = self._timeline.judge(sequence, time_ms)
        if verdict is not TimeVerdict.NEXT:
            if verdict is TimeVerdict.DUPLICATE:
                self._metrics.frame_repeated()
            else:
                self._count_drop(DropReason.STRAY)
                message = f"frame {sequence} at {time_ms} ms is not after {self._timeline.last_ms} ms; it was dropped"
                self._tell(ProblemReported(kind=ProblemKind.TIME_NOT_INCREASING, message=message))
            return
        frame = _QueuedFrame(landmarks, sequence, time_ms, self._clock())
        if not self._asking and not self._queue:
            self._step(frame)
            return
        if self._num_queued_frames >= self.rules.backlog_frames:
            self._drop_oldest_frame()
        self._queue.append(frame)
        self._num_queued_frames += 1

    def reset(self, stream: StreamInfo) -> None:
        """After the frames already taken: forget the sign in progress and the caption, and start a new timeline."""
        self._timeline.reset()
        self._queue.append(_Reset(stream=stream))
        self._pump()

    def end(self) -> None:
        """After the frames already taken: finish the sign in progress, then tell `StreamEnded`."""
        self._queue.append(_End.STREAM)
        self._pump()

    async def wait_for_room(self, *, for_frame: bool) -> None:
        """Wait until the backlog has room for a frame, or for a control message (which has some room of its own)."""
        limit = self.rules.backlog_frames + (0 if for_frame else _CONTROL_ROOM)
        while len(self._queue) >= limit:
            self._room.clear()
            await self._room.wait()

    async def settle(self) -> None:
        """Wait until nothing waits for an answer."""
        while not self.is_settled:
            self._room.clear()
            await self._room.wait()

    def undo(self) -> None:
        """Take the last sign out of the caption."""
        self._caption.undo()
        self._tell(CaptionChanged(text=self._caption.text))

    def correct(self, sign_id: int, label: str | None) -> None:
        """Give a sign its right label in the caption; None takes it out."""
        if self._caption.correct(sign_id, label):
            self._tell(CaptionChanged(text=self._caption.text))

    def find_sign(self, sign_id: int) -> tuple[SignFinished, LandmarkWindow | None] | None:
        """A finished sign that is still remembered, with its landmarks if those are too."""
        for sign in self._signs:
            if sign.sign_id == sign_id:
                return sign, self._windows.get(sign_id)
        return None

    def signs_after(self, sign_id: int) -> list[SignFinished]:
        """The finished signs above an id, oldest first, as far back as the history goes."""
        return [sign for sign in self._signs if sign.sign_id > sign_id]

    def attach(self, sink: EventSink) -> None:
        """Send events to a connection from now on; the connection that had the session loses it."""
        if self.sink is not None:
            self.sink.supersede()
        self.sink = sink
        self._timeline.resume()

    def set_locale(self, locale: str) -> None:
        """Show the caption in another interface language."""
        self._caption.locale = locale

    def take_stats(self) -> StreamStats | None:
        """Numbers to tell the client once a second; None when no frame came since the last time."""
        now_s = self._clock()
        handled, elapsed_s = self.frames_handled - self._stats_handled, now_s - self._stats_s
        self._stats_s, self._stats_handled = now_s, self.frames_handled
        if handled == 0 or elapsed_s <= 0:
            return None
        p50, p95 = np.percentile(np.fromiter(self._latencies_ms, np.float64), (50, 95))
        return StreamStats(
            last_sequence=self.last_sequence,
            frames_handled=self.frames_handled,
            frames_dropped=self.frames_dropped,
            fps=round(handled / elapsed_s, 1),
            latency_p50_ms=round(float(p50), 3),
            latency_p95_ms=round(float(p95), 3),
        )

    def _drop_oldest_frame(self) -> None:
        index = next(i for i, item in enumerate(self._queue) if isinstance(item, _QueuedFrame))
        del self._queue[index]
        self._num_queued_frames -= 1
        self._count_drop(DropReason.BACKLOG)

    def _count_drop(self, reason: DropReason) -> None:
        self.frames_dropped += 1
        self._metrics.frame_dropped(reason)

    def _pump(self) -> None:
        """Work through the queue until it is empty or a question is open."""
        while self._queue and not self._asking:
            item = self._queue.popleft()
            if isinstance(item, _QueuedFrame):
                self._num_queued_frames -= 1
                self._step(item)
            elif isinstance(item, _Reset):
                self._apply_reset(item.stream)
            else:
                self._finish_sign(item)
        self._room.set()

    def _step(self, frame: _QueuedFrame) -> None:
        if self._stepped_ms is not None and not 0 < frame.time_ms - self._stepped_ms <= self.rules.pause_ms:
            self._finish_sign(_End.PAUSE)
            if self._asking:
                self._queue.appendleft(frame)
                self._num_queued_frames += 1
                return
        landmarks = mirror(frame.landmarks) if self.stream.mirrored else frame.landmarks
        if self.frames_handled % TIMED_EVERY:
            step = self._segmenter.step(Frame(landmarks=landmarks, time_ms=frame.time_ms))
        else:
            begin_s = self._clock()
            step = self._segmenter.step(Frame(landmarks=landmarks, time_ms=frame.time_ms))
            self._metrics.inference.stage_done(Stage.SEGMENT, self._clock() - begin_s)
        self._stepped_ms = frame.time_ms
        self.last_sequence = frame.sequence
        self.frames_handled += 1
        if step.events or step.request is not None:
            self._apply(step, received_s=frame.received_s)
        seconds = self._clock() - frame.received_s
        self._latencies_ms.append(seconds * 1_000)
        self._metrics.frame_handled(seconds)

    def _apply(self, step: Step, *, received_s: float) -> None:
        for event in step.events:
            if isinstance(event, StateChanged):
                self.state = event.state
                self._tell(event)
            elif isinstance(event, PartialSign):
                if event.at_ms - self._partial_ms >= self.rules.partial_interval_ms:
                    self._partial_ms = event.at_ms
                    self._tell(event)
            else:
                self._finish(event, received_s=received_s)
        if step.request is not None:
            self._asking = True
            self._asked_received_s = received_s
            self._tasks.start(
                self._answer(step.request), name=f"answer {self.session_id}", on_failure=lambda _: self._recover()
            )

    async def _answer(self, window: LandmarkWindow) -> None:
        asked_s = self._clock()
        try:
            async with asyncio.timeout(self.rules.inference_timeout_s):
                prediction = await self.recogniser.predictor.infer(window)
        except (MlError, SignFlowError, TimeoutError) as error:
            reason = str(error) or f"no answer within {self.rules.inference_timeout_s} s"
            logger.warning("session %s: the recogniser did not answer: %s", self.session_id, reason)
            self._metrics.inference.failed(error, self._clock() - asked_s)
            self._tell(ProblemReported(kind=ProblemKind.INFERENCE_FAILED, message=reason))
            prediction = Prediction(label=None, confidence=0.0, alternatives=(), model_version=self.recogniser.version)
        else:
            self._metrics.inference.answered(prediction, self._clock() - asked_s)
        self._asking = False
        self._apply(self._segmenter.resolve(prediction), received_s=self._asked_received_s)
        self._continue()

    def _recover(self) -> None:
        """An answer broke in a way that nobody foresaw (and is in the log): lose that sign, not the stream."""
        self._tell(ProblemReported(kind=ProblemKind.INFERENCE_FAILED, message="internal error; the sign was lost"))
        self._asking = False
        self._restart_segmenter()
        self._continue()

    def _continue(self) -> None:
        if not self._asking:
            if self._ending is not None:
                self._sign_finished()
            self._pump()

    def _finish_sign(self, ending: _End) -> None:
        self._ending = ending
        self._apply(self._segmenter.finish(), received_s=self._clock())
        if not self._asking:
            self._sign_finished()

    def _sign_finished(self) -> None:
        ending, self._ending = self._ending, None
        self._restart_segmenter()
        if ending is _End.STREAM:
            self._tell(StreamEnded(last_sequence=self.last_sequence))

    def _apply_reset(self, stream: StreamInfo) -> None:
        self.stream = stream
        self._caption.reset()
        self._caption.locale = stream.locale
        self._partial_ms = -math.inf
        self._restart_segmenter()
        self._tell(CaptionChanged(text=""))

    def _restart_segmenter(self) -> None:
        at_ms, self._stepped_ms = self._stepped_ms, None
        self._segmenter = Segmenter(self.recogniser.segmenter, width=self.stream.width, height=self.stream.height)
        if self.state is not SegmenterState.IDLE:
            self.state = SegmenterState.IDLE
            self._tell(StateChanged(state=SegmenterState.IDLE, at_ms=at_ms or 0.0))

    def _finish(self, event: SignRecognised, *, received_s: float) -> None:
        self._num_signs += 1
        sign = SignFinished(
            sign_id=self._num_signs,
            label=event.label,
            confidence=event.confidence,
            alternatives=event.alternatives,
            start_ms=event.start_ms,
            end_ms=event.end_ms,
            model_version=event.model_version,
            latency_ms=round((self._clock() - received_s) * 1_000, 3),
        )
        self._metrics.sign_finished(sign.confidence, is_sure=sign.label is not None)
        self._signs.append(sign)
        self._windows[sign.sign_id] = event.window
        self._windows.pop(sign.sign_id - self.rules.clips_in_memory, None)
        self._tell(sign)
        self._caption.add(sign.sign_id, sign.label, start_ms=sign.start_ms, end_ms=sign.end_ms)
        if sign.label is not None:
            self._tell(CaptionChanged(text=self._caption.text))

    def _tell(self, event: SessionEvent) -> None:
        if self.sink is not None:
            self.sink.deliver(event)
