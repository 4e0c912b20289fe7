"""Streams whose content cannot be right are told so, once, and read right where the reading is certain."""

import numpy as np
import pytest

from app.ml.landmarks.layout import LEFT_HAND, RIGHT_HAND
from app.ml.types import FloatArray
from app.services.events import ProblemKind
from app.services.stream_check import StreamCheck
from tests.parametric_signer import make_person, perform_stream


def performance(fps: float = 30.0) -> tuple[FloatArray, list[float]]:
    """Somebody who is right-handed signs twice."""
    clip = perform_stream(make_person(100), ("sun", "house"), seed=7, fps=fps).clip
    return clip.landmarks, clip.times_ms.tolist()


def problems_of(landmarks: FloatArray, times_ms: list[float]) -> list[tuple[ProblemKind, str]]:
    """What a client is told of a stream."""
    check = StreamCheck()
    told = [check.look(frame, time_ms)[1] for frame, time_ms in zip(landmarks, times_ms, strict=True)]
    return [(problem.kind, problem.message) for problem in (*told, check.end()) if problem is not None]


@pytest.mark.parametrize("fps", [5.0, 8.0, 30.0, 60.0, 240.0])
def test_nothing_is_said_of_a_stream_that_is_right(fps: float) -> None:
    landmarks, times_ms = performance(fps)

    assert problems_of(landmarks, times_ms) == []
    assert problems_of(landmarks, [time_ms + 1.7e12 for time_ms in times_ms]) == []


def test_nothing_is_said_of_a_page_that_lay_in_the_background() -> None:
    landmarks, times_ms = performance()
    paused = [time_ms + 60_000 * (number // 20) for number, time_ms in enumerate(times_ms)]

    assert problems_of(landmarks, paused) == []


@pytest.mark.parametrize(("unit_ms", "words"), [(1e-3, "seconds"), (1e3, "microseconds"), (1e6, "nanoseconds")])
@pytest.mark.parametrize("fps", [8.0, 30.0, 60.0])
def test_times_in_another_unit_are_told_once(unit_ms: float, words: str, fps: float) -> None:
    landmarks, times_ms = performance(fps)

    ((kind, message),) = problems_of(landmarks, [time_ms * unit_ms for time_ms in times_ms])

    assert kind is ProblemKind.IMPLAUSIBLE_TIMES
    assert "milliseconds" in message
    assert words in message


def test_a_short_stream_in_seconds_is_told_at_its_end() -> None:
    landmarks, times_ms = performance()

    assert [kind for kind, _ in problems_of(landmarks[:8], [time_ms / 1000 for time_ms in times_ms[:8]])] == [
        ProblemKind.IMPLAUSIBLE_TIMES
    ]


def test_hands_that_lie_at_the_other_arm_are_told_once() -> None:
    landmarks, times_ms = performance()
    exchanged = landmarks.copy()
    exchanged[:, LEFT_HAND], exchanged[:, RIGHT_HAND] = landmarks[:, RIGHT_HAND], landmarks[:, LEFT_HAND]

    assert [kind for kind, _ in problems_of(exchanged, times_ms)] == [ProblemKind.HANDS_EXCHANGED]


def test_a_hand_that_is_told_as_both_is_read_as_the_one_at_its_arm() -> None:
    landmarks, times_ms = performance()
    hand, other = RIGHT_HAND, LEFT_HAND
    number = int(np.flatnonzero(~np.isnan(landmarks[:, hand.start, 0]))[0])
    twice = landmarks[number].copy()
    twice[other] = twice[hand]
    check = StreamCheck()

    repaired, problem = check.look(twice, times_ms[number])

    assert problem is not None
    assert problem.kind is ProblemKind.HAND_GIVEN_TWICE
    np.testing.assert_array_equal(repaired[hand], landmarks[number, hand])
    assert np.isnan(repaired[other]).all()
    assert check.look(twice, times_ms[number] + 33)[1] is None
