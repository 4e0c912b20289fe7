import numpy as np

from app.ml.landmarks.layout import (
    EDGES,
    LEFT_HAND,
    LEFT_SHOULDER,
    MIRROR_INDEX,
    NUM_POINTS,
    POSE,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    flatten,
    mirror,
    part_presence,
    unflatten,
)
from tests.moving_body import make_waving


def test_mirroring_twice_changes_nothing_and_keeps_what_is_missing() -> None:
    landmarks = make_waving().landmarks
    landmarks[3:6, LEFT_HAND] = np.nan

    np.testing.assert_allclose(mirror(mirror(landmarks)), landmarks, atol=1e-6)


def test_a_mirror_swaps_sides_and_does_not_touch_its_input() -> None:
    landmarks = make_waving().landmarks
    before = landmarks.copy()
    mirrored = mirror(landmarks)

    np.testing.assert_array_equal(landmarks, before)
    np.testing.assert_allclose(mirrored[:, LEFT_HAND, 0], 1 - landmarks[:, RIGHT_HAND, 0])
    np.testing.assert_array_equal(mirrored[:, LEFT_HAND, 1:], landmarks[:, RIGHT_HAND, 1:])
    assert (mirrored[:, LEFT_SHOULDER, 0] > mirrored[:, RIGHT_SHOULDER, 0]).all()


def test_every_point_has_one_partner_of_its_own_part() -> None:
    np.testing.assert_array_equal(MIRROR_INDEX[MIRROR_INDEX], np.arange(NUM_POINTS))
    assert sorted(MIRROR_INDEX[POSE]) == list(range(POSE.stop))
    assert {point for edge in EDGES for point in edge} <= set(range(NUM_POINTS))


def test_parts_are_reported_where_they_were_seen() -> None:
    landmarks = make_waving().landmarks[:3]
    landmarks[1, LEFT_HAND] = np.nan
    landmarks[2, POSE] = np.nan

    assert part_presence(landmarks).tolist() == [[True, True, True], [True, False, True], [False, True, True]]


def test_flat_values_and_points_are_the_same_numbers() -> None:
    landmarks = make_waving().landmarks

    assert flatten(landmarks).shape == (len(landmarks), 225)
    np.testing.assert_array_equal(flatten(landmarks)[0, :6], landmarks[0, :2].ravel())
    np.testing.assert_array_equal(unflatten(flatten(landmarks)), landmarks)
