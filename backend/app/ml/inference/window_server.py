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

from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import InvalidLandmarksError
from app.ml.inference.backends import OUTPUT_NAMES, BackendOutput
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
from app.ml.landmarks.features import get_feature_spec
from app.ml.types import BoolArray, FloatArray, LandmarkWindow, Prediction

DESCRIBE_HEADER: Final = "describe"
"""A request with this header, `True`, is answered with the model's manifest; TorchServe's management API sets it."""
MAX_ROWS: Final = 256
MAX_STEPS: Final = 2_048
"""Largest batch of tensors in one request: a minute of features has 1,201 steps."""
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

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
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
        self._spec = get_feature_spec(model.manifest.feature_spec)
        self._description = orjson.dumps(
            {"manifest": asdict(model.manifest), "backend": backend, "device": device}, option=orjson.OPT_INDENT_2
        )

    def warm_up(self) -> None:
        """Run the model once, so that the first request does not pay for what is set up late."""
        self._model.run(np.zeros((1, 8, *self._spec.shape), np.float32), np.ones((1, 8), np.bool_))

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
            features, mask = self._require_inputs(tensors)
            wanted, binary = decode_wishes(content, json_length=json_length)
            wanted = wanted or OUTPUT_NAMES
        except TensorMessageError as error:
            return ServerAnswer(content=orjson.dumps({"error": str(error)}), status=HTTPStatus.BAD_REQUEST)
        output = self._model.run(features, mask)
        manifest = self._model.manifest
        outputs = {"logits": output.logits, "embedding": output.embedding, "signing": output.signing}
        body, answer_headers = encode_tensors(
            {name: array for name, array in outputs.items() if name in wanted},
            "outputs",
            binary=binary,
            extra={"model_name": "signflow", "model_version": manifest.version},
        )
        return ServerAnswer(content=body, headers=answer_headers)

    def _require_inputs(self, tensors: Mapping[str, NDArray[Any]]) -> tuple[FloatArray, BoolArray]:
        name, shape = self._spec.input_name, self._spec.shape
        features, mask = tensors.get(name), tensors.get("mask")
        if features is None or mask is None:
            msg = f"expected the inputs {name} and mask, got {', '.join(tensors) or 'none'}"
            raise TensorMessageError(msg)
        if features.dtype != np.float32 or features.shape[2:] != shape:
            sides = ", ".join(map(str, shape))
            msg = f"{name} are {features.dtype} {list(features.shape)}; expected FP32 [batch, time, {sides}]"
            raise TensorMessageError(msg)
        if mask.dtype != np.bool_ or mask.shape != features.shape[:2]:
            msg = f"mask is {mask.dtype} {list(mask.shape)}; expected BOOL {list(features.shape[:2])}"
            raise TensorMessageError(msg)
        if not (1 <= mask.shape[0] <= MAX_ROWS and 1 <= mask.shape[1] <= MAX_STEPS):
            msg = (
                f"a batch of {mask.shape[0]} x {mask.shape[1]}; the limits are {MAX_ROWS} windows of {MAX_STEPS} steps"
            )
            raise TensorMessageError(msg)
        usable = ~np.isinf(features) if self._spec.is_landmarks else np.isfinite(features)
        if not mask.any(axis=1).all() or not usable.all():
            msg = f"each row needs a step that the mask calls real, and {name} must be finite"
            raise TensorMessageError(msg)
        return features, mask


def _refuse(message: str) -> ServerAnswer:
    return ServerAnswer(content=orjson.dumps(error_body(message)), status=HTTPStatus.BAD_REQUEST)


def _explain_empty(headers: Mapping[str, str]) -> str:
    if headers.get("content-type", "").startswith(_FORM) and headers.get("content-length", "0") != "0":
        return (
            "the body was sent as a form, in which JSON is lost; add the header 'Content-Type: application/json' "
            "(curl -H), or application/octet-stream for frames"
        )
    return "the body is empty; send JSON with landmarks and times_ms, or frames of signflow.v1"
