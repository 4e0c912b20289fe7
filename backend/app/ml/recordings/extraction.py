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
from app.ml.types import FloatArray

VIDEO_SUFFIXES: Final = frozenset({".mp4", ".mov", ".m4v", ".webm", ".mkv", ".avi", ".mpg", ".mpeg", ".3gp"})
_FALLBACK_FPS: Final = 30.0
"""Frame rate of a file that does not say its own; used only where its time stamps do not move on."""


def extract_clip(
    path: Path,
    *,
    label: str | None = None,
    signer: str | None = None,
    on_frame: Callable[[int, int], None] = lambda _done, _total: None,
) -> Clip:
    """Find the 75 points in every frame of a video.

    Args:
        path: a video that OpenCV can read; not flipped (a selfie preview that was recorded flipped looks left-handed).
        label: the sign that it shows.
        signer: who signs.
        on_frame: called after each frame with the number done and the expected total (0 when the file does not say).

    Raises:
        MissingExtraError: mediapipe is not installed.
        ClipFileError: the file is missing, or no frame of it can be read.
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
                found = holistic.process(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
            frames.append(_to_frame(found))
            times_ms.append(time_ms)
            on_frame(len(frames), total)
    video.release()
    if not frames:
        msg = f"{path}: no frame can be read; is it a video? 'ffmpeg -i {path.name} out.mp4' makes one that can"
        raise ClipFileError(msg)
    times = np.array(times_ms)
    return Clip(
        landmarks=np.stack(frames), times_ms=times - times[0], width=width, height=height, label=label, signer=signer
    )


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
