"""The two languages in which an inference server is asked.

`TorchServeModel`      sends landmarks to our handler, which does all the work and says which weights answered.
`OpenInferenceModel`   sends landmarks as tensors to any server that runs the plain `.onnx` file, such as Triton or
                       KServe, and concludes from the logits here.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import orjson

from app.ml.artifacts.interface import MISSING, output_names
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
from app.ml.landmarks.batches import WindowBatch, split_windows, stack_windows
from app.ml.landmarks.features import STEP_MS
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.types import FloatArray, LandmarkWindow, Prediction

WINDOWS_PER_REQUEST: Final = 32
MAX_PROBE_DEVIATION: Final = 0.1
"""Largest difference of a logit between the server's model and ours, as a share of how far logits lie apart. Ours;
measured: int8 files 0.004-0.013, PyTorch instead of ONNX 1e-6, other weights 1.7-2.2."""
_BINARY_EXTENSION: Final = "binary_tensor_data"


class LocalModel(Protocol):
    """The same model in this process: the pipeline. It answers when the server cannot."""

    @property
    def manifest(self) -> ModelManifest: ...

    def check(self, window: LandmarkWindow) -> None:
        """Raise InvalidLandmarksError when the window cannot be answered."""
        ...

    def infer_many(self, windows: Sequence[LandmarkWindow]) -> Awaitable[list[Prediction]]:
        """Answer windows in the model's own thread."""
        ...

    def run(self, batch: WindowBatch) -> BackendOutput:
        """Run the bare model."""
        ...

    def conclude(self, windows: Sequence[LandmarkWindow], output: BackendOutput) -> list[Prediction]:
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
        self._outputs = tuple(name for name in output_names(local.manifest) if name != "embedding")
        self._probe = _make_probe()
        self._expected: FloatArray | None = None

    def carries(self, window: LandmarkWindow) -> bool:  # noqa: ARG002 - the protocol's signature
        """Tensors hold any window."""
        return True

    async def infer(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """See `RemoteModel.infer`."""
        answers: dict[int, Prediction] = {}
        for group in split_windows(windows, max_batch=WINDOWS_PER_REQUEST):
            chosen = [windows[number] for number in group]
            output = await self._run(stack_windows(chosen))
            answers.update(zip(group, self._local.conclude(chosen, output), strict=True))
        return [answers[number] for number in range(len(windows))]

    async def check(self) -> None:
        """See `RemoteModel.check`: sizes if the server tells them, then its answer to made-up windows against ours."""
        (await self._pool.get("/v2/health/ready")).require_ok(f"{self._pool.url}/v2/health/ready")
        self._binary = _BINARY_EXTENSION in _read_list(await self._pool.get("/v2"), "extensions")
        if self._expected is None:
            self._expected = (await asyncio.to_thread(self._local.run, self._probe)).logits
        found = (await self._run(self._probe)).logits
        spread = float(np.abs(self._expected - self._expected.mean(1, keepdims=True)).max())
        difference = float(np.abs(found - self._expected).max())
        if not difference <= MAX_PROBE_DEVIATION * spread:
            msg = (
                f"the model at {self._pool.url} answers otherwise than {self._local.manifest.version} here: its logits "
                f"differ by up to {difference:.3g} (limit {MAX_PROBE_DEVIATION * spread:.3g})"
            )
            raise RemoteMismatchError(msg)

    async def _run(self, batch: WindowBatch) -> BackendOutput:
        wanted = {"outputs": [{"name": name} for name in self._outputs]}
        body, headers = await asyncio.to_thread(self._encode, batch, wanted)
        answer = await self._pool.post(f"{self._model}/infer", body, headers)
        answer.require_ok(f"{self._pool.url}{self._model}/infer")
        try:
            tensors = decode_tensors(answer.content, "outputs", json_length=answer.headers.get(JSON_LENGTH_HEADER))
        except TensorMessageError as error:
            msg = f"{self._pool.url}{self._model} answered something else than tensors: {error}"
            raise RemoteMismatchError(msg) from error
        self._require_outputs(tensors, batch)
        return BackendOutput.from_tensors({name: tensors[name] for name in self._outputs})

    def _encode(self, batch: WindowBatch, wanted: Mapping[str, object]) -> tuple[bytes, dict[str, str]]:
        tensors = dict(batch.tensors)
        if not self._binary:  # JSON has no NaN
            tensors["landmarks"] = np.where(np.isnan(batch.landmarks), np.float32(MISSING), batch.landmarks)
        return encode_tensors(tensors, "inputs", binary=self._binary, extra=wanted)

    def _require_outputs(self, tensors: Tensors, batch: WindowBatch) -> None:
        labels = (len(batch.aspect), len(self._local.manifest.labels))
        expected = {"logits": labels, "signing": batch.mask.shape, "familiarity": labels}
        for name in self._outputs:
            array = tensors.get(name)
            if array is None or array.shape != expected[name] or array.dtype != np.float32:
                found = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
                msg = (
                    f"the model at {self._pool.url} gives {found} as {name}; ours gives float32 {list(expected[name])}"
                )
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


def _make_probe() -> WindowBatch:
    """Two made-up windows, one of them padded."""
    shape = (2, 24)
    landmarks = np.random.default_rng(0).random((*shape, NUM_POINTS, 3), np.float32)
    mask = np.arange(24) < np.array([[24], [15]])
    landmarks[~mask] = np.nan
    return WindowBatch(
        landmarks=landmarks,
        times_ms=np.tile(np.arange(24) * STEP_MS, (2, 1)),
        aspect=np.full(2, 4 / 3, np.float32),
        mask=mask,
    )


def _read_list(answer: HttpAnswer, name: str) -> list[Any]:
    """A list in a JSON object; nothing where there is none."""
    try:
        body = orjson.loads(answer.content)
    except orjson.JSONDecodeError:
        return []
    value = body.get(name) if answer.status == 200 and isinstance(body, Mapping) else None
    return value if isinstance(value, list) else []
