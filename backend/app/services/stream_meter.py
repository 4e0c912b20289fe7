"""Measures one stream: frames a second, and how long frames take from their arrival to the end of their step."""

from collections import deque
from collections.abc import Callable
from typing import Final

import numpy as np

from app.services.events import StreamStats
from app.services.load_gate import Tally

_LATENCIES_KEPT: Final = 512


class StreamMeter:
    """Numbers that a client is told once a second; `clock` counts seconds from anywhere, `tally` for all streams."""

    def __init__(self, clock: Callable[[], float], tally: Tally) -> None:
        self._clock = clock
        self._tally = tally
        self._latencies_ms: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._told_s = clock()
        self._told_handled = 0
        self._told_dropped = 0

    def start_at(self, *, frames_handled: int, frames_dropped: int) -> None:
        """The session goes on from so many frames, which another process has counted."""
        self._told_handled = frames_handled
        self._told_dropped = frames_dropped

    def handled(self, seconds: float, *, is_live: bool) -> None:
        """A frame was handled so long after it arrived; frames of recordings wait for as long as need be."""
        self._latencies_ms.append(seconds * 1_000)
        self._tally.frames_handled += 1
        if is_live:
            self._tally.live_frames += 1
            self._tally.live_frames_waited_s += seconds

    def dropped(self) -> None:
        """A frame was dropped, because too many waited."""
        self._tally.frames_dropped += 1

    def take(self, *, last_sequence: int, frames_handled: int, frames_dropped: int) -> StreamStats | None:
        """Numbers to tell; None when no frame was handled or dropped since the last time."""
        now_s = self._clock()
        num_handled, elapsed_s = frames_handled - self._told_handled, now_s - self._told_s
        is_news = num_handled > 0 or frames_dropped > self._told_dropped
        self._told_s, self._told_handled, self._told_dropped = now_s, frames_handled, frames_dropped
        if not is_news or elapsed_s <= 0:
            return None
        latencies_ms = np.fromiter(self._latencies_ms, np.float64) if self._latencies_ms else np.zeros(1)
        p50, p95 = np.percentile(latencies_ms, (50, 95))
        return StreamStats(
            last_sequence=last_sequence,
            frames_handled=frames_handled,
            frames_dropped=frames_dropped,
            fps=round(num_handled / elapsed_s, 1),
            latency_p50_ms=round(float(p50), 3),
            latency_p95_ms=round(float(p95), 3),
        )
