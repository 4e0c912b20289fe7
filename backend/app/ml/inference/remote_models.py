"""The two languages in which an inference server is asked.

`TorchServeModel`      sends landmarks to our handler, which does all the work and says which weights answered.
`OpenInferenceModel`   computes features here, sends tensors, and concludes from the logits here: any server that runs
                       the plain `.onnx` file will do, such as Triton or KServe.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import orjson

from app.ml.artifacts.manifest import ModelManifest, manifest_from_json, require_same_model
from app.ml.errors import ArtifactError, InvalidLandmarksError, RemoteMismatchError, RemoteUnavailableError
from app.ml.inference.backends import BackendOutput
from app.ml.inference.remote_http import HttpAnswer, HttpPool
from app.ml.inference.tensor_messages import (
    JSON_LENGTH_HEADER,
    TensorMessageError,
    Tensors,
    decode_tensors,
    encode_tensors,
)
from app.ml.inference.window_messages import decode_answers, encode_windows, fits_the_message
from app.ml.inference.window_server import DESCRIBE_HEADER
from app.ml.landmarks.features import FeatureBatch, get_feature_spec
from app.ml.types import BoolArray, FloatArray, LandmarkWindow, Prediction

WINDOWS_PER_REQUEST: Final = 32
MAX_PROBE_DEVIATION: Final = 0.1
"""Largest difference of a logit between the server's model and ours, as a share of how far logits lie apart. Ours;
measured: int8 files 0.004-0.013, PyTorch instead of ONNX 1e-6, other weights 1.7-2.2."""
_BINARY_EXTENSION: Final = "binary_tensor_data"
_OUTPUTS: Final = ("logits", "signing")


class LocalModel(Protocol):
    """The same model in this process: the pipeline. It answers when the server cannot."""

    @property
    def manifest(self) -> ModelManifest: ...

    def check(self, window: LandmarkWindow) -> None:
        """Raise InvalidLandmarksError when the window cannot be answered."""
        ...

    async def infer_many(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Answer windows in the model's own thread."""
        ...

    def prepare(self, windows: Sequence[LandmarkWindow]) -> FeatureBatch:
        """Compute features of checked windows."""
        ...

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
        """Run the bare model."""
        ...

    def conclude(
        self, windows: Sequence[LandmarkWindow], features: FeatureBatch, output: BackendOutput
    ) -> list[Prediction]:
        """Turn the model's output into predictions."""
        ...


class RemoteModel(Protocol):
    """A model on an inference server."""

    @property
    def protocol(self) -> str:
        """`torchserve` or `oip`."""
        ...

    def carries(self, window: LandmarkWindow) -> bool:
        """Whether the server would see the checked window exactly as it is."""
        ...

    async def infer(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Answer windows that the server can be sent.

        Raises:
            RemoteModelError: there is no answer, or not from the expected model.
        """
        ...

    async def check(self) -> None:
        """See that the server is up and serves the expected model.

        Raises:
            RemoteUnavailableError: it does not answer.
            RemoteMismatchError: it serves another model; says what differs.
        """
        ...


class TorchServeModel:
    """Our handler in TorchServe: `POST /predictions/{model}`."""

    protocol = "torchserve"

    def __init__(self, pool: HttpPool, *, model: str, local: LocalModel) -> None:
        self._pool = pool
        self._path = f"/predictions/{model}"
        self._manifest = local.manifest

    def carries(self, window: LandmarkWindow) -> bool:
        """See `RemoteModel.carries`."""
        return fits_the_message(window)

    async def infer(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """See `RemoteModel.infer`."""
        predictions: list[Prediction] = []
        for start in range(0, len(windows), WINDOWS_PER_REQUEST):
            predictions += await self._infer_part(windows[start : start + WINDOWS_PER_REQUEST])
        return predictions

    async def check(self) -> None:
        """See `RemoteModel.check`."""
        answer = await self._pool.post(self._path, b"", {DESCRIBE_HEADER: "True"})
        try:
            body = orjson.loads(answer.require_ok(f"{self._pool.url}{self._path}").content)
            manifest = manifest_from_json(orjson.dumps(body["manifest"]).decode())
        except (ValueError, KeyError, TypeError, ArtifactError) as error:
            msg = f"{self._pool.url}{self._path} describes no SignFlow model of this version: {error}"
            raise RemoteMismatchError(msg) from error
        try:
            require_same_model(self._manifest, manifest, names=("the local model", f"the one at {self._pool.url}"))
        except ArtifactError as error:
            raise RemoteMismatchError(str(error)) from error

    async def _infer_part(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        body = await asyncio.to_thread(encode_windows, windows)
        answer = await self._pool.post(self._path, body, {"Content-Type": "application/octet-stream"})
        content = answer.require_ok(f"{self._pool.url}{self._path}").content
        try:
            answers = decode_answers(content)
        except ValueError as error:
            msg = f"{self._pool.url} answered something else than predictions: {content[:80]!r}"
            raise RemoteMismatchError(msg) from error
        if answers.weights_sha256 != self._manifest.weights_sha256:
            msg = (
                f"{self._pool.url} answered with other weights: {answers.weights_sha256[:12]} instead of "
                f"{self._manifest.weights_sha256[:12]} (model {self._manifest.version})"
            )
            raise RemoteMismatchError(msg)
        return _require_predictions(answers.predictions, windows, url=self._pool.url)


class OpenInferenceModel:
    """A server that runs the bare model: `POST /v2/models/{model}/infer`."""

    protocol = "oip"

    def __init__(self, pool: HttpPool, *, model: str, local: LocalModel) -> None:
        self._pool = pool
        self._model = f"/v2/models/{model}"
        self._local = local
        self._binary = False
        self._spec = get_feature_spec(local.manifest.feature_spec)
        self._probe = _make_probe(self._spec.shape)
        self._expected: FloatArray | None = None

    def carries(self, window: LandmarkWindow) -> bool:  # noqa: ARG002 - the protocol's signature
        """Features of any window can be sent."""
        return True

    async def infer(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """See `RemoteModel.infer`."""
        predictions: list[Prediction] = []
        for start in range(0, len(windows), WINDOWS_PER_REQUEST):
            predictions += await self._infer_part(windows[start : start + WINDOWS_PER_REQUEST])
        return predictions

    async def check(self) -> None:
        """See `RemoteModel.check`: sizes if the server tells them, then its answer to made-up features against ours."""
        (await self._pool.get("/v2/health/ready")).require_ok(f"{self._pool.url}/v2/health/ready")
        self._binary = _BINARY_EXTENSION in _read_list(await self._pool.get("/v2"), "extensions")
        features, mask = self._probe
        if self._expected is None:
            self._expected = (await asyncio.to_thread(self._local.run, features, mask)).logits
        found = (await self._run(features, mask))["logits"]
        if found.shape != self._expected.shape:
            msg = f"the model at {self._pool.url} gives logits {list(found.shape)}, ours {list(self._expected.shape)}"
            raise RemoteMismatchError(msg)
        spread = float(np.abs(self._expected - self._expected.mean(1, keepdims=True)).max())
        difference = float(np.abs(found - self._expected).max())
        if not difference <= MAX_PROBE_DEVIATION * spread:
            msg = (
                f"the model at {self._pool.url} answers otherwise than {self._local.manifest.version} here: its logits "
                f"differ by up to {difference:.3g} (limit {MAX_PROBE_DEVIATION * spread:.3g})"
            )
            raise RemoteMismatchError(msg)

    async def _infer_part(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        features = await asyncio.to_thread(self._local.prepare, windows)
        tensors = await self._run(features.values, features.mask)
        output = BackendOutput(
            logits=tensors["logits"], embedding=np.zeros((len(windows), 0), np.float32), signing=tensors["signing"]
        )
        return self._local.conclude(windows, features, output)

    async def _run(self, features: FloatArray, mask: BoolArray) -> dict[str, FloatArray]:
        inputs = {self._spec.input_name: features, "mask": mask}
        wanted = {"outputs": [{"name": name} for name in _OUTPUTS]}
        body, headers = await asyncio.to_thread(
            lambda: encode_tensors(inputs, "inputs", binary=self._binary, extra=wanted)
        )
        answer = await self._pool.post(f"{self._model}/infer", body, headers)
        answer.require_ok(f"{self._pool.url}{self._model}/infer")
        try:
            tensors = decode_tensors(answer.content, "outputs", json_length=answer.headers.get(JSON_LENGTH_HEADER))
        except TensorMessageError as error:
            msg = f"{self._pool.url}{self._model} answered something else than tensors: {error}"
            raise RemoteMismatchError(msg) from error
        self._require_outputs(tensors, mask)
        return {name: tensors[name] for name in _OUTPUTS}

    def _require_outputs(self, tensors: Tensors, mask: BoolArray) -> None:
        expected = {"logits": (len(mask), len(self._local.manifest.labels)), "signing": mask.shape}
        for name, shape in expected.items():
            array = tensors.get(name)
            if array is None or array.shape != shape or array.dtype != np.float32:
                found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                msg = f"the model at {self._pool.url} gives {found} as {name}; ours gives float32 {list(shape)}"
                raise RemoteMismatchError(msg)


def _require_predictions(
    answers: Sequence[Prediction | InvalidLandmarksError], windows: Sequence[LandmarkWindow], *, url: str
) -> list[Prediction]:
    predictions = [one for one in answers if isinstance(one, Prediction)]
    if len(predictions) == len(windows):
        return predictions
    refused = next((str(one) for one in answers if isinstance(one, InvalidLandmarksError)), "no reason")
    msg = f"{url} answered {len(predictions)} of {len(windows)} windows that are good here: {refused}"
    raise RemoteUnavailableError(msg)


def _make_probe(shape: tuple[int, ...]) -> tuple[FloatArray, BoolArray]:
    """Two rows of made-up features, one of them padded: `[2, 24, *shape]` and `[2, 24]`."""
    features = np.random.default_rng(0).standard_normal((2, 24, *shape)).astype(np.float32)
    mask = np.arange(24) < np.array([[24], [15]])
    features[~mask] = 0.0
    return features, mask


def _read_list(answer: HttpAnswer, name: str) -> list[Any]:
    """A list in a JSON object; nothing where there is none."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return []
    value = body.get(name) if answer.status == 200 and isinstance(body, Mapping) else None
    return value if isinstance(value, list) else []
