"""When an inference server is asked, when it is left alone, and how often a question is put twice.

Both rules are plain state with the clock handed in, so that a test can step them by hand.
"""

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class BreakerState(StrEnum):
    """Whether questions go to the server."""

    CLOSED = "closed"
    """They do."""
    OPEN = "open"
    """They do not: it failed too often, serves another model, or was not checked yet. It is probed now and then."""
    HALF_OPEN = "half_open"
    """Still not, but a probe succeeded; another one closes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When the breaker opens and closes.

    Attributes:
        num_calls: how many of the last calls count.
        min_failures: fewer failures among them never open it.
        failure_share: from this share of failures on it opens, in (0, 1].
        probes_to_close: successful probes, one after the other, that close it.
        confirm_s: between a successful probe and the next.
        first_probe_s: from opening to the first probe; each failure doubles the wait.
        max_probe_s: the longest wait between probes.
        check_s: while closed, from one check of the server to the next.
    """

    num_calls: int = 10
    min_failures: int = 3
    failure_share: float = 0.5
    probes_to_close: int = 2
    confirm_s: float = 0.1
    first_probe_s: float = 1.0
    max_probe_s: float = 30.0
    check_s: float = 30.0


class CircuitBreaker:
    """Counts how calls go; starts open, because a server that nobody has checked is not asked."""

    def __init__(self, rules: BreakerRules, *, now_s: float) -> None:
        self._rules = rules
        self._outcomes: deque[bool] = deque(maxlen=rules.num_calls)
        self._num_probes = 0
        self._wait_s = rules.first_probe_s
        self._probe_at_s = now_s
        self.state = BreakerState.OPEN
        self.reason = "not checked yet"
        self.since_s = now_s
        self.num_openings = 0

    @property
    def allows(self) -> bool:
        """Whether the server may be asked."""
        return self.state is BreakerState.CLOSED

    def seconds_to_probe(self, now_s: float) -> float:
        """How long until the next probe (or check) is due; 0 when it is."""
        return max(self._probe_at_s - now_s, 0.0)

    def call_succeeded(self) -> None:
        """A call was answered."""
        self._outcomes.append(True)

    def call_failed(self, reason: str, *, now_s: float) -> None:
        """A call was not; opens when there were too many."""
        if self.state is not BreakerState.CLOSED:
            return  # a call that began before it opened
        self._outcomes.append(False)
        failures = self._outcomes.count(False)
        if failures >= self._rules.min_failures and failures >= self._rules.failure_share * len(self._outcomes):
            self.trip(f"{failures} of the last {len(self._outcomes)} calls failed, the last: {reason}", now_s=now_s)

    def trip(self, reason: str, *, now_s: float) -> None:
        """Open at once."""
        if self.state is BreakerState.CLOSED:
            self.num_openings += 1
            self._wait_s = self._rules.first_probe_s
        self._move(BreakerState.OPEN, reason, now_s=now_s)
        self._num_probes = 0
        self._probe_at_s = now_s + self._wait_s

    def probe_succeeded(self, *, now_s: float) -> None:
        """A probe found the server well; the last one that is wanted closes."""
        if self.state is BreakerState.CLOSED:
            self._probe_at_s = now_s + self._rules.check_s
            return
        self._num_probes += 1
        if self._num_probes < self._rules.probes_to_close:
            self._move(BreakerState.HALF_OPEN, self.reason, now_s=now_s)
            self._probe_at_s = now_s + self._rules.confirm_s
            return
        self.close(now_s=now_s)

    def probe_failed(self, reason: str, *, now_s: float) -> None:
        """A probe found it unwell; while closed that counts as a failed call."""
        if self.state is BreakerState.CLOSED:
            self._probe_at_s = now_s + self._rules.first_probe_s
            self.call_failed(reason, now_s=now_s)
            return
        self.trip(reason, now_s=now_s)
        self._wait_s = min(2 * self._wait_s, self._rules.max_probe_s)

    def close(self, *, now_s: float) -> None:
        """Ask the server again."""
        self._outcomes.clear()
        self._num_probes = 0
        self._wait_s = self._rules.first_probe_s
        self._probe_at_s = now_s + self._rules.check_s
        self._move(BreakerState.CLOSED, "", now_s=now_s)

    def _move(self, state: BreakerState, reason: str, *, now_s: float) -> None:
        if state is not self.state:
            self.since_s = now_s
        self.state, self.reason = state, reason


class RetryBudget:
    """Lets a small share of calls be asked twice, so that retries never multiply the load on a server in trouble."""

    def __init__(self, *, share: float = 0.1, reserve: float = 10.0) -> None:
        """Take the rules.

        Args:
            share: retries a call earns.
            reserve: how many may be saved up, and are there at the start.
        """
        self._share = share
        self._reserve = reserve
        self._saved = reserve

    def earn(self) -> None:
        """A call is made."""
        self._saved = min(self._saved + self._share, self._reserve)

    def spend(self) -> bool:
        """Whether a retry may be made; it is then paid for."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True
