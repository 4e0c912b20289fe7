"""What is kept of a session so that another process can go on with it: plain values, nothing of this process."""

from dataclasses import dataclass

from app.ml.inference.segmenter_memory import SegmenterMemory, SegmenterState
from app.services.captions import CaptionEntry
from app.services.events import SignFinished
from app.services.streams import StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionProgress:
    """How far a stream has come; small, and changes with every frame.

    Attributes:
        resume_after: the client has to send the frames after this one again, -1 all of them: those up to
            `reached_sequence` only fill the segmenter's memory.
        reached_sequence: the last frame that was handled or dropped, -1 when none was.
        reached_ms: its capture time, -1 when none was.
        stepped_ms: capture time of the segmenter's last frame; None when it starts afresh.
        partial_ms: when a partial answer was last told.
    """

    stream: StreamInfo
    state: SegmenterState
    memory: SegmenterMemory
    resume_after: int
    reached_sequence: int
    reached_ms: float
    stepped_ms: float | None
    partial_ms: float
    last_sequence: int
    frames_handled: int
    frames_dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionHistory:
    """What a session has told: changes with every sign."""

    signs: tuple[SignFinished, ...]
    caption: tuple[CaptionEntry, ...]
    num_signs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A process' right to a session; whoever takes the session over gets the next generation, and this one ends."""

    token: str
    session_id: str
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """All of it; `history` is the same object as long as nothing was told, so that it need not be stored again."""

    lease: Lease
    progress: SessionProgress
    history: SessionHistory
