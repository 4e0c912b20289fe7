"""Landmarks that were written wrong in a way that leaves no doubt are read right."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, POSE, RIGHT_HAND, RIGHT_WRIST
from app.ml.landmarks.repair import erase_zero_points, keep_one_hand
from app.ml.landmarks.wire import ALL_PARTS, decode_frame, encode_frame
from app.ml.types import FloatArray


def body(seed: int = 0) -> FloatArray:
    """Points of nobody in particular, all there."""
    return np.random.default_rng(seed).uniform(0.1, 0.9, (75, 3)).astype(np.float32)


@given(st.sets(st.integers(0, 74)))
def test_points_at_exactly_zero_are_missing_and_no_others(zeros: set[int]) -> None:
    landmarks = body()
    landmarks[sorted(zeros)] = 0.0
    before = landmarks.copy()

    repaired = erase_zero_points(np.stack([landmarks, body(1)]))

    assert set(np.flatnonzero(np.isnan(repaired[0]).all(-1))) == zeros
    assert not np.isnan(repaired[1]).any()
    np.testing.assert_array_equal(landmarks, before)


def test_a_point_on_the_pictures_edge_stays() -> None:
    landmarks = body()
    landmarks[5] = (0.0, 0.3, 0.0)

    assert erase_zero_points(landmarks) is landmarks


def test_one_hand_told_as_both_stays_where_its_arm_is() -> None:
    landmarks = np.stack([body(), body(), body()])
    for frame, wrist in zip(landmarks, (LEFT_WRIST, RIGHT_WRIST, None), strict=True):
        frame[LEFT_HAND] = frame[RIGHT_HAND]
        if wrist is None:
            frame[POSE] = np.nan
        else:
            frame[wrist] = frame[RIGHT_HAND.start]

    repaired = keep_one_hand(landmarks)

    assert np.isnan(repaired[:, LEFT_HAND]).all((1, 2)).tolist() == [False, True, True]
    assert np.isnan(repaired[:, RIGHT_HAND]).all((1, 2)).tolist() == [True, False, False]


def test_two_hands_are_left_alone() -> None:
    landmarks = body()

    assert keep_one_hand(landmarks) is landmarks


def test_a_frame_with_zeros_for_a_hand_is_read_without_it() -> None:
    landmarks = body()
    landmarks[LEFT_HAND] = 0.0
    for half_precision in (False, True):
        data = encode_frame(landmarks, sequence=0, time_ms=0.0, half_precision=half_precision)
        assert data[3] == ALL_PARTS

        frame = decode_frame(data)

        assert np.isnan(frame.landmarks[LEFT_HAND]).all()
        assert not np.isnan(frame.landmarks[RIGHT_HAND]).any()
        assert frame.num_unusable_parts == 0
