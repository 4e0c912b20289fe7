"""Which sessions there are: admission, resuming lost ones, keeping them for other processes, forgetting old ones."""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from app.core.errors import LimitReachedError, NoModelError, ServerBusyError, StoreUnavailableError
from app.core.tasks import TaskSet
from app.services.events import EventSink
from app.services.inference_service import TranslationSession
from app.services.load_gate import LoadGate, LoadLook
from app.services.session_record import Lease, SessionRecord
from app.services.session_store import SessionStore
from app.services.streams import SessionContext, StreamInfo

logger = logging.getLogger(__name__)

KEEP_ALIVE_S: Final = 3.0
"""How often the store hears that our sessions are open; it frees the places of a process after three times as long."""
RETRY_S: Final = 1.0
"""The same while the store does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How many sessions, and for how long.

    Attributes:
        max_sessions: sessions with a connection; one more is refused.
        max_kept_sessions: sessions without a connection that this process keeps; the oldest goes first.
        resume_s: how long such a session waits.
        retry_after_s: the wait that a refusal asks for.
    """

    max_sessions: int = 256
    max_kept_sessions: int = 512
    resume_s: float = 120.0
    retry_after_s: float = 10.0


class SessionService:
    """Owns the sessions of this process; a session belongs to at most one connection, and to one process.

    While the store cannot be reached, streams go on, this process' own places count, and only its own sessions can be
    resumed; what was not kept meanwhile is kept as soon as the store is back.
    """

    def __init__(
        self,
        context: SessionContext | None,
        *,
        limits: SessionLimits,
        store: SessionStore,
        gate: LoadGate | None = None,
        no_model_reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sessions for one recogniser; `context` None means that there is none, for `no_model_reason`.

        `gate` says when this process can carry no more; None is one that always can.
        """
        self.limits = limits
        self.store = store
        self.gate = gate or LoadGate(None)
        self._context = context
        self._no_model_reason = no_model_reason
        self._clock = clock
        self._open: dict[str, TranslationSession] = {}
        self._kept: dict[str, tuple[TranslationSession, float]] = {}
        self._unsaved: dict[str, SessionRecord] = {}
        self._unreleased: list[Lease] = []
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self.is_draining = False

    @property
    def num_open(self) -> int:
        """Sessions of this process with a connection."""
        return len(self._open)

    @property
    def num_kept(self) -> int:
        """Sessions of this process that wait to be resumed."""
        return len(self._kept)

    async def count_open(self) -> int:
        """Sessions with a connection, of all processes as far as they can be reached."""
        try:
            return await self.store.count_open()
        except StoreUnavailableError:
            return self.num_open

    def start(self, tasks: TaskSet) -> None:
        """Begin to keep sessions in the store."""
        tasks.start(self._write_forever(), name="keep sessions")
        tasks.start(self._keep_alive_forever(), name="keep places")

    async def open(self, stream: StreamInfo, sink: EventSink) -> TranslationSession:
        """Begin a session.

        Raises:
            NoModelError: there is no recogniser.
            ServerBusyError: no room, or the server is shutting down.
        """
        self._require_admitting()
        if self._context is None:
            raise NoModelError(self._no_model_reason)
        refusal = self.gate.refusal(len(self._open))
        if refusal is not None:
            raise self._busy(f"{refusal.reason}; try again later", retry_after_s=refusal.retry_after_s)
        lease = Lease(token=secrets.token_urlsafe(32), session_id=secrets.token_hex(8), generation=1)
        await self._admit(lease)
        session = self._make(self._context, lease, stream)
        session.attach(sink)
        self._open[session.token] = session
        session.note_change()
        return session

    async def resume(self, token: str, sink: EventSink, *, last_sign_id: int = 0) -> TranslationSession | None:
        """Give a lost session to a new connection; None when it is unknown or was forgotten.

        A session whose old connection still looks open (half-open after a network change) moves over, also from
        another process.

        Args:
            token: the session's.
            sink: the new connection.
            last_sign_id: the last sign that the client has seen.

        Raises:
            ServerBusyError: no room, or the server is shutting down.
        """
        self._require_admitting()
        if self._context is None:
            return None
        self.prune()
        try:
            record = await self.store.take(token)
        except StoreUnavailableError:
            record = None
        except LimitReachedError as error:
            raise self._busy(str(error)) from error
        session = self._find(token)
        if record is None:
            if session is None:
                return None
            if token not in self._open:
                await self._admit(session.lease)
        elif session is not None and session.lease.generation == record.lease.generation - 1:
            session.lease = record.lease  # nobody else had it since: ours is the newer state
            session.note_change()
        else:
            if session is not None:
                self._give_up(session)
            session = self._make(self._context, record.lease, record.progress.stream)
            session.restore(record)
            session.skip_signs(last_sign_id)
        self._kept.pop(token, None)
        self._open[token] = session
        session.attach(sink)
        return session

    def detach(self, session: TranslationSession, sink: EventSink) -> None:
        """A connection is gone: keep its session for a while. Does nothing when another connection has it."""
        if session.sink is not sink:
            return
        session.sink = None
        if self._open.pop(session.token, None) is None:
            return
        self._kept[session.token] = (session, self._clock() + self.limits.resume_s)
        while len(self._kept) > self.limits.max_kept_sessions:
            del self._kept[next(iter(self._kept))]
        session.note_change()
        self._unreleased.append(session.lease)
        self._wake.set()

    async def hand_over(self, session: TranslationSession) -> bool:
        """Keep a session that nothing waits for where another process finds it; False when there is no such place."""
        if not self.store.is_shared:
            return False
        session.note_change()
        await self._write()
        return session.token not in self._unsaved

    def tick(self, *, now_s: float, lag_s: float) -> None:
        """Once a second: keep how far the open streams have come, look at the load, forget whom nobody resumed in time.

        Args:
            now_s: seconds from anywhere.
            lag_s: how late this call comes.
        """
        if self._context is not None:
            # A replay takes all the processor time that is left, and gives it back: no sign of too many streams.
            is_live = all(session.stream.is_live for session in self._open.values())
            cpu_s = time.process_time() if is_live else None
            tally = replace(self._context.tally)
            self.gate.look(LoadLook(now_s=now_s, cpu_s=cpu_s, lag_s=lag_s, num_open=len(self._open), tally=tally))
        for session in self._open.values():
            session.note_progress()
        self.prune()

    def prune(self) -> None:
        """Forget the sessions that nobody resumed in time."""
        now = self._clock()
        for token in [token for token, (_, expires) in self._kept.items() if expires <= now]:
            del self._kept[token]

    def stop_admitting(self) -> None:
        """Refuse new and resumed sessions from now on: the server is shutting down."""
        self.is_draining = True

    async def stop(self) -> None:
        """Write what is still to be written, and let go of the store."""
        await self._write()
        await self.store.close()

    def _make(self, context: SessionContext, lease: Lease, stream: StreamInfo) -> TranslationSession:
        return TranslationSession(context, lease=lease, stream=stream, keep=self._keep)

    def _find(self, token: str) -> TranslationSession | None:
        session = self._open.get(token)
        return self._kept[token][0] if session is None and token in self._kept else session

    async def _admit(self, lease: Lease) -> None:
        try:
            await self.store.admit(lease)
        except LimitReachedError as error:
            raise self._busy(str(error)) from error
        except StoreUnavailableError as error:
            if len(self._open) >= self.limits.max_sessions:
                msg = f"{len(self._open)} sessions are open (limit={self.limits.max_sessions}); try again later"
                raise self._busy(msg) from error

    def _require_admitting(self) -> None:
        if self.is_draining:
            raise self._busy("the server is shutting down")

    def _busy(self, message: str, *, retry_after_s: float | None = None) -> ServerBusyError:
        return ServerBusyError(message, retry_after_s=retry_after_s or self.limits.retry_after_s)

    def _keep(self, record: SessionRecord) -> None:
        self._unsaved[record.lease.token] = record
        self._wake.set()

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._write()

    async def _write(self) -> None:
        """Save and release what there is, in this order; what fails is tried again with the next call."""
        async with self._writing:
            records, self._unsaved = self._unsaved, {}
            leases, self._unreleased = self._unreleased, []
            try:
                if records:
                    self._drop_moved(await self.store.save(list(records.values())))
                if leases:
                    await self.store.release(leases)
            except StoreUnavailableError:
                known = {token: record for token, record in records.items() if self._find(token) is not None}
                self._unsaved = known | self._unsaved
                self._unreleased += [lease for lease in leases if lease.token in self._kept]

    async def _keep_alive_forever(self) -> None:
        while True:
            await asyncio.sleep(KEEP_ALIVE_S if self.store.is_reachable else RETRY_S)
            try:
                answer = await self.store.keep_alive([session.lease for session in self._open.values()])
            except StoreUnavailableError:
                continue
            self._drop_moved(answer.moved)
            for lease in answer.unknown:
                session = self._open.get(lease.token)
                if session is not None:
                    session.note_change()
            self._wake.set()

    def _drop_moved(self, moved: frozenset[Lease]) -> None:
        """Sessions that another process has taken over are no longer ours."""
        for lease in moved:
            session = self._find(lease.token)
            if session is not None and session.lease == lease:
                self._give_up(session)

    def _give_up(self, session: TranslationSession) -> None:
        self._open.pop(session.token, None)
        self._kept.pop(session.token, None)
        self._unsaved.pop(session.token, None)
        if session.sink is not None:
            sink, session.sink = session.sink, None
            sink.supersede()
