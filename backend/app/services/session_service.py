"""Which sessions there are: admission, resuming lost ones, forgetting old ones."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.errors import NoModelError, ServerBusyError
from app.services.events import EventSink
from app.services.inference_service import TranslationSession
from app.services.streams import SessionContext, StreamInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionLimits:
    """How many sessions, and for how long.

    Attributes:
        max_sessions: sessions with a connection; one more is refused.
        max_kept_sessions: sessions without a connection that wait to be resumed; the oldest goes first.
        resume_s: how long such a session waits.
        retry_after_s: the wait that a refusal asks for.
    """

    max_sessions: int = 256
    max_kept_sessions: int = 512
    resume_s: float = 120.0
    retry_after_s: float = 10.0


class SessionService:
    """Owns every session; a session belongs to at most one connection."""

    def __init__(
        self,
        context: SessionContext | None,
        *,
        limits: SessionLimits,
        no_model_reason: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Sessions for one recogniser; `context` None means that there is none, for `no_model_reason`."""
        self.limits = limits
        self._context = context
        self._no_model_reason = no_model_reason
        self._clock = clock
        self._open: dict[str, TranslationSession] = {}
        self._kept: dict[str, tuple[TranslationSession, float]] = {}
        self.is_draining = False

    @property
    def num_open(self) -> int:
        """Sessions with a connection."""
        return len(self._open)

    @property
    def num_kept(self) -> int:
        """Sessions that wait to be resumed."""
        return len(self._kept)

    def open(self, stream: StreamInfo, sink: EventSink) -> TranslationSession:
        """Begin a session.

        Raises:
            NoModelError: there is no recogniser.
            ServerBusyError: no room, or the server is shutting down.
        """
        self._require_room()
        if self._context is None:
            raise NoModelError(self._no_model_reason)
        session = TranslationSession(
            self._context, session_id=secrets.token_hex(8), token=secrets.token_urlsafe(32), stream=stream
        )
        session.attach(sink)
        self._open[session.token] = session
        return session

    def resume(self, token: str, sink: EventSink) -> TranslationSession | None:
        """Give a lost session to a new connection; None when it is unknown or was forgotten.

        A session whose old connection still looks open (half-open after a network change) moves over.

        Raises:
            ServerBusyError: no room, or the server is shutting down.
        """
        self.prune()
        session = self._open.get(token)
        if session is None:
            if token not in self._kept:
                return None
            self._require_room()
            session, _ = self._kept.pop(token)
            self._open[token] = session
        session.attach(sink)
        return session

    def detach(self, session: TranslationSession, sink: EventSink) -> None:
        """A connection is gone: keep its session for a while. Does nothing when another connection has it."""
        if session.sink is not sink:
            return
        session.sink = None
        self._open.pop(session.token, None)
        self._kept[session.token] = (session, self._clock() + self.limits.resume_s)
        while len(self._kept) > self.limits.max_kept_sessions:
            del self._kept[next(iter(self._kept))]

    def prune(self) -> None:
        """Forget the sessions that nobody resumed in time."""
        now = self._clock()
        for token in [token for token, (_, expires) in self._kept.items() if expires <= now]:
            del self._kept[token]

    def stop_admitting(self) -> None:
        """Refuse new and resumed sessions from now on: the server is shutting down."""
        self.is_draining = True

    def _require_room(self) -> None:
        if self.is_draining:
            msg = "the server is shutting down"
            raise ServerBusyError(msg, retry_after_s=self.limits.retry_after_s)
        if len(self._open) >= self.limits.max_sessions:
            msg = f"{len(self._open)} sessions are open (limit={self.limits.max_sessions}); try again later"
            raise ServerBusyError(msg, retry_after_s=self.limits.retry_after_s)
