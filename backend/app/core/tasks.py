"""Background tasks that nobody forgets: referenced, logged when they fail, cancelled at shutdown."""

import asyncio
import logging
from collections.abc import Callable, Coroutine

logger = logging.getLogger(__name__)


class TaskSet:
    """Owns tasks: keeps a reference to each, logs a failure, cancels what is left at shutdown."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self,
        work: Coroutine[None, None, None],
        *,
        name: str,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> asyncio.Task[None]:
        """Run `work` in the background.

        Args:
            work: the coroutine to run.
            name: shown in logs.
            on_failure: called in the event loop when `work` raised (not when it was cancelled).

        Raises:
            RuntimeError: the set has been closed.
        """
        if self._closed:
            work.close()
            msg = f"task set {self._name!r} is closed; {name!r} was not started"
            raise RuntimeError(msg)
        task = asyncio.create_task(work, name=f"{self._name}:{name}")
        self._tasks.add(task)

        def done(finished: asyncio.Task[None]) -> None:
            self._tasks.discard(finished)
            if finished.cancelled():
                return
            error = finished.exception()
            if error is not None:
                logger.error("background task %s failed", finished.get_name(), exc_info=error)
                if on_failure is not None:
                    on_failure(error)

        task.add_done_callback(done)
        return task

    async def close(self) -> None:
        """Cancel every task and wait until each has ended; further `start` calls fail."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
