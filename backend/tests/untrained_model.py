"""Model files with random weights: everything about artifacts can be tested without training anything."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.manifest import Calibration, ModelManifest, SignLabel
from app.ml.export import export_to_onnx
from app.ml.landmarks.features import get_feature_spec
from app.ml.model import build_model
from app.ml.model_configs import get_model_config
from app.ml.types import BoolArray, FloatArray, LandmarkWindow
from tests.parametric_signer import make_person, perform_sign

LABELS = ("bird", "house", "idle", "rain", "river", "stone", "sun")
SPEC, NUM_FEATURES = "base469", 469


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


def make_window(label: str = "sun", *, seed: int = 0, fps: float = 20.0) -> LandmarkWindow:
    """A window of somebody performing a sign."""
    return perform_sign(make_person(seed), label, seed=seed, fps=fps).to_window()


def random_batch(batch: int, length: int, *, seed: int = 0) -> tuple[FloatArray, BoolArray]:
    """Features `[B, T, F]` and a mask `[B, T]` in which every row but the first is padded at its end."""
    generator = np.random.default_rng(seed)
    features = generator.standard_normal((batch, length, NUM_FEATURES)).astype(np.float32)
    lengths = np.maximum(length - np.arange(batch) * length // (batch + 1), 1)
    return features, np.arange(length) < lengths[:, None]
