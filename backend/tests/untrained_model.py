"""Model files with random weights: everything about artifacts can be tested without training anything."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from onnx import load as onnx_load

from app.ml.artifacts.files import save_torch_artifact, write_onnx_artifact
from app.ml.artifacts.manifest import Calibration, ModelManifest, SignLabel
from app.ml.export import export_to_onnx
from app.ml.inference.torch_backend import load_model
from app.ml.landmarks.batches import WindowBatch
from app.ml.landmarks.features import get_feature_spec
from app.ml.landmarks.layout import LEFT_HAND, NUM_POINTS
from app.ml.model import build_model
from app.ml.model_configs import get_model_config
from app.ml.types import LandmarkWindow
from tests.parametric_signer import make_person, perform_sign

LABELS = ("bird", "house", "idle", "rain", "river", "stone", "sun")
SPEC = "base469"


def make_manifest(
    *,
    version: str = "v1",
    labels: Sequence[str] = LABELS,
    config: str = "tiny",
    calibration: Calibration | None = None,
    prototypes: str = "",
) -> ModelManifest:
    """A manifest whose `weights_sha256` is still empty."""
    spec = get_feature_spec("landmarks75" if get_model_config(config).reads_landmarks else SPEC)
    return ModelManifest(
        version=version,
        config=get_model_config(config).to_dict(),
        feature_spec=spec.name,
        num_features=spec.num_features,
        labels=tuple(SignLabel(label=label, language="ase", num_people=3) for label in labels),
        calibration=calibration or Calibration(temperature=1.5, threshold=0.2),
        prototypes=prototypes,
        provenance={"seed": 7, "signers": ["person0", "person1"], "licence": "MIT"},
    )


def write_untrained_model(
    folder: Path,
    *,
    manifest: ModelManifest | None = None,
    seed: int = 0,
    onnx: bool = True,
    int8: bool = False,
) -> ModelManifest:
    """Write `model_vN.pt`, and `.onnx` and `.int8.onnx` beside it when asked; returns the manifest as written."""
    manifest = manifest or make_manifest()
    torch.manual_seed(seed)
    network = build_model(
        get_model_config(str(manifest.config["name"])),
        num_features=manifest.num_features,
        num_labels=len(manifest.labels),
    )
    network.classifier.weight.data.mul_(4.0)  # fresh weights answer almost the same to everything
    stem = folder / f"model_{manifest.version}"
    manifest = save_torch_artifact(stem.with_suffix(".pt"), state_dict=network.state_dict(), manifest=manifest)
    if onnx:
        export_to_onnx(stem.with_suffix(".pt"), stem.with_suffix(".onnx"))
    if int8:
        export_to_onnx(stem.with_suffix(".pt"), stem.with_suffix(".int8.onnx"), int8=True)
    return manifest


def write_feature_model(folder: Path, *, config: str = "tiny", prototypes: str = "") -> Path:
    """Write `model_v1.pt`, and `model_v1.onnx` as it was written before landmarks went in; returns the former."""
    manifest = write_untrained_model(folder, manifest=make_manifest(config=config, prototypes=prototypes), onnx=False)
    source = folder / "model_v1.pt"
    network, _ = load_model(source)
    spec = get_feature_spec(manifest.feature_spec)
    names = ["landmarks" if spec.is_landmarks else "features", "mask", "logits", "embedding", "signing"]
    target = folder / "traced.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 31, *spec.shape), torch.ones(2, 31, dtype=torch.bool)),
            target,
            input_names=names[:2],
            output_names=names[2:],
            opset_version=17,
            dynamic_axes={name: {0: "batch"} if name in names[2:4] else {0: "batch", 1: "time"} for name in names},
            dynamo=False,
        )
    model = onnx_load(target)
    target.unlink()
    (output,) = (value for value in model.graph.output if value.name == "embedding")
    output.type.tensor_type.shape.dim[1].dim_value = network.config.embedding
    write_onnx_artifact(source.with_suffix(".onnx"), model=model.SerializeToString(), manifest=manifest, interface="")
    return source


def make_window(label: str = "sun", *, seed: int = 0, fps: float = 20.0) -> LandmarkWindow:
    """A window of somebody performing a sign."""
    return perform_sign(make_person(seed), label, seed=seed, fps=fps).to_window()


def random_batch(batch: int, length: int, *, seed: int = 0) -> WindowBatch:
    """Points anywhere, a hand missing here and there, and a mask in which every row but the first is padded at its
    end."""
    generator = np.random.default_rng(seed)
    landmarks = generator.random((batch, length, NUM_POINTS, 3), np.float32)
    landmarks[generator.random((batch, length)) < 0.2, LEFT_HAND] = np.nan
    lengths = np.maximum(length - np.arange(batch) * length // (batch + 1), 1)
    return WindowBatch(
        landmarks=landmarks,
        times_ms=np.cumsum(generator.uniform(20, 60, (batch, length)), axis=1),
        aspect=generator.uniform(0.5, 2.0, batch).astype(np.float32),
        mask=np.arange(length) < lengths[:, None],
    )
