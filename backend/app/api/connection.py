"""One WebSocket connection: reads frames and messages, writes events, answers for its behaviour."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.api.errors import WIRE_ERRORS
from app.api.outbox import Outbox
from app.api.ws_messages import (
    CLIENT_MESSAGES,
    REPEATED_ERRORS,
    AlternativeMessage,
    Busy,
    CaptionMessage,
    CloseCode,
    End,
    Ended,
    ErrorCode,
    ErrorMessage,
    Feedback,
    Hello,
    Limits,
    PartialMessage,
    Ping,
    Pong,
    Ready,
    Reset,
    ServerMessage,
    SignMessage,
    StateMessage,
    StatsMessage,
)
from app.core.errors import NoModelError, ServerBusyError, SignFlowError
from app.core.metrics import TIMED_EVERY, ServerMetrics, SessionOutcome
from app.core.tasks import TaskSet
from app.ml.inference.segmenter import PartialSign, StateChanged
from app.ml.landmarks.wire import MAX_COORDINATE, FrameError, decode_frame
from app.ml.metrics import Stage
from app.ml.types import Alternative
from app.services.events import CaptionChanged, ProblemReported, SessionEvent, SignFinished, StreamEnded
from app.services.feedback_service import FeedbackService
from app.services.inference_service import TranslationSession
from app.services.session_service import SessionService
from app.services.streams import StreamInfo

logger = logging.getLogger(__name__)

_MESSAGES_PER_TURN = 64
"""After so many messages in a row the other connections get their turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of one connection; what the client must know of them is in `ready.limits`.

    Attributes:
        max_violations: malformed messages in a burst before the connection is closed.
        violations_per_s: how fast they are forgiven.
    """

    max_message_bytes: int = 65_536
    idle_timeout_s: float = 60.0
    outbox_messages: int = 256
    send_timeout_s: float = 30.0
    max_violations: int = 60
    violations_per_s: float = 1.0


class Connection:
    """Joins one socket and one session; implements `EventSink`."""

    def __init__(
        self,
        websocket: WebSocket,
        *,
        sessions: SessionService,
        feedback: FeedbackService,
        limits: ConnectionLimits,
        metrics: ServerMetrics,
    ) -> None:
        self.session: TranslationSession | None = None
        self._websocket = websocket
        self._sessions = sessions
        self._feedback = feedback
        self._limits = limits
        self._metrics = metrics
        self._outbox = Outbox(max_messages=limits.outbox_messages)
        self._close_code: CloseCode | None = None
        self._is_replay = False
        self._last_active_s = time.monotonic()
        self._violations_left = float(limits.max_violations)
        self._last_violation_s = self._last_active_s
        self._told_s: dict[ErrorCode, float] = {}
        self._num_frames = 0
        self._is_finishing = False

    async def run(self, tasks: TaskSet) -> None:
        """Serve the accepted socket until it closes."""
        reader = tasks.start(
            self._read(), name="read stream", on_failure=lambda _: self.close(CloseCode.INTERNAL_ERROR)
        )
        writer = tasks.start(self._write(), name="write stream")
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if reader.done() and self._close_code is not None:
                await asyncio.wait({writer}, timeout=self._limits.send_timeout_s)
        finally:
            reader.cancel()
            writer.cancel()
            self._metrics.messages_dropped(self._outbox.num_dropped)
            self._metrics.stream_closed("by_client" if self._close_code is None else self._close_code.name.lower())
            if self.session is not None:
                self._sessions.detach(self.session, self)

    def close(self, code: CloseCode) -> None:
        """Send what is waiting, then close."""
        if self._close_code is None:
            self._close_code = code
            self._outbox.wake()

    def supersede(self) -> None:
        """The session was resumed by another connection."""
        self.session = None
        self.close(CloseCode.SUPERSEDED)

    def tick(self, now_s: float) -> None:
        """Called once a second: tell stats, close a silent connection."""
        if now_s - self._last_active_s > self._limits.idle_timeout_s:
            self.close(CloseCode.IDLE_TIMEOUT)
        else:
            self._tell_stats()

    def _tell_stats(self) -> None:
        if self.session is not None:
            stats = self.session.take_stats()
            if stats is not None:
                self._send(
                    StatsMessage(
                        last_sequence=stats.last_sequence,
                        frames_handled=stats.frames_handled,
                        frames_dropped=stats.frames_dropped,
                        fps=stats.fps,
                        latency_p50_ms=stats.latency_p50_ms,
                        latency_p95_ms=stats.latency_p95_ms,
                    ),
                    droppable=True,
                )

    async def finish(self) -> None:
        """The server shuts down: tell everything, leave the session to another process or end it, close.

        Where another process can go on, the sign in progress is left to it, whole; otherwise it is finished here.
        """
        self._is_finishing = True
        session = self.session
        if session is not None:
            await session.settle()
            if not await self._sessions.hand_over(session):
                session.end()
                await session.settle()
        self.close(CloseCode.GOING_AWAY)

    def deliver(self, event: SessionEvent) -> None:
        """Queue a session's event for the client."""
        if isinstance(event, SignFinished):
            self._send(
                SignMessage(
                    id=event.sign_id,
                    label=event.label,
                    confidence=event.confidence,
                    alternatives=_alternatives(event.alternatives),
                    start_ms=event.start_ms,
                    end_ms=event.end_ms,
                    model_version=event.model_version,
                    latency_ms=event.latency_ms,
                    is_repeat=event.is_repeat,
                )
            )
        elif isinstance(event, StateChanged):
            self._send(StateMessage(state=event.state, at_ms=event.at_ms), droppable=True)
        elif isinstance(event, PartialSign):
            self._send(
                PartialMessage(alternatives=_alternatives(event.alternatives), at_ms=event.at_ms), droppable=True
            )
        elif isinstance(event, CaptionChanged):
            self._send(CaptionMessage(text=event.text))
        elif isinstance(event, StreamEnded):
            self._tell_stats()
            self._send(Ended(last_sequence=event.last_sequence))
        elif isinstance(event, ProblemReported):
            self._tell_error(ErrorCode(event.kind.value), event.message)

    async def _read(self) -> None:
        num_messages = 0
        while True:
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if self._close_code is not None or self._is_finishing:
                continue
            self._last_active_s = time.monotonic()
            data = message.get("bytes")
            if data is not None:
                await self._take_frame(data)
                if self._is_replay and self.session is not None:
                    await self.session.wait_for_room(for_frame=True)
            else:
                await self._take_text(message["text"])
            num_messages += 1
            if num_messages % _MESSAGES_PER_TURN == 0:
                await asyncio.sleep(0)

    async def _write(self) -> None:
        try:
            while True:
                await self._outbox.wait()
                async with asyncio.timeout(self._limits.send_timeout_s):
                    while (text := self._outbox.pop()) is not None:
                        begin_s = time.perf_counter()
                        await self._websocket.send_text(text)
                        self._metrics.inference.stage_done(Stage.SEND, time.perf_counter() - begin_s)
                    if self._close_code is not None:
                        await self._websocket.close(self._close_code)
                        return
        except TimeoutError:
            logger.info("a client read nothing for %.0f s; its connection is closed", self._limits.send_timeout_s)
        except WebSocketDisconnect:
            return

    async def _take_frame(self, data: bytes) -> None:
        is_timed = self._num_frames % TIMED_EVERY == 0
        self._num_frames += 1
        begin_s = time.perf_counter() if is_timed else 0.0
        try:
            frame = decode_frame(data)
        except FrameError as error:
            self._violate(ErrorCode(error.problem.value), str(error))
            return
        if is_timed:
            self._metrics.inference.stage_done(Stage.DECODE, time.perf_counter() - begin_s)
        session = self.session or await self._open(Hello(type="hello"))
        if session is None:
            return
        if frame.num_unusable_parts:
            self._tell_error(
                ErrorCode.BAD_VALUES,
                f"frame {frame.sequence}: {frame.num_unusable_parts} of its parts hold coordinates that are not finite "
                f"or beyond {MAX_COORDINATE:g} frame sizes, and count as not detected; x and y are fractions of the "
                "frame, not pixels, and a part that was not detected has its flag cleared",
            )
        session.accept(frame.landmarks, sequence=frame.sequence, time_ms=frame.time_ms)

    async def _take_text(self, text: str) -> None:
        try:
            message = CLIENT_MESSAGES.validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            self._violate(_MALFORMED.get(first["type"], ErrorCode.BAD_MESSAGE), f"{where} {first['msg']}".strip())
            return
        if isinstance(message, Ping):
            self._send(Pong(), droppable=True)
            return
        if isinstance(message, Hello):
            await self._greet(message)
            return
        session = self.session or await self._open(Hello(type="hello"))
        if session is None:
            return
        if isinstance(message, Feedback):
            await self._take_feedback(session, message)
        elif isinstance(message, Reset):
            await session.wait_for_room(for_frame=False)
            session.reset(session.stream)
        elif isinstance(message, End):
            await session.wait_for_room(for_frame=False)
            session.end()
        else:
            session.undo()

    async def _greet(self, hello: Hello) -> None:
        self._is_replay = hello.pace == "replay"
        if self.session is None:
            await self._open(hello)
            return
        await self.session.wait_for_room(for_frame=False)
        self.session.reset(_stream_info(hello))
        self._send_ready(self.session, resumed=False)

    async def _open(self, hello: Hello) -> TranslationSession | None:
        """Begin or resume a session and tell `ready`; None (and a closing socket) when that cannot be."""
        stream = _stream_info(hello)
        try:
            token = hello.resume_token
            resumed = (
                None if token is None else await self._sessions.resume(token, self, last_sign_id=hello.last_sign_id)
            )
            session = resumed or await self._sessions.open(stream, self)
        except ServerBusyError as error:
            self._metrics.session_wanted(SessionOutcome.BUSY)
            self._send(Busy(retry_after_s=error.retry_after_s))
            self.close(CloseCode.BUSY)
            return None
        except NoModelError as error:
            self._metrics.session_wanted(SessionOutcome.NO_MODEL)
            self._tell_error(ErrorCode.NO_MODEL, str(error))
            self.close(CloseCode.NO_MODEL)
            return None
        self._metrics.session_wanted(SessionOutcome.OPENED if resumed is None else SessionOutcome.RESUMED)
        self.session = session
        self._send_ready(session, resumed=resumed is not None)
        if resumed is not None:
            session.set_locale(stream.locale)
            for sign in session.signs_after(hello.last_sign_id):
                self.deliver(sign)
            self._send(CaptionMessage(text=session.caption))
            same_geometry = (stream.width, stream.height, stream.mirrored) == (
                session.stream.width,
                session.stream.height,
                session.stream.mirrored,
            )
            if not same_geometry:
                session.reset(stream)
        return session

    def _send_ready(self, session: TranslationSession, *, resumed: bool) -> None:
        self._send(
            Ready(
                session_id=session.session_id,
                resume_token=session.token,
                resumed=resumed,
                last_sequence=session.last_accepted_sequence,
                model_version=session.recogniser.version,
                vocabulary_size=len(session.recogniser.labels),
                limits=Limits(
                    max_message_bytes=self._limits.max_message_bytes,
                    idle_timeout_s=self._limits.idle_timeout_s,
                    backlog_frames=session.rules.backlog_frames,
                    resume_s=self._sessions.limits.resume_s,
                    history_signs=session.rules.history_signs,
                ),
            )
        )

    async def _take_feedback(self, session: TranslationSession, message: Feedback) -> None:
        try:
            await self._feedback.give(
                session, sign_id=message.sign_id, label=message.label, has_consent=message.consent
            )
        except SignFlowError as error:
            self._tell_error(WIRE_ERRORS.get(type(error), ErrorCode.FEEDBACK_FAILED), str(error))

    def _violate(self, code: ErrorCode, message: str) -> None:
        """Answer a malformed message; close when they keep coming."""
        now_s = time.monotonic()
        forgiven = (now_s - self._last_violation_s) * self._limits.violations_per_s
        self._last_violation_s = now_s
        self._violations_left = min(self._limits.max_violations, self._violations_left + forgiven) - 1
        self._tell_error(code, message)
        if self._violations_left < 0:
            self.close(CloseCode.ABUSE)

    def _tell_error(self, code: ErrorCode, message: str) -> None:
        self._metrics.error_told("stream", code.value)
        if code in REPEATED_ERRORS:
            now_s = time.monotonic()
            if now_s - self._told_s.get(code, -1.0) < 1.0:
                return
            self._told_s[code] = now_s
        self._send(ErrorMessage(code=code, message=message), droppable=code is not ErrorCode.NO_MODEL)

    def _send(self, message: ServerMessage, *, droppable: bool = False) -> None:
        if self._close_code is None and not self._outbox.put(message.model_dump_json(), droppable=droppable):
            self.close(CloseCode.SLOW_READER)


_MALFORMED = {
    "json_invalid": ErrorCode.BAD_JSON,
    "union_tag_invalid": ErrorCode.UNKNOWN_TYPE,
    "union_tag_not_found": ErrorCode.UNKNOWN_TYPE,
}


def _alternatives(alternatives: Sequence[Alternative]) -> list[AlternativeMessage]:
    return [AlternativeMessage(label=item.label, confidence=item.confidence) for item in alternatives]


def _stream_info(hello: Hello) -> StreamInfo:
    return StreamInfo(
        width=hello.width,
        height=hello.height,
        mirrored=hello.mirrored,
        locale=hello.locale,
        is_live=hello.pace == "live",
    )
