from dataclasses import replace

import numpy as np
import pytest

from app.ml.dataset import LandmarkDataset
from app.ml.landmarks.augment import AugmentConfig
from app.ml.landmarks.features import get_feature_spec
from app.ml.landmarks.layout import LEFT_HAND, NOSE, RIGHT_HAND
from app.ml.recordings.clips import Clip
from app.ml.recordings.labels import IDLE, UNKNOWN
from app.ml.training.sampling import IGNORE, Batch, SamplerOptions, SamplingConfig, WindowSampler, play, transit
from app.ml.types import FloatArray
from tests.moving_body import make_frame, make_waving

LABELS = ("cup", "tea", IDLE, UNKNOWN)
PLAIN = SamplingConfig(
    max_frames=36, speed=0.0, trim=0.0, context=0.0, background=0.0, made_up=0.0, stream=0.0, people_power=0.0
)
UNCHANGED = AugmentConfig(
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
SPEC = get_feature_spec("base469")
NOSE_X = 0
"""Column of `base469` in which these clips carry a number that tells them apart."""


def make_clip(label: str, *, number: int = 0, signer: str = "ann", session: str = "", num_frames: int = 12) -> Clip:
    """A clip whose nose is `number` shoulder widths from where noses are."""
    window = make_waving(duration_ms=50.0 * (num_frames - 1))
    landmarks = window.landmarks
    shoulders = np.linalg.norm((landmarks[0, 11] - landmarks[0, 12])[:2] * (4 / 3, 1))
    landmarks[:, NOSE, 0] = landmarks[:, (11, 12), 0].mean(1) + np.float32(number * shoulders * 3 / 4)
    return Clip(landmarks=landmarks, times_ms=window.times_ms, label=label, signer=signer, session=session)


def make_sampler(
    clips: list[Clip],
    *,
    sampling: SamplingConfig = PLAIN,
    augmentation: AugmentConfig = UNCHANGED,
    labels: tuple[str, ...] = LABELS,
    batch_size: int = 16,
    seed: int = 0,
    rank: int | None = None,
) -> WindowSampler:
    return WindowSampler(
        LandmarkDataset(clips, labels=labels, is_complete=False),
        SamplerOptions(
            spec=SPEC, sampling=sampling, augmentation=augmentation, batch_size=batch_size, seed=seed, rank=rank
        ),
    )


def make_world() -> list[Clip]:
    return [
        make_clip("cup", number=1, num_frames=8),
        make_clip("cup", number=2, signer="bob", num_frames=14),
        make_clip("tea", number=3, num_frames=20),
        make_clip(IDLE, number=4, signer="bob"),
        make_clip("scratch", number=5),
    ]


def assert_same(first: Batch, second: Batch) -> None:
    np.testing.assert_array_equal(first.features, second.features)
    np.testing.assert_array_equal(first.mask, second.mask)
    np.testing.assert_array_equal(first.targets, second.targets)
    np.testing.assert_array_equal(first.signing, second.signing)


def numbers_drawn(sampler: WindowSampler, *, steps: int = 20) -> list[int]:
    """The clips that were drawn, by their noses."""
    return [round(float(values[0, NOSE_X])) for step in range(steps) for values in sampler.batch(step).features]


def test_a_batch_follows_from_seed_and_step_whatever_was_drawn_before() -> None:
    usual = SamplingConfig()
    first = make_sampler(make_world(), sampling=usual, augmentation=AugmentConfig(), seed=5)
    again = make_sampler(make_world(), sampling=usual, augmentation=AugmentConfig(), seed=5)
    for step in range(3):
        first.batch(step)

    assert_same(first.batch(7), again.batch(7))
    assert not np.array_equal(first.batch(7).features, first.batch(8).features)


def test_another_seed_draws_other_batches() -> None:
    first, other = (make_sampler(make_world(), sampling=SamplingConfig(), seed=seed) for seed in (0, 1))

    assert not np.array_equal(first.batch(0).features, other.batch(0).features)


def test_the_largest_recording_does_not_drown_the_others() -> None:
    clips = [make_clip("cup", number=1, signer="prolific") for _ in range(60)]
    clips += [make_clip("cup", number=2, signer="shy") for _ in range(2)]

    drawn = numbers_drawn(make_sampler(clips, batch_size=32))

    assert drawn.count(2) / len(drawn) == pytest.approx(0.5, abs=0.08)


def test_sessions_of_one_person_count_the_same_too() -> None:
    clips = [make_clip("cup", number=1, session="long") for _ in range(60)]
    clips += [make_clip("cup", number=2, session="short") for _ in range(2)]

    drawn = numbers_drawn(make_sampler(clips, batch_size=32))

    assert drawn.count(2) / len(drawn) == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(("people_power", "expected"), [(0.0, 0.5), (1.0, 0.8), (0.5, 2 / 3)])
def test_signs_are_drawn_by_their_number_of_people_to_a_power(people_power: float, expected: float) -> None:
    clips = [make_clip("cup", number=1, signer=f"person{number}") for number in range(4)]
    clips += [make_clip("tea", number=2) for _ in range(30)]

    drawn = numbers_drawn(make_sampler(clips, sampling=replace(PLAIN, people_power=people_power), batch_size=32))

    assert drawn.count(1) / len(drawn) == pytest.approx(expected, abs=0.08)


def test_plain_windows_are_the_clips_themselves_with_their_label() -> None:
    clips = make_world()[:3]
    batch = make_sampler(clips).batch(0)

    assert batch.features.dtype == np.float32
    for features, mask, target, signing in zip(batch.features, batch.mask, batch.targets, batch.signing, strict=True):
        number = round(float(features[0, NOSE_X]))
        assert LABELS[target] == clips[number - 1].label
        assert int(mask.sum()) == clips[number - 1].num_frames
        np.testing.assert_array_equal(signing, mask)


def test_padding_follows_the_real_frames_and_holds_zeros() -> None:
    batch = make_sampler(make_world()[:3]).batch(0)

    assert batch.mask[:, 0].all()
    assert (np.diff(batch.mask.astype(int), axis=1) <= 0).all()
    assert (batch.features[~batch.mask] == 0).all()
    assert (batch.signing[~batch.mask] == 0).all()
    assert np.isfinite(batch.features).all()


def test_long_windows_are_cut_to_the_limit_at_varying_places() -> None:
    clip = make_clip("cup", num_frames=60)

    batch = make_sampler([clip], sampling=replace(PLAIN, max_frames=10), batch_size=8).batch(0)

    assert batch.features.shape[1] == 10
    assert batch.mask.all()
    assert len({row.tobytes() for row in batch.features}) > 1


def test_trimmed_and_faster_windows_differ_in_length_around_the_clip() -> None:
    clip = make_clip("cup", num_frames=20)
    sampler = make_sampler([clip], sampling=replace(PLAIN, trim=0.3, speed=0.3, max_frames=60), batch_size=64)

    lengths = sampler.batch(0).mask.sum(axis=1)

    assert lengths.min() < 14
    assert lengths.max() > 20
    assert lengths.min() >= 3


def test_a_sign_in_context_is_one_stretch_with_transit_around_it() -> None:
    sampler = make_sampler([make_clip("cup")], sampling=replace(PLAIN, context=1.0), batch_size=32)

    batch = sampler.batch(0)

    assert (batch.targets == 0).all()
    for signing, mask in zip(batch.signing, batch.mask, strict=True):
        at = np.flatnonzero(signing)
        assert len(at) in (11, 12)
        assert (np.diff(at) == 1).all()
        assert 1 <= at[0] <= 5
        assert 1 <= mask.sum() - 1 - at[-1] <= 5


def test_recorded_background_teaches_its_class_and_that_nobody_signs() -> None:
    sampler = make_sampler(make_world(), sampling=replace(PLAIN, background=1.0), batch_size=64)

    batch = sampler.batch(0)

    assert set(batch.targets.tolist()) == {LABELS.index(IDLE), LABELS.index(UNKNOWN)}
    assert (batch.signing == 0).all()
    for features, target in zip(batch.features, batch.targets, strict=True):
        assert round(float(features[0, NOSE_X])) == {IDLE: 4, UNKNOWN: 5}[LABELS[target]]


def test_made_up_movement_is_unknown() -> None:
    sampler = make_sampler(make_world(), sampling=replace(PLAIN, background=1.0, made_up=1.0), batch_size=64)

    batch = sampler.batch(0)

    assert set(batch.targets.tolist()) == {LABELS.index(UNKNOWN)}
    assert (batch.signing == 0).all()
    assert (batch.mask.sum(axis=1) >= 3).all()


def test_background_is_made_up_when_none_was_recorded() -> None:
    sampler = make_sampler(make_world()[:3], sampling=replace(PLAIN, background=1.0))

    assert set(sampler.batch(0).targets.tolist()) == {LABELS.index(UNKNOWN)}


def test_without_an_unknown_class_made_up_movement_teaches_only_where_signs_are() -> None:
    sampler = make_sampler(make_world()[:3], sampling=replace(PLAIN, background=1.0), labels=("cup", "tea"))

    batch = sampler.batch(0)

    assert (batch.targets == IGNORE).all()
    assert (batch.signing == 0).all()


def test_a_stretch_of_a_stream_teaches_where_signs_are_and_no_class() -> None:
    sampler = make_sampler(make_world(), sampling=replace(PLAIN, stream=1.0), batch_size=32)
    batches = [sampler.batch(step) for step in range(8)]

    assert all((batch.targets == IGNORE).all() for batch in batches)
    assert all(batch.mask.all() for batch in batches)
    assert 0.15 < np.mean([batch.signing.mean() for batch in batches]) < 0.4


def test_shares_of_window_kinds_are_as_asked() -> None:
    sampling = replace(PLAIN, background=0.3, stream=0.2, made_up=0.5)

    targets = np.concatenate([make_sampler(make_world(), sampling=sampling).batch(step).targets for step in range(40)])

    assert (targets == IGNORE).mean() == pytest.approx(0.2, abs=0.06)
    assert np.isin(targets, (LABELS.index(IDLE), LABELS.index(UNKNOWN))).mean() == pytest.approx(0.3, abs=0.07)


def ramp(num_frames: int) -> FloatArray:
    """Every coordinate is the number of its frame."""
    return np.broadcast_to(np.arange(num_frames, dtype=np.float32)[:, None, None], (num_frames, 75, 3)).copy()


def test_playing_begins_and_ends_where_it_is_told_and_keeps_an_even_pace() -> None:
    played = play(ramp(10), first=1.5, last=8.0, num_frames=14)

    assert played.shape == (14, 75, 3)
    np.testing.assert_allclose(played[:, 0, 0], np.linspace(1.5, 8.0, 14), rtol=1e-6)


def test_playing_a_whole_clip_at_its_own_speed_changes_nothing() -> None:
    points = make_waving().landmarks

    np.testing.assert_allclose(play(points, first=0, last=len(points) - 1, num_frames=len(points)), points, atol=1e-6)


def test_a_part_that_one_neighbour_lacks_is_taken_from_the_nearer_frame() -> None:
    points = ramp(3)
    points[1, LEFT_HAND] = np.nan

    played = play(points, first=0, last=2, num_frames=9)

    assert np.isnan(played[:, LEFT_HAND.start, 0]).tolist() == [False] * 2 + [True] * 4 + [False] * 3
    np.testing.assert_allclose(played[1, LEFT_HAND], 0)
    np.testing.assert_allclose(played[1, RIGHT_HAND], 0.25)


def test_a_transit_lies_strictly_between_its_poses_and_speeds_up_and_slows_down() -> None:
    start, end = make_frame(), make_frame() + np.float32(1)

    way = transit(start, end, num_frames=9)

    share = (way - start)[:, 0, 0]
    assert way.shape == (9, 75, 3)
    assert way.dtype == np.float32
    assert 0 < share[0] < 0.05
    assert 0.95 < share[-1] < 1
    assert (np.diff(share) > 0).all()
    assert share[4] == pytest.approx(0.5, abs=1e-5)
    np.testing.assert_allclose(share + share[::-1], 1, atol=1e-5)
    assert np.diff(share)[3] > 3 * np.diff(share)[0]


def test_a_hand_that_is_missing_at_one_end_of_a_transit_is_seen_near_the_other() -> None:
    start, end = make_frame(), make_frame()
    start = start.copy()
    start[LEFT_HAND] = np.nan

    way = transit(start, end, num_frames=9)

    assert np.isnan(way[:4, LEFT_HAND]).all()
    np.testing.assert_allclose(way[4:, LEFT_HAND], np.broadcast_to(end[LEFT_HAND], (5, 21, 3)))
