"""Puts the frames of a stream into the order of their capture times, and follows a client's clock that jumped.

What cameras and networks do to capture times, and what comes of it:

- A frame comes twice, or many times: the copies are dropped.
- Two neighbours swap places: they are put back in order while the timeline holds frames back (see `hold`); otherwise
  the later one has been handled, and the late one is dropped.
- Old frames come again here and there: they are dropped. A frame that moves on forgets them.
- The clock jumped back (a looped file, another camera, another epoch): frames that move on among themselves for
  `jump_ms`, with no frame of the old timeline between them, are the new timeline. They were kept, so none is lost.
"""

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from app.services.backlog import QueuedFrame

_REPLAY_HOLD: Final = 3
"""Frames of a recording that are held back: nobody waits for it, and a frame may be late by so many places."""
_LIVE_HOLD: Final = 1
"""The same for a live stream, once its camera has shown that it swaps frames: each costs one frame of delay."""
_LATE_AT_MOST_MS: Final = 500.0
"""A frame that is later than this is not a neighbour that swapped places."""
_MAX_KEPT: Final = 64
"""Frames kept of a timeline that may be the new one; so many of them are one, however little time they span."""
_MAX_COPIES: Final = 3
"""Copies of one frame in a row that are dropped without a word; more are a clock that stands still."""

_time_of = attrgetter("time_ms")


class Taken(NamedTuple):
    """What became of a frame and of those before it.

    Attributes:
        ready: frames to handle now, in order.
        num_repeats: frames dropped because their capture time was there before.
        num_late: frames dropped because a later one had been handled.
        is_known: a resuming client sent this frame once more; it is dropped without a word.
        complaint: what to tell the client, empty where nothing.
    """

    ready: tuple[QueuedFrame, ...] = ()
    num_repeats: int = 0
    num_late: int = 0
    is_known: bool = False
    complaint: str = ""


@dataclass(slots=True, kw_only=True)
class Timeline:
    """The capture times of one stream.

    Attributes:
        pause_ms: frames further apart than this do not follow each other.
        jump_frames: so many frames on another timeline are a clock that jumped, if they also span `jump_ms`.
        jump_ms: capture time that they span at least.
        hold: how many frames are held back until later ones have come; `is_live` chooses.
        last_ms: capture time of the last frame that was let go, -1 before the first.
        last_sequence: the client's number of the newest frame taken, -1 before the first.
    """

    pause_ms: float
    jump_frames: int
    jump_ms: float
    is_live: bool = True
    hold: int = field(init=False)
    last_ms: float = -1.0
    last_sequence: int = -1
    _before_last_ms: float = -1.0
    _resumed_at: int = -1
    _num_copies: int = 0
    _held: list[QueuedFrame] = field(default_factory=list)
    _strays: list[QueuedFrame] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hold = 0 if self.is_live else _REPLAY_HOLD

    def take(self, frame: QueuedFrame) -> Taken:
        """Take the next frame as it came."""
        time_ms = frame.time_ms
        if time_ms > (self._held[-1].time_ms if self._held else self.last_ms):
            return self._advance(frame)
        if frame.sequence <= self._resumed_at:
            return Taken(is_known=True)
        if time_ms == self.last_ms or any(held.time_ms == time_ms for held in self._held):
            self._num_copies += 1
            complaint = f"the capture time stands still at {time_ms} ms" if self._num_copies > _MAX_COPIES else ""
            return Taken(num_repeats=1, complaint=complaint)
        if self._is_in_time(time_ms) and not self._strays:
            insort(self._held, frame, key=_time_of)
            return Taken(self._let_go(self.hold))
        return self._stray(frame)

    def flush(self, *, received_before_s: float = float("inf")) -> Taken:
        """Let go of all frames that are kept back, if the newest of them came before a moment; a new timeline that was
        not yet one will not become one."""
        if any(frame.received_s >= received_before_s for frame in (*self._held, *self._strays)):
            return Taken()
        num_late, complaint = self._forget_strays()
        return Taken(self._let_go(0), num_late=num_late, complaint=complaint)

    def resume(self) -> None:
        """A client comes back: frames up to the last number may be sent once more."""
        self._resumed_at = self.last_sequence

    def begin_at(self, sequence: int, time_ms: float) -> None:
        """Go on after a frame that another process handled."""
        self.last_sequence, self.last_ms = sequence, time_ms

    def reset(self, *, is_live: bool) -> None:
        """Begin anew; any time may come next. `flush` first."""
        if is_live != self.is_live:
            self.is_live, self.hold = is_live, 0 if is_live else _REPLAY_HOLD
        self.last_ms = self._before_last_ms = -1.0
        self.last_sequence = self._resumed_at = -1
        self._num_copies = 0

    def _is_in_time(self, time_ms: float) -> bool:
        """Whether a late frame can still be put among those that are held back."""
        return bool(self._held) and self.last_ms < time_ms and self._held[-1].time_ms - time_ms < _LATE_AT_MOST_MS

    def _advance(self, frame: QueuedFrame) -> Taken:
        """A frame after all that came before."""
        self.last_sequence = frame.sequence
        self._num_copies = 0
        num_late, complaint = self._forget_strays() if self._strays else (0, "")
        if not self.hold and not self._held:
            self._before_last_ms, self.last_ms = self.last_ms, frame.time_ms
            return Taken((frame,), num_late=num_late, complaint=complaint)
        self._held.append(frame)
        return Taken(self._let_go(self.hold), num_late=num_late, complaint=complaint)

    def _let_go(self, keep: int) -> tuple[QueuedFrame, ...]:
        num_ready = max(len(self._held) - keep, 0)
        ready, self._held = tuple(self._held[:num_ready]), self._held[num_ready:]
        self._note_times(ready)
        return ready

    def _note_times(self, frames: Iterable[QueuedFrame]) -> None:
        for frame in frames:
            self._before_last_ms, self.last_ms = self.last_ms, frame.time_ms

    def _stray(self, frame: QueuedFrame) -> Taken:
        """A frame before the last one that was let go: late, or the clock jumped."""
        if self.is_live and self._before_last_ms < frame.time_ms:
            self.hold = _LIVE_HOLD  # this camera swaps neighbours: from now on they are put in order
        strays = self._strays
        if any(stray.time_ms == frame.time_ms for stray in strays):
            return Taken(num_repeats=1)
        num_late, complaint = 0, ""
        if strays and not self._belongs_to_strays(frame.time_ms):
            num_late, complaint = self._forget_strays()
        insort(self._strays, frame, key=_time_of)
        has_jumped = len(self._strays) >= self.jump_frames and (
            self._strays[-1].time_ms - self._strays[0].time_ms >= self.jump_ms or len(self._strays) >= _MAX_KEPT
        )
        if not has_jumped:
            return Taken(num_late=num_late, complaint=complaint)
        ready = (*self._let_go(0), *self._strays)
        self._note_times(self._strays)
        self.last_sequence = max(stray.sequence for stray in self._strays)
        self._strays.clear()
        return Taken(ready, num_late=num_late, complaint=complaint)

    def _belongs_to_strays(self, time_ms: float) -> bool:
        """Whether a frame goes on where the strays are, or among them; the first two of them may be swapped."""
        first_ms, last_ms = self._strays[0].time_ms, self._strays[-1].time_ms
        begins = len(self._strays) == 1 and first_ms - _LATE_AT_MOST_MS < time_ms < first_ms
        return begins or first_ms < time_ms < last_ms + self.pause_ms

    def _forget_strays(self) -> tuple[int, str]:
        """They were no new timeline: those that are only late are put in order, the others dropped.

        Returns:
            How many were dropped, and what to tell of them.
        """
        for stray in [stray for stray in self._strays if self._is_in_time(stray.time_ms)]:
            self._strays.remove(stray)
            insort(self._held, stray, key=_time_of)
        strays, num_strays = self._strays, len(self._strays)
        if not strays:
            return 0, ""
        complaint = (
            f"frame {strays[0].sequence} at {strays[0].time_ms} ms came after frames of later capture times; "
            f"{'it was' if num_strays == 1 else f'{num_strays} such frames were'} dropped"
        )
        strays.clear()
        return num_strays, complaint
