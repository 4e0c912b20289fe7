"""Where sessions are kept so that they can be resumed, and where the open ones are counted.

`MemorySessionStore` serves one process. `app.services.redis_session_store` is shared by several: a stream that loses
its process goes on in another one. The sessions themselves stay with the process that has their connection; a store
only has what another one would need.

A session belongs to the process with the highest generation: taking it over raises the generation, and what an earlier
owner still wants to save is refused. That is how it learns that the session has moved.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from app.core.errors import LimitReachedError
from app.services.session_record import Lease, SessionRecord

StoreKind = Literal["memory", "redis"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlive:
    """What a store knows of leases: `moved` have another owner now, `unknown` were never kept or have been lost."""

    moved: frozenset[Lease] = frozenset()
    unknown: frozenset[Lease] = frozenset()


class SessionStore(Protocol):
    """Keeps sessions and counts the open ones. Every call may raise StoreUnavailableError."""

    @property
    def kind(self) -> StoreKind:
        """How it is called on the status page."""
        ...

    @property
    def is_shared(self) -> bool:
        """Whether another process can take over what is kept here."""
        ...

    @property
    def is_reachable(self) -> bool:
        """False while calls fail."""
        ...

    async def admit(self, lease: Lease) -> None:
        """Take one of the places for open sessions.

        Raises:
            LimitReachedError: all are taken.
        """
        ...

    async def take(self, token: str) -> SessionRecord | None:
        """Take a session over, with its place or a new one; None when it is unknown. Its lease is the new one.

        Raises:
            LimitReachedError: it had no place any more, and all are taken.
        """
        ...

    async def save(self, records: Sequence[SessionRecord]) -> frozenset[Lease]:
        """Keep these; returns the leases that have ended because another process took the session over."""
        ...

    async def keep_alive(self, leases: Sequence[Lease]) -> KeptAlive:
        """These sessions are open: their places and records do not expire for now."""
        ...

    async def release(self, leases: Sequence[Lease]) -> None:
        """These sessions have lost their connection: their places are free, their records last for a while."""
        ...

    async def count_open(self) -> int:
        """How many places are taken."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...


@dataclass(slots=True, kw_only=True)
class _Kept:
    record: SessionRecord
    expires_s: float | None = None


class MemorySessionStore:
    """For one process: no session outlives it.

    Args:
        max_sessions: places for open sessions.
        max_kept: sessions without a connection; the oldest goes first.
        resume_s: how long those are kept.
        clock: seconds from anywhere.
    """

    kind: StoreKind = "memory"
    is_shared = False
    is_reachable = True

    def __init__(
        self, *, max_sessions: int, max_kept: int, resume_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_sessions = max_sessions
        self._max_kept = max_kept
        self._resume_s = resume_s
        self._clock = clock
        self._places: dict[str, int] = {}
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def admit(self, lease: Lease) -> None:
        """Take a place."""
        self._take_place(lease)

    async def take(self, token: str) -> SessionRecord | None:
        """Take a session over."""
        self._prune()
        kept = self._kept.get(token)
        if kept is None:
            return None
        lease = replace(kept.record.lease, generation=kept.record.lease.generation + 1)
        self._take_place(lease)
        self._kept[token] = _Kept(record=replace(kept.record, lease=lease))
        return self._kept[token].record

    async def save(self, records: Sequence[SessionRecord]) -> frozenset[Lease]:
        """Keep records."""
        moved: set[Lease] = set()
        for record in records:
            lease = record.lease
            kept = self._kept.get(lease.token)
            if kept is not None and kept.record.lease.generation > lease.generation:
                moved.add(lease)
            elif kept is not None:
                kept.record = record
            else:
                is_open = self._places.get(lease.session_id) == lease.generation
                expires_s = None if is_open else self._clock() + self._resume_s
                self._kept[lease.token] = _Kept(record=record, expires_s=expires_s)
        self._prune()
        return frozenset(moved)

    async def keep_alive(self, leases: Sequence[Lease]) -> KeptAlive:
        """Nothing expires here while it is open."""
        known = {lease: self._kept.get(lease.token) for lease in leases}
        return KeptAlive(
            moved=frozenset(
                lease
                for lease, kept in known.items()
                if kept is not None and kept.record.lease.generation > lease.generation
            ),
            unknown=frozenset(lease for lease, kept in known.items() if kept is None),
        )

    async def release(self, leases: Sequence[Lease]) -> None:
        """Free places."""
        for lease in leases:
            if self._places.get(lease.session_id) != lease.generation:
                continue
            del self._places[lease.session_id]
            kept = self._kept.get(lease.token)
            if kept is not None:
                kept.expires_s = self._clock() + self._resume_s
                self._kept.move_to_end(lease.token)
        self._prune()

    async def count_open(self) -> int:
        """Places taken."""
        return len(self._places)

    async def close(self) -> None:
        """Nothing to let go of."""

    def _take_place(self, lease: Lease) -> None:
        if lease.session_id not in self._places and len(self._places) >= self._max_sessions:
            msg = f"{len(self._places)} sessions are open (limit={self._max_sessions}); try again later"
            raise LimitReachedError(msg)
        self._places[lease.session_id] = lease.generation

    def _prune(self) -> None:
        now_s = self._clock()
        waiting = [(token, kept.expires_s) for token, kept in self._kept.items() if kept.expires_s is not None]
        num_too_many = len(waiting) - self._max_kept
        for number, (token, expires_s) in enumerate(waiting):
            if number < num_too_many or expires_s <= now_s:
                del self._kept[token]
