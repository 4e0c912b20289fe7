"""Frames in the order of their capture times: copies, swaps, old frames, clocks that jump."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.services.backlog import QueuedFrame
from app.services.timeline import Timeline

POINTS = np.zeros((75, 3), np.float32)


def frame(time_ms: float, sequence: int = 0, received_s: float = 0.0) -> QueuedFrame:
    """A frame of no interest but its time and number."""
    return QueuedFrame(POINTS, sequence, time_ms, received_s)


def timeline(*, is_live: bool = True) -> Timeline:
    """As sessions make it."""
    return Timeline(pause_ms=2_000, jump_frames=5, jump_ms=400, is_live=is_live)


def feed(line: Timeline, times_ms: list[float]) -> list[float]:
    """Send frames, then end; returns the capture times of those let go, in order."""
    ready = [
        item.time_ms for number, time_ms in enumerate(times_ms) for item in line.take(frame(time_ms, number)).ready
    ]
    return ready + [item.time_ms for item in line.flush().ready]


def test_a_copy_is_dropped_and_nothing_is_said_of_a_few() -> None:
    line = timeline()
    taken = [line.take(frame(time_ms)) for time_ms in (0, 33, 33, 33, 66)]

    assert [item.time_ms for one in taken for item in one.ready] == [0, 33, 66]
    assert [one.num_repeats for one in taken] == [0, 0, 1, 1, 0]
    assert not any(one.complaint for one in taken)


def test_a_clock_that_stands_still_is_complained_of() -> None:
    line = timeline()
    complaints = [line.take(frame(100)).complaint for _ in range(6)]

    assert complaints[:4] == [""] * 4
    assert complaints[4] == "the capture time stands still at 100 ms"


@pytest.mark.parametrize("is_live", [True, False])
def test_old_frames_between_new_ones_never_become_a_timeline(*, is_live: bool) -> None:
    times_ms: list[float] = []
    for number in range(60):
        times_ms += [1_000 + 33 * number, 33 * number]

    assert feed(timeline(is_live=is_live), times_ms) == times_ms[::2]


def test_a_recording_with_swapped_neighbours_is_put_in_order_from_the_first_frame_on() -> None:
    assert feed(timeline(is_live=False), [33, 0, 99, 66, 132]) == [0, 33, 66, 99, 132]


def test_a_live_stream_loses_the_first_late_frame_and_no_other() -> None:
    assert feed(timeline(), [0, 66, 33, 99, 165, 132, 231, 198]) == [0, 66, 99, 132, 165, 198, 231]


@pytest.mark.parametrize("is_live", [True, False])
@pytest.mark.parametrize("start_ms", [0.0, 500.0, -1e9])
def test_a_clock_that_jumped_back_is_followed_and_no_frame_is_lost(*, is_live: bool, start_ms: float) -> None:
    before = [1e9 + 33 * number for number in range(30)]
    after = [1e9 + start_ms + 33 * number for number in range(30)]

    assert feed(timeline(is_live=is_live), before + after) == before + after


def test_a_clock_that_jumped_back_is_followed_though_its_frames_come_twice_and_swapped() -> None:
    after = [33.0, 33.0, 0.0, 99.0, 66.0, *(33.0 * number for number in range(4, 30) for _ in range(2))]

    assert feed(timeline(), [1e6, *after]) == [1e6, *(33.0 * number for number in range(30))]


def test_five_old_frames_in_a_row_within_a_moment_are_no_jump() -> None:
    times_ms = [1_000.0, 10.0, 20.0, 30.0, 40.0, 50.0, 1_033.0]

    assert feed(timeline(), times_ms) == [1_000.0, 1_033.0]


def test_what_is_held_back_is_let_go_when_no_neighbour_comes() -> None:
    line = timeline(is_live=False)
    line.take(frame(0, received_s=1.0))

    assert line.flush(received_before_s=0.9).ready == ()
    assert [item.time_ms for item in line.flush(received_before_s=1.1).ready] == [0]


def test_a_jump_that_is_under_way_is_not_forgotten_while_its_frames_come() -> None:
    line = timeline()
    for before_ms in (1e6, 1e6 + 33):
        line.take(frame(before_ms, received_s=0.0))
    ready: list[float] = []
    for number in range(30):  # somebody looks whether a neighbour is still to come, as the server does every second
        ready += [item.time_ms for item in line.take(frame(33.0 * number, received_s=0.033 * number)).ready]
        ready += [item.time_ms for item in line.flush(received_before_s=0.033 * number - 0.25).ready]

    assert ready == [33.0 * number for number in range(30)]


def test_frames_that_a_resuming_client_sends_once_more_are_known() -> None:
    line = timeline()
    for number in range(4):
        line.take(frame(33 * number, number))
    line.resume()

    assert [line.take(frame(33 * number, number)).is_known for number in range(4)] == [True] * 4
    assert line.take(frame(132, 4)).ready


@settings(deadline=None)
@given(frames=st.lists(st.tuples(st.integers(0, 2**32 - 1), st.floats(0, 1e14)), max_size=80), is_live=st.booleans())
def test_every_frame_is_let_go_or_counted_and_times_go_back_only_for_a_whole_timeline(
    *, frames: list[tuple[int, float]], is_live: bool
) -> None:
    line = timeline(is_live=is_live)
    taken = [line.take(frame(time_ms, sequence)) for sequence, time_ms in frames]
    taken.append(line.flush())

    ready = [item.time_ms for one in taken for item in one.ready]
    assert len(ready) + sum(one.num_repeats + one.num_late for one in taken) == len(frames)
    runs = np.split(np.array(ready), np.flatnonzero(np.diff(ready) <= 0) + 1)
    assert all(len(run) >= 5 for run in runs[1:])
