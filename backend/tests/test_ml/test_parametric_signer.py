import numpy as np
import pytest

from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, POSE, RIGHT_HAND, RIGHT_SHOULDER
from tests.parametric_signer import IDLE, LABELS, make_clips, make_person, perform_sign, perform_stream


def test_the_same_seeds_give_the_same_recording() -> None:
    first = perform_sign(make_person(3), "sun", seed=5)
    again = perform_sign(make_person(3), "sun", seed=5)
    other_take = perform_sign(make_person(3), "sun", seed=6)

    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    np.testing.assert_array_equal(first.times_ms, again.times_ms)
    assert not np.array_equal(first.landmarks[:10], other_take.landmarks[:10], equal_nan=True)


@pytest.mark.parametrize("label", LABELS)
def test_the_hand_that_signs_is_seen_and_both_are_gone_at_rest(label: str) -> None:
    person = make_person(0, is_left_handed=False)
    stream = perform_stream(person, (label,), fps=30)
    sign, clip = stream.signs[0], stream.clip
    during = (clip.times_ms >= sign.start_ms) & (clip.times_ms <= sign.end_ms)

    assert np.isfinite(clip.landmarks[during, RIGHT_HAND, 0]).mean() > 0.85
    assert np.isnan(clip.landmarks[:10, LEFT_HAND]).all()
    assert np.isnan(clip.landmarks[:10, RIGHT_HAND]).all()
    assert np.isfinite(clip.landmarks[:, POSE]).all()


def test_a_left_handed_person_signs_with_the_left_hand() -> None:
    clip = perform_sign(make_person(0, is_left_handed=True), "star")

    assert np.isfinite(clip.landmarks[:, LEFT_HAND]).any()
    assert np.isnan(clip.landmarks[:, RIGHT_HAND]).all()


def test_pictures_are_not_mirrored() -> None:
    landmarks = perform_sign(make_person(1), "sun").landmarks

    assert (landmarks[:, LEFT_SHOULDER, 0] > landmarks[:, RIGHT_SHOULDER, 0]).all()


def test_the_truth_of_a_stream_is_in_order_and_inside_it() -> None:
    stream = perform_stream(make_person(2), ("sun", "rain", "sun"), gap_ms=400.0)

    assert [sign.label for sign in stream.signs] == ["sun", "rain", "sun"]
    edges = [edge for sign in stream.signs for edge in (sign.start_ms, sign.end_ms)]
    assert edges == sorted(edges)
    assert edges[0] > 0
    assert edges[-1] < stream.clip.times_ms[-1]


@pytest.mark.parametrize("fps", [8.0, 30.0])
def test_frame_rate_changes_the_number_of_frames_not_the_time(fps: float) -> None:
    stream = perform_stream(make_person(2), ("house",), fps=fps)

    assert stream.clip.num_frames == pytest.approx(stream.clip.duration_ms / 1000 * fps, abs=2)
    assert (np.diff(stream.clip.times_ms) > 0).all()
    assert stream.signs == perform_stream(make_person(2), ("house",), fps=15).signs


def test_idle_takes_are_rest_or_a_fidget() -> None:
    rest = perform_sign(make_person(4), IDLE, seed=0)
    fidget = perform_sign(make_person(4), IDLE, seed=1)

    assert np.isnan(rest.landmarks[:, 33:]).all()
    assert np.isfinite(fidget.landmarks[:, 33:]).any()


def test_a_data_set_holds_every_person_label_and_take() -> None:
    clips = make_clips(num_people=2, takes=3, labels=("sun", IDLE))

    assert len(clips) == 12
    assert len({clip.clip_id for clip in clips}) == 12
    assert {clip.signer for clip in clips} == {"person0", "person1"}
