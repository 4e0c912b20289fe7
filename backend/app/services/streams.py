"""What a translation session is told: the recogniser it asks, its limits, and what its client says about the frames."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from app.core.metrics import ServerMetrics
from app.core.tasks import TaskSet
from app.ml.inference.segmenter import SegmenterConfig
from app.ml.types import Predictor
from app.services.captions import CaptionRules, SignTexts
from app.services.load_gate import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Recogniser:
    """What a session asks: the predictor with what the product must know about it.

    Attributes:
        version: the model's version.
        labels: every sign that it can answer, without background classes.
    """

    predictor: Predictor
    version: str
    labels: frozenset[str]
    segmenter: SegmenterConfig = field(default_factory=SegmenterConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRules:
    """Limits of one session.

    Attributes:
        backlog_frames: frames that may wait for the recogniser; `live` drops the oldest beyond, `replay` stops reading.
        history_signs: finished signs kept for resuming.
        clips_in_memory: last signs whose landmarks are kept for corrections.
        inference_timeout_s: an answer that takes longer counts as not sure.
        partial_patience_s: after this long a live stream no longer wants to know what goes on in a frame: it moves on
            without asking, so that it does not fall behind. Finished signs are asked about until `inference_timeout_s`.
        partial_interval_ms: least capture time between two partial answers that are told.
        pause_ms: a longer gap between two frames ends the sign in progress, as if the stream had paused.
        jump_frames: so many frames on another timeline are a clock that jumped, if they also span `jump_ms`.
        jump_ms: capture time that they span at least.
    """

    backlog_frames: int = 300
    history_signs: int = 200
    clips_in_memory: int = 12
    inference_timeout_s: float = 5.0
    partial_patience_s: float = 0.5
    partial_interval_ms: float = 100.0
    pause_ms: float = 2_000.0
    jump_frames: int = 5
    jump_ms: float = 400.0
    captions: CaptionRules = field(default_factory=CaptionRules)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """What the client says about its frames; `is_live` false is a recording, of which nothing is left out."""

    width: int = 640
    height: int = 480
    mirrored: bool = False
    locale: str = "en"
    is_live: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """What all sessions of a process share; `clock` counts seconds from anywhere, `tally` what they do together."""

    recogniser: Recogniser
    rules: SessionRules
    texts: SignTexts
    tasks: TaskSet
    metrics: ServerMetrics
    clock: Callable[[], float] = time.perf_counter
    tally: Tally = field(default_factory=Tally)
