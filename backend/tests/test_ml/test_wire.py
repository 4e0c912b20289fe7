"""The frame decoder: golden frames, every way to be malformed, and anything at all."""

import base64
import json
import re
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.ml.landmarks.layout import LEFT_HAND, POSE, RIGHT_HAND
from app.ml.landmarks.wire import (
    FLOAT16,
    FLOAT32,
    HEADER_SIZE,
    FrameError,
    FrameProblem,
    decode_frame,
    decode_frames,
    encode_frame,
    encode_frames,
    fits_the_wire,
)
from app.ml.types import FloatArray, TimesArray
from tests.golden.write_wire_frames import PATH, render

CASES = json.loads(PATH.read_text("utf-8"))["cases"]
FRAME = encode_frame(np.full((75, 3), 0.5, np.float32), sequence=3, time_ms=40.0)


def test_the_golden_file_is_what_the_script_writes() -> None:
    assert PATH.read_text("utf-8") == render(), "run: python -m tests.golden.write_wire_frames"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden_frames_decode_to_their_values(case: dict[str, object]) -> None:
    frame = decode_frame(base64.b64decode(str(case["base64"])))

    expected = np.array(case["landmarks"], np.float32)  # None becomes NaN
    np.testing.assert_array_equal(frame.landmarks, expected)
    assert (frame.sequence, frame.time_ms, frame.num_unusable_parts) == (case["sequence"], case["time_ms"], 0)


def patched(fmt: str, offset: int, value: object) -> bytes:
    """The good frame with one header field replaced."""
    data = bytearray(FRAME)
    struct.pack_into(fmt, data, offset, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", FrameProblem.BAD_MAGIC),
        (b"S", FrameProblem.BAD_SIZE),
        (b"hello, is this JSON?", FrameProblem.BAD_MAGIC),
        (b"XX" + FRAME[2:], FrameProblem.BAD_MAGIC),
        (patched("<B", 2, 2), FrameProblem.BAD_VERSION),
        (patched("<B", 3, 8), FrameProblem.BAD_FLAGS),
        (patched("<d", 8, float("nan")), FrameProblem.BAD_TIME),
        (patched("<d", 8, float("inf")), FrameProblem.BAD_TIME),
        (patched("<d", 8, -1.0), FrameProblem.BAD_TIME),
        (patched("<d", 8, 1e300), FrameProblem.BAD_TIME),
        (patched("<H", 16, 74), FrameProblem.BAD_POINTS),
        (patched("<H", 18, 2), FrameProblem.BAD_DTYPE),
        (patched("<H", 18, 1), FrameProblem.BAD_SIZE),
        (FRAME[:-1], FrameProblem.BAD_SIZE),
        (FRAME + b"\0", FrameProblem.BAD_SIZE),
        (FRAME[:HEADER_SIZE], FrameProblem.BAD_SIZE),
    ],
)
def test_a_malformed_frame_is_refused_with_its_problem(data: bytes, problem: FrameProblem) -> None:
    with pytest.raises(FrameError) as caught:
        decode_frame(data)

    assert caught.value.problem is problem


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10.5, -11.0, 3e38])
def test_a_part_with_an_absurd_value_counts_as_missing_and_leaves_the_others(value: float) -> None:
    landmarks = np.full((75, 3), 0.5, np.float32)
    landmarks[40, 1] = value

    frame = decode_frame(encode_frame(landmarks, sequence=1, time_ms=1.0))

    assert frame.num_unusable_parts == 1
    assert np.isnan(frame.landmarks[LEFT_HAND]).all()
    assert (frame.landmarks[POSE] == 0.5).all()
    assert (frame.landmarks[RIGHT_HAND] == 0.5).all()


def test_large_but_possible_values_are_kept() -> None:
    landmarks = np.full((75, 3), -9.5, np.float32)

    frame = decode_frame(encode_frame(landmarks, sequence=1, time_ms=1.0))

    assert frame.num_unusable_parts == 0
    assert (frame.landmarks == -9.5).all()


def test_a_clear_flag_makes_a_part_missing_whatever_its_bytes_say() -> None:
    frame = decode_frame(patched("<B", 3, 0b001))

    assert np.isnan(frame.landmarks[33:]).all()
    assert (frame.landmarks[POSE] == 0.5).all()


@settings(deadline=None)
@given(st.binary(max_size=1_000))
def test_any_bytes_are_a_frame_or_a_frame_error(data: bytes) -> None:
    with pytest.raises(FrameError):
        decode_frame(data)


@settings(deadline=None)
@given(
    header=st.tuples(st.integers(0, 7), st.integers(0, 2**32 - 1), st.floats(0, 1e14)),
    dtype=st.sampled_from((FLOAT32, FLOAT16)),
    body=st.binary(min_size=900, max_size=900),
)
def test_any_coordinates_decode_to_finite_or_missing_parts(
    header: tuple[int, int, float], dtype: int, body: bytes
) -> None:
    flags, sequence, time_ms = header
    head = struct.pack("<2sBBIdHH", b"SF", 1, flags, sequence, time_ms, 75, dtype)

    frame = decode_frame(head + body[: 450 if dtype == FLOAT16 else 900])

    assert frame.landmarks.shape == (75, 3)
    assert frame.landmarks.dtype == np.float32
    for bit, part in enumerate((POSE, LEFT_HAND, RIGHT_HAND)):
        values = frame.landmarks[part]
        is_missing = np.isnan(values).all()
        assert is_missing or (np.abs(values) <= 10).all()
        assert is_missing or flags & 1 << bit


def window_frames(num_frames: int = 5) -> tuple[FloatArray, TimesArray]:
    landmarks = np.random.default_rng(3).uniform(-0.5, 1.5, (num_frames, 75, 3)).astype(np.float32)
    landmarks[1, LEFT_HAND] = np.nan
    landmarks[2, POSE] = np.nan
    return landmarks, np.arange(num_frames) * 33.4


def test_a_window_of_frames_comes_back_exactly() -> None:
    landmarks, times_ms = window_frames()

    found, found_ms = decode_frames(encode_frames(landmarks, times_ms))

    np.testing.assert_array_equal(found, landmarks)
    np.testing.assert_array_equal(found_ms, times_ms)


def test_the_frames_of_a_window_are_the_frames_of_a_stream() -> None:
    landmarks, times_ms = window_frames()

    stream = [
        encode_frame(frame, sequence=i, time_ms=ms)
        for i, (frame, ms) in enumerate(zip(landmarks, times_ms, strict=True))
    ]

    assert encode_frames(landmarks, times_ms) == b"".join(stream)


def test_frames_of_both_precisions_may_follow_each_other() -> None:
    landmarks, times_ms = window_frames(3)
    data = b"".join(
        encode_frame(frame, sequence=i, time_ms=times_ms[i], half_precision=i == 1) for i, frame in enumerate(landmarks)
    )

    found, found_ms = decode_frames(data)

    np.testing.assert_allclose(found, landmarks, atol=1e-3)
    np.testing.assert_array_equal(found_ms, times_ms)


def test_many_frames_are_decoded_as_each_alone_is() -> None:
    landmarks, times_ms = window_frames()
    landmarks[3, RIGHT_HAND] = np.inf
    landmarks[4, 60, 1] = 11.0
    data = encode_frames(landmarks, times_ms)

    found, _ = decode_frames(data)

    alone = [decode_frame(data[at : at + 920]).landmarks for at in range(0, len(data), 920)]
    np.testing.assert_array_equal(found, np.stack(alone))
    assert not fits_the_wire(landmarks, times_ms)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "there is no frame"),
        (FRAME[:-1], "frame 0: a frame of dtype 0 has 920 bytes, got 919"),
        (FRAME + b"SF", "frame 1: a frame has at least 20 bytes, got 2"),
        (FRAME + b"XX" + FRAME[2:], "frame 1: a frame starts with b'SF', got b'XX'"),
    ],
)
def test_a_malformed_window_names_the_frame(data: bytes, message: str) -> None:
    with pytest.raises(FrameError, match=re.escape(message)):
        decode_frames(data)


def test_what_frames_cannot_carry_is_told_apart() -> None:
    landmarks, times_ms = window_frames()
    partly = landmarks.copy()
    partly[0, LEFT_HAND.start + 3] = np.nan

    assert fits_the_wire(landmarks, times_ms)
    assert not fits_the_wire(partly, times_ms)
    assert not fits_the_wire(landmarks, times_ms - 1.0)
