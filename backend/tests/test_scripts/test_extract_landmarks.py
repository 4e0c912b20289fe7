from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from app.ml.recordings.clips import load_clip
from scripts.extract_landmarks import app
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
