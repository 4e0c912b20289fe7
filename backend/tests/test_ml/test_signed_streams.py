import numpy as np
import pytest

from app.ml.errors import DatasetError
from app.ml.evaluation.signed_streams import StreamStyle, build_stream, cut_stream, resample
from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, POSE, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.recordings.clips import Clip, default_times_ms
from tests.parametric_signer import IDLE, make_clips, make_person, perform_sign


def test_a_stream_holds_every_sign_in_order_with_transit_between() -> None:
    clips = make_clips(num_people=1, takes=1, labels=("sun", "rain", "stone"))
    stream = build_stream(clips, seed=1, style=StreamStyle(signs_between_rests=(9, 9)))

    assert [made.label for made in stream.signs] == ["sun", "rain", "stone"]
    for before, after in zip(stream.signs, stream.signs[1:], strict=False):
        assert 300.0 <= after.start_ms - before.end_ms <= 600.0
    assert stream.signs[0].start_ms > 300.0
    assert stream.clip.duration_ms > stream.signs[-1].end_ms + 300.0


def test_hands_are_in_view_during_signs_and_away_at_rest() -> None:
    stream = build_stream(make_clips(num_people=1, takes=1, labels=("rain",)), seed=1)
    has_hand = np.isfinite(stream.clip.landmarks[:, (LEFT_HAND.start, RIGHT_HAND.start), 0]).any(axis=1)
    made = stream.signs[0]
    during = (stream.clip.times_ms > made.start_ms) & (stream.clip.times_ms < made.end_ms)

    assert has_hand[during].mean() > 0.9
    assert not has_hand[:10].any()
    assert not has_hand[-10:].any()
    assert np.isfinite(stream.clip.landmarks[:, POSE]).all()


@pytest.mark.parametrize("fps", [8.0, 15.0, 30.0])
def test_the_frame_rate_does_not_change_what_was_signed_when(fps: float) -> None:
    clips = make_clips(num_people=1, takes=1, labels=("sun", "house"))
    stream = build_stream(clips, seed=4, fps=fps)

    assert stream.signs == build_stream(clips, seed=4, fps=60).signs
    assert np.median(np.diff(stream.clip.times_ms)) == pytest.approx(1000 / fps, rel=0.1)
    assert (np.diff(stream.clip.times_ms) > 0).all()


def test_people_of_different_sessions_are_brought_to_one_place_and_size() -> None:
    clips = [perform_sign(make_person(seed), "sun", width=w, height=h) for seed, w, h in ((1, 640, 480), (2, 540, 720))]
    landmarks = build_stream(clips, seed=1).clip.landmarks
    shoulders = landmarks[:, (LEFT_SHOULDER, RIGHT_SHOULDER), :2] * (640 / 480, 1.0)
    width = np.linalg.norm(shoulders[:, 0] - shoulders[:, 1], axis=1)

    np.testing.assert_allclose(width, 0.36, rtol=0.1)
    np.testing.assert_allclose(shoulders.mean(axis=(0, 1)), (0.5 * 640 / 480, 0.5), atol=0.02)
    assert np.abs(np.diff(landmarks[:, :13], axis=0)).max() < 0.05


def test_nothing_jumps_between_the_pieces() -> None:
    stream = build_stream(make_clips(num_people=1, takes=2, labels=("sun", "rain", "stone")), seed=2, fps=60)
    steps = np.linalg.norm(np.diff(stream.clip.landmarks[:, POSE, :2], axis=0), axis=2)

    assert steps.max() < 0.12  # 0.12 of the frame in 17 ms is as fast as a hand travels


def test_idle_movement_fills_the_rests() -> None:
    clips = make_clips(num_people=1, takes=1, labels=("sun",))
    still = build_stream(clips, seed=1)
    moving = build_stream(clips, seed=1, idle_clips=[perform_sign(make_person(7), IDLE, seed=1)])

    assert moving.clip.duration_ms > still.clip.duration_ms
    assert len(moving.signs) == 1


def test_clips_without_people_make_no_stream() -> None:
    empty = Clip(landmarks=np.full((5, 75, 3), np.nan, np.float32), times_ms=default_times_ms(5), label="sun")

    with pytest.raises(DatasetError, match="none of 1 clips"):
        build_stream([empty], seed=1)


def test_resampling_at_the_frames_times_changes_nothing() -> None:
    clip = perform_sign(make_person(1), "sun")

    np.testing.assert_allclose(resample(clip.landmarks, clip.times_ms, clip.times_ms), clip.landmarks, atol=1e-6)
    halfway = resample(clip.landmarks[:2], np.array([0.0, 10.0]), np.array([5.0, 99.0]))
    np.testing.assert_allclose(halfway[0, POSE], clip.landmarks[:2, POSE].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(halfway[1], clip.landmarks[1])


def test_a_cut_leaves_no_half_sign() -> None:
    stream = build_stream(make_clips(num_people=1, takes=3, labels=("sun", "rain", "stone")), seed=2)
    middle = stream.signs[4]
    inside = cut_stream(stream, (middle.start_ms + middle.end_ms) / 2)
    at_rest = cut_stream(stream, stream.signs[-1].end_ms + 700.0)

    assert inside.signs == stream.signs[:4]
    assert stream.signs[3].end_ms - 100.0 < inside.clip.times_ms[-1] < middle.start_ms - 250.0
    assert at_rest.signs == stream.signs
    with pytest.raises(DatasetError, match="first sign is in the way"):
        cut_stream(stream, 1.0)
