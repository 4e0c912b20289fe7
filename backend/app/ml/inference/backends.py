"""Runs a model's graph: one small seam, and ONNX Runtime behind it (f32 and int8 files alike).

Shapes: B batch, T frames (padded), C labels, D embedding.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # pyright: ignore[reportAttributeAccessIssue]

from app.ml.artifacts.files import read_onnx_artifact
from app.ml.artifacts.interface import FAMILIARITY, check_interface, output_names
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ArtifactError
from app.ml.landmarks.batches import WindowBatch
from app.ml.types import FloatArray

logger = logging.getLogger(__name__)

LOAD_ERRORS: Final[tuple[type[Exception], ...]] = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""ONNX Runtime's own exceptions; they share no base but Exception."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BackendOutput:
    """What a model answers.

    Attributes:
        logits: float32 `[B, C]`.
        signing: float32 `[B, T]`, probability that the person is signing in each frame; any number at padding.
        embedding: float32 `[B, D]`, of length 1; `[B, 0]` where only answers were asked for.
        familiarity: float32 `[B, C]` in [0, 1]; `[B, 0]` for a model without prototypes.
    """

    logits: FloatArray
    signing: FloatArray
    embedding: FloatArray
    familiarity: FloatArray

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]]) -> "BackendOutput":
        """From outputs by name; those that are left out become empty."""
        empty = np.zeros((len(tensors["logits"]), 0), np.float32)
        return cls(
            logits=tensors["logits"],
            signing=tensors["signing"],
            embedding=tensors.get("embedding", empty),
            familiarity=tensors.get(FAMILIARITY, empty),
        )


class Backend(Protocol):
    """A loaded model. `name` is what `/ready` shows: `onnx`, `onnx-int8`, `torch` or `openvino`;
    `device` where it runs: `cpu`, `cuda:N` or `mps`."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def manifest(self) -> ModelManifest: ...

    def run(self, batch: WindowBatch) -> BackendOutput:
        """Run the model on windows; what stands where `mask` is false never changes an answer."""
        ...


class OnnxBackend:
    """A `.onnx` file on ONNX Runtime: on its CUDA provider where this ONNX Runtime has one, else on the CPU."""

    def __init__(self, path: Path, *, num_threads: int = 1, device: str = "auto") -> None:
        """Load and check the file; where CUDA is asked for and missing, the CPU takes over with one warning.

        Args:
            path: the file.
            num_threads: inside one call.
            device: `cpu`, `cuda`, `cuda:N`, or `auto`: CUDA if there is any.

        Raises:
            ArtifactError: the file is missing, unreadable, not ours, or ONNX Runtime cannot run it.
            ManifestMismatchError: its hash, labels, feature spec or inputs are not what its manifest says.
        """
        artifact = read_onnx_artifact(path)
        self._manifest = artifact.manifest
        self._outputs = output_names(artifact.manifest)
        self._name = "onnx-int8" if artifact.precision == "int8" else "onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads win microseconds here and take a core from the event loop and from other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(artifact.content, options, providers=_providers(device))
        except LOAD_ERRORS as error:
            msg = f"{path}: ONNX Runtime {ort.__version__} cannot load it ({error})"
            raise ArtifactError(msg) from error
        check_interface(
            path,
            self._manifest,
            interface=artifact.interface,
            inputs={one.name: one.shape for one in self._session.get_inputs()},
            outputs={one.name: one.shape for one in self._session.get_outputs()},
        )

    @property
    def name(self) -> str:
        """`onnx` or `onnx-int8`."""
        return self._name

    @property
    def device(self) -> str:
        """What ONNX Runtime settled on."""
        options: dict[str, dict[str, str]] = self._session.get_provider_options()
        cuda = options.get("CUDAExecutionProvider")
        return "cpu" if cuda is None else f"cuda:{cuda['device_id']}"

    @property
    def manifest(self) -> ModelManifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, batch: WindowBatch) -> BackendOutput:
        """See `Backend.run`."""
        answers = map(np.asarray, self._session.run(self._outputs, dict(batch.tensors)))
        return BackendOutput.from_tensors(dict(zip(self._outputs, answers, strict=True)))


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    kind, _, number = device.partition(":")
    if kind in ("auto", "cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": number or "0"}), "CPUExecutionProvider"]
    if kind not in ("auto", "cpu"):
        logger.warning("ONNX Runtime %s has no provider for %s; the CPU runs the model", ort.__version__, device)
    return ["CPUExecutionProvider"]
