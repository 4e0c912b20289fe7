from dataclasses import replace

import numpy as np
import pytest

from app.ml.dataset import LandmarkDataset, background_of, people_per_label, prepare, sign_labels, split_by_signer
from app.ml.errors import DatasetError
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, LEFT_WRIST, RIGHT_HAND, RIGHT_SHOULDER, RIGHT_WRIST
from app.ml.recordings.clips import Clip
from app.ml.recordings.copies import data_fingerprint, find_copies, fingerprint
from app.ml.recordings.labels import BACKGROUND
from tests.moving_body import make_waving

LABELS = ("cup", "tea", *BACKGROUND)


def make_clip(
    label: str | None = "cup",
    *,
    signer: str = "ann",
    seed: int = 0,
    quality: str | None = "ok",
    duration_ms: float = 800.0,
) -> Clip:
    """A recording that no other seed gives."""
    window = make_waving(duration_ms=duration_ms)
    noise = np.random.default_rng(seed).normal(0, 0.003, window.landmarks.shape).astype(np.float32)
    return Clip(
        landmarks=window.landmarks + noise,
        times_ms=window.times_ms,
        label=label,
        signer=signer,
        quality=quality,
        clip_id=f"{signer}/{label}/{seed}",
    )


def targets(clips: list[Clip]) -> list[str]:
    dataset = LandmarkDataset(clips, labels=LABELS, is_complete=False)
    return [dataset.labels[example.target] for example in dataset.examples]


def test_suspect_clips_are_left_out() -> None:
    assert targets([make_clip("cup", quality="suspect"), make_clip("tea", seed=1)]) == ["tea"]


@pytest.mark.parametrize("quality", ["ok", "variant", "single", None])
def test_clips_of_every_other_quality_teach_their_label(quality: str | None) -> None:
    assert targets([make_clip("cup", quality=quality)]) == ["cup"]


def test_non_signs_and_labels_that_the_model_does_not_know_become_unknown() -> None:
    clips = [make_clip("cup", quality="nonsign"), make_clip("milk", seed=1), make_clip(None, seed=2)]

    assert targets(clips) == ["unknown", "unknown", "unknown"]


def test_idle_stays_idle_even_when_it_is_marked_as_no_sign() -> None:
    assert background_of(make_clip("idle", quality="nonsign"), {"cup": 0}) == "idle"


def test_an_empty_chair_is_right_and_teaches_nothing() -> None:
    empty = make_clip("idle")

    assert targets([replace(empty, landmarks=np.full_like(empty.landmarks, np.nan)), make_clip("tea")]) == ["tea"]


def test_a_sign_without_anybody_in_it_is_refused_by_name() -> None:
    clip = make_clip("cup", signer="bob", seed=4)
    clip = replace(clip, landmarks=np.full_like(clip.landmarks, np.nan))

    with pytest.raises(DatasetError, match=r"bob/cup/4 of bob has no landmark"):
        LandmarkDataset([clip], labels=LABELS, is_complete=False)


def test_every_sign_needs_a_clip_for_training_and_not_for_testing() -> None:
    clips = [make_clip("cup")]

    with pytest.raises(DatasetError, match=r"no clip to learn from for tea;"):
        LandmarkDataset(clips, labels=LABELS)
    assert len(LandmarkDataset(clips, labels=LABELS, is_complete=False)) == 1


def test_a_sign_with_suspect_clips_only_has_no_clip() -> None:
    with pytest.raises(DatasetError, match="tea"):
        LandmarkDataset([make_clip("cup"), make_clip("tea", quality="suspect")], labels=LABELS)


def test_examples_keep_their_own_length_their_person_and_their_session() -> None:
    clips = [
        make_clip("cup", signer="bob", duration_ms=500.0),
        replace(make_clip("tea", signer="ann", duration_ms=900.0), session="monday"),
    ]

    dataset = LandmarkDataset(clips, labels=LABELS)

    assert [len(example.points) for example in dataset.examples] == [11, 19]
    assert [(example.signer, example.session) for example in dataset.examples] == [("bob", ""), ("ann", "monday")]
    assert dataset.signers == ("ann", "bob")


def test_prepared_clips_are_on_the_grid_in_shoulder_widths() -> None:
    window = make_waving(fps=30.0, duration_ms=1000.0)

    points = prepare(Clip(landmarks=window.landmarks, times_ms=window.times_ms))

    assert points.shape == (21, 75, 3)
    shoulders = points[:, LEFT_SHOULDER, :2] - points[:, RIGHT_SHOULDER, :2]
    np.testing.assert_allclose(np.linalg.norm(shoulders, axis=1), 1, atol=1e-4)


def test_a_first_frame_left_over_from_the_previous_recording_is_dropped() -> None:
    sound = make_clip(duration_ms=1000.0)
    stale = replace(sound, landmarks=sound.landmarks.copy())
    moved = (LEFT_WRIST, RIGHT_WRIST, *range(LEFT_HAND.start, RIGHT_HAND.stop))
    stale.landmarks[0, moved] += np.float32(0.3)

    assert len(prepare(sound)) == 21
    assert len(prepare(stale)) == 20
    np.testing.assert_allclose(prepare(stale), prepare(sound)[1:], atol=1e-5)


def test_a_sign_that_begins_fast_and_goes_on_fast_keeps_its_first_frame() -> None:
    clip = make_clip(duration_ms=1000.0)
    shake = np.where(np.arange(clip.num_frames) % 2, 0.2, 0.0).astype(np.float32)
    clip.landmarks[:, (LEFT_WRIST, RIGHT_WRIST, *range(LEFT_HAND.start, RIGHT_HAND.stop)), 0] += shake[:, None]

    assert len(prepare(clip)) == 21


def test_the_shortest_clips_are_kept_whole() -> None:
    assert len(prepare(make_clip(duration_ms=0.0))) == 1
    assert len(prepare(make_clip(duration_ms=150.0))) == 4


def test_labels_of_signs_are_sorted_and_leave_background_non_signs_and_doubtful_ones_out() -> None:
    clips = [
        make_clip("tea"),
        make_clip("cup", seed=1),
        make_clip("cup", seed=2),
        make_clip("idle", seed=3),
        make_clip("scratch", quality="nonsign", seed=4),
        make_clip("milk", quality="suspect", seed=5),
        make_clip(None, seed=6),
        make_clip("unknown", seed=7),
    ]

    assert sign_labels(clips) == ("cup", "tea")


def test_people_are_counted_once_a_label_and_never_by_doubtful_clips() -> None:
    clips = [
        make_clip("cup", signer="ann"),
        make_clip("cup", signer="ann", seed=1),
        make_clip("cup", signer="bob", seed=2),
        make_clip("tea", signer="bob", seed=3),
        make_clip("tea", signer="eve", quality="suspect", seed=4),
    ]

    assert people_per_label(clips) == {"cup": 2, "tea": 1}


def test_a_held_out_person_is_on_one_side_only() -> None:
    clips = [make_clip(signer=signer, seed=seed) for seed, signer in enumerate(("ann", "bob", "eve", "bob"))]

    train, test = split_by_signer(clips, ["bob"])

    assert [clip.signer for clip in train] == ["ann", "eve"]
    assert [clip.signer for clip in test] == ["bob", "bob"]


def test_a_held_out_name_is_the_same_in_every_unicode_form() -> None:
    clips = [replace(make_clip("tea", seed=seed), signer=name) for seed, name in enumerate(("Zo\u00eb", "anna"))]

    train, test = split_by_signer(clips, ["Zoe\u0308"])

    assert ({clip.signer for clip in train}, {clip.signer for clip in test}) == ({"anna"}, {"Zoë"})


def test_a_split_by_somebody_who_is_not_there_is_refused() -> None:
    with pytest.raises(DatasetError, match="no clip of signer zoe"):
        split_by_signer([make_clip()], ["ann", "zoe"])


def test_somebody_must_be_left_to_train_on() -> None:
    with pytest.raises(DatasetError, match="nobody is left"):
        split_by_signer([make_clip()], ["ann"])


def test_a_recording_that_appears_again_under_another_name_is_refused() -> None:
    original = make_clip(signer="ann")
    renamed = replace(original, signer="bob", clip_id="new", label="tea")

    with pytest.raises(DatasetError, match="1 recordings are on both sides"):
        split_by_signer([original, renamed], ["bob"])


def test_a_copy_is_found_whatever_its_name_label_and_signer() -> None:
    first, other = make_clip(seed=0), make_clip(seed=1)
    copy = replace(first, landmarks=first.landmarks.copy(), signer="bob", clip_id="x", label="tea")

    assert find_copies([first, other, copy]) == [[0, 2]]
    assert find_copies([first, other]) == []


def test_a_missing_hand_makes_another_recording() -> None:
    clip = make_clip()
    without = replace(clip, landmarks=clip.landmarks.copy())
    without.landmarks[:, LEFT_HAND] = np.nan

    assert fingerprint(clip) != fingerprint(without)


def test_a_data_set_has_one_fingerprint_in_any_order_and_another_with_other_labels() -> None:
    clips = [make_clip(seed=seed) for seed in range(3)]

    assert data_fingerprint(clips) == data_fingerprint(clips[::-1])
    assert data_fingerprint(clips) != data_fingerprint([*clips[:2], replace(clips[2], label="tea")])
    assert data_fingerprint(clips) != data_fingerprint(clips[:2])
