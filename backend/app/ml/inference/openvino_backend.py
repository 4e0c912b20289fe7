"""Runs a `.onnx` model with OpenVINO on the CPU; imported only when it is asked for."""

import time
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import openvino as ov

from app.ml.artifacts.files import read_onnx_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ArtifactError
from app.ml.inference.backends import OUTPUT_NAMES, BackendOutput, check_interface
from app.ml.landmarks.features import get_feature_spec
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.types import BoolArray, FloatArray

Precision: TypeAlias = Literal["f32", "bf16"]

_TRIAL_SHAPE: Final = (8, 40)
_TRIALS: Final = 8
_WORTH_IT: Final = 0.9
"""bf16 must take less than this part of f32's time: its logits differ by some hundredths, which wants a reason."""


class OpenVinoBackend:
    """A `.onnx` file on OpenVINO. The first call with each shape costs some milliseconds more than the following."""

    def __init__(self, path: Path, *, num_threads: int = 1, precision: Precision | None = None) -> None:
        """Load and check the file.

        Args:
            path: the file.
            num_threads: inside one call.
            precision: of the arithmetic; None takes bf16 where the processor has it and a trial finds it faster.

        Raises:
            ArtifactError: the file is missing, unreadable, not ours, or OpenVINO cannot run it.
            ManifestMismatchError: its hash, labels, feature spec or inputs are not what its manifest says.
        """
        artifact = read_onnx_artifact(path)
        self._manifest = artifact.manifest
        self._spec = get_feature_spec(artifact.manifest.feature_spec)
        core = ov.Core()
        try:
            model = core.read_model(model=artifact.content)
            precisions: tuple[Precision, ...] = (precision,) if precision else _precisions(core)
            requests: dict[Precision, ov.InferRequest] = {
                one: _compile(core, model, one, num_threads=num_threads) for one in precisions
            }
        except RuntimeError as error:
            msg = f"{path}: OpenVINO {ov.__version__} cannot load it ({error})"
            raise ArtifactError(msg) from error
        check_interface(
            path,
            self._manifest,
            inputs={one.any_name: _lengths(one) for one in model.inputs},
            outputs={one.any_name: _lengths(one) for one in model.outputs},
        )
        self._precision = self._choose(requests)
        self._request = requests[self._precision]

    @property
    def name(self) -> str:
        """`openvino-f32` or `openvino-bf16`."""
        return f"openvino-{self._precision}"

    @property
    def device(self) -> str:
        """Always `cpu`."""
        return "cpu"

    @property
    def manifest(self) -> ModelManifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
        """See `Backend.run`."""
        return self._run(self._request, features, mask)

    def _run(self, request: ov.InferRequest, features: FloatArray, mask: BoolArray) -> BackendOutput:
        # Inputs are read in place, outputs copied: the next call writes over the request's own memory.
        answer = request.infer({self._spec.input_name: features, "mask": mask}, share_inputs=True, share_outputs=False)
        logits, embedding, signing = (np.asarray(answer[name]) for name in OUTPUT_NAMES)
        return BackendOutput(logits=logits, embedding=embedding, signing=signing)

    def _choose(self, requests: dict[Precision, ov.InferRequest]) -> Precision:
        if len(requests) == 1:
            return next(iter(requests))
        step_shape = (NUM_POINTS, 3) if self._spec.is_landmarks else (self._spec.num_features,)
        features = np.zeros((*_TRIAL_SHAPE, *step_shape), np.float32)
        mask = np.ones(_TRIAL_SHAPE, np.bool_)
        best_s: dict[Precision, float] = dict.fromkeys(requests, float("inf"))
        for _ in range(_TRIALS):  # in turns: a machine that is busy for a moment is unjust to neither
            for precision, request in requests.items():
                begin_s = time.perf_counter()
                self._run(request, features, mask)
                best_s[precision] = min(best_s[precision], time.perf_counter() - begin_s)
        return "bf16" if best_s["bf16"] < _WORTH_IT * best_s["f32"] else "f32"


def _lengths(port: Any) -> list[int | None]:
    """The axes of an input or output; None where any length goes."""
    return [axis.get_length() if axis.is_static else None for axis in port.partial_shape]


def _precisions(core: ov.Core) -> tuple[Precision, ...]:
    return ("f32", "bf16") if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else ("f32",)


def _compile(core: ov.Core, model: ov.Model, precision: Precision, *, num_threads: int) -> ov.InferRequest:
    options: dict[str, object] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": num_threads,
        "INFERENCE_PRECISION_HINT": precision,
        # Several workers share the cores; threads bound to the same one would wait for each other.
        "ENABLE_CPU_PINNING": False,
    }
    return core.compile_model(model, "CPU", options).create_infer_request()
