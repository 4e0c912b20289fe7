"""Makes the next batches in a thread while the model trains on this one."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

_B = TypeVar("_B")

_AHEAD: Final = 3


def prefetched(make: Callable[[int], _B], first: int, last: int) -> Iterator[tuple[int, _B]]:
    """Batches `first` to `last - 1` with their steps; none is made after the end, so what `make` reads may change
    then."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="signflow-batches") as executor:
        pending: list[Future[_B]] = [executor.submit(make, step) for step in range(first, min(first + _AHEAD, last))]
        for step in range(first, last):
            batch = pending.pop(0).result()
            if step + _AHEAD < last:
                pending.append(executor.submit(make, step + _AHEAD))
            yield step, batch
