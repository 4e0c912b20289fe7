"""The in-process recogniser: a window of landmarks in, a calibrated answer or "not sure" out.

windows padded under a mask -> logits, signing curve, how familiar -> confidence of each sign -> threshold
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

import numpy as np

from app.ml.artifacts.files import file_sha256, read_manifest
from app.ml.artifacts.finding import ModelFiles, find_model
from app.ml.artifacts.manifest import ModelManifest, check_feature_spec, require_same_model
from app.ml.errors import ArtifactError, InvalidLandmarksError, MissingExtraError, ModelNotFoundError
from app.ml.inference.backends import Backend, BackendOutput
from app.ml.inference.confidence import explain_unmeasured
from app.ml.inference.decision import decide, to_prediction
from app.ml.inference.familiarity import RawAnswers
from app.ml.inference.loading import open_backend
from app.ml.landmarks.batches import WindowBatch, split_windows, stack_windows
from app.ml.landmarks.normalise import MAX_COORDINATE, MAX_WINDOW_MS, check_window
from app.ml.metrics import NULL_METRICS, Fallback, InferenceMetrics, Stage
from app.ml.types import LandmarkWindow, Prediction

BackendChoice: TypeAlias = Literal["auto", "onnx", "onnx-int8", "torch", "openvino"]

MAX_BATCH: Final = 32
"""Windows in one call of the backend; more are run in turns."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What runs.

    Attributes:
        name: what runs it, see `Backend`.
        device: where.
        path: the file.
        sha256: hash of the file's content.
        fallback_reason: why the preferred file beside it is not in use; None when this is the preferred one.
    """

    name: str
    path: Path
    sha256: str
    device: str = "cpu"
    fallback_reason: str | None = None


class SignFlowInferencePipeline:
    """A loaded model as a `Predictor`. Owns one thread, in which all its `infer` calls run; close it when done."""

    def __init__(
        self, backend: Backend, *, backend_info: BackendInfo, metrics: InferenceMetrics = NULL_METRICS
    ) -> None:
        """Take a loaded backend; `load` and `load_file` are the usual ways in.

        Raises:
            ManifestMismatchError: the model was trained on features that this version does not compute.
        """
        check_feature_spec(backend.manifest)
        self._backend = backend
        self._backend_info = backend_info
        self._metrics = metrics
        unmeasured = explain_unmeasured(backend.manifest)
        if unmeasured is not None:
            logger.warning("the confidences of model %s were not measured: %s", backend.manifest.version, unmeasured)
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="signflow-infer")

    @classmethod
    def load(
        cls,
        model_dir: Path,
        *,
        backend: BackendChoice = "auto",
        version: str | None = None,
        num_threads: int = 1,
        device: str = "auto",
        metrics: InferenceMetrics = NULL_METRICS,
    ) -> "SignFlowInferencePipeline":
        """Load the newest `model_vN` of a folder, or a chosen version.

        The backend `auto` takes the `.onnx`; when that is broken, the `.pt` beside it if it is the same model, with one
        warning. `load_file` says what a device may be.

        Raises:
            ModelNotFoundError: the folder has no model, or not in the chosen form.
            ArtifactError: the model cannot be used; the message says what is wrong or what differs.
            MissingExtraError: what runs it is not installed.
        """
        files = find_model(model_dir, version=version)
        load_file = partial(cls.load_file, num_threads=num_threads, device=device, metrics=metrics)
        if backend == "auto":
            if files.onnx is not None:
                return cls._load_onnx_or_torch(files.onnx, files.torch, load_file, metrics)
            return load_file(_require(files.torch, files, model_dir))
        path = {
            "onnx": files.onnx,
            "onnx-int8": files.onnx_int8,
            "torch": files.torch,
            "openvino": files.onnx,
        }[backend]
        return load_file(_require(path, files, model_dir), with_openvino=backend == "openvino")

    @classmethod
    def load_file(
        cls,
        path: Path,
        *,
        num_threads: int | None = None,
        device: str = "auto",
        with_openvino: bool = False,
        fallback_reason: str | None = None,
        metrics: InferenceMetrics = NULL_METRICS,
    ) -> "SignFlowInferencePipeline":
        """Load one `.onnx` or `.pt` file, and nothing else in its place.

        Args:
            path: the file.
            num_threads: inside one call; see `open_backend`.
            device: `cpu`, `cuda`, `cuda:N`, or `mps` (a `.pt` only); `auto` takes a GPU where there is one.
            with_openvino: run a `.onnx` with OpenVINO.
            fallback_reason: why this file and not the preferred one.

        Raises:
            ArtifactError: it cannot be used; the message says what is wrong or what differs.
            MissingExtraError: what runs it is not installed.
        """
        backend = open_backend(path, num_threads=num_threads, device=device, with_openvino=with_openvino)
        info = BackendInfo(
            name=backend.name,
            path=path,
            sha256=file_sha256(path),
            device=backend.device,
            fallback_reason=fallback_reason,
        )
        return cls(backend, backend_info=info, metrics=metrics)

    @classmethod
    def _load_onnx_or_torch(
        cls,
        onnx_path: Path,
        torch_path: Path | None,
        load_file: Callable[..., "SignFlowInferencePipeline"],
        metrics: InferenceMetrics,
    ) -> "SignFlowInferencePipeline":
        try:
            return load_file(onnx_path)
        except ArtifactError as error:
            if torch_path is None:
                raise
            reason = str(error)
            try:
                pipeline = load_file(torch_path, fallback_reason=reason)
            except (ArtifactError, MissingExtraError) as second:
                msg = f"{reason}; and {torch_path.name} beside it cannot replace it: {second}"
                raise ArtifactError(msg) from second
        manifest = _get_manifest(onnx_path)
        if manifest is not None:
            require_same_model(manifest, pipeline.manifest, names=(onnx_path.name, torch_path.name))
        logger.warning("using %s, because %s", torch_path.name, reason)
        metrics.fell_back(Fallback.TORCH)
        return pipeline

    @property
    def manifest(self) -> ModelManifest:
        """What the model in use says about itself."""
        return self._backend.manifest

    @property
    def backend_info(self) -> BackendInfo:
        """What runs, and why if it is a fallback."""
        return self._backend_info

    async def infer(self, window: LandmarkWindow) -> Prediction:
        """Recognise the window as one sign, in the pipeline's own thread.

        Raises:
            InvalidLandmarksError: the window has no frame, its arrays do not fit together, or it is too long.
            RuntimeError: the pipeline is closed.
        """
        return (await self.infer_many((window,)))[0]

    def infer_many(self, windows: Sequence[LandmarkWindow]) -> Awaitable[list[Prediction]]:
        """Recognise several windows, of any lengths, in the pipeline's own thread; the call begins at once.

        Raises:
            InvalidLandmarksError: a window cannot be used; none is answered then.
            RuntimeError: the pipeline is closed.
        """
        return asyncio.get_running_loop().run_in_executor(self._executor, self.infer_batch, windows)

    def infer_batch(self, windows: Sequence[LandmarkWindow]) -> list[Prediction]:
        """Recognise several windows, of any lengths, in the calling thread.

        Raises:
            InvalidLandmarksError: a window cannot be used; none is answered then.
        """
        for window in windows:
            self.check(window)
        answers: dict[int, Prediction] = {}
        for group in split_windows(windows, max_batch=MAX_BATCH):
            chosen = [windows[number] for number in group]
            answers.update(zip(group, self.conclude(chosen, self.run(stack_windows(chosen))), strict=True))
        return [answers[number] for number in range(len(windows))]

    def run(self, batch: WindowBatch) -> BackendOutput:
        """Run the bare model: the first step of `infer_batch`; see `Backend.run`."""
        begin_s = time.perf_counter()
        output = self._backend.run(batch)
        self._metrics.stage_done(Stage.MODEL, time.perf_counter() - begin_s)
        self._metrics.batch_run(len(batch.aspect))
        return output

    def conclude(self, windows: Sequence[LandmarkWindow], output: BackendOutput) -> list[Prediction]:
        """What the model's output for a batch means: the last step."""
        decisions = decide(RawAnswers(output.logits, output.familiarity), self.manifest)
        return [
            to_prediction(decisions, row, self.manifest, signing=output.signing[row, : len(window.times_ms)])
            for row, window in enumerate(windows)
        ]

    def raw_batch(self, windows: Sequence[LandmarkWindow]) -> RawAnswers:
        """Logits and familiarity over the model's whole vocabulary, background included, for evaluation.

        Returns:
            Both in the manifest's label order.

        Raises:
            InvalidLandmarksError: a window cannot be used.
        """
        for window in windows:
            self.check(window)
        num_labels = len(self.manifest.labels)
        logits = np.zeros((len(windows), num_labels), np.float32)
        familiarity = np.zeros((len(windows), num_labels if self.manifest.prototypes else 0), np.float32)
        for group in split_windows(windows, max_batch=MAX_BATCH):
            output = self.run(stack_windows([windows[number] for number in group]))
            logits[group], familiarity[group] = output.logits, output.familiarity
        return RawAnswers(logits, familiarity)

    def close(self) -> None:
        """Finish the call that runs, drop those that wait, and end the thread. A second call does nothing."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def check(self, window: LandmarkWindow) -> None:
        """Refuse a window that cannot be answered.

        Raises:
            InvalidLandmarksError: no frame, arrays that do not fit together, too long, or a point is far out.
        """
        check_window(window)
        duration_ms = float(window.times_ms[-1] - window.times_ms[0])
        if duration_ms > MAX_WINDOW_MS:
            msg = f"the window lasts {duration_ms:.0f} ms (limit {MAX_WINDOW_MS:.0f}); cut it into signs first"
            raise InvalidLandmarksError(msg)
        if (np.abs(window.landmarks) > MAX_COORDINATE).any():
            furthest = np.nanmax(np.abs(window.landmarks))
            msg = f"a point lies {furthest:.3g} frame sizes away (limit {MAX_COORDINATE:g}); a missing point is NaN"
            raise InvalidLandmarksError(msg)


def _get_manifest(path: Path) -> ModelManifest | None:
    """The manifest of a broken file, if it still says what it was."""
    try:
        return read_manifest(path)
    except ArtifactError:
        return None


def _require(path: Path | None, files: ModelFiles, model_dir: Path) -> Path:
    if path is None:
        present = ", ".join(one.name for one in (files.onnx, files.onnx_int8, files.torch) if one is not None)
        msg = (
            f"{model_dir} has no file of model {files.version} for this backend (it has {present}); export the model "
            "or choose another backend"
        )
        raise ModelNotFoundError(msg)
    return path
