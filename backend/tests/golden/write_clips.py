"""Writes `clips/*.npz` and `clips.json`: clip files of every kind, and what a reader must make of each.

    python -m tests.golden.write_clips        (from backend)

Python's reader and the page's go over the whole table: what one takes the other takes, and with the same numbers. A
file that is taken lists frames, times, size and a few points (null where missing); of one that is refused, `problem`
says of which kind, and `says` what both messages have in common.
"""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.ml.landmarks.layout import (
    LEFT_HAND,
    LEFT_SHOULDER,
    LEFT_WRIST,
    RIGHT_HAND,
    RIGHT_SHOULDER,
    RIGHT_WRIST,
    mirror,
)

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


def at(landmarks: Any, *, frame: int, point: int, value: Any) -> Any:
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
        "mirrored_at_the_limit": whole(
            mirrored=np.True_, landmarks=at(body(), frame=0, point=RIGHT_WRIST, value=(20.5, 0.5, 0.0))
        ),
        "mirrored_as_number": whole(mirrored=np.uint8(1)),
        "letters_of_another_script": whole(label=np.str_("안녕"), signer=np.bytes_(b"ann")),
        "letters_in_bytes": whole(label=np.bytes_("niño".encode())),
        "date_beside": whole(recorded=np.datetime64("2026-01-01T12:00")),
        "records_beside": whole(notes=np.zeros(2, [("frame", "<i4"), ("says", "<U3")])),
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
        "size_beyond_counting": (unreadable, "must be a finite number", whole(width=np.float64(1e300))),
        "one_number": (unreadable, "expected [T, 75, 3]", whole(landmarks=np.float32(0.5), times_ms=None)),
        "objects": (unreadable, "", whole(label=np.array({"a": 1}, dtype=object))),
        "objects_beside": (unreadable, "", whole(notes=np.array([{"a": 1}], dtype=object))),
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


def packed() -> dict[str, tuple[bytes, Arrays]]:
    """Files that readers take though other programs packed them: their bytes, and the arrays that they hold."""
    members = members_of(whole())
    quoted = b'{"descr": "<f4", "fortran_order": False, "shape": (4, 75, 3)}'
    streamed = Unseekable()
    with zipfile.ZipFile(streamed, "w") as archive:
        for name, content in members.items():
            archive.writestr(entry(name), content)
    return {
        "compressed": (zipped(members, zipfile.ZIP_DEFLATED), whole()),
        "streamed": (streamed.content, whole()),
        "npy_version_2": (zipped(members | {"landmarks.npy": npy(body(), (2, 0))}), whole()),
        "npy_version_3": (zipped(members | {"landmarks.npy": npy(body(), (3, 0))}), whole()),
        "double_quotes": (zipped(members | {"landmarks.npy": npy_of(quoted)}), whole()),
        "names_without_suffix": (zipped({name.removesuffix(".npy"): file for name, file in members.items()}), whole()),
        "text_file_beside": (zipped(members | {"README.txt": b"made by hand"}), whole()),
    }


def damaged() -> dict[str, tuple[str, bytes]]:
    """Files that cannot be read at all: what both messages have in common, and the bytes."""
    members = members_of(whole())
    file = zipped(members)
    at_label = file.index("thank_you".encode("utf-32-le"))
    shape = "{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 75, 3), }"
    return {
        "cut_short": ("", file[: len(file) // 2]),
        "no_archive": ("", b"this is no archive at all, and long enough to be one"),
        "one_bit_fell_over": ("label.npy", file[:at_label] + b"u" + file[at_label + 1 :]),
        "encrypted": ("encrypted", marked(file, local=6, central=8, value=1)),
        "packed_by_another_method": ("", marked(file, local=8, central=10, value=93)),
        "bzip2": ("", zipped(members, zipfile.ZIP_BZIP2)),
        "label_is_no_array": ("label", zipped(members | {"label.npy": b"thank_you"})),
        "empty_array_file": ("width", zipped(members | {"width.npy": b""})),
        "array_cut_short": ("", zipped(members | {"landmarks.npy": npy(body())[:-40]})),
        "another_array_cut_short": ("", zipped(members | {"weights.npy": npy(np.zeros(40))[:-40]})),
        "shape_beyond_memory": ("", zipped(members | {"landmarks.npy": npy_of((shape % 10**12).encode())})),
        "shape_negative": ("", zipped(members | {"landmarks.npy": npy_of((shape % -4).encode())})),
        "header_cut_short": ("", zipped(members | {"landmarks.npy": npy_of(b"{'descr': '<f4', 'fortran_order': Fal")})),
        "header_without_order": (
            "",
            zipped(members | {"landmarks.npy": npy_of(b"{'descr': '<f4', 'shape': (4, 75, 3)}")}),
        ),
    }


class Unseekable(io.RawIOBase):
    """A pipe: sizes and checksums then follow the contents."""

    content: bytes = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self.content += bytes(data)
        return len(data)


def npy(value: Any, version: tuple[int, int] | None = None) -> bytes:
    """One array as numpy writes it."""
    array = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of version 3, which old readers do not know
        np.lib.format.write_array(array, np.asanyarray(value), version=version, allow_pickle=True)
    return array.getvalue()


def npy_of(header: bytes) -> bytes:
    """The landmarks behind a header as it is given."""
    return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n" + body().tobytes()


def members_of(arrays: Mapping[str, Any]) -> dict[str, bytes]:
    """The files inside an archive."""
    return {f"{key}.npy": npy(value) for key, value in arrays.items()}


def entry(name: str) -> zipfile.ZipInfo:
    """What stands before a file in the archive, with the same date always."""
    return zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0))


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    """The bytes of an archive; always the same for the same files."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, file in members.items():
            archive.writestr(entry(name), file, method)
    return content.getvalue()


def marked(file: bytes, *, local: int, central: int, value: int) -> bytes:
    """An archive with a byte exchanged in what stands before each file, and in each line of the directory."""
    changed = bytearray(file)
    for magic, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        for found in re.finditer(re.escape(magic), file):
            changed[found.start() + offset] = value
    return bytes(changed)


def make_files() -> dict[str, bytes]:
    """Every golden file by its name."""
    files = {name: zipped(members_of(arrays)) for name, arrays in taken().items()}
    files |= {name: file for name, (file, _) in packed().items()}
    files |= {name: zipped(members_of(arrays)) for name, (_, _, arrays) in refused().items()}
    return files | {name: file for name, (_, file) in damaged().items()}


def expectation(arrays: Arrays) -> dict[str, object]:
    """What a reader must make of a file that is taken, worked out from its arrays alone."""
    landmarks = np.asarray(arrays["landmarks"], np.float32).copy()
    landmarks[~landmarks.any(axis=-1)] = np.nan
    if arrays.get("mirrored"):
        landmarks = mirror(landmarks)
    landmarks[(np.abs(landmarks) > 20).any(axis=-1)] = np.nan
    times_ms = np.asarray(arrays.get("times_ms", np.arange(len(landmarks)) * 50.0), np.float64)
    return {
        "times_ms": times_ms.tolist(),
        "width": int(np.asarray(arrays.get("width", 640)).reshape(())),
        "height": int(np.asarray(arrays.get("height", 480)).reshape(())),
        "label": text(arrays.get("label")),
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


def text(value: Any) -> str | None:
    """A label of either of numpy's kinds of text."""
    return value.decode() if isinstance(value, bytes) else value


def render() -> str:
    """The table as text."""
    rows: dict[str, object] = {name: {"taken": expectation(arrays)} for name, arrays in taken().items()}
    rows |= {name: {"taken": expectation(arrays)} for name, (_, arrays) in packed().items()}
    rows |= {name: {"problem": problem, "says": says} for name, (problem, says, _) in refused().items()}
    rows |= {name: {"problem": "unreadable", "says": says} for name, (says, _) in damaged().items()}
    return json.dumps(rows, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, content in make_files().items():
        (FOLDER / f"{name}.npz").write_bytes(content)
    TABLE.write_text(render(), encoding="utf-8")
