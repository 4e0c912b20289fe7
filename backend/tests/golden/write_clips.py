"""Writes `clips/*.npz` and `clips.json`: clip files of every kind, and what a reader must make of each.

    python -m tests.golden.write_clips        (from backend)

Python's reader and the page's go over the whole table: what one takes the other takes, and with the same numbers. A
file that is taken lists frames, times, size and a few points (null where missing); of one that is refused, `problem`
says of which kind, and `says` what both messages have in common.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, LEFT_SHOULDER, LEFT_WRIST, RIGHT_HAND, RIGHT_SHOULDER, mirror

FOLDER: Final = Path(__file__).with_name("clips")
TABLE: Final = Path(__file__).with_name("clips.json")
NUM_FRAMES: Final = 4
SAMPLED: Final = ((0, 0), (0, LEFT_WRIST), (1, LEFT_HAND.start), (2, RIGHT_HAND.start + 20), (3, LEFT_SHOULDER))
"""Frame and point of the coordinates in the table."""
Arrays = dict[str, Any]


def body(seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Somebody with a right hand, float32 `[4, 75, 3]`, in steps of 1/256, which float16 holds too."""
    points = np.random.default_rng(seed).integers(64, 192, (NUM_FRAMES, 75, 3)) / 256
    points[:, LEFT_SHOULDER] = (0.625, 0.5, -0.25)
    points[:, RIGHT_SHOULDER] = (0.375, 0.5, -0.25)
    points[:, LEFT_HAND] = np.nan
    return points.astype(np.float32)


def whole(**changes: Any) -> Arrays:
    """The arrays of a clip as SignFlow writes it, with some exchanged; None leaves one out."""
    arrays: Arrays = {
        "landmarks": body(),
        "times_ms": np.array([0.0, 33.5, 66.25, 100.0]),
        "width": np.int64(540),
        "height": np.int64(720),
        "mirrored": np.bool_(False),
        "label": np.str_("thank_you"),
    }
    return {key: value for key, value in (arrays | changes).items() if value is not None}


def at(landmarks: Any, *, frame: int, point: int, value: float) -> Any:
    """The same with one point elsewhere."""
    changed = landmarks.copy()
    changed[frame, point] = value
    return changed


def taken() -> dict[str, Arrays]:
    """Files that readers take."""
    zeros = body()
    zeros[:, LEFT_HAND] = 0.0
    pose_alone = body()
    pose_alone[:, RIGHT_HAND] = np.nan
    return {
        "whole": whole(),
        "float16": whole(landmarks=body().astype(np.float16)),
        "float64": whole(landmarks=body().astype(np.float64)),
        "big_endian": whole(landmarks=body().astype(">f4"), times_ms=np.array([0, 40, 80, 120], ">i4")),
        "fortran_order": whole(landmarks=np.asfortranarray(body())),
        "times_float32": whole(times_ms=np.array([0, 33.5, 66.25, 100], np.float32)),
        "times_unsigned": whole(times_ms=np.array([5, 38, 71, 104], np.uint16)),
        "times_of_an_epoch": whole(times_ms=1.7e12 + np.array([0.0, 33.5, 66.25, 100.0])),
        "without_times": whole(times_ms=None),
        "without_size": whole(width=None, height=None, mirrored=None, label=None),
        "size_in_lists": whole(width=np.array([540]), height=np.array([720.9])),
        "mirrored": whole(mirrored=np.bool_(True)),
        "mirrored_as_number": whole(mirrored=np.uint8(1)),
        "letters_of_another_script": whole(label=np.str_("안녕"), signer=np.bytes_(b"ann")),
        "zeros_for_a_hand": whole(landmarks=zeros),
        "no_hands": whole(landmarks=pose_alone),
        "nobody": whole(landmarks=np.full((NUM_FRAMES, 75, 3), np.nan, np.float32)),
        "one_point_far_away": whole(landmarks=at(body(), frame=0, point=LEFT_WRIST, value=25.0)),
        "one_frame": whole(landmarks=body()[:1], times_ms=np.array([12.5])),
        "more_arrays": whole(notes=np.str_("seen twice"), weights=np.zeros((2, 3), np.float32)),
        "at_8_frames_a_second": whole(times_ms=np.arange(NUM_FRAMES) * 125.0),
    }


def refused() -> dict[str, tuple[str, str, Arrays]]:
    """Files that readers refuse: the kind of problem, what is said of it, and the arrays."""
    unreadable, times, positions = "unreadable", "times", "positions"
    pixels = body() * np.array([540, 720, 540], np.float32)
    centred = body() - np.array([0.5, 0.5, 0.0], np.float32)
    increasing, apart = "strictly increasing milliseconds", "times_ms are milliseconds"
    fractions = "x and y are fractions of the frame's width and height"
    return {
        "data_set": ("data_set", "landmarks_q", whole(landmarks_q=np.zeros((4, 75, 3), np.int16))),
        "without_landmarks": (unreadable, "landmarks", whole(landmarks=None)),
        "integers": (unreadable, "must be fractions", whole(landmarks=np.ones((NUM_FRAMES, 75, 3), np.int16))),
        "no_frames": (unreadable, "expected [T, 75, 3]", whole(landmarks=body()[:0], times_ms=np.zeros(0))),
        "33_points": (unreadable, "expected [T, 75, 3]", whole(landmarks=body()[:, :33])),
        "flat": (unreadable, "expected [T, 75, 3]", whole(landmarks=body().reshape(NUM_FRAMES, 225))),
        "two_coordinates": (unreadable, "expected [T, 75, 3]", whole(landmarks=body()[..., :2])),
        "fewer_times": (unreadable, "one a frame", whole(times_ms=np.array([0.0, 33.5]))),
        "times_as_text": (unreadable, "must be numbers", whole(times_ms=np.array(["0", "33", "66", "99"]))),
        "size_0": (unreadable, "at least 1 pixel", whole(width=np.int64(0), height=np.int64(0))),
        "size_nan": (unreadable, "must be a finite number", whole(width=np.float64("nan"))),
        "two_labels": (unreadable, "label", whole(label=np.array(["a", "b"]))),
        "times_not_increasing": (times, increasing, whole(times_ms=np.array([0.0, 66.25, 33.5, 100.0]))),
        "times_repeated": (times, increasing, whole(times_ms=np.array([0.0, 33.5, 33.5, 100.0]))),
        "times_nan": (times, increasing, whole(times_ms=np.array([0.0, np.nan, 66.25, 100.0]))),
        "times_in_seconds": (times, apart, whole(times_ms=np.arange(NUM_FRAMES) / 30)),
        "times_in_microseconds": (times, apart, whole(times_ms=np.arange(NUM_FRAMES) * 33_333.0)),
        "times_in_nanoseconds": (times, apart, whole(times_ms=np.arange(NUM_FRAMES) * 33_333_333.0)),
        "infinite": (positions, "infinite values", whole(landmarks=at(body(), frame=1, point=60, value=np.inf))),
        "pixels": (positions, fractions, whole(landmarks=pixels)),
        "normalised_to_shoulders": (positions, fractions, whole(landmarks=centred * np.float32(4))),
        "divided_twice": (positions, fractions, whole(landmarks=body() / np.float32(540))),
        "one_point_absurdly_far_away": (
            positions,
            fractions,
            whole(landmarks=at(body(), frame=0, point=LEFT_WRIST, value=-7e8)),
        ),
        "far_away": (positions, fractions, whole(landmarks=body() + np.float32(30))),
    }


def npz(arrays: Mapping[str, Any], *, is_compressed: bool = False) -> bytes:
    """The bytes of a file; always the same for the same arrays."""
    content = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if is_compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(content, "w", method) as archive:
        for key, value in arrays.items():
            array = io.BytesIO()
            np.lib.format.write_array(array, np.asanyarray(value), allow_pickle=True)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy", (2026, 1, 1, 0, 0, 0)), array.getvalue(), method)
    return content.getvalue()


def make_files() -> dict[str, bytes]:
    """Every golden file by its name."""
    files = {name: npz(arrays) for name, arrays in taken().items()}
    files["compressed"] = npz(whole(), is_compressed=True)
    files |= {name: npz(arrays) for name, (_, _, arrays) in refused().items()}
    files["objects"] = npz(whole(label=np.array({"a": 1}, dtype=object)))
    files["cut_short"] = files["whole"][: len(files["whole"]) // 2]
    files["no_archive"] = b"this is no archive at all, and long enough to be one"
    return files


def expectation(arrays: Arrays) -> dict[str, object]:
    """What a reader must make of a file that is taken, worked out from its arrays alone."""
    landmarks = np.asarray(arrays["landmarks"], np.float32).copy()
    landmarks[~landmarks.any(axis=-1) | (np.abs(landmarks) > 20).any(axis=-1)] = np.nan
    if arrays.get("mirrored"):
        landmarks = mirror(landmarks)
    times_ms = np.asarray(arrays.get("times_ms", np.arange(len(landmarks)) * 50.0), np.float64)
    return {
        "times_ms": times_ms.tolist(),
        "width": int(np.asarray(arrays.get("width", 640)).reshape(())),
        "height": int(np.asarray(arrays.get("height", 480)).reshape(())),
        "points": [
            {
                "frame": frame,
                "point": point,
                "at": [None if np.isnan(value) else float(value) for value in landmarks[frame, point]],
            }
            for frame, point in SAMPLED
            if frame < len(landmarks)
        ],
    }


def render() -> str:
    """The table as text."""
    rows: dict[str, object] = {name: {"taken": expectation(arrays)} for name, arrays in taken().items()}
    rows["compressed"] = {"taken": expectation(whole())}
    rows |= {name: {"problem": problem, "says": says} for name, (problem, says, _) in refused().items()}
    for name in ("objects", "cut_short", "no_archive"):
        rows[name] = {"problem": "unreadable", "says": ""}
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in make_files().items():
        (FOLDER / f"{name}.npz").write_bytes(content)
    TABLE.write_text(render(), encoding="utf-8")
