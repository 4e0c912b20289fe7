import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.ml.errors import ClipFileError
from app.ml.landmarks.layout import LEFT_SHOULDER, NOSE, RIGHT_HAND, RIGHT_SHOULDER
from app.ml.recordings.extraction import extract_clip
from tests.binaries import require_binary

pytest.importorskip("mediapipe", reason="needs the extra 'video': pip install -e 'backend[video]'")

VIDEO = Path(__file__).resolve().parents[4] / "shared" / "data" / "video" / "sign_540x720.mp4"
needs_video = pytest.mark.skipif(not VIDEO.exists(), reason="needs ../shared/data/video beside the checkout")


def ffmpeg(*arguments: str) -> None:
    program = require_binary("ffmpeg", install="sudo apt-get install ffmpeg")
    subprocess.run([program, "-loglevel", "error", "-y", *arguments], check=True)


@needs_video
def test_a_video_gives_points_at_the_frames_own_times(tmp_path: Path) -> None:
    # every third frame and every seventh: an uneven frame rate, as phones record in poor light
    ffmpeg("-ss", "1.0", "-i", str(VIDEO), "-t", "0.8", "-vf", "select='not(mod(n,3))+not(mod(n,7))'",
           "-fps_mode", "vfr", "-an", str(tmp_path / "uneven.mp4"))  # fmt: skip
    told: list[tuple[int, int]] = []
    clip = extract_clip(
        tmp_path / "uneven.mp4", label="x", signer="y", on_frame=lambda done, total: told.append((done, total))
    )

    steps_ms = np.diff(clip.times_ms)
    assert (clip.width, clip.height, clip.label, clip.signer) == (540, 720, "x", "y")
    assert steps_ms.min() < 40.0 < 90.0 < steps_ms.max()
    assert told[-1] == (clip.num_frames, clip.num_frames)
    assert np.isfinite(clip.landmarks[:, NOSE]).all()
    assert np.isfinite(clip.landmarks[:, RIGHT_HAND]).any()
    assert (clip.landmarks[:, LEFT_SHOULDER, 0] > clip.landmarks[:, RIGHT_SHOULDER, 0]).all()


@needs_video
def test_a_phones_rotation_is_respected(tmp_path: Path) -> None:
    lying, tagged = tmp_path / "lying.mp4", tmp_path / "tagged.mp4"
    ffmpeg("-i", str(VIDEO), "-t", "0.15", "-vf", "transpose=cclock", "-an", str(lying))
    ffmpeg("-i", str(lying), "-c", "copy", "-metadata:s:v:0", "rotate=270", str(tagged))

    clip = extract_clip(tagged)

    assert (clip.width, clip.height) == (540, 720)
    shoulders_y = clip.landmarks[:, (LEFT_SHOULDER, RIGHT_SHOULDER), 1]
    assert (clip.landmarks[:, NOSE, 1] < shoulders_y.min(axis=1)).all()


def test_what_is_no_video_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")

    with pytest.raises(ClipFileError, match=r"no frame can be read; .*ffmpeg"):
        extract_clip(tmp_path / "notes.mp4")
    with pytest.raises(ClipFileError, match="no such file"):
        extract_clip(tmp_path / "absent.mp4")


@pytest.mark.parametrize(
    ("suffix", "codec", "end"), [("mp4", "mpeg4", "of 25 frames"), ("webm", "libvpx", "frames can")]
)
def test_a_cut_video_is_refused_with_both_numbers_or_kept_as_suspect(
    tmp_path: Path, suffix: str, codec: str, end: str
) -> None:
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=25:duration=1", "-c:v", codec)
    ffmpeg(*picture, *(("-movflags", "+faststart") if suffix == "mp4" else ()), str(whole))
    content = whole.read_bytes()
    cut.write_bytes(content[: len(content) * 6 // 10])

    with pytest.raises(
        ClipFileError, match=rf"cut: {len(content) * 6 // 10} of {len(content)} bytes are there, .*{end}"
    ):
        extract_clip(cut)
    kept = extract_clip(cut, keep_cut=True)
    assert kept.quality == "suspect"
    assert 0 < kept.num_frames < 25
    assert extract_clip(whole).num_frames == 25


def test_frames_that_do_not_come_out_of_a_whole_file_are_told(tmp_path: Path) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=25:duration=1", "-c:v", "mpeg4", "-movflags", "+faststart")
    ffmpeg(*picture, str(tmp_path / "damaged.mp4"))
    content = (tmp_path / "damaged.mp4").read_bytes()
    (tmp_path / "damaged.mp4").write_bytes(content[: len(content) // 2] + bytes(len(content) - len(content) // 2))

    with pytest.raises(ClipFileError, match=r"damaged: \d+ of 25 frames can be read; .*--keep-cut"):
        extract_clip(tmp_path / "damaged.mp4")


def test_videos_whose_index_is_no_count_of_frames_are_whole(tmp_path: Path) -> None:
    picture = ("-f", "lavfi", "-i", "testsrc=size=96x64:rate=30:duration=1")
    uneven = ("-vf", "select='not(mod(floor(n/5),2))'", "-fps_mode", "vfr")
    sound = ("-f", "lavfi", "-i", "sine=duration=2")
    ffmpeg(*picture, *uneven, "-c:v", "libvpx", str(tmp_path / "uneven.webm"))
    ffmpeg(*picture, *sound, "-c:v", "mpeg4", str(tmp_path / "sound.mkv"))
    ffmpeg(*picture, "-c:v", "mpeg4", "-g", "100", str(tmp_path / "long.mp4"))
    ffmpeg("-ss", "0.4", "-i", str(tmp_path / "long.mp4"), "-c", "copy", str(tmp_path / "trimmed.mp4"))

    frames = {name: extract_clip(tmp_path / name).num_frames for name in ("uneven.webm", "sound.mkv", "trimmed.mp4")}

    assert (frames["uneven.webm"], frames["sound.mkv"]) == (15, 30)
    assert frames["trimmed.mp4"] < 30
