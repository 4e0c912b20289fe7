"""What a translation session tells its client, as plain values; `app.api` turns them into messages."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.ml.inference.segmenter import PartialSign, StateChanged
from app.ml.types import Alternative


class ProblemKind(StrEnum):
    """Why a frame or an answer was lost, or what cannot be right about a stream."""

    TIME_NOT_INCREASING = "time_not_increasing"
    IMPLAUSIBLE_TIMES = "implausible_times"
    HANDS_EXCHANGED = "hands_exchanged"
    HAND_GIVEN_TWICE = "hand_given_twice"
    INFERENCE_FAILED = "inference_failed"
    INFERENCE_OVERLOADED = "inference_overloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class SignFinished:
    """A finished sign; `label` None is "not sure". `latency_ms` is from its last frame's arrival to the answer.

    `is_repeat`: the second half of a sign that was cut in two; the caption shows it once.
    """

    sign_id: int
    label: str | None
    confidence: float
    alternatives: tuple[Alternative, ...]
    start_ms: float
    end_ms: float
    model_version: str
    latency_ms: float
    is_repeat: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionChanged:
    """The whole caption as it reads now."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEnded:
    """Everything before `end` is answered; `last_sequence` is the last frame handled, -1 if none was."""

    last_sequence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemReported:
    """A frame or an answer was lost, or the stream cannot be right; the session goes on."""

    kind: ProblemKind
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStats:
    """Numbers of one session since it began; latencies over its last frames, from arrival to handled."""

    last_sequence: int
    frames_handled: int
    frames_dropped: int
    fps: float
    latency_p50_ms: float
    latency_p95_ms: float


SessionEvent = StateChanged | PartialSign | SignFinished | CaptionChanged | StreamEnded | ProblemReported | StreamStats


class EventSink(Protocol):
    """Where a session's events go: one connection."""

    def deliver(self, event: SessionEvent) -> None:
        """Take an event without waiting; never raises."""
        ...

    def supersede(self) -> None:
        """The session now belongs to another connection."""
        ...
