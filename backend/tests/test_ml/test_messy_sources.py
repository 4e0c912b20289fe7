"""Sources as people really have them: names of every script, stray files, broken recordings among good ones."""

import csv
import os
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from app.ml.errors import ClipFileError, DatasetError
from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND
from app.ml.recordings.clips import Clip, save_clip, save_dataset
from app.ml.recordings.importers.conversion import (
    Camera,
    Imported,
    SourceFormat,
    detect_format,
    find_unread,
    import_clips,
    open_importer,
)
from app.ml.recordings.importers.npz_files import load_usable
from app.ml.recordings.importers.source import Naming, Skipped, load_map
from app.ml.recordings.importers.videos import VideoImporter
from tests.parametric_signer import make_person, perform_sign
from tests.recordings_of_others import write_asl_signs, write_pose_file

CAMERA = Camera()
SUN = perform_sign(make_person(1), "sun")
Write = Callable[[Path, Sequence[tuple[str, Clip]]], None]


def imported(path: Path, **naming: object) -> Imported:
    importer = open_importer(path, SourceFormat.AUTO, CAMERA)
    return import_clips(importer, naming=Naming(**naming), camera=CAMERA)  # pyright: ignore[reportArgumentType]


def variants(count: int) -> list[Clip]:
    return [perform_sign(make_person(1), "sun", seed=seed) for seed in range(count)]


def as_mp_data(root: Path, items: Sequence[tuple[str, Clip]]) -> None:
    for number, (label, clip) in enumerate(items):
        folder = root / label / str(number)
        folder.mkdir(parents=True)
        for frame, points in enumerate(np.nan_to_num(clip.landmarks).reshape(clip.num_frames, -1)):
            np.save(folder / f"{frame}.npy", points)


def as_pose(root: Path, items: Sequence[tuple[str, Clip]]) -> None:
    for number, (label, clip) in enumerate(items):
        (root / label).mkdir(parents=True, exist_ok=True)
        write_pose_file(root / label / f"{number}.pose", clip, fps=20)


def as_asl_signs(root: Path, items: Sequence[tuple[str, Clip]]) -> None:
    root.mkdir(exist_ok=True)
    write_asl_signs(root, [replace(clip, label=label, signer="anna") for label, clip in items])


def as_clips(root: Path, items: Sequence[tuple[str, Clip]]) -> None:
    for number, (label, clip) in enumerate(items):
        (root / label).mkdir(parents=True, exist_ok=True)
        save_clip(root / label / f"{number}.npz", replace(clip, label=label))


def as_data_set(root: Path, items: Sequence[tuple[str, Clip]]) -> None:
    root.mkdir(exist_ok=True)
    save_dataset(root / "all.npz", [replace(clip, label=label) for label, clip in items])


every_layout = pytest.mark.parametrize("write", [as_mp_data, as_pose, as_asl_signs, as_clips, as_data_set])
folder_layouts = pytest.mark.parametrize("write", [as_mp_data, as_pose, as_clips])


@every_layout
def test_labels_of_every_script_come_through_every_layout(write: Write, tmp_path: Path) -> None:
    labels = ["J", "niño", unicodedata.normalize("NFD", "Ñu"), "고맙습니다", "C++", "C#", "Ä"]
    write(tmp_path / "in", list(zip(labels, variants(len(labels)), strict=True)))

    found = imported(tmp_path / "in")

    assert sorted(str(clip.label) for clip in found.clips) == sorted(
        ["letter_j", "niño", "ñu", "고맙습니다", "c++", "c#", "letter_ä"]
    )
    assert (found.nameless, found.num_left_out) == ((), 0)


@every_layout
def test_two_labels_that_would_become_one_are_refused_with_both_names(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "in", list(zip(["Thank You", "sun", "thank-you"], variants(3), strict=True)))

    with pytest.raises(DatasetError, match=r"'Thank You' and 'thank-you' would both become 'thank_you'.*--labels"):
        imported(tmp_path / "in")

    joined = imported(tmp_path / "in", labels={"thank-you": "thank_you"})
    assert sorted(str(clip.label) for clip in joined.clips) == ["sun", "thank_you", "thank_you"]
    apart = imported(tmp_path / "in", labels={"thank-you": "thanks"})
    assert sorted(str(clip.label) for clip in apart.clips) == ["sun", "thank_you", "thanks"]


def test_labels_that_would_become_one_are_refused_before_a_video_is_read(tmp_path: Path) -> None:
    for name in ("Thank You/a.mp4", "thank_you/anna/b.mp4"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()

    def extract(path: Path, *, label: str, signer: str | None) -> Clip:
        raise AssertionError(path, label, signer)

    with pytest.raises(DatasetError, match="'Thank You' and 'thank_you' would both become 'thank_you'"):
        import_clips(VideoImporter(tmp_path, extract=extract), naming=Naming(), camera=CAMERA)


def test_one_video_that_cannot_be_read_ends_nothing_and_hidden_ones_are_no_videos(tmp_path: Path) -> None:
    for name in ("안녕/1.mp4", "안녕/front/2.MOV", "niño/3.mp4", "niño/._3.mp4", ".trash/4.mp4", "empty/5.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    clips = dict(zip(("1", "2"), variants(2), strict=True))

    def extract(path: Path, *, label: str, signer: str | None) -> Clip:
        if path.stem == "5":
            return replace(SUN, landmarks=np.full_like(SUN.landmarks, np.nan), label=label)
        if path.stem not in clips:
            msg = "cannot be decoded"
            raise ValueError(msg)
        return replace(clips[path.stem], label=label, signer=signer)

    found = import_clips(VideoImporter(tmp_path, extract=extract), naming=Naming(), camera=CAMERA)

    assert [(clip.label, clip.signer) for clip in found.clips] == [("안녕", None), ("안녕", "front")]
    assert [(item.path.name, item.reason) for item in found.skipped] == [("3.mp4", "cannot be decoded")]
    assert [item.path.name for item in found.empty] == ["5.mp4"]


def test_the_same_name_typed_on_two_systems_is_one_label(tmp_path: Path) -> None:
    as_clips(tmp_path / "in", [("niño", variants(2)[0]), (unicodedata.normalize("NFD", "niño"), variants(2)[1])])

    found = imported(tmp_path / "in")

    assert [clip.label for clip in found.clips] == ["niño", "niño"]


@every_layout
def test_a_name_that_cannot_be_kept_is_told_and_counted_apart_from_what_the_map_leaves_out(
    write: Write, tmp_path: Path
) -> None:
    write(tmp_path / "in", list(zip(["sun", "---", "su\u200bn", "rain"], variants(4), strict=True)))

    found = imported(tmp_path / "in", labels={"rain": ""})

    assert [clip.label for clip in found.clips] == ["sun"]
    assert (len(found.nameless), found.num_left_out, len(found.skipped)) == (2, 1, 0)
    reasons = " ".join(item.reason for item in found.nameless)
    assert "name '---' has no letter" in reasons
    assert r"name 'su\u200bn' has the character U+200B" in reasons


def test_a_map_gives_a_name_to_what_has_none(tmp_path: Path) -> None:
    as_clips(tmp_path / "in", list(zip(["---", "su\u200bn"], variants(2), strict=True)))
    (tmp_path / "map.csv").write_text("---,pause\nsu\u200bn,sun\n", encoding="utf-8")

    found = imported(tmp_path / "in", labels=load_map(tmp_path / "map.csv"))

    assert sorted(str(clip.label) for clip in found.clips) == ["pause", "sun"]


def test_a_folder_whose_name_is_no_utf8_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    first, second = variants(2)
    as_clips(tmp_path / "in", [("sun", first)])
    folder = tmp_path / "in" / os.fsdecode(b"h\xf6ren")
    folder.mkdir()
    save_clip(folder / "1.npz", replace(second, label=None))

    assert len(imported(tmp_path / "in").clips) == 2  # the label is in the file, the folder's name does not matter

    as_pose(tmp_path / "pose", [("sun", first), (folder.name, second)])
    found = imported(tmp_path / "pose")
    assert [clip.label for clip in found.clips] == ["sun"]
    assert "U+DCF6, a byte that is no UTF-8 text" in found.nameless[0].reason


@every_layout
def test_one_broken_recording_is_named_and_the_others_are_imported(write: Write, tmp_path: Path) -> None:
    first, second, third = variants(3)
    write(tmp_path / "in", [("sun", first), ("rain", second), ("stone", third)])
    broken = {
        "as_mp_data": "rain/1", "as_pose": "rain/1.pose", "as_clips": "rain/1.npz", "as_data_set": "other.npz",
        "as_asl_signs": "train_landmark_files/anna/1001.parquet",
    }[getattr(write, "__name__", "")]  # fmt: skip
    path = tmp_path / "in" / broken
    (path / "3.npy" if path.is_dir() else path).write_bytes(b"broken")

    found = imported(tmp_path / "in")

    assert len(found.clips) == (3 if broken == "other.npz" else 2)
    assert [item.path for item in found.skipped] == [path]
    assert "\n" not in found.skipped[0].reason


@folder_layouts
def test_hidden_files_and_litter_are_no_data_in_any_layout(write: Write, tmp_path: Path) -> None:
    write(tmp_path / "in", [("sun", SUN)])
    (good,) = [path for path in (tmp_path / "in").rglob("*") if path.stem == "0" and path.is_file()]
    for litter in (
        good.with_name(f"._{good.name}"), good.with_name("Thumbs.db"),
        tmp_path / "in" / "__MACOSX" / "sun" / "0" / good.name, tmp_path / "in" / ".DS_Store",
        good.parent / ".ipynb_checkpoints" / good.name,
    ):  # fmt: skip
        litter.parent.mkdir(parents=True, exist_ok=True)
        litter.write_bytes(b"\x00\x05\x16\x07")
    source = detect_format(tmp_path / "in")

    found = imported(tmp_path / "in")

    assert (len(found.clips), found.skipped, found.empty) == (1, (), ())
    assert find_unread(tmp_path / "in", source, open_importer(tmp_path / "in", source, CAMERA)) == []


def test_files_that_are_not_looked_at_are_named(tmp_path: Path) -> None:
    as_mp_data(tmp_path / "in", [("sun", SUN)])
    for name in ("readme.txt", "sun/0/movie.mp4", "sun/take.npz"):
        (tmp_path / "in" / name).touch()
    importer = open_importer(tmp_path / "in", SourceFormat.MP_DATA, CAMERA)

    unread = find_unread(tmp_path / "in", SourceFormat.MP_DATA, importer)

    assert [path.name for path in unread] == ["readme.txt", "movie.mp4", "take.npz"]


def test_parquet_files_that_the_table_does_not_list_are_named(tmp_path: Path) -> None:
    as_asl_signs(tmp_path, [("sun", SUN)])
    (tmp_path / "train_landmark_files" / "other.parquet").touch()
    importer = open_importer(tmp_path, SourceFormat.AUTO, CAMERA)

    assert [path.name for path in find_unread(tmp_path, SourceFormat.ASL_SIGNS, importer)] == ["other.parquet"]


@pytest.mark.parametrize(
    "pattern", ["{}", "frame_{}", "img_{:03d}_left", "take2_frame_{}", "2024-frame-{}-of-300", "{} (1)"]
)
def test_frames_come_in_the_order_of_the_number_in_their_names_and_missing_ones_are_a_gap(
    pattern: str, tmp_path: Path
) -> None:
    numbers = [1, 2, 9, 10, 11, 100]
    folder = tmp_path / "sun" / "0"
    folder.mkdir(parents=True)
    for number, frame in zip(numbers, SUN.landmarks, strict=False):
        np.save(folder / f"{pattern.format(number)}.npy", np.nan_to_num(frame).reshape(-1))

    (clip,) = imported(tmp_path).clips

    np.testing.assert_array_equal(clip.landmarks, SUN.landmarks[:6])
    np.testing.assert_array_equal(clip.times_ms, [0.0, 50.0, 400.0, 450.0, 500.0, 4950.0])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("first", "second"), "do not share"),
        (("frame_1", "frame_2", "mean"), "do not share"),
        (("1_left", "1_right"), "do not share"),
        (("1", "01"), r"01\.npy and 1\.npy are both frame 1"),
    ],
)
def test_frames_without_an_order_are_refused_by_name(names: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    (tmp_path / "sun" / "0").mkdir(parents=True)
    for name in names:
        np.save(tmp_path / "sun" / "0" / f"{name}.npy", np.full(225, 0.5))

    with pytest.raises(DatasetError, match=reason):
        imported(tmp_path)


def test_frames_of_a_flat_folder_are_refused_with_the_layout_that_is_expected(tmp_path: Path) -> None:
    (tmp_path / "sun").mkdir()
    for number in range(3):
        np.save(tmp_path / "sun" / f"{number}.npy", np.full(1662, 0.5))

    with pytest.raises(DatasetError, match=r"sun: 3 arrays such as 0\.npy lie directly in it; expected is ACTION/SEQ"):
        imported(tmp_path)

    as_mp_data(tmp_path, [("rain", SUN)])
    found = imported(tmp_path)
    assert [clip.label for clip in found.clips] == ["rain"]
    assert [item.path.name for item in found.skipped] == ["sun"]


def keep_frames(path: Path, numbers: dict[int, int]) -> None:
    """Keep some frames of a parquet file, under other numbers."""
    table = parquet.read_table(path)
    frames = table["frame"].to_numpy() - 20
    keep = np.isin(frames, list(numbers))
    columns = {name: table[name].filter(pa.array(keep)) for name in table.column_names}
    columns["frame"] = pa.array([numbers[frame] for frame in frames[keep]])
    parquet.write_table(pa.table(columns), path)


def test_missing_frames_of_a_parquet_file_are_a_gap(tmp_path: Path) -> None:
    as_asl_signs(tmp_path, [("sun", SUN)])
    keep_frames(next(tmp_path.rglob("*.parquet")), {0: 7, 1: 8, 2: 9, 9: 16})

    (clip,) = imported(tmp_path).clips

    np.testing.assert_allclose(clip.landmarks, SUN.landmarks[[0, 1, 2, 9]], atol=1e-6)
    np.testing.assert_array_equal(clip.times_ms, [0.0, 50.0, 100.0, 450.0])


def test_a_wild_frame_number_costs_no_memory_and_is_told_with_the_limit(tmp_path: Path) -> None:
    as_asl_signs(tmp_path, [("sun", SUN), ("rain", variants(1)[0])])
    keep_frames(tmp_path / "train_landmark_files" / "anna" / "1000.parquet", {0: 0, 1: 1_000_000_000, 2: 2_000_000_000})

    found = imported(tmp_path)

    assert [clip.label for clip in found.clips] == ["rain"]
    assert "frames 5e+10 ms apart, the limit is 1000" in found.skipped[0].reason


@every_layout
def test_points_that_a_detector_wrote_as_zeros_are_missing(write: Write, tmp_path: Path) -> None:
    points = SUN.landmarks.copy()
    points[:, LEFT_HAND] = 0.0
    points[:3, 25:33] = 0.0
    write(tmp_path / "in", [("sun", replace(SUN, landmarks=points))])

    (clip,) = imported(tmp_path / "in").clips

    assert np.isnan(clip.landmarks[:, LEFT_HAND]).all()
    assert np.isnan(clip.landmarks[:3, 25:33]).all()
    np.testing.assert_allclose(clip.landmarks[3:, POSE], SUN.landmarks[3:, POSE], atol=1e-4)
    np.testing.assert_allclose(clip.landmarks[:, RIGHT_HAND], SUN.landmarks[:, RIGHT_HAND], atol=1e-4)


def test_points_of_confidence_zero_are_missing_one_by_one(tmp_path: Path) -> None:
    points = SUN.landmarks.copy()
    points[2:, 27] = np.nan
    write_pose_file(tmp_path / "a.pose", replace(SUN, landmarks=points), fps=20)

    (clip,) = imported(tmp_path).clips

    np.testing.assert_allclose(clip.landmarks, points, atol=1e-5)


@every_layout
def test_clips_in_which_nobody_is_seen_are_left_out_and_counted(write: Write, tmp_path: Path) -> None:
    nobody = replace(SUN, landmarks=np.full_like(SUN.landmarks, np.nan))
    write(tmp_path / "in", [("sun", SUN), ("rain", nobody)])

    found = imported(tmp_path / "in")

    assert [clip.label for clip in found.clips] == ["sun"]
    assert [item.reason for item in found.empty] == ["has no landmark in any frame"]
    assert found.skipped == ()


def test_folders_that_were_made_for_recordings_and_hold_none_are_counted_as_empty(tmp_path: Path) -> None:
    as_mp_data(tmp_path, [("sun", SUN)])
    (tmp_path / "sun" / "1").mkdir()

    assert imported(tmp_path).empty == (Skipped(path=tmp_path / "sun" / "1", reason="holds no frame", is_empty=True),)


def test_recordings_of_the_same_name_get_names_of_their_own(tmp_path: Path) -> None:
    clips = variants(3)
    as_pose(tmp_path, [("sun", clips[0])])
    for folder, clip in zip(("rain", "rain/anna"), clips[1:], strict=True):
        (tmp_path / folder).mkdir(parents=True)
        write_pose_file(tmp_path / folder / "0.pose", clip, fps=20)

    found = imported(tmp_path)

    assert {(clip.clip_id, clip.label, clip.signer) for clip in found.clips} == {
        ("0", "rain", None), ("0 (2)", "rain", "anna"), ("0 (3)", "sun", None),
    }  # fmt: skip


def test_two_people_whose_names_would_become_one_are_refused(tmp_path: Path) -> None:
    first, second = variants(2)
    as_asl_signs(tmp_path, [("sun", first), ("sun", second)])
    rows = list(csv.reader((tmp_path / "train.csv").read_text().splitlines()))
    rows[1][1], rows[2][1] = "민준", "민준 "
    (tmp_path / "train.csv").write_text("\n".join(map(",".join, rows)), encoding="utf-8")

    with pytest.raises(DatasetError, match=r"signers '민준' and '민준 ' would both become '민준'.*--signers"):
        imported(tmp_path)

    (tmp_path / "map.csv").write_text("민준 ,민준\n", encoding="utf-8")
    found = imported(tmp_path, signers=load_map(tmp_path / "map.csv"))
    assert {clip.signer for clip in found.clips} == {"민준"}


def test_what_cannot_be_learned_from_is_named_and_the_rest_is_loaded(tmp_path: Path) -> None:
    first, second = variants(2)
    nobody = replace(SUN, landmarks=np.full_like(SUN.landmarks, np.nan), clip_id="gone")
    save_dataset(tmp_path / "set.npz", [replace(first, label=unicodedata.normalize("NFD", "niño")), nobody])
    save_clip(tmp_path / "a.npz", replace(second, signer="Zoe\u0308"))
    (tmp_path / "broken.npz").write_bytes(b"broken")
    (tmp_path / "._a.npz").write_bytes(b"\x00\x05\x16\x07")

    clips, left_out = load_usable([tmp_path])

    assert [(clip.label, clip.signer) for clip in clips] == [("sun", "Zoë"), ("niño", "person1")]
    assert [item.path.relative_to(tmp_path).as_posix() for item in left_out] == ["broken.npz", "set.npz/gone"]
    with pytest.raises(ClipFileError, match="absent: no such file or folder"):
        load_usable([tmp_path, tmp_path / "absent"])
    with pytest.raises(DatasetError, match=r"no recording can be used: 1 left out, first .*broken\.npz: "):
        load_usable([tmp_path / "broken.npz"])


@every_layout
def test_a_recording_in_pixels_or_with_a_wild_value_is_skipped_by_name_and_the_others_are_imported(
    write: Write, tmp_path: Path
) -> None:
    good, pixels, wild, normalised = variants(4)
    size = np.array([640.0, 480.0, 640.0], np.float32)
    shoulders = normalised.landmarks[:, 11:13].mean(axis=(0, 1)) * size
    width = np.linalg.norm((normalised.landmarks[0, 11] - normalised.landmarks[0, 12])[:2] * size[:2])
    wild.landmarks[5, 16, 1] = -7e4
    bad = [
        replace(pixels, landmarks=pixels.landmarks * size),
        wild,
        replace(normalised, landmarks=(normalised.landmarks * size - shoulders) / width),
    ]
    write(tmp_path / "in", [("sun", good), *(("rain", clip) for clip in bad)])

    found = imported(tmp_path / "in")

    (clip,) = found.clips
    np.testing.assert_allclose(clip.landmarks, good.landmarks, atol=1e-4)
    reasons = [item.reason for item in found.skipped]
    assert len(reasons) == 3
    assert all("x and y are fractions of the frame's width and height" in reason for reason in reasons)


def test_a_pose_file_that_was_normalised_is_skipped_with_the_width_of_its_shoulders(tmp_path: Path) -> None:
    size = np.array([640.0, 480.0, 1.0], np.float32)
    apart = np.median(np.linalg.norm(((SUN.landmarks[:, 11] - SUN.landmarks[:, 12]) * size)[:, :2], axis=1))
    write_pose_file(tmp_path / "a.pose", replace(SUN, landmarks=SUN.landmarks / apart), fps=20)

    with pytest.raises(DatasetError, match=r"a\.pose: shoulders 0\.0016 frame widths apart \(1 of 640 pixels\)"):
        imported(tmp_path)


def test_times_in_other_units_are_skipped_by_name(tmp_path: Path) -> None:
    clips = variants(4)
    for name, factor, clip in zip(("good", "seconds", "microseconds", "late"), (1, 1e-3, 1e3, 1), clips, strict=True):
        times_ms = clip.times_ms * factor
        times_ms[-1] += 4e6 if name == "late" else 0
        save_clip(tmp_path / f"{name}.npz", replace(clip, times_ms=times_ms))

    found = imported(tmp_path)

    assert len(found.clips) == 1
    told = {item.path.stem: item.reason for item in found.skipped}
    assert told["seconds"].endswith("ms; times_ms are milliseconds: multiply seconds by 1000")
    assert told["seconds"].startswith(f"{clips[1].num_frames} frames in {clips[1].duration_ms / 1000:.3g} ms")
    assert "ms apart, the limit is 1000; times_ms are milliseconds: divide microseconds by 1000" in told["microseconds"]
    assert "hours, the limit is 1" in told["late"]


def test_a_line_of_the_table_that_is_cut_short_is_skipped_by_name(tmp_path: Path) -> None:
    as_asl_signs(tmp_path, [("sun", SUN)])
    with (tmp_path / "train.csv").open("a", encoding="utf-8") as table:
        table.write("train_landmark_files/anna/9.parquet,anna\n")

    found = imported(tmp_path)

    assert [clip.label for clip in found.clips] == ["sun"]
    assert [item.path.name for item in found.skipped] == ["9.parquet"]
