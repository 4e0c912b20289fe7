from pathlib import Path

import pytest

from app.ml.recordings.video_containers import read_promise
from tests.test_ml.test_extraction import ffmpeg

COLOURS = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=25:duration=1")
KINDS = {"mp4": "mpeg4", "mov": "mpeg4", "avi": "mpeg4", "mkv": "mpeg4", "webm": "libvpx"}


@pytest.mark.parametrize(("suffix", "codec"), KINDS.items())
def test_a_whole_file_promises_its_own_length_and_a_cut_one_more(tmp_path: Path, suffix: str, codec: str) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    ffmpeg(*COLOURS, "-c:v", codec, str(whole))
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])

    assert read_promise(whole).num_bytes == len(content)
    promised = read_promise(cut).num_bytes
    assert promised is not None
    assert promised > len(content) * 6 // 10


def test_a_recording_without_an_end_promises_nothing(tmp_path: Path) -> None:
    ffmpeg(*COLOURS, "-c:v", "libvpx", "-live", "1", str(tmp_path / "live.webm"))

    assert read_promise(tmp_path / "live.webm").num_bytes is None


def test_what_a_phone_trimmed_shows_a_part_of_its_pictures(tmp_path: Path) -> None:
    ffmpeg(*COLOURS, "-c:v", "mpeg4", "-g", "100", str(tmp_path / "whole.mp4"))
    ffmpeg("-ss", "0.4", "-i", str(tmp_path / "whole.mp4"), "-c", "copy", str(tmp_path / "trimmed.mp4"))

    assert read_promise(tmp_path / "whole.mp4").shown == 1.0
    assert read_promise(tmp_path / "trimmed.mp4").shown == pytest.approx(0.6, abs=0.05)


def test_other_bytes_promise_nothing(tmp_path: Path) -> None:
    for content in (b"", b"no video", b"\x1a\x45\xdf\xa3", b"\0\0\0\x08ftyp", b"\0\0\0\x02moovxxxx"):
        (tmp_path / "x.mp4").write_bytes(content)
        assert read_promise(tmp_path / "x.mp4").num_bytes is None
