"""Notices streams whose content cannot be right, so that a client is told what is wrong instead of reading nothing."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import hypot
from statistics import median
from typing import Final

from app.ml.landmarks.layout import (
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    POSE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
)
from app.ml.landmarks.repair import is_one_hand_twice, keep_one_hand
from app.ml.recordings.plausibility import LONGEST_STEP_MS, SHORTEST_STEP_MS
from app.ml.types import FloatArray
from app.services.events import ProblemKind, ProblemReported

_STEPS: Final = 16
"""Steps between frames that are judged together; a stream that ends earlier is judged by what there was."""
_FEWEST_STEPS: Final = 4
_LOOK_EVERY: Final = 4
"""Every fourth frame is looked at: hands do not change sides in between."""
_EXCHANGED_LOOKS: Final = 6
"""Looks in a row at hands that lie at the wrong arm. In 360,000 frames of recordings with a hand in view, crossed arms
among them, there was not a single one."""


@dataclass(slots=True)
class StreamCheck:
    """Watches the frames of one session; every kind of trouble is told once."""

    _times_ms: list[float] = field(default_factory=list)
    _num_frames: int = 0
    _num_exchanged: int = 0
    _told: set[ProblemKind] = field(default_factory=set)

    def look(self, landmarks: FloatArray, time_ms: float) -> tuple[FloatArray, ProblemReported | None]:
        """Look at the next frame, in the order of capture times.

        Args:
            landmarks: float32 `[75, 3]` as it came.
            time_ms: its capture time; one that goes back (the clock jumped) begins anew.

        Returns:
            The landmarks, repaired where the right reading is certain, and what to tell the client, if anything.
        """
        problem = self._judge_time(time_ms)
        # A look at two numbers settles it for nearly every frame.
        if landmarks[LEFT_HAND.start, 0] == landmarks[RIGHT_HAND.start, 0] and is_one_hand_twice(landmarks):
            landmarks = keep_one_hand(landmarks)
            problem = problem or self._tell(
                ProblemKind.HAND_GIVEN_TWICE,
                "left and right hand are the same 21 points; they are read as one hand, the one at whose arm they lie: "
                "send a hand once and clear the other one's flag",
            )
        self._num_frames += 1
        if self._num_frames % _LOOK_EVERY == 0:
            problem = problem or self._judge_hands(landmarks)
        return landmarks, problem

    def _judge_time(self, time_ms: float) -> ProblemReported | None:
        if self._times_ms and time_ms <= self._times_ms[-1]:
            self._times_ms.clear()
        self._times_ms.append(time_ms)
        if len(self._times_ms) <= _STEPS:
            return None
        problem = self._judge_times()
        del self._times_ms[:-1]
        return problem

    def end(self) -> ProblemReported | None:
        """Judge what was not judged yet: the stream is over."""
        problem = self._judge_times() if len(self._times_ms) > _FEWEST_STEPS else None
        self._times_ms.clear()
        return problem

    def _judge_times(self) -> ProblemReported | None:
        times_ms = self._times_ms
        num_steps = len(times_ms) - 1
        step_ms = median(later - earlier for earlier, later in pairwise(times_ms))
        if step_ms < SHORTEST_STEP_MS:
            message = (
                f"{num_steps + 1} frames lie within {times_ms[-1] - times_ms[0]:.3g} ms; capture times are "
                "milliseconds: multiply seconds by 1000"
            )
        elif step_ms > LONGEST_STEP_MS:
            message = (
                f"frames lie {step_ms:.6g} ms apart; capture times are milliseconds: divide microseconds by 1000, "
                "nanoseconds by 1000000. Signs are read from 5 frames a second on"
            )
        else:
            return None
        return self._tell(ProblemKind.IMPLAUSIBLE_TIMES, message)

    def _judge_hands(self, landmarks: FloatArray) -> ProblemReported | None:
        verdict = _are_exchanged(landmarks)
        if verdict is None:
            return None
        self._num_exchanged = self._num_exchanged + 1 if verdict else 0
        if self._num_exchanged < _EXCHANGED_LOOKS:
            return None
        return self._tell(
            ProblemKind.HANDS_EXCHANGED,
            "the left hand lies at the right arm's wrist, or the right hand at the left arm's: points 33-53 are the "
            "person's own left hand, 54-74 the right one; exchange them",
        )

    def _tell(self, kind: ProblemKind, message: str) -> ProblemReported | None:
        if kind in self._told:
            return None
        self._told.add(kind)
        return ProblemReported(kind=kind, message=message)


def _are_exchanged(landmarks: FloatArray) -> bool | None:
    """Whether a frame's hands lie at the other arm: None where nothing can be said.

    A hand lies at the other arm when that wrist is less than half as far as its own, and nearer by half a shoulder
    width.
    """
    if landmarks[POSE.start, 0] != landmarks[POSE.start, 0]:
        return None
    points: list[list[float]] = landmarks[_LOOKED_AT, :2].tolist()
    left_shoulder, right_shoulder, left_wrist, right_wrist, left_hand, right_hand = points
    shoulders = _distance(left_shoulder, right_shoulder)
    verdict = None
    for hand, own, other in ((left_hand, left_wrist, right_wrist), (right_hand, right_wrist, left_wrist)):
        to_own, to_other = _distance(hand, own), _distance(hand, other)
        if to_own <= to_other:
            return False
        if to_other < to_own / 2 and to_own - to_other > shoulders / 2:
            verdict = True
    return verdict


def _distance(a: list[float], b: list[float]) -> float:
    """Between two points; NaN, which is in no order with anything, where one is missing."""
    return hypot(a[0] - b[0], a[1] - b[1])


_LOOKED_AT: Final = [LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST, RIGHT_WRIST, LEFT_HAND.start, RIGHT_HAND.start]
