"""Messages that wait for a client to read them: bounded, and the reader of one socket never holds up another."""

import asyncio
from collections import deque


class Outbox:
    """A bounded queue of JSON texts.

    At the limit the oldest droppable message (state, partial, stats, errors) makes room and is counted; when only
    messages that may not be lost are left, `put` refuses and the connection has to be closed.
    """

    def __init__(self, *, max_messages: int) -> None:
        self._max_messages = max_messages
        self._messages: deque[tuple[str, bool]] = deque()
        self._wake = asyncio.Event()
        self.num_dropped = 0

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, text: str, *, droppable: bool) -> bool:
        """Add a message; False when there was no room for one that may not be lost."""
        if len(self._messages) >= self._max_messages and not self._make_room():
            if droppable:
                self.num_dropped += 1
                return True
            return False
        self._messages.append((text, droppable))
        self._wake.set()
        return True

    def pop(self) -> str | None:
        """Take the oldest message; None when there is none."""
        return self._messages.popleft()[0] if self._messages else None

    def wake(self) -> None:
        """Let `wait` return although there may be nothing to send."""
        self._wake.set()

    async def wait(self) -> None:
        """Wait for a message or for `wake`."""
        await self._wake.wait()
        self._wake.clear()

    def _make_room(self) -> bool:
        for index, (_, droppable) in enumerate(self._messages):
            if droppable:
                del self._messages[index]
                self.num_dropped += 1
                return True
        return False
