"""Decides which frames of a stream move on in capture time, and follows a client's clock that jumped."""

from dataclasses import dataclass
from enum import Enum, auto


class TimeVerdict(Enum):
    """What a frame's capture time says."""

    NEXT = auto()
    """After the last one: take it."""
    STRAY = auto()
    """Not after the last one: drop it."""
    DUPLICATE = auto()
    """A resuming client sent it once more: drop it without a word."""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """The capture times of one stream.

    A frame that is not after the last one is dropped. When `max_strays` of them in a row move on among themselves, the
    client's clock has jumped back (a looped video, a changed camera) and the stream goes on from there.

    Attributes:
        pause_ms: strays further apart than this do not belong together.
        max_strays: how many consecutive strays make a new timeline.
    """

    pause_ms: float
    max_strays: int
    last_ms: float = -1.0
    last_sequence: int = -1
    _resumed_at: int = -1
    _num_strays: int = 0
    _last_stray_ms: float = 0.0

    def judge(self, sequence: int, time_ms: float) -> TimeVerdict:
        """Judge the next frame; takes its time and number as the last ones when the verdict is NEXT."""
        if time_ms <= self.last_ms and not self._starts_anew(sequence, time_ms):
            return TimeVerdict.DUPLICATE if sequence <= self._resumed_at else TimeVerdict.STRAY
        self.last_ms = time_ms
        self.last_sequence = sequence
        return TimeVerdict.NEXT

    def resume(self) -> None:
        """A client comes back: frames up to the last number may be sent once more."""
        self._resumed_at = self.last_sequence

    def reset(self) -> None:
        """Forget everything; any time may come next."""
        self.last_ms = -1.0
        self.last_sequence = -1
        self._resumed_at = -1
        self._num_strays = 0

    def _starts_anew(self, sequence: int, time_ms: float) -> bool:
        if sequence <= self._resumed_at:
            return False
        follows = 0 < time_ms - self._last_stray_ms < self.pause_ms
        self._num_strays = self._num_strays + 1 if follows else 1
        self._last_stray_ms = time_ms
        if self._num_strays < self.max_strays:
            return False
        self._num_strays = 0
        return True
