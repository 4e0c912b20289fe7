"""Where a session's frames come in: put in order, counted where they are dropped, looked at and repaired."""

from collections.abc import Callable
from typing import Final

from app.core.metrics import DropReason, ServerMetrics
from app.ml.landmarks.layout import mirror
from app.ml.types import FloatArray
from app.services.backlog import QueuedFrame
from app.services.events import ProblemKind, ProblemReported
from app.services.stream_check import StreamCheck
from app.services.streams import SessionRules
from app.services.timeline import Taken, Timeline

_HELD_FOR_S: Final = 0.25
"""A frame that is held back for its neighbours is handled when none came for so long."""


class Intake:
    """Between a client's frames and the session that handles them.

    Args:
        rules: when a clock has jumped.
        is_live: a recording's frames may be held back for longer.
        metrics: told of every frame that is dropped.
        tell: told once of every kind of trouble.

    Attributes:
        num_dropped: frames that came twice or too late.
    """

    def __init__(
        self, rules: SessionRules, *, is_live: bool, metrics: ServerMetrics, tell: Callable[[ProblemReported], None]
    ) -> None:
        self.timeline = Timeline(
            pause_ms=rules.pause_ms, jump_frames=rules.jump_frames, jump_ms=rules.jump_ms, is_live=is_live
        )
        self.num_dropped = 0
        self._check = StreamCheck()
        self._metrics = metrics
        self._tell = tell

    def take(self, frame: QueuedFrame) -> tuple[QueuedFrame, ...]:
        """Take the next frame as it came; returns the frames whose turn it is."""
        return self._note(self.timeline.take(frame))

    def flush(self) -> tuple[QueuedFrame, ...]:
        """The frames that were held back for their neighbours."""
        return self._note(self.timeline.flush())

    def flush_waiting(self, now_s: float) -> tuple[QueuedFrame, ...]:
        """The same, if no neighbour has come for a while."""
        return self._note(self.timeline.flush(received_before_s=now_s - _HELD_FOR_S))

    def examine(self, frame: QueuedFrame, *, mirrored: bool) -> FloatArray:
        """A frame's landmarks, repaired and the right way round, `[75, 3]`; call it once a frame, in order."""
        landmarks, problem = self._check.look(frame.landmarks, frame.time_ms)
        if problem is not None:
            self._tell(problem)
        return mirror(landmarks) if mirrored else landmarks

    def end(self) -> None:
        """The stream is over: tell what only a whole stream shows."""
        problem = self._check.end()
        if problem is not None:
            self._tell(problem)

    def _note(self, taken: Taken) -> tuple[QueuedFrame, ...]:
        if taken.num_repeats or taken.num_late or taken.is_known:
            self.num_dropped += taken.num_repeats + taken.num_late
            self._metrics.frame_dropped(DropReason.REPEAT, taken.num_repeats)
            self._metrics.frame_dropped(DropReason.STRAY, taken.num_late)
            if taken.is_known:
                self._metrics.frame_repeated()
        if taken.complaint:
            self._tell(ProblemReported(kind=ProblemKind.TIME_NOT_INCREASING, message=taken.complaint))
        return taken.ready
