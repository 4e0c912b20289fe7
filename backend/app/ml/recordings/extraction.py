"""Videos to landmarks with MediaPipe Holistic: the only module that imports mediapipe (extra `video`).

Video mode, not static: landmarks found frame by frame lie 8-14 px elsewhere. Model complexity 1 is the one whose models
come with the package. Frames keep their real capture times, and a phone's rotation is applied before detection.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.ml.errors import ClipFileError, MissingExtraError
from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS, POSE, RIGHT_HAND
from app.ml.recordings.clips import Clip
from app.ml.recordings.video_containers import Promise, read_promise
from app.ml.types import FloatArray

VIDEO_SUFFIXES: Final = frozenset({
    ".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".3gp", ".3g2", ".gif", ".wmv", ".flv", ".ogv",
    ".mts", ".m2ts",
})  # fmt: skip
_LOST_SHARE: Final = 0.02
"""Of the pictures in a whole file that need not come out: muxers count one or two that no player shows."""
_FALLBACK_FPS: Final = 30.0
"""Frame rate of a file that does not say its own; used only where its time stamps do not move on."""


def extract_clip(
    path: Path,
    *,
    label: str | None = None,
    signer: str | None = None,
    keep_cut: bool = False,
    on_frame: Callable[[int, int], None] = lambda _done, _total: None,
) -> Clip:
    """Find the 75 points in every frame of a video.

    Args:
        path: a video that OpenCV can read; not flipped (a selfie preview that was recorded flipped looks left-handed).
        label: the sign that it shows.
        signer: who signs.
        keep_cut: of a file that is cut or damaged, take what is there, as a clip of quality `suspect`.
        on_frame: called after each frame with the number done and the expected total (0 when the file does not say).

    Raises:
        MissingExtraError: mediapipe is not installed.
        ClipFileError: the file is missing, no frame of it can be read, or fewer than it holds.
    """
    try:
        import cv2  # both are heavy, and only this function needs them
        from mediapipe.python.solutions.holistic import Holistic
    except ImportError as error:
        msg = "finding landmarks in videos needs MediaPipe; 'make lab' installs it"
        raise MissingExtraError(msg) from error
    if not path.is_file():
        msg = f"{path}: no such file"
        raise ClipFileError(msg)
    video = cv2.VideoCapture(str(path))
    video.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # off by default: a phone's upright video would lie on its side
    total = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    fps = video.get(cv2.CAP_PROP_FPS)
    step_ms = 1000.0 / (fps if 1.0 <= fps <= 1000.0 else _FALLBACK_FPS)
    promise = read_promise(path)
    frames: list[FloatArray] = []
    times_ms: list[float] = []
    width = height = 0
    with Holistic(static_image_mode=False, model_complexity=1) as holistic:
        while True:
            is_read, picture = video.read()
            if not is_read:
                break
            time_ms = video.get(cv2.CAP_PROP_POS_MSEC)
            if times_ms and time_ms <= times_ms[-1]:
                time_ms = times_ms[-1] + step_ms
            height, width = picture.shape[:2]
            with warnings.catch_warnings():
                # mediapipe 0.10.21 calls a protobuf function that protobuf 4.25 deprecates
                warnings.filterwarnings("ignore", message=".*GetPrototype.*", category=UserWarning)
                try:
                    found = holistic.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
                except (cv2.error, RuntimeError, ValueError) as error:
                    msg = f"{path}: frame {len(frames)}: MediaPipe cannot look at it ({error})"
                    raise ClipFileError(msg) from error
            frames.append(_to_frame(found))
            times_ms.append(time_ms)
            on_frame(len(frames), total)
    video.release()
    if not frames:
        msg = f"{path}: no frame can be read; is it a video? 'ffmpeg -i {path.name} out.mp4' makes one that can"
        raise ClipFileError(msg)
    loss = _find_loss(promise, path.stat().st_size, num_read=len(frames), num_said=total)
    if loss is not None and not keep_cut:
        msg = f"{path}: {loss}; copy it again, or take what is there with --keep-cut"
        raise ClipFileError(msg)
    times = np.array(times_ms)
    return Clip(
        landmarks=np.stack(frames),
        times_ms=times - times[0],
        width=width,
        height=height,
        label=label,
        signer=signer,
        quality=None if loss is None else "suspect",
    )


def _find_loss(promise: Promise, num_bytes: int, *, num_read: int, num_said: int) -> str | None:
    """What of a video is not there, with both numbers; None when nothing that it promises is missing."""
    frames = f"{num_read} of {num_said} frames can be read" if promise.has_index else f"{num_read} frames can be read"
    if promise.num_bytes is not None and num_bytes < promise.num_bytes:
        return f"cut: {num_bytes} of {promise.num_bytes} bytes are there, {frames}"
    shown = num_said * promise.shown
    if promise.has_index and num_read < shown - max(1.0, shown * _LOST_SHARE):
        return f"damaged: {frames}"
    return None


def _to_frame(found: Any) -> FloatArray:
    """MediaPipe's result for one picture to `[75, 3]`; a part that was not detected is NaN."""
    frame = np.full((NUM_POINTS, 3), np.nan, np.float32)
    for part, points in (
        (POSE, found.pose_landmarks),
        (LEFT_HAND, found.left_hand_landmarks),
        (RIGHT_HAND, found.right_hand_landmarks),
    ):
        if points is not None:
            frame[part] = [(point.x, point.y, point.z) for point in points.landmark]
    return frame
