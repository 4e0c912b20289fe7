"""Exports a trained model to ONNX, and proves that the file answers as its source does before saying so.

    python -m app.ml.export --model-path data/models/model_v1.pt --output model.onnx [--int8]

The file takes what a camera gives and gives answers (`artifacts/interface.py`): features, network and what follows from
it are traced one by one and joined. Joining needs no weights, so a `.onnx` file from before landmarks went in is
converted by the same command, its network's graph left as it is.

Opset 17, dynamic batch and time axes.
"""

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Protocol

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape

try:
    import onnx
    import onnxruntime as ort
    import torch
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic
except ModuleNotFoundError as error:
    if __name__ != "__main__":
        raise
    sys.stderr.write(f"error: exporting needs the package {error.name}; 'make lab' installs it\n")
    raise SystemExit(2) from error

from app.ml.artifacts.files import read_onnx_artifact, write_onnx_artifact
from app.ml.artifacts.interface import INPUT_NAMES, OLD_INPUTS, describe_interface
from app.ml.artifacts.manifest import ModelManifest, check_feature_spec
from app.ml.errors import ArtifactError, ExportError, MlError
from app.ml.inference.backends import LOAD_ERRORS, BackendOutput, OnnxBackend
from app.ml.inference.torch_backend import TorchBackend, load_model
from app.ml.landmarks.batches import WindowBatch
from app.ml.landmarks.features import FeatureSpec, get_feature_spec
from app.ml.landmarks.layout import NUM_POINTS
from app.ml.network.graph import OPSET, join, lengths_of, prototypes_of, rename, trace_features, trace_network
from app.ml.network.landmark_features import LandmarkFeatures
from app.ml.network.recogniser import Conclusion

MAX_DIFFERENCE: Final = 1e-4
"""Largest difference in any output that f32 rounding may explain; measured: below 1e-6 for tiny, 1e-5 for large."""
MAX_DIFFERENCE_INT8: Final = 0.5
"""Int8 changes the numbers; this tells rounding from nonsense; `evaluate_models` says what it does to the answers."""
_MISSING: Final = 0.2
"""Share of the frames in which a part is missing, of the windows that the check runs on."""
_CHECKED_SHAPES: Final = ((1, 1), (1, 23), (3, 40), (8, 97))
"""Batch size and length; none is the one that was traced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What was written and how well it agrees with its source."""

    path: Path
    opset: int
    max_difference: float


class Runs(Protocol):
    """Something that answers windows as a backend does."""

    def run(self, batch: WindowBatch) -> BackendOutput: ...


def export_to_onnx(model_path: Path, output: Path, *, int8: bool = False) -> ExportReport:
    """Export and check a model; `output` appears only when the check has passed.

    Args:
        model_path: a `.pt` artifact, or an `.onnx` file from before landmarks went in.
        output: the `.onnx` file to write; in a model folder `model_vN.onnx`, or `model_vN.int8.onnx` when `int8`.
        int8: quantise the network's weights to int8, with scales of activations taken at run time.

    Raises:
        ArtifactError: the source cannot be used or needs no conversion, or the output cannot be an ONNX file.
        ExportError: the opset is not 17, or the answers differ by more than rounding explains.
    """
    for path, suffixes in ((model_path, (".pt", ".onnx")), (output, (".onnx",))):
        if path.suffix not in suffixes or path.is_dir():
            msg = (
                f"{path} is no {' or '.join(suffixes)} file: a trained .pt file, or an older .onnx file, is read; an "
                ".onnx file is written"
            )
            raise ArtifactError(msg)
    source, network, manifest, precision = _open(model_path, int8=int8)
    limit = MAX_DIFFERENCE
    if int8:
        network, precision, limit = _quantise(network), "int8", MAX_DIFFERENCE_INT8
    graph = join(network, manifest)
    opset = _require_opset(graph)
    embedding = lengths_of(graph, "embedding")[-1]
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".export-") as folder:
        candidate = Path(folder) / output.name
        write_onnx_artifact(
            candidate,
            model=graph.SerializeToString(),
            manifest=manifest,
            interface=describe_interface(manifest, embedding=embedding),
            precision=precision,
        )
        difference = measure_difference(source, OnnxBackend(candidate))
        if not difference <= limit:
            msg = (
                f"{output.name} answers differently from {model_path.name}: "
                f"max abs difference {difference:.2e} > {limit:.0e}"
            )
            raise ExportError(msg)
        candidate.replace(output)
    return ExportReport(path=output, opset=opset, max_difference=difference)


def open_features(spec: FeatureSpec, *, num_threads: int) -> Callable[[WindowBatch], None]:
    """The features' graph by itself on ONNX Runtime, to be measured."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = num_threads
    session = ort.InferenceSession(
        trace_features(spec).SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(batch: WindowBatch) -> None:
        session.run(None, dict(batch.tensors))

    return run


def measure_difference(first: Runs, second: Runs) -> float:
    """Largest absolute difference between two that answer, over all outputs, batch sizes and lengths, with padding.

    Padded frames hold large values: an export that lets them leak is seen at once. The `signing` of padded frames means
    nothing and is left out.
    """
    generator = np.random.default_rng(0)
    worst = 0.0
    for shape in _CHECKED_SHAPES:
        batch = _make_batch(shape, generator)
        ours, theirs = first.run(batch), second.run(batch)
        worst = max(
            worst,
            float(np.abs(ours.logits - theirs.logits).max()),
            float(np.abs(ours.embedding - theirs.embedding).max()),
            float(np.abs(ours.signing - theirs.signing)[batch.mask].max()),
            float(np.abs(ours.familiarity - theirs.familiarity).max(initial=0.0)),
        )
    return worst


def _make_batch(shape: tuple[int, int], generator: np.random.Generator) -> WindowBatch:
    """Points anywhere in the frame, parts missing here and there, at some 25 frames a second."""
    batch, length = shape
    landmarks = generator.random((*shape, NUM_POINTS, 3), np.float32)
    missing = np.repeat(generator.random((*shape, 3)) < _MISSING, (33, 21, 21), axis=2)
    landmarks[missing] = np.nan
    lengths = np.maximum(length - np.arange(batch) * length // (batch + 1), 1)
    mask = np.arange(length) < lengths[:, None]
    landmarks[~mask] = 1e3
    return WindowBatch(
        landmarks=landmarks,
        times_ms=1e12 + np.cumsum(generator.uniform(30, 50, shape), axis=1),
        aspect=generator.uniform(0.5, 2.0, batch).astype(np.float32),
        mask=mask,
    )


def _open(path: Path, *, int8: bool) -> tuple[Runs, onnx.ModelProto, ModelManifest, str]:
    """What answers as the source does, its bare network's graph, its manifest and the precision of its weights."""
    if path.suffix != ".onnx":
        network, manifest = load_model(path)
        check_feature_spec(manifest)
        return TorchBackend(path), trace_network(network, get_feature_spec(manifest.feature_spec)), manifest, "f32"
    artifact = read_onnx_artifact(path)
    check_feature_spec(artifact.manifest)
    if artifact.interface:
        msg = f"{path} takes landmarks already: there is nothing to convert"
        raise ArtifactError(msg)
    if int8:
        msg = f"{path} cannot be quantised; export it from its .pt file, or leave out --int8"
        raise ArtifactError(msg)
    model = onnx.load_from_string(artifact.content)
    names = {value.name for value in (*model.graph.input, *model.graph.output)}
    if not any(names == {*inputs, "logits", "embedding", "signing"} for inputs in OLD_INPUTS):
        msg = f"{path} takes and gives {', '.join(sorted(names))}: no model of ours did"
        raise ArtifactError(msg)
    del model.metadata_props[:]
    source = _BareNetwork(model, artifact.manifest)
    rename(model, {"signing": "signing_curve", source.feature_input: "features"})
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param == "time":
                side.dim_param = "steps"
    return source, model, artifact.manifest, artifact.precision


class _BareNetwork:
    """A file from before landmarks went in, with its features and answers worked out here."""

    def __init__(self, model: onnx.ModelProto, manifest: ModelManifest) -> None:
        spec = get_feature_spec(manifest.feature_spec)
        self.feature_input = "landmarks" if spec.is_landmarks else "features"
        try:
            self._session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        except LOAD_ERRORS as error:
            msg = f"ONNX Runtime {ort.__version__} cannot load the source ({error})"
            raise ArtifactError(msg) from error
        self._features = LandmarkFeatures(spec).eval()
        self._conclusion = Conclusion(prototypes_of(manifest)).eval()

    def run(self, batch: WindowBatch) -> BackendOutput:
        with torch.inference_mode():
            inputs = (torch.from_numpy(batch.tensors[name]) for name in INPUT_NAMES)
            features = self._features(*inputs)
            feeds = {self.feature_input: features.values.numpy(), "mask": features.mask.numpy()}
            outputs = map(np.asarray, self._session.run(("logits", "embedding", "signing"), feeds))
            logits, embedding, curve = outputs
            signing, familiarity = self._conclusion(
                torch.from_numpy(embedding), torch.from_numpy(curve), features.to_frames
            )
        return BackendOutput(
            logits=logits, embedding=embedding, signing=signing.numpy(), familiarity=familiarity.numpy()
        )


def _quantise(network: onnx.ModelProto) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        source, prepared, target = (Path(folder) / name for name in ("f32.onnx", "prepared.onnx", "int8.onnx"))
        onnx.save(network, source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        # Per channel costs nothing at run time and keeps rows of very different size apart.
        quantize_dynamic(prepared, target, weight_type=QuantType.QInt8, per_channel=True)
        return onnx.load(target)


def _require_opset(graph: onnx.ModelProto) -> int:
    onnx.checker.check_model(graph)
    (opset,) = (entry.version for entry in graph.opset_import if entry.domain in ("", "ai.onnx"))
    if opset != OPSET:
        msg = f"the exporter wrote opset {opset}, {OPSET} is promised; an operator of the model needs a newer one"
        raise ExportError(msg)
    return opset


def main(
    model_path: Annotated[
        Path, typer.Option(help="Trained model: a .pt file, or an .onnx file from before landmarks went in.")
    ],
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
