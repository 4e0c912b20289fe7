"""One translation session: frames in, events out, the recogniser asked in between.

The segmenter decides on capture time only, and frames that arrive while it waits for an answer are queued and stepped
afterwards, in order. So what comes out depends on the frames alone, never on how fast they came or how long an answer
took.

Everything here runs in the event loop and never waits: questions to the recogniser that follow each other share a task,
frames have none.
"""

import math
from collections.abc import Callable, Sequence

from app.core.metrics import TIMED_EVERY, DropReason
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
from app.ml.types import FloatArray, LandmarkWindow
from app.services.backlog import Backlog, End, QueuedFrame, Reset
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
from app.services.intake import Intake
from app.services.questions import Questioner
from app.services.session_record import Lease, SessionProgress, SessionRecord
from app.services.sign_history import SignHistory
from app.services.stream_meter import StreamMeter
from app.services.streams import SessionContext, StreamInfo


class TranslationSession:
    """State of one stream; survives its connection for a while so that it can be resumed.

    Args:
        context: what all sessions share.
        lease: which session this is, and this process' right to it.
        stream: what the client says about its frames.
        keep: called with all that another process needs to go on from here, after every sign and when asked to.
    """

    def __init__(
        self,
        context: SessionContext,
        *,
        lease: Lease,
        stream: StreamInfo,
        keep: Callable[[SessionRecord], None] = lambda _record: None,
    ) -> None:
        rules, recogniser = context.rules, context.recogniser
        self.lease, self.stream = lease, stream
        self.rules, self.recogniser = rules, recogniser
        self.sink: EventSink | None = None
        self.state = SegmenterState.IDLE
        self.frames_handled = self._num_lost = 0
        self.last_sequence = -1
        self._tasks, self._metrics = context.tasks, context.metrics
        self._intake = Intake(rules, is_live=stream.is_live, metrics=context.metrics, tell=self._tell)
        self._clock, self._keep = context.clock, keep
        self._history = SignHistory(rules, context.texts, locale=stream.locale)
        self._seen_sign_id = 0
        self._backlog = Backlog(max_frames=rules.backlog_frames)
        self._segmenter = Segmenter(recogniser.segmenter, width=stream.width, height=stream.height)
        self._stepped_ms: float | None = None
        self._partial_ms = -math.inf
        self._asking = self._is_answering = False
        self._request: LandmarkWindow | None = None
        self._asked_received_s = 0.0
        self._questioner = Questioner(context, session_id=lease.session_id)
        self._ending: End | None = None
        self._meter = StreamMeter(context.clock, context.tally)
        self._reached_sequence, self._reached_ms = -1, -1.0
        self._resume_after: int | None = None
        self._is_changed, self._kept_sequence = False, -1

    @property
    def session_id(self) -> str:
        """Names the session in logs and in stored feedback; no secret."""
        return self.lease.session_id

    @property
    def token(self) -> str:
        """Whoever has it may resume the session."""
        return self.lease.token

    @property
    def caption(self) -> str:
        """The caption as it reads now."""
        return self._history.caption

    @property
    def frames_dropped(self) -> int:
        """Frames that came twice, too late, or faster than they could be handled."""
        return self._num_lost + self._intake.num_dropped

    @property
    def last_accepted_sequence(self) -> int:
        """The last frame that was taken, -1 if none was; a resuming client sends the frames after it."""
        return self._intake.timeline.last_sequence if self._resume_after is None else self._resume_after

    @property
    def is_settled(self) -> bool:
        """True when nothing waits for an answer."""
        return not self._asking and not self._backlog

    def accept(self, landmarks: FloatArray, *, sequence: int, time_ms: float) -> None:
        """Take the next frame; when the backlog is full, its oldest frame is dropped and counted.

        Args:
            landmarks: float32 `[75, 3]` as the client's camera saw it, NaN where missing.
            sequence: the client's frame number.
            time_ms: capture time; `app.services.timeline` says what becomes of frames that do not move on.
        """
        self._metrics.frame_received()
        if self._resume_after is not None and self._refill(landmarks, sequence=sequence, time_ms=time_ms):
            return
        self._queue(self._intake.take(QueuedFrame(landmarks, sequence, time_ms, self._clock())))

    def _queue(self, frames: Sequence[QueuedFrame]) -> None:
        for frame in frames:
            if self.is_settled:
                self._step(frame)
                continue
            if self._backlog.is_full and self.stream.is_live:
                dropped = self._backlog.drop_oldest_frame()
                self._reached_sequence, self._reached_ms = dropped.sequence, dropped.time_ms
                self._num_lost += 1
                self._metrics.frame_dropped(DropReason.BACKLOG)
                self._meter.dropped()
            self._backlog.put(frame)

    def reset(self, stream: StreamInfo) -> None:
        """After the frames already taken: forget the sign in progress and the caption, and start a new timeline."""
        self._queue(self._intake.flush())
        self._intake.timeline.reset(is_live=stream.is_live)
        self._backlog.put(Reset(stream=stream))
        self._pump()

    def end(self) -> None:
        """After the frames already taken: finish the sign in progress, then tell `StreamEnded`."""
        self._queue(self._intake.flush())
        self._backlog.put(End.STREAM)
        self._pump()

    async def wait_for_room(self, *, for_frame: bool) -> None:
        """Wait until the backlog has room for a frame, or for a control message (which has some room of its own)."""
        await self._backlog.wait_for_room(for_frame=for_frame)

    async def settle(self) -> None:
        """Wait until nothing waits for an answer."""
        self._queue(self._intake.flush())
        await self._backlog.wait_until(lambda: self.is_settled)

    def undo(self) -> None:
        """Take the last sign out of the caption."""
        self._history.undo()
        self.note_change()
        self._tell(CaptionChanged(text=self._history.caption))

    def correct(self, sign_id: int, label: str | None) -> None:
        """Give a sign its right label in the caption; None takes it out."""
        if self._history.correct(sign_id, label):
            self.note_change()
            self._tell(CaptionChanged(text=self._history.caption))

    def find_sign(self, sign_id: int) -> tuple[SignFinished, LandmarkWindow | None] | None:
        """A finished sign that is still remembered, with its landmarks if those are too."""
        return self._history.find(sign_id)

    def signs_after(self, sign_id: int) -> list[SignFinished]:
        """The finished signs above an id, oldest first, as far back as the history goes."""
        return self._history.after(sign_id)

    def attach(self, sink: EventSink) -> None:
        """Send events to a connection from now on; the connection that had the session loses it."""
        if self.sink is not None:
            self.sink.supersede()
        self.sink = sink
        self._intake.timeline.resume()

    def set_locale(self, locale: str) -> None:
        """Show the caption in another interface language."""
        self._history.set_locale(locale)

    def skip_signs(self, last_sign_id: int) -> None:
        """The client has these signs already: another process told them before it could keep them."""
        self._seen_sign_id = last_sign_id

    def note_change(self) -> None:
        """Have the session kept as soon as no question is open: only then can another process go on from it."""
        self._is_changed = True
        if not self._asking and self._ending is None and self._resume_after is None:
            self._is_changed = False
            self._kept_sequence = self._reached_sequence
            self._keep(self._to_record())

    def note_progress(self) -> None:
        """The same, unless no frame was handled since the last time."""
        if self._reached_sequence != self._kept_sequence:
            self.note_change()

    def restore(self, record: SessionRecord) -> None:
        """Go on where another process stopped; the session must be new."""
        progress = record.progress
        self._history.restore(record.history)
        self.state = progress.state
        self.frames_handled, self._num_lost = progress.frames_handled, progress.frames_dropped
        self._meter.start_at(frames_handled=self.frames_handled, frames_dropped=self.frames_dropped)
        self.last_sequence = progress.last_sequence
        self._reached_sequence, self._reached_ms = progress.reached_sequence, progress.reached_ms
        self._intake.timeline.begin_at(progress.reached_sequence, progress.reached_ms)
        self._segmenter.recall(progress.memory)
        self._stepped_ms, self._partial_ms = progress.stepped_ms, progress.partial_ms
        self._resume_after = progress.resume_after

    def take_stats(self) -> StreamStats | None:
        """Numbers to tell the client once a second; None when no frame came since the last time."""
        self._queue(self._intake.flush_waiting(self._clock()))
        return self._meter.take(
            last_sequence=self.last_sequence, frames_handled=self.frames_handled, frames_dropped=self.frames_dropped
        )

    def _to_record(self) -> SessionRecord:
        oldest = self._segmenter.oldest_sequence
        return SessionRecord(
            lease=self.lease,
            progress=SessionProgress(
                stream=self.stream,
                state=self.state,
                memory=self._segmenter.remember(),
                resume_after=self._reached_sequence if oldest is None else oldest - 1,
                reached_sequence=self._reached_sequence,
                reached_ms=self._reached_ms,
                stepped_ms=self._stepped_ms,
                partial_ms=self._partial_ms,
                last_sequence=self.last_sequence,
                frames_handled=self.frames_handled,
                frames_dropped=self.frames_dropped,
            ),
            history=self._history.to_record(),
        )

    def _refill(self, landmarks: FloatArray, *, sequence: int, time_ms: float) -> bool:
        """Give a restored segmenter its frames back; False from the first frame on that is really new."""
        if time_ms > self._reached_ms:
            self._resume_after = None
            return False
        landmarks = mirror(landmarks) if self.stream.mirrored else landmarks
        self._segmenter.refill(Frame(landmarks=landmarks, time_ms=time_ms, sequence=sequence))
        self._metrics.frame_repeated()
        return True

    def _pump(self) -> None:
        """Work through the queue until it is empty or a question is open."""
        while self._backlog and not self._asking:
            item = self._backlog.take()
            if isinstance(item, QueuedFrame):
                self._step(item)
            elif isinstance(item, Reset):
                self._apply_reset(item.stream)
            else:
                self._finish_sign(item)
        self._backlog.wake()

    def _step(self, frame: QueuedFrame) -> None:
        if self._stepped_ms is not None and not 0 < frame.time_ms - self._stepped_ms <= self.rules.pause_ms:
            self._finish_sign(End.PAUSE)
            if self._asking:
                self._backlog.put_back(frame)
                return
        landmarks = self._intake.examine(frame, mirrored=self.stream.mirrored)
        taken = Frame(landmarks=landmarks, time_ms=frame.time_ms, sequence=frame.sequence)
        if self.frames_handled % TIMED_EVERY:
            step = self._segmenter.step(taken)
        else:
            begin_s = self._clock()
            step = self._segmenter.step(taken)
            self._metrics.inference.stage_done(Stage.SEGMENT, self._clock() - begin_s)
        self._reached_sequence, self._reached_ms = frame.sequence, frame.time_ms
        self._stepped_ms, self.last_sequence = frame.time_ms, frame.sequence
        self.frames_handled += 1
        if step.events or step.request is not None:
            self._apply(step, received_s=frame.received_s)
        seconds = self._clock() - frame.received_s
        self._meter.handled(seconds, is_live=self.stream.is_live)
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
            self._asking, self._request, self._asked_received_s = True, step.request, received_s
            if not self._is_answering:
                self._is_answering = True
                self._tasks.start(
                    self._answer_all(), name=f"answer {self.session_id}", on_failure=lambda _: self._recover()
                )

    async def _answer_all(self) -> None:
        """Ask what the segmenter wants to know, until frames have to come before there is another question."""
        try:
            while (window := self._request) is not None:
                self._request = None
                answer = await self._questioner.ask(
                    self.recogniser.predictor,
                    window,
                    received_s=self._asked_received_s,
                    is_partial=self._ending is None and self._segmenter.state is not SegmenterState.INFERRING,
                    is_live=self.stream.is_live,
                )
                self._asking = False
                if isinstance(answer, ProblemReported):
                    self._tell(answer)
                    step = self._segmenter.go_without(model_version=self.recogniser.version)
                else:
                    step = self._segmenter.resolve(answer)
                self._apply(step, received_s=self._asked_received_s)
                self._continue()
        finally:
            self._is_answering = False

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
            if self._is_changed:
                self.note_change()
            self._pump()

    def _finish_sign(self, ending: End) -> None:
        self._ending = ending
        self._apply(self._segmenter.finish(), received_s=self._clock())
        if not self._asking:
            self._sign_finished()

    def _sign_finished(self) -> None:
        ending, self._ending = self._ending, None
        self._restart_segmenter()
        if ending is End.STREAM:
            self._intake.end()
            self._tell(StreamEnded(last_sequence=self.last_sequence))

    def _apply_reset(self, stream: StreamInfo) -> None:
        self.stream = stream
        self._history.reset_caption(stream.locale)
        self._partial_ms = -math.inf
        self._reached_sequence, self._reached_ms, self._resume_after = -1, -1.0, None
        self._restart_segmenter()
        self.note_change()
        self._tell(CaptionChanged(text=""))

    def _restart_segmenter(self) -> None:
        at_ms, self._stepped_ms = self._stepped_ms, None
        self._segmenter = Segmenter(self.recogniser.segmenter, width=self.stream.width, height=self.stream.height)
        if self.state is not SegmenterState.IDLE:
            self.state = SegmenterState.IDLE
            self._tell(StateChanged(state=SegmenterState.IDLE, at_ms=at_ms or 0.0))

    def _finish(self, event: SignRecognised, *, received_s: float) -> None:
        latency_ms = round((self._clock() - received_s) * 1_000, 3)
        sign = self._history.add(event, latency_ms=latency_ms)
        self._is_changed = True
        self._metrics.sign_finished(sign.confidence, is_sure=sign.label is not None)
        if sign.sign_id > self._seen_sign_id:
            self._tell(sign)
        if sign.label is not None:
            self._tell(CaptionChanged(text=self._history.caption))

    def _tell(self, event: SessionEvent) -> None:
        if self.sink is not None:
            self.sink.deliver(event)
