from dataclasses import replace

import numpy as np
import pytest
from numpy.random import Generator

from app.ml.landmarks.augment import AugmentConfig, augment, mirror_normalised
from app.ml.landmarks.layout import LEFT_HAND, LEFT_WRIST, POSE, RIGHT_HAND, RIGHT_WRIST, mirror
from app.ml.landmarks.normalise import normalise, to_isotropic
from app.ml.types import FloatArray
from tests.moving_body import make_waving

NOTHING = AugmentConfig(
    mirror=0.0,
    tilt_deg=0.0,
    stretch=0.0,
    hand_shift=0.0,
    hand_scale=0.0,
    hand_turn_deg=0.0,
    jitter=0.0,
    hand_gap=0.0,
    hand_loss=0.0,
    slow_camera=0.0,
)
EVERYTHING = AugmentConfig(
    mirror=0.5,
    tilt_deg=10.0,
    stretch=0.1,
    hand_shift=0.1,
    hand_scale=0.1,
    hand_turn_deg=10.0,
    jitter=0.01,
    hand_gap=0.5,
    hand_loss=0.5,
    slow_camera=0.5,
)


def make_batch(size: int = 4) -> FloatArray:
    """Normalised points `[size, 41, 75, 3]` in which the left hand is missing for a while."""
    window = make_waving()
    window.landmarks[8:20, LEFT_HAND] = np.nan
    points = normalise(to_isotropic(window.landmarks, width=window.width, height=window.height))
    return np.stack([points] * size)


def rng(seed: int = 0) -> Generator:
    return np.random.default_rng(seed)


def lengths(points: FloatArray, pairs: list[tuple[int, int]]) -> FloatArray:
    first, second = np.array(pairs).T
    return np.linalg.norm(points[..., first, :] - points[..., second, :], axis=-1)


def test_strength_zero_changes_nothing() -> None:
    points = make_batch()

    np.testing.assert_allclose(augment(points, rng=rng(), config=NOTHING), points, atol=1e-6)


def test_shape_and_type_stay_and_the_input_is_not_touched() -> None:
    points = make_batch()
    before = points.copy()

    varied = augment(points, rng=rng(), config=EVERYTHING)

    assert varied.shape == points.shape
    assert varied.dtype == np.float32
    np.testing.assert_array_equal(points, before)


def test_the_same_seed_gives_the_same_variation_and_each_window_its_own() -> None:
    points = make_batch()
    config = replace(EVERYTHING, hand_gap=0.0, hand_loss=0.0)

    first, again = (augment(points, rng=rng(3), config=config) for _ in range(2))

    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, augment(points, rng=rng(4), config=config), equal_nan=True)
    assert not np.allclose(first[0], first[1], equal_nan=True)


def test_mirroring_normalised_points_twice_is_the_identity() -> None:
    points = make_batch()

    np.testing.assert_array_equal(mirror_normalised(mirror_normalised(points)), points)


def test_mirroring_before_and_after_normalising_is_the_same() -> None:
    window = make_waving()
    window.landmarks[8:20, LEFT_HAND] = np.nan
    before = normalise(to_isotropic(mirror(window.landmarks), width=window.width, height=window.height))

    np.testing.assert_allclose(before, mirror_normalised(make_batch(1)[0]), atol=1e-5)


def test_mirror_probability_decides_who_is_mirrored() -> None:
    points = make_batch(200)

    always = augment(points[:4], rng=rng(), config=replace(NOTHING, mirror=1.0))
    half = augment(points, rng=rng(), config=replace(NOTHING, mirror=0.5))

    np.testing.assert_allclose(always, mirror_normalised(points[:4]), atol=1e-6)
    is_mirrored = np.isnan(half[:, 10, RIGHT_HAND.start, 0])
    assert 70 < is_mirrored.sum() < 130


def test_what_was_missing_stays_missing_and_nothing_else_goes() -> None:
    points = make_batch()
    config = replace(EVERYTHING, mirror=0.0, hand_gap=0.0, hand_loss=0.0, slow_camera=0.0)

    np.testing.assert_array_equal(np.isnan(augment(points, rng=rng(), config=config)), np.isnan(points))


@pytest.mark.parametrize("config", [replace(NOTHING, hand_gap=1.0), replace(NOTHING, hand_loss=1.0)])
def test_only_whole_hands_are_dropped_and_the_rest_is_kept(config: AugmentConfig) -> None:
    points = make_batch(20)

    varied = augment(points, rng=rng(), config=config)

    kept = ~np.isnan(varied)
    np.testing.assert_allclose(varied[kept], points[kept], atol=1e-6)
    assert kept[:, :, POSE].all()
    for hand in (LEFT_HAND, RIGHT_HAND):
        is_seen = kept[:, :, hand].all(axis=(2, 3))
        np.testing.assert_array_equal(is_seen, kept[:, :, hand].any(axis=(2, 3)))
    assert kept.sum() < (~np.isnan(points)).sum()


def test_a_gap_is_one_stretch_of_at_most_a_third() -> None:
    points = make_batch(30)
    points[:, :, LEFT_HAND] = points[:, :, RIGHT_HAND]

    varied = augment(points, rng=rng(), config=replace(NOTHING, hand_gap=1.0))

    is_lost = np.isnan(varied[:, :, (LEFT_HAND.start, RIGHT_HAND.start), 0])
    assert (is_lost.any(axis=1).sum(axis=1) == 1).all()
    for row in is_lost.any(axis=2):
        positions = np.flatnonzero(row)
        assert (np.diff(positions) == 1).all()
        assert len(positions) <= points.shape[1] // 3


def test_the_hand_that_is_lost_for_good_is_the_one_seen_less() -> None:
    varied = augment(make_batch(), rng=rng(), config=replace(NOTHING, hand_loss=1.0))

    assert np.isnan(varied[:, :, LEFT_HAND]).all()
    assert np.isfinite(varied[:, :, RIGHT_HAND]).all()


def test_a_tilt_keeps_every_length() -> None:
    points = make_batch()
    pairs = [(11, 12), (11, 13), (13, 15), (54, 63), (15, 33)]

    tilted = augment(points, rng=rng(), config=replace(NOTHING, tilt_deg=20.0))

    assert np.nanmax(np.abs(tilted - points)) > 0.05
    np.testing.assert_allclose(lengths(tilted, pairs), lengths(points, pairs), atol=1e-4)


def test_a_turned_and_shifted_hand_keeps_its_shape_and_its_arm() -> None:
    points = make_batch()
    in_hand = [(54, 58), (54, 62), (58, 62), (55, 74), (66, 70)]
    config = replace(NOTHING, hand_shift=0.2, hand_turn_deg=30.0)

    varied = augment(points, rng=rng(), config=config)

    assert np.abs(varied - points)[:, :, RIGHT_HAND].max() > 0.1
    np.testing.assert_allclose(lengths(varied, in_hand), lengths(points, in_hand), atol=1e-4)
    for wrist, hand in ((LEFT_WRIST, LEFT_HAND), (RIGHT_WRIST, RIGHT_HAND)):
        np.testing.assert_allclose(
            varied[:, :, hand.start] - varied[:, :, wrist], points[:, :, hand.start] - points[:, :, wrist], atol=1e-5
        )
    head_and_hips = [0, 7, 8, 11, 12, 23, 24]
    np.testing.assert_allclose(varied[:, :, head_and_hips], points[:, :, head_and_hips], atol=1e-6)


def test_a_scaled_hand_grows_evenly_about_its_wrist() -> None:
    points = make_batch()
    pairs = [(54, 58), (54, 62), (58, 62), (66, 70)]

    ratio = lengths(augment(points, rng=rng(), config=replace(NOTHING, hand_scale=0.3)), pairs) / lengths(points, pairs)

    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1, :1], ratio.shape), rtol=1e-4)
    assert np.ptp(ratio[:, 0, 0]) > 0.05


def test_a_slow_camera_changes_no_steady_movement_and_smooths_an_unsteady_one() -> None:
    steady = np.full((20, 30, 75, 3), 0.5, np.float32) + np.linspace(0, 1, 30, dtype=np.float32)[:, None, None]
    shaking = steady + 0.1 * rng(9).standard_normal(steady.shape).astype(np.float32)
    config = replace(NOTHING, slow_camera=1.0)

    np.testing.assert_allclose(augment(steady, rng=rng(), config=config), steady, atol=1e-5)
    slow = augment(shaking, rng=rng(), config=config)
    assert np.diff(slow, axis=1).std() < 0.8 * np.diff(shaking, axis=1).std()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_windows_can_be_varied_too(frames: int) -> None:
    for seed in range(20):
        assert augment(make_batch()[:, :frames], rng=rng(seed), config=EVERYTHING).shape == (4, frames, 75, 3)
