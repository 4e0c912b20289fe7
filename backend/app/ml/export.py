"""Exports a trained `.pt` model to ONNX, and proves that the file answers as its source does before saying so.

    python -m app.ml.export --model-path data/models/model_v1.pt --output model.onnx [--int8]

Opset 17, dynamic batch and time axes. PyTorch's older, tracing exporter is used on purpose: the newer one reaches opset
17 only by conversion, and writes Split nodes that ONNX Runtime refuses.
"""

import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

try:
    import onnx
    import torch
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.stderr.write(f"error: exporting needs the package {error.name}; 'make lab' installs it\n")
    raise SystemExit(2) from error

from app.ml.artifacts.files import write_onnx_artifact
from app.ml.artifacts.manifest import check_feature_spec
from app.ml.errors import ArtifactError, ExportError, MlError
from app.ml.inference.backends import OUTPUT_NAMES, Backend, OnnxBackend
from app.ml.inference.torch_backend import TorchBackend, load_model
from app.ml.landmarks.features import FeatureSpec, get_feature_spec

OPSET: Final = 17
MAX_DIFFERENCE: Final = 1e-4
"""Largest difference in any output that f32 rounding may explain; measured: below 1e-6 for tiny, 1e-5 for large."""
MAX_DIFFERENCE_INT8: Final = 0.5
"""Int8 changes the numbers; this tells rounding from nonsense; `evaluate_models` says what it does to the answers."""
_MISSING: Final = 0.2
"""Share of the joints that are missing in the landmarks that the check runs on."""
_CHECKED_SHAPES: Final = ((1, 1), (1, 23), (3, 40), (8, 97))
"""Batch size and length; none is the one that was traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written and how well it agrees with its source."""

    path: Path
    opset: int
    max_difference: float


def export_to_onnx(model_path: Path, output: Path, *, int8: bool = False) -> ExportReport:
    """Export and check a model; `output` appears only when the check has passed.

    Args:
        model_path: a `.pt` artifact.
        output: the `.onnx` file to write; in a model folder `model_vN.onnx`, or `model_vN.int8.onnx` when `int8`.
        int8: quantise the weights to int8, with scales of activations taken at run time.

    Raises:
        ArtifactError: the source cannot be used, or the output cannot be an ONNX file.
        ExportError: the opset is not 17, or the answers differ by more than rounding explains.
    """
    for path, suffix in ((model_path, ".pt"), (output, ".onnx")):
        if path.suffix != suffix or path.is_dir():
            msg = f"{path} is no {suffix} file: a trained .pt file is read, an .onnx file is written"
            raise ArtifactError(msg)
    network, manifest = load_model(model_path)
    check_feature_spec(manifest)
    graph = _trace(network, get_feature_spec(manifest.feature_spec))
    if int8:
        graph = _quantise(graph)
    opset = _require_opset(graph)
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as folder:
        candidate = Path(folder) / output.name
        write_onnx_artifact(candidate, model=graph, manifest=manifest, precision="int8" if int8 else "f32")
        difference = measure_difference(TorchBackend(model_path), OnnxBackend(candidate))
        limit = MAX_DIFFERENCE_INT8 if int8 else MAX_DIFFERENCE
        if not difference <= limit:
            msg = (
                f"{output.name} answers differently from {model_path.name}: "
                f"max abs difference {difference:.2e} > {limit:.0e}"
            )
            raise ExportError(msg)
        candidate.replace(output)
    return ExportReport(path=output, opset=opset, max_difference=difference)


def measure_difference(first: Backend, second: Backend) -> float:
    """Largest absolute difference between two backends, over all outputs, batch sizes and lengths, with padding.

    Padded steps hold large values: an export that lets them leak is seen at once. The `signing` of padded steps means
    nothing and is left out.
    """
    generator = np.random.default_rng(0)
    spec = get_feature_spec(first.manifest.feature_spec)
    worst = 0.0
    for batch, length in _CHECKED_SHAPES:
        features = generator.standard_normal((batch, length, *spec.shape)).astype(np.float32)
        if spec.is_landmarks:
            features[generator.random(features.shape[:3]) < _MISSING] = np.nan
        lengths = np.maximum(length - np.arange(batch) * length // (batch + 1), 1)
        mask = np.arange(length) < lengths[:, None]
        features[~mask] = 1e3
        ours, theirs = first.run(features, mask), second.run(features, mask)
        worst = max(
            worst,
            float(np.abs(ours.logits - theirs.logits).max()),
            float(np.abs(ours.embedding - theirs.embedding).max()),
            float(np.abs(ours.signing - theirs.signing)[mask].max()),
        )
    return worst


def _trace(network: torch.nn.Module, spec: FeatureSpec) -> bytes:
    features = torch.zeros(2, 31, *spec.shape)
    mask = torch.ones(2, 31, dtype=torch.bool)
    mask[1, 20:] = False
    batch_and_time = {0: "batch", 1: "time"}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        target = Path(folder) / "traced.onnx"
        # The tracer warns that it is the older exporter, and of shapes that become constants: `export_to_onnx` checks
        # the answers at other shapes.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (features, mask),
            target,
            input_names=[spec.input_name, "mask"],
            output_names=list(OUTPUT_NAMES),
            opset_version=OPSET,
            dynamic_axes={
                spec.input_name: batch_and_time,
                "mask": batch_and_time,
                "logits": {0: "batch"},
                "embedding": {0: "batch"},
                "signing": batch_and_time,
            },
            dynamo=False,
        )
        model = onnx.load(target)
    # The tracer loses the embedding's width in a division by its length; enrolment of new signs reads it.
    (output,) = (value for value in model.graph.output if value.name == "embedding")
    output.type.tensor_type.shape.dim[1].dim_value = network(features, mask).embedding.shape[1]
    return model.SerializeToString()


def _quantise(graph: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("f32.onnx", "prepared.onnx", "int8.onnx"))
        source.write_bytes(graph)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        # Per channel costs nothing at run time and keeps rows of very different size apart.
        quantize_dynamic(prepared, target, weight_type=QuantType.QInt8, per_channel=True)
        return target.read_bytes()


def _require_opset(graph: bytes) -> int:
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model)
    (opset,) = (entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset != OPSET:
        msg = f"the exporter wrote opset {opset}, {OPSET} is promised; an operator of the model needs a newer one"
        raise ExportError(msg)
    return opset


def main(
    model_path: Annotated[Path, typer.Option(help="Trained model, a .pt file.")],
    output: Annotated[Path, typer.Option(help="ONNX file to write.")],
    *,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise the weights to int8.")] = False,
) -> None:
    """Export a trained model to ONNX (opset 17) and check that it answers as its source does."""
    console = Console(stderr=True)
    try:
        report = export_to_onnx(model_path, output, int8=int8)
    except (MlError, OSError) as error:
        reason = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        console.print(f"[red]error:[/red] {escape(reason)}", highlight=False, soft_wrap=True)
        raise typer.Exit(1 if isinstance(error, ExportError) else 2) from error
    typer.echo(
        f"{report.path}: opset {report.opset}, {report.path.stat().st_size / 1e6:.2f} MB, "
        f"max abs difference {report.max_difference:.2e}"
    )


if __name__ == "__main__":
    typer.run(main)
