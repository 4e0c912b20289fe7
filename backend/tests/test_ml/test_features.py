from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.errors import InvalidLandmarksError, ManifestMismatchError
from app.ml.landmarks.features import FeatureSpec, features_of, get_feature_spec
from app.ml.landmarks.layout import (
    LEFT_ELBOW,
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    MIRROR_INDEX,
    POSE,
    RIGHT_ELBOW,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    mirror,
)
from app.ml.types import FloatArray, LandmarkWindow
from tests.feature_reference import extract_features
from tests.moving_body import make_waving
from tests.parametric_signer import make_person, perform_stream

STEADY = settings(derandomize=True, deadline=None, max_examples=25)
BASE = get_feature_spec("base469")
HANDS = get_feature_spec("hands256")
BOTH = pytest.mark.parametrize("spec", [BASE, HANDS], ids=lambda spec: spec.name)

DISTANCES, ELBOWS, WRISTS = slice(450, 455), slice(455, 457), slice(457, 459)
LEFT_SHAPE, RIGHT_SHAPE = slice(459, 464), slice(464, 469)
"""Where `base469` keeps its 19 geometry values."""


def values_of(window: LandmarkWindow, spec: FeatureSpec) -> FloatArray:
    return extract_features(window, spec).values


def reframed(
    window: LandmarkWindow, change: Callable[[FloatArray], FloatArray], *, size: tuple[int, int]
) -> LandmarkWindow:
    """The same scene as another camera would give it: `change` works on pixels `[T, 75, 3]`."""
    pixels = window.landmarks * np.array([window.width, window.height, window.width], np.float32)
    width, height = size
    landmarks = (change(pixels) / np.array([width, height, width], np.float32)).astype(np.float32)
    return replace(window, landmarks=landmarks, width=width, height=height)


@BOTH
def test_a_spec_gives_as_many_values_as_it_says_on_a_regular_grid(spec: FeatureSpec) -> None:
    sequence = extract_features(make_waving(fps=30.0, duration_ms=1010.0), spec)

    assert sequence.values.shape == (21, spec.num_features)
    assert sequence.values.dtype == np.float32
    np.testing.assert_allclose(sequence.times_ms, np.arange(21) * spec.step_ms)


def test_an_unknown_spec_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(ManifestMismatchError, match=r"'base9000'.*base469, hands256"):
        get_feature_spec("base9000")


@BOTH
def test_a_window_that_cannot_be_used_is_refused(spec: FeatureSpec) -> None:
    window = make_waving()

    with pytest.raises(InvalidLandmarksError):
        extract_features(replace(window, times_ms=window.times_ms[::-1].copy()), spec)


@BOTH
def test_portrait_and_landscape_give_the_same_features_for_the_same_pose(spec: FeatureSpec) -> None:
    landscape = make_waving()
    portrait = reframed(landscape, lambda pixels: pixels - np.array([80, -80, 0], np.float32), size=(480, 640))
    wide = reframed(landscape, lambda pixels: pixels * np.float32(1.5), size=(1280, 720))

    np.testing.assert_allclose(values_of(portrait, spec), values_of(landscape, spec), atol=2e-3)
    np.testing.assert_allclose(values_of(wide, spec), values_of(landscape, spec), atol=2e-3)


@BOTH
@STEADY
@given(scale=st.floats(0.3, 2.0), right=st.floats(-300, 300), down=st.floats(-300, 300))
def test_where_a_person_stands_and_how_near_does_not_matter(
    spec: FeatureSpec, scale: float, right: float, down: float
) -> None:
    window = make_waving(duration_ms=600.0)
    moved = reframed(
        window, lambda pixels: pixels * np.float32(scale) + np.array([right, down, 0], np.float32), size=(640, 480)
    )

    np.testing.assert_allclose(values_of(moved, spec), values_of(window, spec), atol=5e-3)


@BOTH
@pytest.mark.parametrize(("fps", "tolerance"), [(15.0, 0.06), (8.0, 0.15)])
def test_the_same_movement_gives_the_same_features_at_every_frame_rate(
    spec: FeatureSpec, fps: float, tolerance: float
) -> None:
    expected = extract_features(make_waving(fps=30.0), spec)
    slower = extract_features(make_waving(fps=fps), spec)
    both = min(len(expected.values), len(slower.values))

    np.testing.assert_allclose(slower.times_ms[:both], expected.times_ms[:both])
    expected_values, values = expected.values[1 : both - 1], slower.values[1 : both - 1]
    spread = expected_values.std(0)
    moving = spread > 0.05
    error = np.sqrt(((values - expected_values) ** 2).mean(0))
    assert moving.sum() > 20
    assert (error[moving] / spread[moving]).max() < tolerance
    assert error[~moving].max() < 0.02


def test_velocities_are_shoulder_widths_a_second() -> None:
    times_ms = np.arange(0.0, 1001.0, 40.0)
    window = make_waving()
    landmarks = np.tile(window.landmarks[:1], (len(times_ms), 1, 1))
    shoulder_px = 640 * np.linalg.norm((landmarks[0, 11] - landmarks[0, 12])[:2] * (1, 480 / 640))
    landmarks[:, RIGHT_HAND, 0] += (2.0 * shoulder_px / 640 * times_ms / 1000).astype(np.float32)[:, None]

    values = values_of(LandmarkWindow(landmarks=landmarks, times_ms=times_ms), BASE)

    velocity = values[:, 225:450].reshape(-1, 75, 3)
    np.testing.assert_allclose(velocity[:, RIGHT_HAND, 0], 2.0, atol=1e-2)
    np.testing.assert_allclose(velocity[:, LEFT_HAND], 0.0, atol=1e-2)
    np.testing.assert_allclose(velocity[:, RIGHT_HAND, 1:], 0.0, atol=1e-2)


def test_a_hand_that_appears_has_no_speed_from_nowhere() -> None:
    window = make_waving(duration_ms=1500.0)
    usual = np.abs(values_of(window, BASE)[:, 225:450]).max()
    window.landmarks[:10, RIGHT_HAND] = np.nan
    window.landmarks[20:, LEFT_HAND] = np.nan

    assert np.abs(values_of(window, BASE)[:, 225:450]).max() <= usual + 1e-3


def test_features_of_a_mirrored_window_are_those_of_the_other_side() -> None:
    window = make_waving()
    window.landmarks[15:, LEFT_HAND] = np.nan
    plain = values_of(window, BASE)
    mirrored = values_of(replace(window, landmarks=mirror(window.landmarks)), BASE)

    flip = np.array([-1, 1, 1], np.float32)
    for start in (0, 225):
        expected = plain[:, start : start + 225].reshape(-1, 75, 3)[:, MIRROR_INDEX] * flip
        np.testing.assert_allclose(mirrored[:, start : start + 225].reshape(-1, 75, 3), expected, atol=2e-3)
    np.testing.assert_allclose(mirrored[:, DISTANCES], plain[:, DISTANCES], atol=1e-4)
    np.testing.assert_allclose(mirrored[:, ELBOWS], plain[:, ELBOWS][:, ::-1], atol=1e-4)
    np.testing.assert_allclose(mirrored[:, WRISTS], plain[:, WRISTS][:, ::-1], atol=1e-4)
    np.testing.assert_allclose(mirrored[:, LEFT_SHAPE], plain[:, RIGHT_SHAPE], atol=1e-4)
    np.testing.assert_allclose(mirrored[:, RIGHT_SHAPE], plain[:, LEFT_SHAPE], atol=1e-4)


def test_hand_features_of_a_mirrored_window_change_sides_and_horizontal_signs_only() -> None:
    window = make_waving()
    plain = values_of(window, HANDS)
    mirrored = values_of(replace(window, landmarks=mirror(window.landmarks)), HANDS)
    turn = [-1, 1, 1]
    normal = [1, -1, -1]  # a cross product, so the other way round
    one_hand = np.array([*turn * 20, *[1] * 24, *normal, *turn, *[-1, 1] * 2, *[-1, 1] * 3, *[-1, 1] * 7, 1])
    assert len(one_hand) == 115

    np.testing.assert_allclose(mirrored[:, :115], plain[:, 115:230] * one_hand, atol=2e-3)
    np.testing.assert_allclose(mirrored[:, 115:230], plain[:, :115] * one_hand, atol=2e-3)
    np.testing.assert_allclose(mirrored[:, 248:253], plain[:, 248:253], atol=1e-4)


@BOTH
def test_mirroring_twice_gives_the_same_features(spec: FeatureSpec) -> None:
    window = make_waving()

    twice = replace(window, landmarks=mirror(mirror(window.landmarks)))

    np.testing.assert_allclose(values_of(twice, spec), values_of(window, spec), atol=1e-3)


def test_a_missing_hand_gives_zeros() -> None:
    window = make_waving()
    window.landmarks[:, LEFT_HAND] = np.nan

    base, hands = values_of(window, BASE), values_of(window, HANDS)

    for start in (0, 225):
        points = base[:, start : start + 225].reshape(-1, 75, 3)
        assert (points[:, LEFT_HAND] == 0).all()
        assert np.abs(points[:, RIGHT_HAND]).max() > 0
    assert (base[:, DISTANCES] == 0).all()
    assert (base[:, LEFT_SHAPE] == 0).all()
    assert (base[:, RIGHT_SHAPE] > 0).all()
    assert (hands[:, :115] == 0).all()
    assert (hands[:, 229] == 1).all()


@BOTH
def test_nobody_in_view_gives_zeros(spec: FeatureSpec) -> None:
    window = make_waving()

    assert (values_of(replace(window, landmarks=np.full_like(window.landmarks, np.nan)), spec) == 0).all()


@BOTH
@STEADY
@given(seed=st.integers(0, 2**32 - 1), size=st.sampled_from([1.0, 1e3]))
def test_features_are_finite_and_bounded_whatever_is_missing_or_absurd(
    spec: FeatureSpec, seed: int, size: float
) -> None:
    rng = np.random.default_rng(seed)
    window = make_waving(fps=float(rng.choice([8, 15, 30])), duration_ms=float(rng.choice([0, 400, 1500])))
    landmarks = window.landmarks + np.float32(size) * rng.standard_normal(window.landmarks.shape).astype(np.float32)
    for part in (POSE, LEFT_HAND, RIGHT_HAND):
        landmarks[rng.random(len(landmarks)) < rng.choice([0, 0.5, 1]), part] = np.nan
    landmarks[rng.random(landmarks.shape) < rng.choice([0, 0.1])] = np.nan

    values = values_of(replace(window, landmarks=landmarks), spec)

    assert np.isfinite(values).all()
    assert np.abs(values).max() <= 20.0


@BOTH
def test_coinciding_points_are_no_accident_either(spec: FeatureSpec) -> None:
    window = make_waving()

    assert np.isfinite(values_of(replace(window, landmarks=np.full_like(window.landmarks, 0.5)), spec)).all()


@BOTH
def test_one_bad_shoulder_frame_does_not_jump(spec: FeatureSpec) -> None:
    window = make_waving()
    expected = values_of(window, spec)
    window.landmarks[12, (LEFT_SHOULDER, RIGHT_SHOULDER)] = [[0.1, 0.1, 0], [0.9, 0.9, 0]]

    difference = np.abs(values_of(window, spec) - expected)

    far = np.delete(np.arange(len(expected)), (11, 12, 13))
    assert difference[far].max() < 1e-3
    if spec is HANDS:  # of all its values only the elbows' angles read the shoulders themselves
        hands_and_arms = np.delete(np.arange(spec.num_features), (242, 243))
        assert difference[:, hands_and_arms].max() < 1e-3


@BOTH
def test_a_batch_of_windows_gives_what_each_gives_alone(spec: FeatureSpec) -> None:
    clips = [perform_stream(make_person(seed), ("house",), seed=seed, rest_ms=100.0).clip for seed in range(4)]
    frames = min(clip.num_frames for clip in clips)
    points = np.stack([clip.landmarks[:frames] for clip in clips])

    batch = features_of(points, spec)

    for row, window in zip(batch, points, strict=True):
        np.testing.assert_allclose(row, features_of(window, spec), atol=1e-5)


@BOTH
@pytest.mark.parametrize("duration_ms", [0.0, 1000.0])
def test_features_stay_what_they_are_while_others_are_worked_out(spec: FeatureSpec, duration_ms: float) -> None:
    sequence = extract_features(make_waving(duration_ms=duration_ms), spec)
    before = sequence.values.copy()

    extract_features(replace(make_waving(duration_ms=duration_ms), width=1280), spec)

    np.testing.assert_array_equal(sequence.values, before)


def test_features_do_not_change_their_input() -> None:
    points = make_waving().landmarks
    before = points.copy()

    for spec in (BASE, HANDS):
        features_of(points, spec)

    np.testing.assert_array_equal(points, before)


def make_known_pose() -> FloatArray:
    """Two equal frames `[2, 75, 3]`, shoulders at (0.5, 0) and (-0.5, 0), arms and hands at places worked out by
    hand."""
    points = np.zeros((2, 75, 3), np.float32)
    points[:, LEFT_SHOULDER], points[:, RIGHT_SHOULDER] = (0.5, 0, 0), (-0.5, 0, 0)
    points[:, LEFT_ELBOW], points[:, LEFT_WRIST] = (0.5, 1, 0), (1.5, 1, 0)  # a right angle
    points[:, RIGHT_ELBOW], points[:, RIGHT_WRIST] = (-0.5, 1, 0), (-0.5, 2, 0)  # stretched
    left, right = points[:, LEFT_HAND], points[:, RIGHT_HAND]
    left[:, 0], right[:, 0] = (1.5, 1, 0), (-0.5, 2, 0)
    left[:, 1:], right[:, 1:] = left[:, :1], right[:, :1]
    for knuckle in (5, 9, 13, 17):
        left[:, knuckle] += (0.1, 0, 0)  # straight on from the forearm
        right[:, knuckle] += (0.2, 0, 0)  # bent sideways by a right angle
    for finger, tip in enumerate((4, 8, 12, 16, 20)):
        left[:, tip] += (0.1 * (finger + 1), 0, 0)
        right[:, tip] += (0, 0, 0.2)
    return points


def test_the_geometry_of_a_known_pose_is_what_pen_and_paper_give() -> None:
    values = features_of(make_known_pose(), BASE)

    for frame in values:
        # Wrists are (2, -1) apart; the left thumb 0.1 further right and 0.2 in depth, and so on: tips 4, 8, 12, 20.
        expected = [np.sqrt(4 + 1)] + [np.sqrt((2 + 0.1 * n) ** 2 + 1 + 0.04) for n in (1, 2, 3, 5)]
        np.testing.assert_allclose(frame[DISTANCES], expected, rtol=1e-5)
        np.testing.assert_allclose(frame[ELBOWS], [0, -1], atol=1e-5)
        np.testing.assert_allclose(frame[WRISTS], [-1, 0], atol=1e-4)
        np.testing.assert_allclose(frame[LEFT_SHAPE], [1, 2, 3, 4, 5], rtol=1e-5)
        np.testing.assert_allclose(frame[RIGHT_SHAPE], [1, 1, 1, 1, 1], rtol=1e-5)


def test_the_first_values_are_the_normalised_coordinates_and_a_still_pose_has_no_speed() -> None:
    values = features_of(make_known_pose(), BASE)

    np.testing.assert_allclose(values[:, :225].reshape(-1, 75, 3), make_known_pose(), atol=1e-6)
    assert (values[:, 225:450] == 0).all()


@BOTH
def test_hands_without_a_body_are_still_described(spec: FeatureSpec) -> None:
    window = make_waving()
    window.landmarks[:, POSE] = np.nan
    moved = replace(window, landmarks=window.landmarks + np.array([0.2, 0.1, 0], np.float32))

    values = values_of(window, spec)

    assert np.abs(values).max() > 0
    np.testing.assert_allclose(values_of(moved, spec), values, atol=2e-3)


def test_landmarks_as_features_are_the_normalised_points_and_missing_parts_stay_missing() -> None:
    window = make_waving()
    window.landmarks[:, RIGHT_HAND] = np.nan
    spec = get_feature_spec("landmarks75")

    values = values_of(window, spec)

    assert (spec.shape, spec.num_features) == ((75, 3), 225)
    assert values.shape[1:] == (75, 3)
    assert np.isnan(values[:, RIGHT_HAND]).all()
    assert np.isfinite(values[:, LEFT_HAND]).all()
    np.testing.assert_allclose(values[:, LEFT_HAND].reshape(len(values), -1), values_of(window, BASE)[:, 99:162])


def test_landmarks_far_outside_are_bounded_and_infinite_ones_missing() -> None:
    points = extract_features(make_waving(), get_feature_spec("landmarks75")).values
    points[0, LEFT_HAND.start], points[1, LEFT_HAND.start] = 1e6, np.inf

    values = features_of(points, get_feature_spec("landmarks75"))

    assert (values[0, LEFT_HAND.start] == 20).all()
    assert np.isnan(values[1, LEFT_HAND.start]).all()
