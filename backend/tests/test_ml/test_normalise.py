from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.ml.errors import InvalidLandmarksError
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, POSE, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.landmarks.normalise import (
    FALLBACK_SHOULDER_WIDTH,
    MAX_GAP_MS,
    check_window,
    median_over_time,
    normalise,
    resample,
    to_isotropic,
)
from app.ml.types import FloatArray, LandmarkWindow
from tests.moving_body import make_waving

STEADY = settings(derandomize=True, deadline=None, max_examples=40)


def isotropic() -> FloatArray:
    window = make_waving()
    return to_isotropic(window.landmarks, width=window.width, height=window.height)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"landmarks": np.zeros((3, 75, 2), np.float32)}, r"shape \(3, 75, 2\)"),
        ({"landmarks": np.zeros((3, 225), np.float32)}, "expected"),
        ({"landmarks": np.zeros((0, 75, 3), np.float32), "times_ms": np.zeros(0)}, "T >= 1"),
        ({"times_ms": np.arange(2.0)}, "one time a frame"),
        ({"times_ms": np.array([0.0, 50.0, 50.0])}, "strictly increasing"),
        ({"times_ms": np.array([0.0, 50.0, 20.0])}, "strictly increasing"),
        ({"times_ms": np.array([0.0, np.nan, 20.0])}, "finite"),
        ({"width": 0}, "0x480 is not positive"),
        ({"height": -1}, "640x-1"),
    ],
)
def test_a_window_that_nobody_could_answer_is_refused(changes: dict[str, object], complaint: str) -> None:
    window = LandmarkWindow(landmarks=np.zeros((3, 75, 3), np.float32), times_ms=np.array([0.0, 50.0, 100.0]))
    check_window(window)

    with pytest.raises(InvalidLandmarksError, match=complaint):
        check_window(replace(window, **changes))


def test_all_axes_share_one_unit_after_the_aspect_is_undone() -> None:
    landmarks = np.ones((1, 75, 3), np.float32)

    np.testing.assert_allclose(to_isotropic(landmarks, width=640, height=480)[0, 0], [4 / 3, 1, 4 / 3])
    np.testing.assert_allclose(to_isotropic(landmarks, width=360, height=720)[0, 0], [0.5, 1, 0.5])
    assert (landmarks == 1).all()


def test_frames_that_lie_on_the_grid_are_kept_as_they_are() -> None:
    window = make_waving(fps=20.0)
    window.landmarks[10:14, LEFT_HAND] = np.nan

    points, grid = resample(window.landmarks, window.times_ms, step_ms=50.0)

    np.testing.assert_allclose(grid, window.times_ms)
    seen = ~np.isnan(window.landmarks)
    np.testing.assert_allclose(points[seen], window.landmarks[seen], atol=1e-6)


@STEADY
@given(
    times_ms=st.lists(st.floats(1, 400), min_size=0, max_size=30).map(lambda gaps: 1e6 + np.cumsum([0.0, *gaps])),
    step_ms=st.sampled_from([20.0, 50.0]),
)
def test_the_grid_is_regular_begins_with_the_first_frame_and_never_passes_the_last(
    times_ms: np.ndarray[tuple[int], np.dtype[np.float64]], step_ms: float
) -> None:
    landmarks = np.tile(make_waving().landmarks[:1], (len(times_ms), 1, 1))

    points, grid = resample(landmarks, times_ms, step_ms=step_ms)

    assert grid[0] == times_ms[0]
    assert times_ms[-1] - step_ms < grid[-1] <= times_ms[-1] + 1e-3
    np.testing.assert_allclose(np.diff(grid), step_ms)
    assert points.shape == (len(grid), 75, 3)
    seen = ~np.isnan(points)
    np.testing.assert_allclose(points[seen], np.broadcast_to(landmarks[:1], points.shape)[seen], atol=1e-6)


def test_a_hand_that_flickers_out_is_bridged_in_a_straight_line_and_a_long_absence_is_not() -> None:
    window = make_waving(fps=20.0, duration_ms=3000.0)
    window.landmarks[10:14, LEFT_HAND] = np.nan  # seen at 450 and 700 ms: 250 ms apart
    window.landmarks[30:36, LEFT_HAND] = np.nan  # seen at 1450 and 1800 ms: 350 ms apart
    assert 250.0 <= MAX_GAP_MS < 350.0

    points, _ = resample(window.landmarks, window.times_ms, step_ms=50.0)

    before, after = window.landmarks[9, LEFT_HAND], window.landmarks[14, LEFT_HAND]
    for position, share in enumerate((0.2, 0.4, 0.6, 0.8)):
        np.testing.assert_allclose(points[10 + position, LEFT_HAND], before + share * (after - before), atol=1e-5)
    assert np.isnan(points[30:36, LEFT_HAND]).all()
    assert np.isfinite(points[:, RIGHT_HAND]).all()
    assert np.isfinite(points[:, POSE]).all()


def test_two_lost_frames_of_a_slow_camera_are_a_flicker_too() -> None:
    window = make_waving(fps=8.0)
    window.landmarks[5, RIGHT_HAND] = np.nan

    points, _ = resample(window.landmarks, window.times_ms, step_ms=50.0)

    assert np.isfinite(points[:, RIGHT_HAND]).all()


def test_what_was_seen_once_is_there_for_one_step_only() -> None:
    window = make_waving(fps=20.0, duration_ms=500.0)
    window.landmarks[:5, LEFT_HAND] = np.nan
    window.landmarks[6:, LEFT_HAND] = np.nan

    points, _ = resample(window.landmarks, window.times_ms, step_ms=50.0)

    assert np.flatnonzero(np.isfinite(points[:, LEFT_HAND.start, 0])).tolist() == [5]


def test_shoulders_are_one_apart_around_the_origin() -> None:
    points = normalise(isotropic())

    width = np.linalg.norm(points[:, LEFT_SHOULDER, :2] - points[:, RIGHT_SHOULDER, :2], axis=1)
    np.testing.assert_allclose(width, 1, atol=1e-5)
    np.testing.assert_allclose(points[:, LEFT_SHOULDER, :2] + points[:, RIGHT_SHOULDER, :2], 0, atol=1e-5)


@STEADY
@given(
    scale=st.floats(0.2, 3),
    shift=st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)
def test_where_a_person_stands_and_how_near_does_not_matter(scale: float, shift: tuple[float, float]) -> None:
    points = isotropic()
    elsewhere = (points * np.float32(scale) + np.array([*shift, 0.0])).astype(np.float32)

    np.testing.assert_allclose(normalise(elsewhere), normalise(points), atol=1e-3)


def test_one_bad_shoulder_frame_does_not_move_the_others() -> None:
    points = isotropic()
    jumped = points.copy()
    jumped[7, (LEFT_SHOULDER, RIGHT_SHOULDER)] += np.array([3.0, -2.0, 1.0], np.float32)
    jumped[8, RIGHT_SHOULDER] = jumped[8, LEFT_SHOULDER]
    others = np.delete(np.arange(len(points)), (7, 8))

    np.testing.assert_allclose(normalise(jumped)[others], normalise(points)[others], atol=1e-4)


def test_without_any_pose_hands_are_placed_by_themselves_at_the_usual_size() -> None:
    points = isotropic()
    points[:, POSE] = np.nan
    moved = points + np.array([0.3, -0.1, 0.0], np.float32)
    moved[:, POSE] = np.nan

    alone = normalise(points)

    np.testing.assert_allclose(np.nanmean(alone[:, LEFT_HAND.start :, :2], axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(normalise(moved), alone, atol=1e-4)
    size = np.linalg.norm(points[0, 54] - points[0, 63]) / FALLBACK_SHOULDER_WIDTH
    assert np.linalg.norm(alone[0, 54] - alone[0, 63]) == pytest.approx(size, rel=1e-4)
    assert np.isnan(alone[:, POSE]).all()


def test_windows_with_and_without_pose_do_not_disturb_each_other_in_a_batch() -> None:
    points = isotropic()
    headless = points.copy()
    headless[:, POSE] = np.nan
    nothing = np.full_like(points, np.nan)

    batch = normalise(np.stack([points, headless, nothing]))

    np.testing.assert_allclose(batch[0], normalise(points), atol=1e-6)
    np.testing.assert_allclose(batch[1], normalise(headless), atol=1e-6)
    assert np.isnan(batch[2]).all()


@STEADY
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(1, 7), st.integers(1, 3)), elements=st.floats(-100, 100, width=32)),
    st.integers(0, 2**32 - 1),
)
def test_the_median_is_that_of_the_values_that_are_there(values: FloatArray, seed: int) -> None:
    values = values.copy()
    values[np.random.default_rng(seed).random(values.shape) < 0.4] = np.nan

    for found, column in zip(median_over_time(values.T), values.T, strict=True):
        seen = column[~np.isnan(column)]
        np.testing.assert_allclose(found, np.median(seen) if seen.size else np.nan, rtol=1e-5, atol=1e-5)
