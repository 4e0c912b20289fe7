"""Binary frames of `signflow.v1`: little-endian header `<2sBBIdHH` (20 bytes), then x, y, z of 75 points.

    magic "SF" | version 1 | flags: bit 0 pose, 1 left hand, 2 right hand present | uint32 sequence |
    float64 capture time in ms | uint16 number of points (75) | uint16 dtype (0 float32, 1 float16)

`decode_frame` runs for every frame of every stream, so it validates with a handful of C calls and allocates only what
it must. `encode_frames` and `decode_frames` do whole windows, for model servers.
"""

from enum import StrEnum
from math import isfinite
from struct import Struct
from typing import Final, NamedTuple

import numpy as np

from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS, NUM_VALUES, POSE, RIGHT_HAND
from app.ml.landmarks.repair import erase_zero_points
from app.ml.types import FloatArray, TimesArray

MAGIC: Final = b"SF"
VERSION: Final = 1
POSE_FLAG: Final = 1
LEFT_HAND_FLAG: Final = 2
RIGHT_HAND_FLAG: Final = 4
ALL_PARTS: Final = POSE_FLAG | LEFT_HAND_FLAG | RIGHT_HAND_FLAG
FLOAT32: Final = 0
FLOAT16: Final = 1
MAX_COORDINATE: Final = 10.0
"""Fractions of the frame beyond this are a broken detector's, not a person's."""
MAX_TIME_MS: Final = 1e14
"""About the year 5100 on the Unix clock; keeps sums and differences exact in float64."""

_HEADER: Final = Struct("<2sBBIdHH")
HEADER_SIZE: Final = _HEADER.size
_DTYPE: Final = Struct("<H")
_DTYPE_AT: Final = HEADER_SIZE - _DTYPE.size
_FLOAT32: Final = np.dtype("<f4")
_FLOAT16: Final = np.dtype("<f2")
_SIZES: Final = {FLOAT32: HEADER_SIZE + 4 * NUM_VALUES, FLOAT16: HEADER_SIZE + 2 * NUM_VALUES}
_PARTS: Final = tuple(
    (flag, slice(3 * part.start, 3 * part.stop))
    for flag, part in ((POSE_FLAG, POSE), (LEFT_HAND_FLAG, LEFT_HAND), (RIGHT_HAND_FLAG, RIGHT_HAND))
)
_MAX_SQUARES: Final = MAX_COORDINATE**2
_RECORD: Final = np.dtype(
    [
        ("magic", "S2"),
        ("version", "u1"),
        ("flags", "u1"),
        ("sequence", "<u4"),
        ("time_ms", "<f8"),
        ("num_points", "<u2"),
        ("dtype", "<u2"),
        ("values", "<f4", (NUM_VALUES,)),
    ]
)
"""A float32 frame as numpy sees it."""


class FrameProblem(StrEnum):
    """Why a binary message is not a frame; the wire protocol's error codes carry these names."""

    BAD_MAGIC = "bad_magic"
    BAD_VERSION = "bad_version"
    BAD_FLAGS = "bad_flags"
    BAD_SIZE = "bad_size"
    BAD_POINTS = "bad_points"
    BAD_DTYPE = "bad_dtype"
    BAD_TIME = "bad_time"


class FrameError(ValueError):
    """A binary message that is not a frame of `signflow.v1`."""

    def __init__(self, problem: FrameProblem, message: str) -> None:
        super().__init__(message)
        self.problem = problem


class WireFrame(NamedTuple):
    """One decoded frame, as the client's camera saw it (still mirrored if the stream is).

    Attributes:
        landmarks: float32 `[75, 3]`, NaN where a part is missing or a point is exactly (0, 0, 0), which is how some
            detectors write what they do not see; may be a read-only view of the message.
        sequence: the client's frame number.
        time_ms: capture time.
        num_unusable_parts: parts declared present that held non-finite or absurd values and were made missing.
    """

    landmarks: FloatArray
    sequence: int
    time_ms: float
    num_unusable_parts: int


def decode_frame(data: bytes) -> WireFrame:
    """Decode one binary message.

    Raises:
        FrameError: the message is not a frame; says which field, its value and what is expected.
    """
    if len(data) < HEADER_SIZE:
        if data[:2] != MAGIC[: len(data[:2])] or not data:
            raise FrameError(FrameProblem.BAD_MAGIC, f"a frame starts with {MAGIC!r}, got {bytes(data[:2])!r}")
        raise FrameError(FrameProblem.BAD_SIZE, f"a frame has at least {HEADER_SIZE} bytes, got {len(data)}")
    magic, version, flags, sequence, time_ms, num_points, dtype = _HEADER.unpack_from(data)
    if (
        magic != MAGIC
        or version != VERSION
        or flags > ALL_PARTS
        or num_points != NUM_POINTS
        or _SIZES.get(dtype) != len(data)
        or not isfinite(time_ms)
        or not 0.0 <= time_ms <= MAX_TIME_MS
    ):
        raise _explain(data)
    values: FloatArray
    if dtype == FLOAT32:
        values = np.frombuffer(data, _FLOAT32, NUM_VALUES, HEADER_SIZE)
    else:
        values = np.frombuffer(data, _FLOAT16, NUM_VALUES, HEADER_SIZE).astype(np.float32)
    num_unusable = 0
    for flag, part in _PARTS:
        if flags & flag:
            coordinates = values[part]
            # A sum of squares under the limit proves that every value is finite and within it, in one call.
            squares = float(coordinates.dot(coordinates))
            if squares <= _MAX_SQUARES or _is_usable(coordinates):
                continue
            num_unusable += 1
        if not values.flags.writeable:
            values = values.copy()
        values[part] = np.nan
    return WireFrame(erase_zero_points(values.reshape(NUM_POINTS, 3)), sequence, time_ms, num_unusable)


def encode_frame(landmarks: FloatArray, *, sequence: int, time_ms: float, half_precision: bool = False) -> bytes:
    """Encode one frame as a client would; parts whose first point is NaN get a clear flag.

    Args:
        landmarks: float32 `[75, 3]`.
        sequence: frame number, 0 to 2**32 - 1.
        time_ms: capture time in milliseconds.
        half_precision: 470 bytes with float16 instead of 920 with float32.
    """
    flags = 0
    for flag, part in _PARTS:
        if not np.isnan(landmarks.reshape(NUM_VALUES)[part.start]):
            flags |= flag
    dtype = FLOAT16 if half_precision else FLOAT32
    header = _HEADER.pack(MAGIC, VERSION, flags, sequence, time_ms, NUM_POINTS, dtype)
    return header + landmarks.astype("<f2" if half_precision else "<f4").tobytes()


def encode_frames(landmarks: FloatArray, times_ms: TimesArray) -> bytes:
    """Encode the frames of a window one after the other, as float32; sequence numbers count from 0.

    Args:
        landmarks: float32 `[T, 75, 3]`; parts whose first point is NaN get a clear flag.
        times_ms: float64 `[T]`, capture times.
    """
    frames = np.zeros(len(times_ms), _RECORD)
    frames["magic"], frames["version"], frames["num_points"], frames["dtype"] = MAGIC, VERSION, NUM_POINTS, FLOAT32
    frames["sequence"] = np.arange(len(times_ms))
    frames["time_ms"] = times_ms
    frames["values"] = landmarks.reshape(-1, NUM_VALUES)
    for flag, part in _PARTS:
        frames["flags"] |= np.where(np.isnan(frames["values"][:, part.start]), 0, flag).astype(np.uint8)
    return frames.tobytes()


def decode_frames(data: bytes) -> tuple[FloatArray, TimesArray]:
    """Decode frames that follow each other, each in its own precision.

    Returns:
        Landmarks float32 `[T, 75, 3]` and capture times float64 `[T]`.

    Raises:
        FrameError: a frame is malformed or cut off; says which, counted from 0.
    """
    fast = _decode_alike(data)
    if fast is not None:
        return fast
    frames: list[WireFrame] = []
    position = 0
    while position < len(data):
        (dtype,) = _DTYPE.unpack_from(data, position + _DTYPE_AT) if position + HEADER_SIZE <= len(data) else (FLOAT32,)
        end = position + _SIZES.get(dtype, _SIZES[FLOAT32])
        try:
            frames.append(decode_frame(data[position:end]))
        except FrameError as error:
            raise FrameError(error.problem, f"frame {len(frames)}: {error}") from error
        position = end
    if not frames:
        raise FrameError(FrameProblem.BAD_SIZE, "there is no frame")
    return np.stack([frame.landmarks for frame in frames]), np.array([frame.time_ms for frame in frames])


def _decode_alike(data: bytes) -> tuple[FloatArray, TimesArray] | None:
    """The same for whole float32 frames without any fault, many times faster; None leaves it to the thorough way."""
    if not data or len(data) % _RECORD.itemsize:
        return None
    frames = np.frombuffer(data, _RECORD)
    times_ms = frames["time_ms"].astype(np.float64)
    landmarks = frames["values"].reshape(-1, NUM_POINTS, 3).copy()
    is_whole = (
        (frames["magic"] == MAGIC).all()
        and (frames["version"] == VERSION).all()
        and (frames["flags"] <= ALL_PARTS).all()
        and (frames["num_points"] == NUM_POINTS).all()
        and (frames["dtype"] == FLOAT32).all()
    )
    if not is_whole:
        return None
    for flag, part in ((POSE_FLAG, POSE), (LEFT_HAND_FLAG, LEFT_HAND), (RIGHT_HAND_FLAG, RIGHT_HAND)):
        landmarks[(frames["flags"] & flag) == 0, part] = np.nan
    return (landmarks, times_ms) if fits_the_wire(landmarks, times_ms) else None


def fits_the_wire(landmarks: FloatArray, times_ms: TimesArray) -> bool:
    """Whether frames carry a window as it is: parts wholly there or wholly missing, everything within the limits."""
    if not (np.isfinite(times_ms).all() and times_ms.min() >= 0.0 and times_ms.max() <= MAX_TIME_MS):
        return False
    for part in (POSE, LEFT_HAND, RIGHT_HAND):
        points = landmarks[:, part].reshape(len(landmarks), -1)
        present = ~np.isnan(points[:, 0])
        if not np.isnan(points[~present]).all() or not (np.abs(points[present]) <= MAX_COORDINATE).all():
            return False
    return True


def _is_usable(coordinates: FloatArray) -> bool:
    return bool((np.abs(coordinates) <= MAX_COORDINATE).all())


def _explain(data: bytes) -> FrameError:
    magic, version, flags, _, time_ms, num_points, dtype = _HEADER.unpack_from(data)
    if magic != MAGIC:
        return FrameError(FrameProblem.BAD_MAGIC, f"a frame starts with {MAGIC!r}, got {magic!r}")
    if version != VERSION:
        return FrameError(FrameProblem.BAD_VERSION, f"this server speaks frame version {VERSION}, got {version}")
    if flags > ALL_PARTS:
        return FrameError(FrameProblem.BAD_FLAGS, f"only flag bits 0-2 are defined, got {flags:#04x}")
    if num_points != NUM_POINTS:
        return FrameError(FrameProblem.BAD_POINTS, f"a frame has {NUM_POINTS} points, got {num_points}")
    if dtype not in _SIZES:
        return FrameError(FrameProblem.BAD_DTYPE, f"dtype is 0 (float32) or 1 (float16), got {dtype}")
    if len(data) != _SIZES[dtype]:
        return FrameError(FrameProblem.BAD_SIZE, f"a frame of dtype {dtype} has {_SIZES[dtype]} bytes, got {len(data)}")
    return FrameError(FrameProblem.BAD_TIME, f"capture time must be 0 to {MAX_TIME_MS:.0e} ms, got {time_ms}")
