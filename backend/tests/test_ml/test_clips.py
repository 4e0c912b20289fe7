from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from app.ml.errors import ClipFileError, InvalidLandmarksError
from app.ml.landmarks.layout import LEFT_HAND, mirror
from app.ml.recordings.clips import Clip, default_times_ms, load_clip, load_dataset, save_clip, save_dataset
from app.ml.recordings.importers.npz_files import read_npz_files
from app.ml.recordings.importers.source import Skipped
from tests.full_disk import disk_with_room_for
from tests.parametric_signer import make_clips, make_person, perform_sign


def _save_alone(path: Path, clip: Clip) -> None:
    save_dataset(path, [clip])


def test_a_clip_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    clip = perform_sign(make_person(1), "sun", width=540, height=720)
    save_clip(tmp_path / "sun.npz", clip)

    loaded = load_clip(tmp_path / "sun.npz")

    np.testing.assert_array_equal(loaded.landmarks, clip.landmarks)
    np.testing.assert_array_equal(loaded.times_ms, clip.times_ms)
    assert (loaded.width, loaded.height) == (540, 720)
    assert (loaded.label, loaded.signer, loaded.clip_id) == ("sun", "person1", "person1/sun/0")
    assert loaded.language is None


def test_a_data_set_gives_back_what_was_saved_to_a_thirteenth_of_a_pixel(tmp_path: Path) -> None:
    clips = [*make_clips(num_people=2, takes=1), perform_sign(make_person(9), "rain", fps=8, width=720, height=1280)]
    save_dataset(tmp_path / "all.npz", clips)

    loaded = load_dataset(tmp_path / "all.npz")

    assert [(c.label, c.signer, c.clip_id, c.width, c.height) for c in loaded] == [
        (c.label, c.signer, c.clip_id, c.width, c.height) for c in clips
    ]
    for before, after in zip(clips, loaded, strict=True):
        np.testing.assert_allclose(after.landmarks, before.landmarks, atol=0.6 / 8192)
        np.testing.assert_array_equal(after.times_ms, before.times_ms)


def test_a_point_far_away_coarsens_no_clip_and_is_kept_itself(tmp_path: Path) -> None:
    near = perform_sign(make_person(1), "sun")
    landmarks = near.landmarks.copy()
    landmarks[:, 27] = (19.0, -12.0, 640.5)
    save_dataset(tmp_path / "far.npz", [near, replace(near, landmarks=landmarks, label=None)])

    loaded = load_dataset(tmp_path / "far.npz")

    for before, after in zip((near.landmarks, landmarks), loaded, strict=True):
        np.testing.assert_allclose(after.landmarks, before, atol=1.001 / 16384, rtol=0)
    assert loaded[1].label is None


def test_a_coordinate_that_cannot_be_stored_is_refused_with_its_clip(tmp_path: Path) -> None:
    near = perform_sign(make_person(1), "sun")
    wild = replace(near, landmarks=near.landmarks * np.float32(1e9), clip_id="take 7")

    with pytest.raises(ClipFileError, match=r"clip take 7 has a coordinate of .*; the limit is 262144"):
        save_dataset(tmp_path / "far.npz", [near, wild])

    assert list(tmp_path.iterdir()) == []


def test_a_data_set_may_have_a_scale_for_each_clip(tmp_path: Path) -> None:
    clips = make_clips(num_people=2, takes=1)[:2]
    save_dataset(tmp_path / "set.npz", clips)
    with np.load(tmp_path / "set.npz") as saved:
        arrays = {key: saved[key] for key in saved.files}
    arrays["scale"] = np.array([1 / 8192, 2 / 8192], np.float32)
    np.savez(tmp_path / "set.npz", **arrays)

    first, second = load_dataset(tmp_path / "set.npz")

    np.testing.assert_allclose(first.landmarks, clips[0].landmarks, atol=1.001 / 16384)
    np.testing.assert_allclose(second.landmarks, clips[1].landmarks * 2, atol=1.001 / 8192)


@pytest.mark.parametrize("write", [save_clip, _save_alone])
def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_half(
    tmp_path: Path, write: Callable[[Path, Clip], None]
) -> None:
    path = tmp_path / "clip.npz"
    old = perform_sign(make_person(1), "sun")
    write(path, old)

    with disk_with_room_for(2000), pytest.raises(OSError, match="File too large") as raised:
        write(path, perform_sign(make_person(2), "rain"))

    assert raised.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]
    assert load_dataset(path)[0].label == "sun"


@pytest.mark.parametrize(("dtype", "order"), [("<f2", "C"), ("<f8", "C"), (">f4", "C"), ("<f4", "F"), ("<f8", "F")])
def test_a_clip_may_be_stored_in_any_floating_point_type_and_order(
    tmp_path: Path, dtype: str, order: Literal["C", "F"]
) -> None:
    clip = perform_sign(make_person(1), "sun")
    np.savez(tmp_path / "clip.npz", landmarks=clip.landmarks.astype(dtype, order=order))

    loaded = load_clip(tmp_path / "clip.npz")

    np.testing.assert_allclose(loaded.landmarks, clip.landmarks, atol=2e-3)
    np.testing.assert_array_equal(loaded.times_ms, default_times_ms(clip.num_frames))


@pytest.mark.parametrize("write", [save_clip, _save_alone])
def test_points_of_zeros_are_read_as_missing(tmp_path: Path, write: Callable[[Path, Clip], None]) -> None:
    clip = perform_sign(make_person(1), "sun")
    landmarks = clip.landmarks.copy()
    landmarks[:, LEFT_HAND] = 0.0
    landmarks[3, 5] = 0.0
    landmarks[4, 5, 0] = 0.0  # a point on the picture's edge
    write(tmp_path / "clip.npz", replace(clip, landmarks=landmarks))

    (loaded,) = load_dataset(tmp_path / "clip.npz")

    assert np.isnan(loaded.landmarks[:, LEFT_HAND]).all()
    assert np.isnan(loaded.landmarks[3, 5]).all()
    assert np.isfinite(loaded.landmarks[4, 5]).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"times_ms": np.arange(40) / 20},
            r"40 frames in 1.95 ms; times_ms are milliseconds: multiply seconds by 1000",
        ),
        ({"times_ms": np.arange(40) * 50_000}, r"frames 50000 ms apart, .*microseconds"),
        ({"times_ms": np.array([*range(0, 1950, 50), 1000])}, r"frame 38 is at 1900, frame 39 at 1000: put the frames"),
        ({"times_ms": np.full(40, np.nan)}, "frame 0 has none"),
        ({"landmarks": np.ones((40, 75, 3), np.int64)}, r"must be fractions \(float16, float32 or float64\), is int64"),
        ({"landmarks": np.full((40, 75, 3), 1e200)}, "infinite"),
        ({"landmarks": np.array(0.5)}, r"shape is \(\)"),
        ({"width": 0, "height": 0}, "at least 1 pixel, is 0x0"),
    ],
)
def test_what_cannot_be_a_clip_is_refused_with_value_and_way_out(
    tmp_path: Path, changed: dict[str, NDArray[np.generic]], message: str
) -> None:
    landmarks = np.full((40, 75, 3), 0.5, np.float32)
    landmarks[:, 11, 0] = 0.8
    arrays: dict[str, Any] = {"landmarks": landmarks, "times_ms": np.arange(40) * 50.0, **changed}
    np.savez(tmp_path / "clip.npz", **arrays)

    with pytest.raises(ClipFileError, match=message):
        load_clip(tmp_path / "clip.npz")


def test_a_clip_in_pixels_is_refused(tmp_path: Path) -> None:
    clip = perform_sign(make_person(1), "sun")
    save_clip(tmp_path / "clip.npz", replace(clip, landmarks=clip.landmarks * np.float32(640.0)))

    with pytest.raises(ClipFileError, match=r"clip.npz: shoulders .* frame widths apart, .*divide pixels"):
        load_clip(tmp_path / "clip.npz")


def test_what_a_file_does_not_say_is_filled_in(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", landmarks=np.zeros((4, 75, 3)), times_ms=[0.0, 33.0, 67.0, 100.0])
    np.savez(
        tmp_path / "set.npz",
        landmarks_q=np.full((5, 75, 3), 8192, np.int16),
        scale=1 / 8192,
        lengths=[2, 3],
        labels=[0, 0],
        label_names=["hello"],
        signers=["a", "b"],
        clip_ids=["1", "2"],
    )

    clip, first, second = load_dataset(tmp_path)

    assert (clip.width, clip.height, clip.label) == (640, 480, None)
    assert (first.label, first.signer, second.signer) == ("hello", "a", "b")
    np.testing.assert_array_equal(second.times_ms, [0.0, 50.0, 100.0])
    assert (second.landmarks == 1.0).all()


def test_mirrored_recordings_are_unmirrored_when_read(tmp_path: Path) -> None:
    truth = perform_sign(make_person(1), "star")
    flipped = mirror(truth.landmarks)
    np.savez(tmp_path / "clip.npz", landmarks=flipped, times_ms=truth.times_ms, width=640, height=480, mirrored=True)
    save_dataset(tmp_path / "set.npz", [truth, truth])
    with np.load(tmp_path / "set.npz") as saved:
        arrays = {key: saved[key] for key in saved.files}
    arrays["mirrored"] = np.array([False, True])
    np.savez(tmp_path / "set.npz", **arrays)

    np.testing.assert_allclose(load_clip(tmp_path / "clip.npz").landmarks, truth.landmarks, atol=1e-6)
    plain, unmirrored = load_dataset(tmp_path / "set.npz")
    np.testing.assert_allclose(unmirrored.landmarks, mirror(plain.landmarks), atol=1e-6)


def test_one_language_may_stand_for_all_clips(tmp_path: Path) -> None:
    save_dataset(tmp_path / "set.npz", make_clips(num_people=1, takes=1))
    with np.load(tmp_path / "set.npz") as saved:
        arrays = {key: saved[key] for key in saved.files}
    np.savez(tmp_path / "set.npz", **{**arrays, "language": "ase"})

    assert {clip.language for clip in load_dataset(tmp_path / "set.npz")} == {"ase"}


GOOD = {"landmarks": np.zeros((3, 75, 3), np.float32), "times_ms": [0.0, 50.0, 100.0]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"landmarks": np.zeros((3, 33, 3))}, r"key 'landmarks': shape is \(3, 33, 3\), expected \[T, 75, 3\]"),
        ({"landmarks": np.zeros((0, 75, 3)), "times_ms": []}, "with T at least 1"),
        ({"landmarks": np.full((3, 75, 3), np.inf)}, "infinite"),
        ({"landmarks": np.full((3, 75, 3), "x")}, "key 'landmarks': must be fractions"),
        ({"times_ms": [0.0, 50.0]}, r"key 'times_ms': shape is \(2,\)"),
        ({"times_ms": [0.0, 50.0, 50.0]}, "strictly increasing"),
        ({"times_ms": [0.0, np.nan, 50.0]}, "strictly increasing"),
        ({"width": 0}, "key 'width': must be at least 1 pixel"),
        ({"height": "tall"}, "key 'height': must be a finite number"),
    ],
)
def test_a_wrong_clip_is_refused_with_the_key_and_the_reason(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    arrays = {key: np.asarray(value) for key, value in {**GOOD, **changes}.items()}
    np.savez(tmp_path / "clip.npz", **arrays)

    with pytest.raises(ClipFileError, match=message) as error:
        load_clip(tmp_path / "clip.npz")
    assert str(tmp_path / "clip.npz") in str(error.value)


def test_a_missing_key_is_named_beside_those_that_are_there(tmp_path: Path) -> None:
    np.savez(tmp_path / "clip.npz", frames=np.zeros(3))

    with pytest.raises(ClipFileError, match="key 'landmarks': missing; the file has frames"):
        load_clip(tmp_path / "clip.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lengths": [2, 2]}, "sum to the 5 frames"),
        ({"lengths": [5, 0]}, "must be positive"),
        ({"labels": [0, 7]}, "index 7 is past the 1 names"),
        ({"signers": ["a"] * 3}, r"key 'signers': shape is \(3,\), expected \(2,\)"),
        ({"times_ms": [0.0, 1.0]}, r"key 'times_ms': shape is \(2,\)"),
        ({"times_ms": [0.0, 1.0, 5.0, 4.0, 6.0]}, "of clip second: must be strictly increasing"),
        ({"landmarks_q": np.zeros((5, 3), np.int16)}, r"expected \[T, 75, 3\]"),
    ],
)
def test_a_wrong_data_set_is_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    good = {
        "landmarks_q": np.zeros((5, 75, 3), np.int16),
        "scale": 1 / 8192,
        "lengths": [2, 3],
        "labels": [0, 0],
        "label_names": ["hello"],
        "signers": ["a", "b"],
        "clip_ids": ["first", "second"],
    }
    np.savez(tmp_path / "set.npz", **{key: np.asarray(value) for key, value in {**good, **changes}.items()})

    with pytest.raises(ClipFileError, match=message):
        load_dataset(tmp_path / "set.npz")


def test_files_that_are_no_npz_are_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "pickle.npz", landmarks=np.array([{"a": 1}], dtype=object))
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "empty").mkdir()
    save_dataset(tmp_path / "whole.npz", make_clips(num_people=1, takes=1))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "whole.npz").read_bytes()[:2000])

    with pytest.raises(ClipFileError, match="no such file"):
        load_clip(tmp_path / "absent.npz")
    with pytest.raises(ClipFileError, match=r"text\.npz is no \.npz file; make one with"):
        load_clip(tmp_path / "text.npz")
    for name in ("pickle.npz", "cut.npz"):
        with pytest.raises(ClipFileError, match="not a readable"):
            load_clip(tmp_path / name)
    with pytest.raises(ClipFileError, match=r"scripts\.import_dataset"):
        load_clip(tmp_path / "one.npy")
    with pytest.raises(ClipFileError, match=r"holds no \.npz"):
        load_dataset(tmp_path / "empty")
    with pytest.raises(ClipFileError, match="this is a data set"):
        load_clip(tmp_path / "whole.npz")


def test_a_clip_that_does_not_fit_together_cannot_be_made() -> None:
    with pytest.raises(InvalidLandmarksError, match="times_ms"):
        Clip(landmarks=np.zeros((3, 75, 3), np.float32), times_ms=default_times_ms(2))


def test_an_empty_data_set_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one clip"):
        save_dataset(tmp_path / "none.npz", [])


def test_one_bad_recording_of_a_data_set_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    clips = make_clips(num_people=1, takes=1)[:3]
    save_dataset(tmp_path / "set.npz", clips)
    with np.load(tmp_path / "set.npz") as saved:
        arrays = {key: saved[key] for key in saved.files}
    arrays["times_ms"][clips[0].num_frames + 4] = 0.0
    np.savez(tmp_path / "set.npz", **arrays)

    items = list(read_npz_files([tmp_path]))

    assert [type(item) for item in items] == [Clip, Skipped, Clip]
    skipped = items[1]
    assert isinstance(skipped, Skipped)
    assert skipped.path == tmp_path / "set.npz" / str(clips[1].clip_id)
    assert "frame 3 is at" in skipped.reason
    with pytest.raises(ClipFileError, match=f"of clip {clips[1].clip_id}"):
        load_dataset(tmp_path)
