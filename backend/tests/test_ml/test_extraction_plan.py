import unicodedata
from pathlib import Path

import pytest

from app.ml.errors import DatasetError
from app.ml.recordings.extraction_plan import ClipPlan, plan_clips

OUT = Path("out")


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def plan(*sources: Path, label: str | None = None, signer: str | None = None, by_folder: bool = True) -> list[ClipPlan]:
    return plan_clips(sources, OUT, label=label, signer=signer, label_from_folder=by_folder)


def test_videos_that_differ_in_suffix_alone_get_clips_of_their_own(tmp_path: Path) -> None:
    touch(tmp_path, "hello/a.mp4", "hello/a.mov", "hello/b.mp4", "thanks/a.mp4")

    assert sorted(str(one.clip) for one in plan(tmp_path)) == [
        "out/hello/a.mov.npz", "out/hello/a.mp4.npz", "out/hello/b.npz", "out/thanks/a.npz",
    ]  # fmt: skip


def test_names_that_are_one_file_on_other_systems_are_apart(tmp_path: Path) -> None:
    touch(tmp_path, "x/A.mp4", "x/a.mov", f"x/{unicodedata.normalize('NFD', 'ñ')}.mp4", "x/ñ.mov")

    names = [unicodedata.normalize("NFC", str(one.clip)).casefold() for one in plan(tmp_path)]

    assert len(set(names)) == 4


@pytest.mark.parametrize("names", [("one/a.mp4", "two/a.mp4"), ("one/a.mp4", "two/A.MP4")])
def test_one_name_in_two_sources_is_refused_before_anything_is_done(tmp_path: Path, names: tuple[str, str]) -> None:
    touch(tmp_path, *names)

    with pytest.raises(DatasetError, match=r"one/a.mp4 and .*two/.* would both become out/.*; rename one"):
        plan(tmp_path / "one", tmp_path / "two")


def test_a_name_made_to_differ_takes_no_other_videos_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.mov", "a.mp4.avi")

    with pytest.raises(DatasetError, match="would both become"):
        plan(tmp_path)


def test_a_video_given_twice_is_taken_once(tmp_path: Path) -> None:
    touch(tmp_path, "hello/a.mp4")

    assert len(plan(tmp_path, tmp_path / "hello" / "a.mp4")) == 1


def test_folders_mean_what_they_mean_to_the_importer(tmp_path: Path) -> None:
    touch(tmp_path, "Thank You/anna/a.mp4", "Thank You/b.mp4", "c.mp4", "._d.mp4", "__MACOSX/hello/e.mp4")

    told = {one.video.name: (one.label, one.signer) for one in plan(tmp_path, signer="ben")}

    assert told == {"a.mp4": ("thank_you", "anna"), "b.mp4": ("thank_you", "ben"), "c.mp4": (None, "ben")}


def test_a_folder_of_one_sign_and_a_single_video_have_their_folders_name(tmp_path: Path) -> None:
    touch(tmp_path, "hello/a.mp4", "hello/b.mp4")

    assert {one.label for one in plan(tmp_path / "hello")} == {"hello"}
    assert {one.label for one in plan(tmp_path / "hello" / "a.mp4")} == {"hello"}
    assert {one.label for one in plan(tmp_path, label="Good Day", by_folder=False)} == {"good_day"}


def test_two_folders_that_would_be_one_sign_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "thank you/a.mp4", "Thank-You/b.mp4")

    with pytest.raises(DatasetError, match="would both become 'thank_you'"):
        plan(tmp_path)
