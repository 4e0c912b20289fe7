"""What the segmenter is doing, and what it knows between two steps: with it another one can go on."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

NEVER: Final = float("-inf")
"""A capture time before all others."""


class SegmenterState(StrEnum):
    """What the segmenter is doing; the wire protocol shows these names."""

    IDLE = "IDLE"
    RECORDING = "RECORDING"
    INFERRING = "INFERRING"


@dataclass(slots=True, kw_only=True)
class SegmenterMemory:
    """All that a segmenter knows between two steps, but for its frames; times in milliseconds of capture time.

    Attributes:
        start_ms: when the sign in progress began.
        done_ms: up to where signs have been told; earlier frames are not asked about again.
        held_label: the answer about a sign that was cut because it was too long.
        partial_labels: the best candidates so far of the sign in progress.
        last_hands_ms: when hands were last in view.
        last_moved_ms: when they last moved.
        next_ask_ms: when the recogniser may be asked again.
        wrists: x and y of both wrists at `wrists_ms`, NaN where not detected.
    """

    state: SegmenterState = SegmenterState.IDLE
    start_ms: float | None = None
    done_ms: float = NEVER
    held_label: str | None = None
    partial_labels: list[str] = field(default_factory=list)
    last_hands_ms: float = NEVER
    last_moved_ms: float = NEVER
    next_ask_ms: float = NEVER
    wrists: tuple[float, ...] | None = None
    wrists_ms: float = NEVER

    def copy(self) -> "SegmenterMemory":
        """The same, which does not change with this one."""
        return replace(self, partial_labels=[*self.partial_labels])
