"""A model server without a server: requests in, answers out. TorchServe's handler is a thin skin over it.

All windows of all requests of a batch go through the model together; whatever is wrong with one of them stays with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from typing import Any, Final, Protocol

import numpy as np
import orjson
from numpy.typing import NDArray

from app.ml.artifacts.interface import INPUT_NAMES, output_names
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import InvalidLandmarksError
from app.ml.inference.backends import BackendOutput
from app.ml.inference.tensor_messages import (
    JSON_LENGTH_HEADER,
    TensorMessageError,
    decode_tensors,
    decode_wishes,
    encode_tensors,
)
from app.ml.inference.window_messages import (
    WindowQuestion,
    decode_question,
    encode_answer,
    encode_answers,
    error_body,
    read_json,
)
from app.ml.landmarks.batches import MAX_CELLS, WindowBatch, stack_windows
from app.ml.landmarks.features import STEP_MS
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.landmarks.normalise import MAX_WINDOW_MS
from app.ml.types import LandmarkWindow, Prediction

DESCRIBE_HEADER: Final = "describe"
"""A request with this header, `True`, is answered with the model's manifest; TorchServe's management API sets it."""
MAX_ROWS: Final = 256
MAX_FRAMES: Final = 4_096
"""Largest batch of tensors in one request: a minute at 60 frames a second has 3,600."""
_JSON: Final = "application/json"
_FORM: Final = "application/x-www-form-urlencoded"


class ServedModel(Protocol):
    """What a server needs of a model; `SignFlowInferencePipeline` is one."""

    @property
    def manifest(self) -> ModelManifest: ...

    def check(self, window: LandmarkWindow) -> None:
        """Raise InvalidLandmarksError when the window cannot be answered."""
        ...

    def infer_batch(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Answer checked windows."""
        ...

    def run(self, batch: WindowBatch) -> BackendOutput:
        """Run the bare model."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRequest:
    """One HTTP request: its body (or the object that was read from it), and its headers, names in small letters."""

    content: bytes | Mapping[str, object]
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAnswer:
    """What to send back."""

    content: bytes
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": _JSON})

    @property
    def phrase(self) -> str:
        """The status in words."""
        return HTTPStatus(self.status).phrase


class WindowServer:
    """Answers questions about windows, and bare tensors in the Open Inference Protocol."""

    def __init__(self, model: ServedModel, *, backend: str, device: str) -> None:
        self._model = model
        self._outputs = output_names(model.manifest)
        self._description = orjson.dumps(
            {"manifest": asdict(model.manifest), "backend": backend, "device": device}, option=orjson.OPT_INDENT_2
        )

    def warm_up(self) -> None:
        """Run the model once, so that the first request does not pay for what is set up late."""
        landmarks = np.full((8, NUM_POINTS, 3), 0.5, np.float32)
        self._model.run(stack_windows([LandmarkWindow(landmarks=landmarks, times_ms=np.arange(8) * STEP_MS)]))

    def answer(self, requests: Sequence[ServerRequest]) -> list[ServerAnswer]:
        """Answer the requests of one batch, in their order."""
        parsed = [self._parse(request) for request in requests]
        asked = [window for one in parsed if isinstance(one, WindowQuestion) for window in one.windows]
        predictions = iter(self._predict(asked))
        return [
            self._conclude([next(predictions) for _ in one.windows], is_single=one.is_single)
            if isinstance(one, WindowQuestion)
            else one
            for one in parsed
        ]

    def _parse(self, request: ServerRequest) -> WindowQuestion | ServerAnswer:
        content, headers = request.content, request.headers
        if headers.get(DESCRIBE_HEADER, "").lower() == "true":
            return ServerAnswer(content=self._description)
        if not content:
            return _refuse(_explain_empty(headers))
        if JSON_LENGTH_HEADER in headers:
            return self._answer_tensors(content, headers)
        try:
            if not isinstance(content, Mapping) and content[:1] != b"S":
                content = read_json(content)
            if isinstance(content, Mapping) and "inputs" in content:
                return self._answer_tensors(content, headers)
            return decode_question(content, headers)
        except InvalidLandmarksError as error:
            return _refuse(str(error))

    def _predict(
        self, windows: Sequence[LandmarkWindow | InvalidLandmarksError]
    ) -> list[Prediction | InvalidLandmarksError]:
        checked = [one if isinstance(one, InvalidLandmarksError) else self._check(one) for one in windows]
        usable = [one for one in checked if isinstance(one, LandmarkWindow)]
        answers = iter(self._model.infer_batch(usable) if usable else [])
        return [next(answers) if isinstance(one, LandmarkWindow) else one for one in checked]

    def _check(self, window: LandmarkWindow) -> LandmarkWindow | InvalidLandmarksError:
        try:
            self._model.check(window)
        except InvalidLandmarksError as error:
            return error
        return window

    def _conclude(self, predictions: Sequence[Prediction | InvalidLandmarksError], *, is_single: bool) -> ServerAnswer:
        if not is_single:
            content = encode_answers(predictions, weights_sha256=self._model.manifest.weights_sha256)
            return ServerAnswer(content=content)
        (prediction,) = predictions
        if isinstance(prediction, InvalidLandmarksError):
            return _refuse(str(prediction))
        return ServerAnswer(content=encode_answer(prediction))

    def _answer_tensors(self, content: bytes | Mapping[str, object], headers: Mapping[str, str]) -> ServerAnswer:
        json_length = headers.get(JSON_LENGTH_HEADER)
        try:
            tensors = decode_tensors(content, "inputs", json_length=json_length)
            batch = _require_batch(tensors)
            wanted, binary = decode_wishes(content, json_length=json_length)
            wanted = wanted or self._outputs
        except TensorMessageError as error:
            return ServerAnswer(content=orjson.dumps({"error": str(error)}), status=HTTPStatus.BAD_REQUEST)
        output = self._model.run(batch)
        manifest = self._model.manifest
        outputs = {name: getattr(output, name) for name in self._outputs}
        body, answer_headers = encode_tensors(
            {name: array for name, array in outputs.items() if name in wanted},
            "outputs",
            binary=binary,
            extra={"model_name": "signflow", "model_version": manifest.version},
        )
        return ServerAnswer(content=body, headers=answer_headers)


def _require_batch(tensors: Mapping[str, NDArray[Any]]) -> WindowBatch:
    if not set(INPUT_NAMES) <= set(tensors):
        msg = f"expected the inputs {', '.join(INPUT_NAMES)}; got {', '.join(tensors) or 'none'}"
        raise TensorMessageError(msg)
    landmarks, times_ms, aspect, mask = (tensors[name] for name in INPUT_NAMES)
    if landmarks.dtype != np.float32 or landmarks.ndim != 4 or landmarks.shape[2:] != (NUM_POINTS, 3):
        msg = f"landmarks are {landmarks.dtype} {list(landmarks.shape)}; expected FP32 [batch, time, {NUM_POINTS}, 3]"
        raise TensorMessageError(msg)
    rows, frames = landmarks.shape[:2]
    for name, array, datatype, dtype, shape in (
        ("times_ms", times_ms, "FP64", np.float64, (rows, frames)),
        ("aspect", aspect, "FP32", np.float32, (rows,)),
        ("mask", mask, "BOOL", np.bool_, (rows, frames)),
    ):
        if array.dtype != dtype or array.shape != shape:
            msg = f"{name} is {array.dtype} {list(array.shape)}; expected {datatype} {list(shape)}"
            raise TensorMessageError(msg)
    if not (1 <= rows <= MAX_ROWS and 1 <= frames <= MAX_FRAMES):
        msg = f"a batch of {rows} x {frames}; the limits are {MAX_ROWS} windows of {MAX_FRAMES} frames"
        raise TensorMessageError(msg)
    if not mask[:, 0].all() or (mask[:, 1:] > mask[:, :-1]).any():
        msg = "each row of mask begins with the window's frames, one at least, and padding follows"
        raise TensorMessageError(msg)
    both = mask[:, 1:]
    if not np.isfinite(times_ms[mask]).all() or (times_ms[:, 1:] <= times_ms[:, :-1])[both].any():
        msg = "times_ms must be finite and strictly increasing in each row"
        raise TensorMessageError(msg)
    longest_ms = float((np.where(mask, times_ms, times_ms[:, :1]) - times_ms[:, :1]).max())
    if longest_ms > MAX_WINDOW_MS:
        msg = f"a window lasts {longest_ms:.0f} ms (limit {MAX_WINDOW_MS:.0f}); cut it into signs first"
        raise TensorMessageError(msg)
    if rows > 1 and rows * frames * (longest_ms / STEP_MS + 1) > MAX_CELLS:
        msg = (
            f"{rows} windows padded to {frames} frames of {longest_ms:.0f} ms are too many at once; send fewer of them"
        )
        raise TensorMessageError(msg)
    if not (np.isfinite(aspect) & (aspect > 0)).all():
        msg = "aspect must be positive, the frame's width divided by its height"
        raise TensorMessageError(msg)
    return WindowBatch(landmarks=landmarks, times_ms=times_ms, aspect=aspect, mask=mask)


def _refuse(message: str) -> ServerAnswer:
    return ServerAnswer(content=orjson.dumps(error_body(message)), status=HTTPStatus.BAD_REQUEST)


def _explain_empty(headers: Mapping[str, str]) -> str:
    if headers.get("content-type", "").startswith(_FORM) and headers.get("content-length", "0") != "0":
        return (
            "the body was sent as a form, in which JSON is lost; add the header 'Content-Type: application/json' "
            "(curl -H), or application/octet-stream for frames"
        )
    return "the body is empty; send JSON with landmarks and times_ms, or frames of signflow.v1"
