"""Decides whether this process can carry another stream: it admits what it can serve, not what fits in a number.

Looked at once a second; between two looks every newcomer counts with what a stream costs on average, and no more come
in than can be judged at the next look. Four signs of too much, any of which is enough:

    processor   the process' time, newcomers included, comes near the one core that Python lets it use
    lag         the event loop runs late, or frames of live streams wait, whoever takes the processor
    answers     live streams wait for the recogniser much longer than they did when it was calm
    losses      streams inside lose frames, or answers about signs in progress

Streams already inside are never sent away, and a few are always let in, so that a machine that is slow for other
reasons still translates.
"""

import logging
from collections import deque
from dataclasses import dataclass
from statistics import median
from typing import Final

logger = logging.getLogger(__name__)

_SMOOTHING: Final = 0.5
_LAGS_KEPT: Final = 3
"""The median of so many looks: one slow second is an accident."""
_ANSWERS_THAT_TELL: Final = 10
_LOSSES_COUNT_S: Final = 3.0
"""What was lost longer ago no longer says anything."""
_SOON_S: Final = 2.0
_FEW: Final = 4
"""With fewer streams open, what one costs cannot be told from what the server itself costs."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the sessions of a process have done, and what was too much for it; counted by the sessions themselves."""

    frames_handled: int = 0
    live_frames: int = 0
    live_frames_waited_s: float = 0.0
    frames_dropped: int = 0
    live_answers: int = 0
    live_answers_waited_s: float = 0.0
    questions_answered: int = 0
    questions_left_out: int = 0

    def answered(self, seconds: float, *, is_live: bool) -> None:
        """A question was answered after so long; what a recording waits for says nothing of those who sign now."""
        self.questions_answered += 1
        if is_live:
            self.live_answers += 1
            self.live_answers_waited_s += seconds

    def mean_wait_since(self, earlier: "Tally") -> float:
        """How long live frames waited to be handled after `earlier`, in seconds; 0 without any."""
        num_frames = self.live_frames - earlier.live_frames
        return (self.live_frames_waited_s - earlier.live_frames_waited_s) / max(num_frames, 1)

    def mean_answer_since(self, earlier: "Tally") -> float | None:
        """How long live streams waited for an answer after `earlier`, in seconds; None with too few to tell."""
        num_answers = self.live_answers - earlier.live_answers
        if num_answers < _ANSWERS_THAT_TELL:
            return None
        return (self.live_answers_waited_s - earlier.live_answers_waited_s) / num_answers

    def lost_share_since(self, earlier: "Tally") -> float:
        """The part of the frames, or of the questions, that was lost after `earlier`; the larger one."""
        frames, dropped = self.frames_handled - earlier.frames_handled, self.frames_dropped - earlier.frames_dropped
        answered = self.questions_answered - earlier.questions_answered
        left_out = self.questions_left_out - earlier.questions_left_out
        return max(dropped / max(frames + dropped, 1), left_out / max(answered + left_out, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLimits:
    """When a process takes no newcomers.

    Attributes:
        max_cores: processor time, in cores.
        max_lag_s: how late the event loop may run, and how long the mean live frame may wait.
        max_answer_s: how long live streams may wait for the mean answer; a slow model, however, is no load:
        max_slowdown: only answers that take so many times what they took when it was calm count. Calm is whenever few
            sessions are open, so another model, or an inference server farther away, is learned anew.
        max_lost_share: of the frames, or of the questions to the recogniser, since the last look.
        newcomers_a_look: sessions that may come in between two looks.
        always_admitted: sessions that are let in whatever the load.
        assumed_cores: what a stream costs while too few are open to tell; about what one at 30 frames a second does.
    """

    max_cores: float = 0.95
    max_lag_s: float = 0.25
    max_answer_s: float = 0.05
    max_slowdown: float = 5.0
    max_lost_share: float = 0.01
    newcomers_a_look: int = 16
    always_admitted: int = 8
    assumed_cores: float = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why another session is too much; `retry_after_s` where the reason passes sooner than a full server empties."""

    reason: str
    retry_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadLook:
    """What is seen of the process at one moment.

    Attributes:
        now_s: seconds from anywhere.
        cpu_s: processor time so far; None when somebody inside uses all that is left on purpose (a replay).
        lag_s: how late the event loop ran just now.
        num_open: sessions with a connection.
        tally: what all sessions have done and left undone so far.
    """

    now_s: float
    cpu_s: float | None
    lag_s: float
    num_open: int
    tally: Tally


class LoadGate:
    """Refuses newcomers under load; `limits` None lets everybody in."""

    def __init__(self, limits: LoadLimits | None) -> None:
        self._limits = limits
        self._last: LoadLook | None = None
        self._cores = 0.0
        self._lags_s: deque[float] = deque(maxlen=_LAGS_KEPT)
        self._answer_s = 0.0
        self._calm_answer_s = float("inf")
        self._lost_at_s = float("-inf")
        self._lost_share = 0.0
        self._was_full = False

    def look(self, look: LoadLook) -> None:
        """Take in how things are; once a second."""
        last, self._last = self._last, look
        self._lags_s.append(look.lag_s if last is None else max(look.lag_s, look.tally.mean_wait_since(last.tally)))
        if last is None or look.now_s <= last.now_s:
            return
        answer_s = look.tally.mean_answer_since(last.tally)
        self._answer_s = answer_s or 0.0
        if answer_s is not None:
            is_calm = self._limits is not None and look.num_open <= self._limits.always_admitted
            self._calm_answer_s = answer_s if is_calm else min(self._calm_answer_s, answer_s)
        if look.cpu_s is None or last.cpu_s is None:
            self._cores = 0.0
        else:
            cores = (look.cpu_s - last.cpu_s) / (look.now_s - last.now_s)
            self._cores += _SMOOTHING * (cores - self._cores)
        share = look.tally.lost_share_since(last.tally)
        if self._limits is not None and share > self._limits.max_lost_share:
            self._lost_at_s, self._lost_share = look.now_s, share
        self._tell_change(look.num_open)

    def refusal(self, num_open: int) -> Refusal | None:
        """Why another session is too much when `num_open` are open; None when it is not."""
        limits, last = self._limits, self._last
        if limits is None or last is None or num_open < limits.always_admitted:
            return None
        per_session = self._cores / last.num_open if last.num_open >= _FEW else limits.assumed_cores
        num_newcomers = max(num_open - last.num_open, 0)
        cores = self._cores + (num_newcomers + 1) * per_session
        if last.cpu_s is not None and cores > limits.max_cores:
            return Refusal(reason=f"another stream would need {cores:.2f} cores (limit={limits.max_cores} a process)")
        lag_s = median(self._lags_s)
        if lag_s > limits.max_lag_s:
            return Refusal(reason=f"the server runs {lag_s:.2f} s late (limit={limits.max_lag_s} s)")
        # The last look alone: of a crowd, every second more lets in another sixteen, and who is inside stays.
        if self._answer_s > max(limits.max_answer_s, limits.max_slowdown * self._calm_answer_s):
            return Refusal(reason=f"answers take {self._answer_s:.2f} s (limit={limits.max_answer_s} s)")
        if last.now_s - self._lost_at_s < _LOSSES_COUNT_S:
            lost, limit = f"{self._lost_share:.0%}", f"{limits.max_lost_share:.0%}"
            return Refusal(reason=f"streams inside lose {lost} of their frames or answers (limit={limit})")
        if num_newcomers >= limits.newcomers_a_look:
            reason = f"{num_newcomers} sessions have just begun (limit={limits.newcomers_a_look} a second)"
            return Refusal(reason=reason, retry_after_s=_SOON_S)
        return None

    def _tell_change(self, num_open: int) -> None:
        refusal = self.refusal(num_open)
        if (refusal is not None) is not self._was_full:
            self._was_full = refusal is not None
            if refusal is None:
                logger.info("newcomers are admitted again, %d streams are open", num_open)
            else:
                logger.warning("newcomers are refused, %d streams are open: %s", num_open, refusal.reason)

    @property
    def is_full(self) -> bool:
        """Whether the last look left no room for another session."""
        return self._was_full
