"""Runs a `.onnx` model with OpenVINO on the CPU; imported only when it is asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from app.ml.artifacts.files import read_onnx_artifact
from app.ml.artifacts.interface import check_interface, output_names
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ArtifactError
from app.ml.inference.backends import BackendOutput
from app.ml.landmarks.batches import WindowBatch


class OpenVinoBackend:
    """A `.onnx` file on OpenVINO. The first call with each shape costs some milliseconds more than the following."""

    def __init__(self, path: Path, *, num_threads: int = 1) -> None:
        """Load and check the file.

        Args:
            path: the file.
            num_threads: inside one call.

        Raises:
            ArtifactError: the file is missing, unreadable, not ours, or OpenVINO cannot run it.
            ManifestMismatchError: its hash, labels, inputs or outputs are not what its manifest says.
        """
        artifact = read_onnx_artifact(path)
        self._manifest = artifact.manifest
        self._outputs = output_names(artifact.manifest)
        core = ov.Core()
        try:
            model = core.read_model(model=artifact.content)
            self._request = core.compile_model(model, "CPU", _options(num_threads)).create_infer_request()
        except RuntimeError as error:
            msg = f"{path}: OpenVINO {ov.__version__} cannot load it ({error})"
            raise ArtifactError(msg) from error
        check_interface(
            path,
            self._manifest,
            interface=artifact.interface,
            inputs={one.any_name: _lengths(one) for one in model.inputs},
            outputs={one.any_name: _lengths(one) for one in model.outputs},
        )

    @property
    def name(self) -> str:
        """`openvino`."""
        return "openvino"

    @property
    def device(self) -> str:
        """Always `cpu`."""
        return "cpu"

    @property
    def manifest(self) -> ModelManifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, batch: WindowBatch) -> BackendOutput:
        """See `Backend.run`."""
        # Inputs are read in place, outputs copied: the next call writes over the request's own memory.
        answer = self._request.infer(dict(batch.tensors), share_inputs=True, share_outputs=False)
        return BackendOutput.from_tensors({name: np.asarray(answer[name]) for name in self._outputs})


def _lengths(port: Any) -> list[int | None]:
    """The axes of an input or output; None where any length goes."""
    return [axis.get_length() if axis.is_static else None for axis in port.partial_shape]


def _options(num_threads: int) -> dict[str, object]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": num_threads,
        # bf16 has eight bits for which frame a step lies between, and for differences of points: too few.
        "INFERENCE_PRECISION_HINT": "f32",
        # Several workers share the cores; threads bound to the same one would wait for each other.
        "ENABLE_CPU_PINNING": False,
    }
