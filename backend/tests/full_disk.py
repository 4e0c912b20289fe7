"""A disk that is nearly full."""

import resource
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def disk_with_room_for(num_bytes: int) -> Generator[None]:
    """Writing a larger file fails, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
