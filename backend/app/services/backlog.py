"""What waits for a session's open question to be answered: frames and control messages, in order and bounded."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, NamedTuple

from app.ml.types import FloatArray
from app.services.streams import StreamInfo

_CONTROL_ROOM: Final = 16
"""Control messages that fit above the frames, before reading stops."""


class QueuedFrame(NamedTuple):
    """A frame as it came: float32 `[75, 3]`, and when it arrived on the session's clock."""

    landmarks: FloatArray
    sequence: int
    time_ms: float
    received_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """Begin anew with another kind of frames."""

    stream: StreamInfo


class End(Enum):
    """Why a sign in progress is finished early."""

    STREAM = auto()
    """The client said `end`."""
    PAUSE = auto()
    """The next frame is too far away in time to belong to the same sign."""


class Backlog:
    """A queue with room for `max_frames`; who fills it looks, waits or drops."""

    def __init__(self, *, max_frames: int) -> None:
        self._max_frames = max_frames
        self._items: deque[QueuedFrame | Reset | End] = deque()
        self._num_frames = 0
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """True when another frame would be too many."""
        return self._num_frames >= self._max_frames

    def put(self, item: QueuedFrame | Reset | End) -> None:
        """Add the newest."""
        self._items.append(item)
        self._num_frames += isinstance(item, QueuedFrame)

    def put_back(self, frame: QueuedFrame) -> None:
        """The frame that was taken last has to wait after all."""
        self._items.appendleft(frame)
        self._num_frames += 1

    def take(self) -> QueuedFrame | Reset | End:
        """The oldest."""
        item = self._items.popleft()
        self._num_frames -= isinstance(item, QueuedFrame)
        return item

    def drop_oldest_frame(self) -> QueuedFrame:
        """Make room; control messages stay."""
        index, frame = next((index, item) for index, item in enumerate(self._items) if isinstance(item, QueuedFrame))
        del self._items[index]
        self._num_frames -= 1
        return frame

    def wake(self) -> None:
        """Let those who wait look again."""
        self._changed.set()

    async def wait_for_room(self, *, for_frame: bool) -> None:
        """Wait until there is room for a frame, or for a control message (which has some room of its own)."""
        limit = self._max_frames + (0 if for_frame else _CONTROL_ROOM)
        await self.wait_until(lambda: len(self._items) < limit)

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait until something holds, looking after each `wake`."""
        while not is_so():
            self._changed.clear()
            await self._changed.wait()
