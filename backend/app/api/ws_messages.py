"""The JSON messages of `signflow.v1`, both directions, and its codes: the one place where they are typed.

`python -m app.api.schema` writes their JSON Schema, from which the page's TypeScript types are generated. Times are
milliseconds on the client's capture clock. Binary frames are in `app.ml.landmarks.wire`.
"""

from enum import IntEnum, StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.ml.inference.segmenter_memory import SegmenterState

SUBPROTOCOL: Final = "signflow.v1"
LABEL_PATTERN: Final = r"^[a-z0-9][a-z0-9_]{0,63}$"


class CloseCode(IntEnum):
    """Why the server closes a socket."""

    NORMAL = 1000
    GOING_AWAY = 1001
    """The server is shutting down; everything pending was sent."""
    TOO_BIG = 1009
    """A message was larger than `limits.max_message_bytes`."""
    INTERNAL_ERROR = 1011
    BUSY = 1013
    """No room; come back after `busy.retry_after_s`."""
    IDLE_TIMEOUT = 4000
    """Nothing was received for `limits.idle_timeout_s`; `ping` would have been enough."""
    ABUSE = 4001
    """Malformed messages kept coming after their errors were answered."""
    SLOW_READER = 4002
    """The client does not read; its session is kept and can be resumed."""
    SUPERSEDED = 4003
    """The session was resumed by another connection."""
    NO_MODEL = 4004
    """The server has no model; an operator has to act."""


class ErrorCode(StrEnum):
    """What was wrong with a message, or why an answer is missing."""

    BAD_MAGIC = "bad_magic"
    BAD_VERSION = "bad_version"
    BAD_FLAGS = "bad_flags"
    BAD_SIZE = "bad_size"
    BAD_POINTS = "bad_points"
    BAD_DTYPE = "bad_dtype"
    BAD_TIME = "bad_time"
    BAD_VALUES = "bad_values"
    TIME_NOT_INCREASING = "time_not_increasing"
    IMPLAUSIBLE_TIMES = "implausible_times"
    HANDS_EXCHANGED = "hands_exchanged"
    HAND_GIVEN_TWICE = "hand_given_twice"
    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    UNKNOWN_SIGN = "unknown_sign"
    UNKNOWN_LABEL = "unknown_label"
    FEEDBACK_FULL = "feedback_full"
    FEEDBACK_FAILED = "feedback_failed"
    NO_MODEL = "no_model"
    INFERENCE_FAILED = "inference_failed"
    INFERENCE_OVERLOADED = "inference_overloaded"


REPEATED_ERRORS: Final = frozenset(
    {
        ErrorCode.BAD_VALUES,
        ErrorCode.TIME_NOT_INCREASING,
        ErrorCode.INFERENCE_FAILED,
        ErrorCode.INFERENCE_OVERLOADED,
    }
)
"""Errors that a well-meaning client may cause 30 times a second: told once a second, never held against it."""


class _ClientMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Hello(_ClientMessage):
    """Opens a stream, resumes a lost one, or (a second one) resets it for another frame size."""

    type: Literal["hello"]
    width: int = Field(default=640, ge=16, le=16_384)
    height: int = Field(default=480, ge=16, le=16_384)
    mirrored: bool = False
    client: str = Field(default="", max_length=200)
    pace: Literal["live", "replay"] = "live"
    locale: str = Field(default="en", max_length=35)
    resume_token: str | None = Field(default=None, max_length=128)
    last_sign_id: int = Field(default=0, ge=0)


class Reset(_ClientMessage):
    """Forget the sign in progress and the caption; capture times and sequence numbers may start anew."""

    type: Literal["reset"]


class Undo(_ClientMessage):
    """Take the last sign out of the caption."""

    type: Literal["undo"]


class Feedback(_ClientMessage):
    """The right label of a sign; with `consent` its landmark clip is kept in quarantine."""

    type: Literal["feedback"]
    sign_id: int = Field(ge=1)
    label: str = Field(pattern=LABEL_PATTERN)
    consent: bool = False


class End(_ClientMessage):
    """Finish the sign in progress; `ended` follows when everything pending is answered."""

    type: Literal["end"]


class Ping(_ClientMessage):
    """Answered with `pong`; counts as activity."""

    type: Literal["ping"]


ClientMessage = Annotated[Hello | Reset | Undo | Feedback | End | Ping, Field(discriminator="type")]
CLIENT_MESSAGES: Final[TypeAdapter[ClientMessage]] = TypeAdapter(ClientMessage)


class _ServerMessage(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class Limits(_ServerMessage):
    """What the server allows on this stream."""

    max_message_bytes: int
    idle_timeout_s: float
    backlog_frames: int
    resume_s: float
    history_signs: int


class AlternativeMessage(_ServerMessage):
    """One candidate sign; `confidence` is a calibrated probability."""

    label: str
    confidence: float


class Ready(_ServerMessage):
    """Answers `hello`, or the first frame if none came. `last_sequence` is -1 before any frame."""

    type: Literal["ready"] = "ready"
    session_id: str
    resume_token: str
    resumed: bool
    last_sequence: int
    model_version: str
    vocabulary_size: int
    limits: Limits


class StateMessage(_ServerMessage):
    """The live state machine entered `state`."""

    type: Literal["state"] = "state"
    state: SegmenterState
    at_ms: float


class PartialMessage(_ServerMessage):
    """The best candidates while a sign is still being made."""

    type: Literal["partial"] = "partial"
    alternatives: list[AlternativeMessage]
    at_ms: float


class SignMessage(_ServerMessage):
    """A finished sign; `label` null is "not sure". `id` counts from 1 in a session.

    `is_repeat`: the second half of a sign that was cut in two; the caption shows it once, and undo takes both.
    """

    type: Literal["sign"] = "sign"
    id: int
    label: str | None
    confidence: float
    alternatives: list[AlternativeMessage]
    start_ms: float
    end_ms: float
    model_version: str
    latency_ms: float
    is_repeat: bool = False


class CaptionMessage(_ServerMessage):
    """The whole caption as it reads now."""

    type: Literal["caption"] = "caption"
    text: str


class StatsMessage(_ServerMessage):
    """Once a second while frames come."""

    type: Literal["stats"] = "stats"
    last_sequence: int
    frames_handled: int
    frames_dropped: int
    fps: float
    latency_p50_ms: float
    latency_p95_ms: float


class Busy(_ServerMessage):
    """The server is full; it closes with 1013 after this."""

    type: Literal["busy"] = "busy"
    retry_after_s: float


class ErrorMessage(_ServerMessage):
    """Something was wrong; the stream goes on unless a close code follows."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str


class Ended(_ServerMessage):
    """Answers `end` after everything pending."""

    type: Literal["ended"] = "ended"
    last_sequence: int


class Pong(_ServerMessage):
    """Answers `ping`."""

    type: Literal["pong"] = "pong"


ServerMessage = Annotated[
    Ready
    | StateMessage
    | PartialMessage
    | SignMessage
    | CaptionMessage
    | StatsMessage
    | Busy
    | ErrorMessage
    | Ended
    | Pong,
    Field(discriminator="type"),
]
SERVER_MESSAGES: Final[TypeAdapter[ServerMessage]] = TypeAdapter(ServerMessage)
