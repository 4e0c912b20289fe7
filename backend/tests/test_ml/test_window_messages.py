"""What a model server is asked and answers: all forms of a question carry one window, every fault has its words."""

import struct

import numpy as np
import orjson
import pytest

from app.ml.errors import InvalidLandmarksError
from app.ml.inference.window_messages import (
    WindowAnswers,
    decode_answers,
    decode_question,
    encode_answer,
    encode_answers,
    encode_windows,
    fits_the_message,
)
from app.ml.landmarks.layout import LEFT_HAND, mirror
from app.ml.landmarks.wire import encode_frames
from app.ml.types import Alternative, LandmarkWindow, Prediction
from tests.golden.write_sample_request import PATH as SAMPLE
from tests.golden.write_sample_request import render
from tests.untrained_model import make_window

WINDOW = make_window("rain", seed=4)


def body_of(window: LandmarkWindow, **changes: object) -> dict[str, object]:
    """A window as people write it in JSON: `null` for a point that is missing."""
    landmarks = [
        [None if np.isnan(point).any() else [float(x) for x in point] for point in frame] for frame in window.landmarks
    ]
    body: dict[str, object] = {"landmarks": landmarks, "times_ms": window.times_ms.tolist()}
    return {**body, "width": window.width, "height": window.height, "mirrored": False, **changes}


def require_window(question: object, headers: dict[str, str] | None = None) -> LandmarkWindow:
    content = question if isinstance(question, bytes) else orjson.dumps(question)
    (window,) = decode_question(content, headers or {}).windows
    assert isinstance(window, LandmarkWindow)
    return window


def assert_equal(found: LandmarkWindow, expected: LandmarkWindow) -> None:
    np.testing.assert_array_equal(found.landmarks, expected.landmarks)
    np.testing.assert_array_equal(found.times_ms, expected.times_ms)
    assert (found.width, found.height) == (expected.width, expected.height)


def test_json_frames_and_windows_carry_the_same() -> None:
    frames = encode_frames(WINDOW.landmarks, WINDOW.times_ms)

    assert np.isnan(WINDOW.landmarks).any()
    assert_equal(require_window(body_of(WINDOW)), WINDOW)
    assert_equal(require_window({"windows": [body_of(WINDOW)]}), WINDOW)
    assert_equal(require_window(frames), WINDOW)
    assert_equal(require_window(encode_windows([WINDOW])), WINDOW)


def test_a_missing_coordinate_is_null_too() -> None:
    body = body_of(WINDOW)
    landmarks: list[list[object]] = body["landmarks"]  # pyright: ignore[reportAssignmentType]
    landmarks[0][LEFT_HAND.start] = [None, None, None]

    assert np.isnan(require_window(body).landmarks[0, LEFT_HAND.start]).all()


def test_frames_take_their_geometry_from_headers() -> None:
    frames = encode_frames(WINDOW.landmarks, WINDOW.times_ms)
    headers = {"x-signflow-width": "720", "x-signflow-height": "1280", "x-signflow-mirrored": "TRUE"}

    window = require_window(frames, headers)

    assert (window.width, window.height) == (720, 1280)
    np.testing.assert_array_equal(window.landmarks, mirror(WINDOW.landmarks))
    assert (require_window(frames).width, require_window(frames).height) == (640, 480)


def test_mirrored_windows_are_turned_back() -> None:
    frames = encode_frames(WINDOW.landmarks, WINDOW.times_ms)
    window = struct.pack("<2sBBHHI", b"SW", 1, 1, 640, 480, len(frames)) + frames

    for question in (body_of(WINDOW, mirrored=True), window):
        np.testing.assert_allclose(require_window(question).landmarks, mirror(WINDOW.landmarks), atol=1e-7)


def test_a_malformed_window_among_others_keeps_its_place() -> None:
    other = make_window("sun", seed=5, fps=8.0)
    frames = encode_frames(WINDOW.landmarks, WINDOW.times_ms)
    broken = struct.pack("<2sBBHHI", b"SW", 1, 0, 640, 480, len(frames) - 7) + frames[:-7]

    question = decode_question(encode_windows([WINDOW]) + broken + encode_windows([other]), {})
    as_json = decode_question({"windows": [body_of(WINDOW), {"landmarks": []}, body_of(other)]}, {})

    for windows in (question.windows, as_json.windows):
        first, fault, last = windows
        assert isinstance(first, LandmarkWindow)
        assert isinstance(last, LandmarkWindow)
        assert_equal(last, other)
        assert isinstance(fault, InvalidLandmarksError)
    assert "has 920 bytes, got 913" in str(question.windows[1])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{bad", "neither JSON"),
        (b"[1]", "no object"),
        (b"SFxx", "frame 0"),
        (b"SW\x01", "header is cut off after 3 of 12 bytes"),
        (struct.pack("<2sBBHHI", b"SW", 2, 0, 1, 1, 0), "version 1"),
        (struct.pack("<2sBBHHI", b"SW", 1, 0, 1, 1, 99), "99 bytes of frames are announced, 0 follow"),
        (b'{"times_ms": [0]}', "landmarks: Field required"),
        (b'{"landmarks": [[]], "times_ms": [0], "fps": 3}', "fps: Extra inputs are not permitted"),
        (b'{"landmarks": [[[1, 2, 3]]], "times_ms": [0]}', "expected [T, 75, 3]"),
        (b'{"landmarks": [[[1, 2], [3]]], "times_ms": [0]}', "[T][75][3] of numbers and nulls"),
        (b'{"landmarks": ["x"], "times_ms": [0]}', "[T][75][3] of numbers and nulls"),
        (b'{"landmarks": [], "times_ms": [null]}', "times_ms.0"),
        (b'{"landmarks": [], "times_ms": [], "width": 0}', "width"),
        (b'{"windows": []}', "windows"),
        (b'{"windows": [3]}', "windows.0"),
    ],
)
def test_what_is_no_question_is_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(InvalidLandmarksError) as caught:
        decode_question(content, {})

    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-signflow-width", "wide"),
        ("x-signflow-height", "-1"),
        ("x-signflow-height", "70000"),
        ("x-signflow-mirrored", "maybe"),
    ],
)
def test_a_geometry_that_makes_no_sense_names_the_header(name: str, value: str) -> None:
    with pytest.raises(InvalidLandmarksError, match=name):
        decode_question(encode_frames(WINDOW.landmarks, WINDOW.times_ms), {name: value})


def test_a_number_too_large_for_a_coordinate_is_kept_as_infinite_and_refused_later() -> None:
    body = body_of(WINDOW)
    landmarks: list[list[object]] = body["landmarks"]  # pyright: ignore[reportAssignmentType]
    landmarks[0][0] = [1e300, 0.0, 0.0]

    assert np.isinf(require_window(body).landmarks[0, 0, 0])


def test_windows_that_the_message_cannot_carry_are_told_apart() -> None:
    partly = WINDOW.landmarks.copy()
    partly[0, LEFT_HAND.start + 2] = np.nan
    partly[0, LEFT_HAND.start] = 0.5

    assert fits_the_message(WINDOW)
    assert not fits_the_message(LandmarkWindow(landmarks=partly, times_ms=WINDOW.times_ms))
    assert not fits_the_message(LandmarkWindow(landmarks=WINDOW.landmarks, times_ms=WINDOW.times_ms - 1e6))
    assert not fits_the_message(LandmarkWindow(landmarks=WINDOW.landmarks, times_ms=WINDOW.times_ms, width=100_000))


def test_answers_come_back_exactly() -> None:
    prediction = Prediction(
        label=None,
        confidence=float(np.float32(0.1)),
        alternatives=(Alternative(label="hello", confidence=float(np.float32(1 / 3))),),
        model_version="v3",
        signing=np.array([0.1, 0.9], np.float32),
        certainty=float(np.float32(0.7)),
        probabilities=np.array([1 / 3, 2 / 3], np.float32),
        familiarity=np.array([0.6, 0.1], np.float32),
    )
    fault = InvalidLandmarksError("too long")

    answers = decode_answers(encode_answers([prediction, fault], weights_sha256="abc"))

    found, error = answers.predictions
    assert answers == WindowAnswers(weights_sha256="abc", predictions=(found, error))
    assert isinstance(found, Prediction)
    assert (found.label, found.confidence, found.alternatives) == (None, prediction.confidence, prediction.alternatives)
    np.testing.assert_array_equal(found.signing, prediction.signing)
    np.testing.assert_array_equal(found.probabilities, prediction.probabilities)
    np.testing.assert_array_equal(found.familiarity, prediction.familiarity)
    assert found.certainty == prediction.certainty
    assert str(error) == "too long"
    assert orjson.loads(encode_answer(prediction))["model_version"] == "v3"


@pytest.mark.parametrize("content", [b"", b"{}", b'{"weights_sha256": "a", "predictions": [3]}', b"<html>"])
def test_what_is_no_answer_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode_answers(content)


def test_the_sample_request_is_current_and_survives_being_sent_as_a_form() -> None:
    text = SAMPLE.read_text("utf-8")

    assert text == render(), "run: python -m tests.golden.write_sample_request"
    assert "=" in text, "TorchServe loses a body without one when curl calls it a form"
    assert not set("&%+") & set(text), "these mean something in a form"
    assert require_window(text.encode()).landmarks.shape[0] > 10
