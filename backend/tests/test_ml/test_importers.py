from pathlib import Path

import numpy as np
import pytest

from app.ml.errors import DatasetError
from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND, mirror
from app.ml.recordings.clips import Clip, save_clip, save_dataset
from app.ml.recordings.importers.conversion import Camera, SourceFormat, detect_format, import_clips, open_importer
from app.ml.recordings.importers.mp_data import to_landmarks
from app.ml.recordings.importers.source import Naming, Skipped, load_map
from app.ml.recordings.importers.videos import VideoImporter
from tests.parametric_signer import make_clips, make_person, perform_sign
from tests.recordings_of_others import write_asl_signs, write_mp_data, write_pose_file

CAMERA = Camera()


def read(path: Path, camera: Camera = CAMERA, **naming: object) -> list[Clip]:
    importer = open_importer(path, SourceFormat.AUTO, camera)
    return list(import_clips(importer, naming=Naming(**naming), camera=camera).clips)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("num_values", [1662, 258, 225])
def test_mp_data_of_every_size_gives_the_same_landmarks(num_values: int, tmp_path: Path) -> None:
    clip = perform_sign(make_person(1), "sun")
    write_mp_data(tmp_path, {"Sun": [clip]}, num_values=num_values)

    (imported,) = read(tmp_path, signer="anna", language="ase")

    np.testing.assert_allclose(imported.landmarks, clip.landmarks, atol=1e-6)
    assert (imported.label, imported.signer, imported.language) == ("sun", "anna", "ase")
    np.testing.assert_array_equal(imported.times_ms[:3], [0.0, 50.0, 100.0])


def test_zeros_become_missing_only_when_a_whole_part_is_zero() -> None:
    values = np.ones((2, 225))
    values[0, :99] = 0.0
    values[1, 99:162] = 0.0
    values[1, 0] = 0.0
    landmarks = to_landmarks(values)

    assert np.isnan(landmarks[0, POSE]).all()
    assert np.isnan(landmarks[1, LEFT_HAND]).all()
    assert landmarks[1, 0, 0] == 0.0
    assert np.isfinite(landmarks[:, RIGHT_HAND]).all()


def test_mp_data_frames_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (0, 1, 2, 10, 11):
        (tmp_path / "a" / "0").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "a" / "0" / f"{number}.npy", np.full(225, number + 1.0))

    (clip,) = read(tmp_path, Camera(frame_ms=40.0))

    np.testing.assert_array_equal(clip.landmarks[:, 0, 0], [1, 2, 3, 11, 12])
    np.testing.assert_array_equal(clip.times_ms, [0.0, 40.0, 80.0, 400.0, 440.0])


def test_broken_sequences_are_skipped_with_the_reason(tmp_path: Path) -> None:
    write_mp_data(tmp_path, {"sun": [perform_sign(make_person(1), "sun")] * 2}, num_values=225)
    np.save(tmp_path / "sun" / "1" / "0.npy", np.zeros(63))
    (tmp_path / "sun" / "2").mkdir()
    (tmp_path / "sun" / "2" / "0.npy").write_bytes(b"no array")
    importer = open_importer(tmp_path, SourceFormat.MP_DATA, CAMERA)
    items = list(importer.read())

    assert importer.count() == len(items) == 3
    assert [type(item) for item in items] == [Clip, Skipped, Skipped]
    assert isinstance(items[1], Skipped)
    assert "different sizes: [63, 225]" in items[1].reason


def test_pose_files_give_the_landmarks_and_times_that_were_written(tmp_path: Path) -> None:
    clip = perform_sign(make_person(2), "rain", fps=25, width=540, height=720)
    (tmp_path / "rain").mkdir()
    write_pose_file(tmp_path / "rain" / "take1.pose", clip, fps=25)

    (imported,) = read(tmp_path)

    np.testing.assert_allclose(imported.landmarks, clip.landmarks, atol=1e-5)
    assert (imported.width, imported.height, imported.label, imported.clip_id) == (540, 720, "rain", "take1")
    np.testing.assert_allclose(np.diff(imported.times_ms), 40.0)


def test_a_pose_file_of_another_model_is_skipped(tmp_path: Path) -> None:
    write_pose_file(tmp_path / "a.pose", perform_sign(make_person(2), "rain"), fps=25, names=("pose_keypoints_2d",))
    (tmp_path / "b.pose").write_bytes(b"nothing")
    items = list(open_importer(tmp_path, SourceFormat.AUTO, CAMERA).read())

    assert all(isinstance(item, Skipped) for item in items)
    assert "needs MediaPipe Holistic's" in str(items[0])
    assert "not a readable .pose file" in str(items[1])


def test_asl_signs_gives_landmarks_labels_and_people(tmp_path: Path) -> None:
    clips = make_clips(num_people=2, takes=1, labels=("sun", "stone"))
    write_asl_signs(tmp_path, clips)

    imported = read(tmp_path)

    assert [(clip.label, clip.signer) for clip in imported] == [(clip.label, clip.signer) for clip in clips]
    for ours, theirs in zip(clips, imported, strict=True):
        np.testing.assert_allclose(theirs.landmarks, ours.landmarks, atol=1e-6)


def test_asl_signs_says_which_file_or_column_is_missing(tmp_path: Path) -> None:
    write_asl_signs(tmp_path, make_clips(num_people=1, takes=1, labels=("sun", "stone")))
    next(tmp_path.rglob("*.parquet")).unlink()
    items = list(open_importer(tmp_path, SourceFormat.ASL_SIGNS, CAMERA).read())
    assert sorted(type(item).__name__ for item in items) == ["Clip", "Skipped"]

    (tmp_path / "train.csv").write_text("path,sign\na,b\n")
    with pytest.raises(DatasetError, match="has no column participant_id, sequence_id"):
        list(open_importer(tmp_path, SourceFormat.ASL_SIGNS, CAMERA).read())


def test_videos_take_label_and_signer_from_their_folders(tmp_path: Path) -> None:
    for name in ("sun/a.mp4", "rain/anna/b.MOV", "loose.mp4", "sun/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    sun = perform_sign(make_person(1), "sun")

    def extract(path: Path, *, label: str, signer: str | None) -> Clip:
        return Clip(landmarks=sun.landmarks, times_ms=sun.times_ms, label=label, signer=signer, clip_id=path.name)

    assert detect_format(tmp_path) is SourceFormat.VIDEOS
    items = list(VideoImporter(tmp_path, extract=extract).read())

    clips = {item.clip_id: (item.label, item.signer) for item in items if isinstance(item, Clip)}
    assert clips == {"a.mp4": ("sun", None), "b.MOV": ("rain", "anna")}
    assert sum(isinstance(item, Skipped) for item in items) == 1


def test_flipped_recordings_are_unmirrored(tmp_path: Path) -> None:
    clip = perform_sign(make_person(1), "sun")
    flipped = Clip(landmarks=mirror(clip.landmarks), times_ms=clip.times_ms)
    write_mp_data(tmp_path, {"sun": [flipped]}, num_values=258)

    (imported,) = read(tmp_path, Camera(mirrored=True))

    np.testing.assert_allclose(imported.landmarks, clip.landmarks, atol=1e-6)


def test_copies_are_dropped_and_conflicting_labels_reported(tmp_path: Path) -> None:
    sun, rain = perform_sign(make_person(1), "sun"), perform_sign(make_person(1), "rain")
    write_mp_data(tmp_path, {"sun": [sun, sun], "rain": [rain, sun]}, num_values=225)
    importer = open_importer(tmp_path, SourceFormat.AUTO, CAMERA)
    result = import_clips(importer, naming=Naming(), camera=CAMERA)

    assert result.conflicts == (("rain/rain/1", "sun/sun/0", "sun/sun/1"),)
    assert result.num_copies == 0
    write_mp_data(tmp_path / "again", {"sun": [sun, sun]}, num_values=225)
    again = import_clips(open_importer(tmp_path / "again", SourceFormat.AUTO, CAMERA), naming=Naming(), camera=CAMERA)
    assert (len(again.clips), again.num_copies) == (1, 1)


def test_single_clips_in_folders_by_label_become_one_data_set(tmp_path: Path) -> None:
    for number, clip in enumerate(make_clips(num_people=2, takes=1, labels=("sun", "rain"))):
        folder = tmp_path / str(clip.label)
        folder.mkdir(exist_ok=True)
        save_clip(folder / f"{number}.npz", clip)

    clips = read(tmp_path)

    assert sorted((clip.label, clip.signer) for clip in clips) == [
        ("rain", "person0"), ("rain", "person1"), ("sun", "person0"), ("sun", "person1"),
    ]  # fmt: skip


def test_maps_rename_and_leave_out(tmp_path: Path) -> None:
    save_dataset(tmp_path / "in.npz", make_clips(num_people=2, takes=1, labels=("sun", "rain", "stone")))
    (tmp_path / "labels.csv").write_text("sun,soleil\nstone,\n")
    labels = load_map(tmp_path / "labels.csv")

    clips = read(tmp_path / "in.npz", labels=labels, signers={"person0": "anna"})

    assert {clip.label for clip in clips} == {"soleil", "rain"}
    assert {clip.signer for clip in clips} == {"anna", "person1"}


def test_a_map_with_other_columns_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("sun,soleil\na,b,c\n")

    with pytest.raises(DatasetError, match="line 2: 3 columns"):
        load_map(tmp_path / "labels.csv")
    with pytest.raises(DatasetError, match="cannot be read"):
        load_map(tmp_path / "absent.csv")


def test_nothing_known_is_refused_with_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file or folder"):
        detect_format(tmp_path / "absent")
    with pytest.raises(DatasetError, match=r"no known layout; known are \.npz"):
        detect_format(tmp_path)
    with pytest.raises(DatasetError, match=r"no ACTION/SEQUENCE/FRAME\.npy below it"):
        read_mp_data_of(tmp_path)


def read_mp_data_of(path: Path) -> None:
    importer = open_importer(path, SourceFormat.MP_DATA, CAMERA)
    import_clips(importer, naming=Naming(), camera=CAMERA)


def test_a_sequence_in_one_array_is_read_too(tmp_path: Path) -> None:
    (tmp_path / "sun").mkdir()
    np.save(tmp_path / "sun" / "take.npy", np.full((4, 225), 0.5))

    (clip,) = read(tmp_path)

    assert (clip.label, clip.num_frames, clip.clip_id) == ("sun", 4, "sun/take")
