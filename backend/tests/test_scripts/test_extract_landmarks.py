from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from app.ml.recordings.clips import load_clip
from scripts.extract_landmarks import app
from tests.full_disk import disk_with_room_for
from tests.test_ml.test_extraction import VIDEO, ffmpeg, needs_video

pytest.importorskip("mediapipe", reason="needs the extra 'video': pip install -e 'backend[video]'")


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@needs_video
def test_a_folder_of_videos_becomes_clips_and_what_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "in" / "hello").mkdir(parents=True)
    ffmpeg("-i", str(VIDEO), "-t", "0.2", "-an", str(tmp_path / "in" / "hello" / "one.mp4"))
    (tmp_path / "in" / "hello" / "broken.mp4").write_text("no video")

    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out", "--label-from-folder", "--signer", "ann", "--json")

    told = orjson.loads(out)
    assert code == 1  # one video could not be read
    assert "broken.mp4: no frame can be read" in errors
    clip = load_clip(tmp_path / "out" / "hello" / "one.npz")
    assert (clip.label, clip.signer, clip.num_frames) == ("hello", "ann", told["num_frames"])
    assert told["pose"] == 1.0
    (tmp_path / "in" / "hello" / "broken.mp4").unlink()
    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out")
    assert (code, out) == (0, "")
    assert "1 clips were there already" in errors


def test_mistakes_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    for source, message in ((tmp_path / "absent", "no such file or folder"), (tmp_path, "no video in")):
        code, out, errors = run(source, "-o", tmp_path / "out")
        assert (code, out) == (2, "")
        assert message in errors


@needs_video
def test_a_clip_that_cannot_be_written_does_not_end_the_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        ffmpeg("-i", str(VIDEO), "-t", "0.1", "-an", str(tmp_path / "in" / name / "one.mp4"))
    (tmp_path / "in" / "a" / "notes.txt").touch()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").touch()  # where the first clip's folder must be

    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out")

    assert code == 1
    assert f"failed: {tmp_path / 'out' / 'a'}" in errors
    assert "notes.txt: no video" in errors
    assert (tmp_path / "out" / "b" / "one.npz").is_file()
    assert str(tmp_path / "out" / "b" / "one.npz") in out


@needs_video
def test_a_full_disk_is_one_line_and_no_half_clip(tmp_path: Path) -> None:
    ffmpeg("-i", str(VIDEO), "-t", "0.1", "-an", str(tmp_path / "one.mp4"))

    with disk_with_room_for(100):
        code, _, errors = run(tmp_path / "one.mp4", "-o", tmp_path / "out")

    assert code == 1
    assert errors.split("\n\n")[0].strip() == f"failed: {tmp_path / 'out' / 'one.npz'}: File too large"
    assert list((tmp_path / "out").iterdir()) == []


def test_videos_that_differ_in_suffix_alone_become_two_clips(tmp_path: Path) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=25:duration=0.2", "-c:v", "mpeg4")
    (tmp_path / "in" / "hello").mkdir(parents=True)
    for name in ("IMG_1.mp4", "IMG_1.mov"):
        ffmpeg(*picture, str(tmp_path / "in" / "hello" / name))

    code, out, errors = run(tmp_path / "in", "-o", tmp_path / "out", "--label-from-folder", "--json")

    assert code == 0
    assert len(out.splitlines()) == 2
    assert errors.count("nobody is seen in any frame") == 2
    assert sorted(file.name for file in (tmp_path / "out" / "hello").iterdir()) == ["IMG_1.mov.npz", "IMG_1.mp4.npz"]
    assert load_clip(tmp_path / "out" / "hello" / "IMG_1.mov.npz").label == "hello"
