"""Decides how windows share calls of the model: what a call costs, and whether one more window is worth waiting for.

Pure: times come in as values.
"""

import math
from dataclasses import dataclass
from typing import Final

_FORGETTING: Final = 0.97
"""What the past counts for after each new call: about the last thirty calls matter."""
_TRUSTED_CALLS: Final = 8
_SURPRISE: Final = 3.0
"""A call that takes so many times what was expected counts as no more: a processor that was busy with something else
tells nothing of the model, and a model that became slower is believed after a few calls all the same."""
_LEAST_SPREAD: Final = 0.02
"""Variance of the batch sizes under which nothing can be told of what a call costs by itself."""
_LONGEST_GAP_S: Final = 1.0
_TOGETHER_S: Final = 0.0002


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """Limits of the queue.

    Attributes:
        batch_size: windows in one call, at most.
        max_latency_ms: how long a window may be held back for others, at most, and only where that gains time.
        capacity: windows that may wait; one more is refused.
        stall_s: a call that runs for longer counts as hanging.
    """

    batch_size: int = 32
    max_latency_ms: float = 50.0
    capacity: int = 256
    stall_s: float = 10.0


class CallCost:
    """Seconds that a call with n windows takes, `per_window * n + per_call`, as the last calls tell.

    Weighted least squares with exponential forgetting. Where all calls were of one size, the whole cost is put on the
    windows: waiting then looks useless, which is the safe side.
    """

    def __init__(self) -> None:
        self.num_calls = 0
        self._weight = 0.0
        self._mean_n = 0.0
        self._mean_s = 0.0
        self._var_n = 0.0
        self._cov = 0.0

    def observe(self, num_windows: int, seconds: float) -> None:
        """A call took so long."""
        if self.num_calls >= _TRUSTED_CALLS:
            seconds = min(seconds, _SURPRISE * self.predict(num_windows))
        self.num_calls += 1
        kept = _FORGETTING * self._weight
        self._weight = kept + 1
        share = 1 / self._weight
        off_n, off_s = num_windows - self._mean_n, seconds - self._mean_s
        self._mean_n += share * off_n
        self._mean_s += share * off_s
        self._var_n = (1 - share) * (self._var_n + share * off_n * off_n)
        self._cov = (1 - share) * (self._cov + share * off_n * off_s)

    @property
    def per_window_s(self) -> float:
        """What each further window adds."""
        return self._fit()[0]

    @property
    def per_call_s(self) -> float:
        """What a call costs by itself."""
        return self._fit()[1]

    def predict(self, num_windows: int) -> float:
        """Seconds that a call with so many windows will take; 0 before the first call."""
        per_window_s, per_call_s = self._fit()
        return per_window_s * num_windows + per_call_s

    def _fit(self) -> tuple[float, float]:
        if self.num_calls == 0:
            return 0.0, 0.0
        if self._var_n >= _LEAST_SPREAD:
            slope = self._cov / self._var_n
            level = self._mean_s - slope * self._mean_n
            if slope >= 0 and level >= 0:
                return slope, level
            if slope < 0:
                return 0.0, self._mean_s
        return self._mean_s / self._mean_n, 0.0


class ArrivalGap:
    """The usual time between two windows, as the last arrivals tell: their geometric mean, so that pauses between
    bursts weigh little. What comes together is one arrival."""

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._log_s = math.log(_LONGEST_GAP_S)

    @property
    def seconds(self) -> float:
        """The usual gap; a second before anything is known."""
        return math.exp(self._log_s)

    def arrived(self, now_s: float) -> None:
        """A window came."""
        gap_s = _LONGEST_GAP_S if self._last_s is None else min(now_s - self._last_s, _LONGEST_GAP_S)
        if gap_s >= _TOGETHER_S:
            self._log_s += 0.1 * (math.log(gap_s) - self._log_s)
        self._last_s = now_s


def worth_waiting_s(num_windows: int, cost: CallCost, gap_s: float) -> float:
    """How long to hold a call with n windows back for one more; 0 sends it now.

    Sent at once, n windows take S(n) = a n + b, and one that comes w later waits for their end and takes S(1) more.
    Held back, all n + 1 take w + S(n + 1). Summed over the windows, holding back saves b - a n - (n + 1) w seconds
    (ours), so it pays if the next one is expected within (b - a n) / (n + 1).

    Args:
        num_windows: n, at least 1.
        cost: of a call.
        gap_s: the usual time between two windows.
    """
    limit_s = (cost.per_call_s - cost.per_window_s * num_windows) / (num_windows + 1)
    return limit_s if gap_s < limit_s else 0.0
