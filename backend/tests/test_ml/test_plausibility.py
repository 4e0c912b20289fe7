from dataclasses import replace

import numpy as np
import pytest

from app.ml.recordings.clips import Clip
from app.ml.recordings.plausibility import count_jumps, erase_impossible, find_implausible
from app.ml.types import FloatArray, TimesArray
from tests.parametric_signer import make_person, perform_sign

CLIP = perform_sign(make_person(1), "sun")


def judge(clip: Clip) -> str | None:
    return find_implausible(clip.landmarks, clip.times_ms, width=clip.width, height=clip.height)


@pytest.mark.parametrize("fps", [5, 15, 30, 240])
@pytest.mark.parametrize(("width", "height"), [(640, 480), (1920, 1080), (720, 1280)])
def test_a_recording_of_any_camera_is_plausible(fps: int, width: int, height: int) -> None:
    assert judge(perform_sign(make_person(2), "rain", fps=fps, width=width, height=height)) is None


@pytest.mark.parametrize("factor", [0.1, 0.5, 2.0])
def test_somebody_near_or_far_is_plausible(factor: float) -> None:
    assert judge(replace(CLIP, landmarks=CLIP.landmarks * np.float32(factor))) is None


def test_a_recording_of_hands_alone_or_of_one_frame_is_plausible() -> None:
    hands = CLIP.landmarks.copy()
    hands[:, :33] = np.nan

    assert judge(replace(CLIP, landmarks=hands)) is None
    assert judge(replace(CLIP, landmarks=CLIP.landmarks[:1], times_ms=CLIP.times_ms[:1])) is None


def test_single_points_that_cannot_be_right_are_made_missing_and_counted() -> None:
    landmarks = CLIP.landmarks.copy()
    landmarks[3, 15] = (0.5, 37.0, 0.0)

    repaired, num_erased = erase_impossible(landmarks)

    assert num_erased == 1
    assert np.isnan(repaired[3, 15]).all()
    assert np.isnan(repaired).sum() == np.isnan(landmarks).sum() + 3
    assert judge(replace(CLIP, landmarks=repaired)) is None


@pytest.mark.parametrize("value", [1e4, -7e8], ids=["far", "absurd"])
def test_one_absurd_value_is_no_accident(value: float) -> None:
    landmarks = CLIP.landmarks.copy()
    landmarks[3, 15, 1] = value

    assert erase_impossible(landmarks) == (landmarks, 0)
    assert "has a coordinate of" in str(judge(replace(CLIP, landmarks=landmarks)))


def test_a_recording_that_is_far_away_as_a_whole_is_left_to_be_refused() -> None:
    moved = CLIP.landmarks + np.float32(30)

    assert erase_impossible(moved)[1] == 0


def test_hands_alone_in_pixels_are_told_by_their_furthest_point() -> None:
    hands = CLIP.landmarks * np.float32(640)
    hands[:, :33] = np.nan

    assert "has a coordinate of" in str(judge(replace(CLIP, landmarks=hands)))


@pytest.mark.parametrize(
    ("factor", "shift", "reason"),
    [
        (640.0, 0.0, "frame widths apart, the limit is 2"),
        (1 / 640, 0.0, "the limit is 0.01"),
        (1.0, 300.0, "has a coordinate of 3"),
    ],
)
def test_coordinates_in_other_units_are_named_with_number_and_limit(factor: float, shift: float, reason: str) -> None:
    points = (CLIP.landmarks * factor + np.array([0.0, 0.0, shift])).astype(np.float32)

    assert reason in str(judge(replace(CLIP, landmarks=points)))


def test_one_bad_frame_of_shoulders_does_not_condemn_a_recording() -> None:
    points = CLIP.landmarks.copy()
    points[3, 11] = 5.0

    assert judge(replace(CLIP, landmarks=points)) is None


def test_thirty_frames_in_a_millisecond_are_seconds() -> None:
    clip = replace(CLIP, landmarks=CLIP.landmarks[:30], times_ms=np.arange(30) * 0.05)

    assert judge(clip) == "30 frames in 1.45 ms; times_ms are milliseconds: multiply seconds by 1000"


def test_a_body_that_is_elsewhere_in_the_next_frame_is_counted() -> None:
    clip = perform_sign(make_person(1), "sun")
    two = clip.landmarks.copy()
    two[10:20, :, 0] += 0.9

    def count(landmarks: FloatArray, times_ms: TimesArray = clip.times_ms) -> int:
        return count_jumps(landmarks, times_ms, width=clip.width, height=clip.height)

    assert count(clip.landmarks) == 0
    assert count(two) == 2
    assert count(two, clip.times_ms * 20) == 0  # there was time to walk
    assert count(np.full_like(two, np.nan)) == 0
