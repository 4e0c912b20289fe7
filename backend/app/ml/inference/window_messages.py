"""What a model server is asked, and what it answers: windows of landmarks in, calibrated predictions out.

A question is one of

    {"landmarks": [T][75][3], "times_ms": [T], "width": 640, "height": 480, "mirrored": false}   JSON, one window
    {"windows": [ ... ]}                                                                      JSON, several
    frames of `signflow.v1`, one after the other                                              one window
    a header `<2sBBHHI` and that many bytes of such frames, repeated                          several windows

A point that was not detected is `null` in JSON, or three times `null`. Frames alone take width, height and mirrored
from HTTP headers. The header of a window is magic "SW" | version 1 | flags: bit 0 mirrored | uint16 width | uint16
height | uint32 bytes of frames, little-endian. One window is answered with a prediction, several with a list of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Annotated, Final, TypeAlias

import numpy as np
import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from app.ml.errors import InvalidLandmarksError
from app.ml.landmarks.layout import mirror
from app.ml.landmarks.wire import FrameError, decode_frames, encode_frames, fits_the_wire
from app.ml.types import Alternative, FloatArray, LandmarkWindow, Prediction

WINDOW_MAGIC: Final = b"SW"
WINDOW_VERSION: Final = 1
MIRRORED_FLAG: Final = 1
MAX_SIDE: Final = 65_535
"""Of a frame, in pixels."""
INVALID_WINDOW: Final = "invalid_window"
"""Code of a window that cannot be answered."""
WIDTH_HEADER, HEIGHT_HEADER, MIRRORED_HEADER = "x-signflow-width", "x-signflow-height", "x-signflow-mirrored"

_HEADER: Final = Struct("<2sBBHHI")
_MISSING: Final = (None, None, None)
_TRUE, _FALSE = ("true", "1"), ("false", "0", "")

Side: TypeAlias = Annotated[int, Field(ge=1, le=MAX_SIDE)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _WindowBody(_Message):
    landmarks: list[object]
    times_ms: list[float]
    width: Side = 640
    height: Side = 480
    mirrored: bool = False
    comment: str = ""


class _WindowsBody(_Message):
    windows: list[dict[str, object]] = Field(min_length=1)
    comment: str = ""


class _AlternativeBody(_Message):
    label: str
    confidence: float


class _ErrorBody(_Message):
    code: str
    message: str


class _AnswerBody(_Message):
    label: str | None
    confidence: float
    alternatives: list[_AlternativeBody]
    model_version: str
    signing: list[float]
    certainty: float
    probabilities: list[float]
    familiarity: list[float]


class _FailureBody(_Message):
    error: _ErrorBody


class _AnswersBody(_Message):
    weights_sha256: str
    predictions: list[_AnswerBody | _FailureBody]


_ANSWERS: Final = TypeAdapter(_AnswersBody)


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowQuestion:
    """A decoded question.

    Attributes:
        windows: each a window, or why it cannot be used.
        is_single: whether one answer is wanted, not a list.
    """

    windows: tuple[LandmarkWindow | InvalidLandmarksError, ...]
    is_single: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowAnswers:
    """A decoded answer: which weights answered, and for each window the prediction or why there is none."""

    weights_sha256: str
    predictions: tuple[Prediction | InvalidLandmarksError, ...]


def decode_question(content: bytes | Mapping[str, object], headers: Mapping[str, str]) -> WindowQuestion:
    """Read a question.

    Args:
        content: bytes, or the object that was read from JSON already.
        headers: HTTP headers, names in small letters.

    Raises:
        InvalidLandmarksError: nothing in it can be used; says why.
    """
    if not isinstance(content, Mapping):
        if content[:2] == WINDOW_MAGIC:
            return WindowQuestion(windows=_decode_windows(content), is_single=False)
        if content[:1] == b"S":
            return WindowQuestion(windows=(_window_of_frames(content, *_read_geometry(headers)),), is_single=True)
        content = read_json(content)
    if "windows" in content:
        try:
            bodies = _WindowsBody.model_validate(content).windows
        except ValidationError as error:
            raise InvalidLandmarksError(_explain(error)) from error
        return WindowQuestion(windows=tuple(map(_try_window_of_json, bodies)), is_single=False)
    return WindowQuestion(windows=(_window_of_json(content),), is_single=True)


def encode_windows(windows: Sequence[LandmarkWindow]) -> bytes:
    """Write a question about windows that `fits_the_message`."""
    parts: list[bytes] = []
    for window in windows:
        frames = encode_frames(window.landmarks, window.times_ms)
        parts += (_HEADER.pack(WINDOW_MAGIC, WINDOW_VERSION, 0, window.width, window.height, len(frames)), frames)
    return b"".join(parts)


def fits_the_message(window: LandmarkWindow) -> bool:
    """Whether `encode_windows` carries a checked window exactly as it is."""
    is_sized = 0 < window.width <= MAX_SIDE and 0 < window.height <= MAX_SIDE
    return is_sized and fits_the_wire(window.landmarks, window.times_ms)


def encode_answer(prediction: Prediction) -> bytes:
    """Write the answer to one window."""
    return orjson.dumps(_answer_body(prediction), option=orjson.OPT_SERIALIZE_NUMPY)


def encode_answers(predictions: Sequence[Prediction | InvalidLandmarksError], *, weights_sha256: str) -> bytes:
    """Write the answers to several windows; a window without one has its error in its place."""
    bodies = [
        {"error": error_body(str(one))} if isinstance(one, InvalidLandmarksError) else _answer_body(one)
        for one in predictions
    ]
    return orjson.dumps({"weights_sha256": weights_sha256, "predictions": bodies}, option=orjson.OPT_SERIALIZE_NUMPY)


def decode_answers(content: bytes) -> WindowAnswers:
    """Read what `encode_answers` wrote.

    Raises:
        ValueError: it is something else.
    """
    body = _ANSWERS.validate_json(content)
    return WindowAnswers(weights_sha256=body.weights_sha256, predictions=tuple(map(_prediction, body.predictions)))


def error_body(message: str, *, code: str = INVALID_WINDOW) -> dict[str, str]:
    """An error as every part of SignFlow tells it."""
    return {"code": code, "message": message}


def _decode_windows(content: bytes) -> tuple[LandmarkWindow | InvalidLandmarksError, ...]:
    windows: list[LandmarkWindow | InvalidLandmarksError] = []
    position = 0
    while position < len(content):
        start = position + _HEADER.size
        if start > len(content):
            msg = (
                f"window {len(windows)}: its header is cut off after {len(content) - position} of {_HEADER.size} bytes"
            )
            raise InvalidLandmarksError(msg)
        magic, version, flags, width, height, num_bytes = _HEADER.unpack_from(content, position)
        if magic != WINDOW_MAGIC or version != WINDOW_VERSION or flags > MIRRORED_FLAG:
            msg = (
                f"window {len(windows)}: expected a header {WINDOW_MAGIC!r}, version {WINDOW_VERSION}, flags 0 or 1; "
                f"got {magic!r}, {version}, {flags}"
            )
            raise InvalidLandmarksError(msg)
        position = start + num_bytes
        if position > len(content):
            msg = f"window {len(windows)}: {num_bytes} bytes of frames are announced, {len(content) - start} follow"
            raise InvalidLandmarksError(msg)
        try:
            windows.append(_window_of_frames(content[start:position], width, height, bool(flags & MIRRORED_FLAG)))
        except InvalidLandmarksError as error:
            windows.append(error)
    return tuple(windows)


def _window_of_frames(content: bytes, width: int, height: int, mirrored: bool) -> LandmarkWindow:  # noqa: FBT001
    try:
        landmarks, times_ms = decode_frames(content)
    except FrameError as error:
        raise InvalidLandmarksError(str(error)) from error
    return LandmarkWindow(
        landmarks=mirror(landmarks) if mirrored else landmarks, times_ms=times_ms, width=width, height=height
    )


def _read_geometry(headers: Mapping[str, str]) -> tuple[int, int, bool]:
    sides = [_read_side(headers, name, default) for name, default in ((WIDTH_HEADER, 640), (HEIGHT_HEADER, 480))]
    mirrored = headers.get(MIRRORED_HEADER, "").strip().lower()
    if mirrored not in (*_TRUE, *_FALSE):
        msg = f"header {MIRRORED_HEADER} is {mirrored!r}; expected true or false"
        raise InvalidLandmarksError(msg)
    return sides[0], sides[1], mirrored in _TRUE


def _read_side(headers: Mapping[str, str], name: str, default: int) -> int:
    text = headers.get(name, str(default)).strip()
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SIDE:
        msg = f"header {name} is {text!r}; expected a whole number of pixels from 1 to {MAX_SIDE}"
        raise InvalidLandmarksError(msg)
    return int(text)


def read_json(content: bytes) -> Mapping[str, object]:
    """Read a body that is no frames.

    Raises:
        InvalidLandmarksError: it is no JSON object.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        msg = f"the body is neither JSON ({error}) nor frames, which begin with 'SF' or 'SW'"
        raise InvalidLandmarksError(msg) from error
    if not isinstance(value, dict):
        msg = "the body is JSON, but no object with landmarks and times_ms"
        raise InvalidLandmarksError(msg)
    return value


def _try_window_of_json(content: Mapping[str, object]) -> LandmarkWindow | InvalidLandmarksError:
    try:
        return _window_of_json(content)
    except InvalidLandmarksError as error:
        return error


def _window_of_json(content: Mapping[str, object]) -> LandmarkWindow:
    try:
        body = _WindowBody.model_validate(content)
    except ValidationError as error:
        raise InvalidLandmarksError(_explain(error)) from error
    landmarks = _landmarks_of_json(body.landmarks)
    return LandmarkWindow(
        landmarks=mirror(landmarks) if body.mirrored else landmarks,
        times_ms=np.array(body.times_ms, np.float64),
        width=body.width,
        height=body.height,
    )


def _landmarks_of_json(frames: Sequence[object]) -> FloatArray:
    rows = [
        [_MISSING if point is None else point for point in frame] if isinstance(frame, list) else frame
        for frame in frames
    ]
    try:
        with np.errstate(over="ignore"):  # infinity is refused with the limit of coordinates
            landmarks = np.array(rows, np.float32)
    except (ValueError, TypeError) as error:
        msg = f"landmarks are no [T][75][3] of numbers and nulls: {error}"
        raise InvalidLandmarksError(msg) from error
    if landmarks.ndim != 3 or landmarks.shape[1:] != (75, 3):
        msg = f"landmarks have shape {landmarks.shape}; expected [T, 75, 3] with T >= 1"
        raise InvalidLandmarksError(msg)
    return landmarks


def _explain(error: ValidationError) -> str:
    problems = [f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in error.errors(include_url=False)]
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"the window cannot be read: {'; '.join(problems[:3])}{more}"


def _answer_body(prediction: Prediction) -> dict[str, object]:
    return {
        "label": prediction.label,
        "confidence": prediction.confidence,
        "alternatives": [{"label": one.label, "confidence": one.confidence} for one in prediction.alternatives],
        "model_version": prediction.model_version,
        "signing": prediction.signing,
        "certainty": prediction.certainty,
        "probabilities": prediction.probabilities,
        "familiarity": prediction.familiarity,
    }


def _prediction(body: _AnswerBody | _FailureBody) -> Prediction | InvalidLandmarksError:
    if isinstance(body, _FailureBody):
        return InvalidLandmarksError(body.error.message)
    return Prediction(
        label=body.label,
        confidence=body.confidence,
        alternatives=tuple(Alternative(label=one.label, confidence=one.confidence) for one in body.alternatives),
        model_version=body.model_version,
        signing=np.array(body.signing, np.float32),
        certainty=body.certainty,
        probabilities=np.array(body.probabilities, np.float32),
        familiarity=np.array(body.familiarity, np.float32),
    )
