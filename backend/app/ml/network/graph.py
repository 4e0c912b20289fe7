"""Traces the parts of a recogniser and joins them into one ONNX graph: features, network, conclusion.

PyTorch's older, tracing exporter is used on purpose: the newer one reaches opset 17 only by conversion, and writes
Split nodes that ONNX Runtime refuses. Imported by the export only; serving needs neither `onnx` nor this.
"""

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnx.compose
import torch
from torch import Tensor, nn

from app.ml.artifacts.interface import INPUT_NAMES, output_names
from app.ml.artifacts.manifest import ModelManifest
from app.ml.artifacts.prototypes import prototypes_from_text
from app.ml.landmarks.batches import stack_windows
from app.ml.landmarks.features import STEP_MS, FeatureSpec, get_feature_spec
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.model import SignEncoder
from app.ml.network.landmark_features import LandmarkFeatures
from app.ml.network.recogniser import Conclusion
from app.ml.types import FloatArray, LandmarkWindow

OPSET: Final = 17
_NETWORK_OUTPUTS: Final = ("logits", "embedding", "signing_curve")
_FRAMES: Final = {0: "batch", 1: "time"}
_STEPS: Final = {0: "batch", 1: "steps"}
_TO_FRAMES: Final = {0: "batch", 1: "time", 2: "steps"}


def trace_features(spec: FeatureSpec) -> onnx.ModelProto:
    """The features' graph: from a model's inputs to `features`, `grid_mask` and `to_frames`."""
    return _trace(
        LandmarkFeatures(spec).eval(),
        _example_inputs(),
        inputs={"landmarks": _FRAMES, "times_ms": _FRAMES, "aspect": {0: "batch"}, "mask": _FRAMES},
        outputs={"features": _STEPS, "grid_mask": _STEPS, "to_frames": _TO_FRAMES},
    )


def trace_network(network: SignEncoder, spec: FeatureSpec) -> onnx.ModelProto:
    """The bare network's graph: from `features` and `mask` to `logits`, `embedding` and `signing_curve`."""
    features = torch.zeros(2, 31, *spec.shape)
    mask = torch.ones(2, 31, dtype=torch.bool)
    mask[1, 20:] = False
    steps = {"logits": {0: "batch"}, "embedding": {0: "batch"}, "signing_curve": _STEPS}
    model = _trace(network, (features, mask), inputs={"features": _STEPS, "mask": _STEPS}, outputs=steps)
    # The tracer loses the embedding's width in a division by its length; enrolment of new signs reads it.
    (output,) = (value for value in model.graph.output if value.name == "embedding")
    output.type.tensor_type.shape.dim[1].dim_value = network.config.embedding
    return model


def join(network: onnx.ModelProto, manifest: ModelManifest) -> onnx.ModelProto:
    """Put the features before a bare network's graph and the conclusion behind it."""
    features = trace_features(get_feature_spec(manifest.feature_spec))
    names = output_names(manifest)[2:]
    conclusion = _trace(
        Conclusion(prototypes_of(manifest)).eval(),
        (torch.rand(2, lengths_of(network, "embedding")[-1]), torch.rand(2, 9), torch.rand(2, 31, 9)),
        inputs={"embedding": {0: "batch"}, "curve": _STEPS, "to_frames": _TO_FRAMES},
        outputs={name: {"signing": _FRAMES, "familiarity": {0: "batch"}}[name] for name in names},
    )
    for model in (features, conclusion):
        model.ir_version = network.ir_version
    joined = onnx.compose.merge_models(
        onnx.compose.add_prefix(features, "features.", rename_inputs=False, rename_outputs=False),
        onnx.compose.add_prefix(network, "network."),
        io_map=[("features", "network.features"), ("grid_mask", "network.mask")],
        outputs=["to_frames", *(f"network.{name}" for name in _NETWORK_OUTPUTS)],
    )
    joined = onnx.compose.merge_models(
        joined,
        onnx.compose.add_prefix(conclusion, "answers."),
        io_map=[
            ("network.embedding", "answers.embedding"),
            ("network.signing_curve", "answers.curve"),
            ("to_frames", "answers.to_frames"),
        ],
        outputs=["network.logits", "network.embedding", *(f"answers.{name}" for name in names)],
    )
    opsets = {(entry.domain, entry.version) for model in (features, network) for entry in model.opset_import}
    del joined.opset_import[:]  # joining repeats them
    joined.opset_import.extend(onnx.helper.make_opsetid(*one) for one in sorted(opsets))
    renamed = {"network.logits": "logits", "network.embedding": "embedding"}
    rename(joined, renamed | {f"answers.{name}": name for name in names})
    return joined


def rename(model: onnx.ModelProto, names: Mapping[str, str]) -> None:
    """Give values of a graph other names, wherever they stand."""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        for values in (node.input, node.output):
            values[:] = [names.get(one, one) for one in values]


def lengths_of(model: onnx.ModelProto, output: str) -> list[int]:
    """The axes of an output; 0 where any length goes."""
    (value,) = (one for one in model.graph.output if one.name == output)
    return [side.dim_value for side in value.type.tensor_type.shape.dim]


def prototypes_of(manifest: ModelManifest) -> FloatArray:
    """A manifest's prototypes `[C, D]`; `[0, 0]` where it has none."""
    return prototypes_from_text(manifest.prototypes, num_labels=len(manifest.labels))


def _example_inputs() -> tuple[Tensor, ...]:
    """Two windows, one of them padded."""
    rng = np.random.default_rng(1)
    windows = [
        LandmarkWindow(landmarks=rng.random((length, NUM_POINTS, 3), np.float32), times_ms=np.arange(length) * STEP_MS)
        for length in (31, 20)
    ]
    tensors = stack_windows(windows).tensors
    return tuple(torch.from_numpy(tensors[name]) for name in INPUT_NAMES)


def _trace(
    module: nn.Module,
    arguments: Sequence[Tensor],
    *,
    inputs: Mapping[str, Mapping[int, str]],
    outputs: Mapping[str, Mapping[int, str]],
) -> onnx.ModelProto:
    """Trace a module; names of its inputs and outputs go with those of their axes that may have any length."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        target = Path(folder) / "traced.onnx"
        # The tracer warns that it is the older exporter, and of shapes that become constants: the export
        # checks the answers at other shapes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            tuple(arguments),
            target,
            input_names=list(inputs),
            output_names=list(outputs),
            opset_version=OPSET,
            dynamic_axes={name: dict(axes) for name, axes in (*inputs.items(), *outputs.items())},
            dynamo=False,
        )
        return onnx.load(target)
