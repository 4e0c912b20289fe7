"""Runs a model's graph: one small seam, and ONNX Runtime behind it (f32 and int8 files alike).

Shapes: B batch, T grid steps (padded), F features, C labels, D embedding.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors  # pyright: ignore[reportAttributeAccessIssue]

from app.ml.artifacts.files import read_onnx_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.errors import ArtifactError, ManifestMismatchError
from app.ml.landmarks.features import get_feature_spec
from app.ml.types import BoolArray, FloatArray

logger = logging.getLogger(__name__)

OUTPUT_NAMES: Final = ("logits", "embedding", "signing")
_LOAD_ERRORS: Final[tuple[type[Exception], ...]] = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""ONNX Runtime's own exceptions; they share no base but Exception."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOutput:
    """What a model answers: `logits` `[B, C]`, `embedding` `[B, D]`, `signing` `[B, T]` (a logit a grid step)."""

    logits: FloatArray
    embedding: FloatArray
    signing: FloatArray


class Backend(Protocol):
    """A loaded model. `name` is what `/ready` shows: `onnx`, `onnx-int8`, `torch`, `openvino-f32` or `openvino-bf16`;
    `device` where it runs: `cpu`, `cuda:N` or `mps`."""

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> str: ...

    @property
    def manifest(self) -> ModelManifest: ...

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
        """Run the model.

        Args:
            features: float32 `[B, T, F]`, or landmarks `[B, T, 75, 3]` where the manifest's feature spec says so; steps
                where `mask` is false are padding and never change the answer.
            mask: bool `[B, T]`, true = real; at least one true in each row.
        """
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
        self._spec = get_feature_spec(artifact.manifest.feature_spec)
        self._name = "onnx-int8" if artifact.precision == "int8" else "onnx"
        options = ort.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads win microseconds here and take a core from the event loop and from other workers.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(artifact.content, options, providers=_providers(device))
        except _LOAD_ERRORS as error:
            msg = f"{path}: ONNX Runtime {ort.__version__} cannot load it ({error})"
            raise ArtifactError(msg) from error
        check_interface(
            path,
            self._manifest,
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

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
        """See `Backend.run`."""
        logits, embedding, signing = self._session.run(OUTPUT_NAMES, {self._spec.input_name: features, "mask": mask})
        return BackendOutput(logits=np.asarray(logits), embedding=np.asarray(embedding), signing=np.asarray(signing))


def _providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    kind, _, number = device.partition(":")
    if kind in ("auto", "cuda") and "CUDAExecutionProvider" in ort.get_available_providers():
        return [("CUDAExecutionProvider", {"device_id": number or "0"}), "CPUExecutionProvider"]
    if kind not in ("auto", "cpu"):
        logger.warning("ONNX Runtime %s has no provider for %s; the CPU runs the model", ort.__version__, device)
    return ["CPUExecutionProvider"]


def check_interface(
    path: Path, manifest: ModelManifest, *, inputs: Mapping[str, Sequence[Any]], outputs: Mapping[str, Sequence[Any]]
) -> None:
    """Refuse a graph whose inputs and outputs, name to shape, are not what its manifest says.

    Raises:
        ManifestMismatchError: the message says which differs.
    """
    feature_input = get_feature_spec(manifest.feature_spec).input_name
    expected = (feature_input, "mask")
    if set(inputs) != set(expected) or set(outputs) != set(OUTPUT_NAMES):
        msg = (
            f"{path}: takes {', '.join(inputs)} and gives {', '.join(outputs)}; expected {', '.join(expected)} "
            f"and {', '.join(OUTPUT_NAMES)}"
        )
        raise ManifestMismatchError(msg)
    check_widths(path, manifest, num_features=math.prod(inputs[feature_input][2:]), num_logits=outputs["logits"][-1])


def check_widths(path: Path, manifest: ModelManifest, *, num_features: int, num_logits: int) -> None:
    """Refuse a graph whose input or output width is not its manifest's.

    Raises:
        ManifestMismatchError: the message says which differs and by how much.
    """
    for what, found, expected in (
        ("features", num_features, manifest.num_features),
        ("labels", num_logits, len(manifest.labels)),
    ):
        if found != expected:
            msg = f"{path}: number of {what} differs: the manifest says {expected}, the graph has {found}"
            raise ManifestMismatchError(msg)
