"""A small model that really recognises the parametric signer's signs, trained once a test run in some five seconds."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from torch import Tensor

from app.ml.artifacts.files import save_torch_artifact
from app.ml.artifacts.manifest import Calibration, ModelManifest, SignLabel
from app.ml.dataset import LandmarkDataset, people_per_label
from app.ml.export import export_to_onnx
from app.ml.landmarks.features import get_feature_spec
from app.ml.model_configs import ModelConfig, get_model_config
from app.ml.recordings.labels import BACKGROUND
from app.ml.trainer import SignTrainer
from app.ml.training.config import TrainerConfig
from tests.parametric_signer import IDLE, LABELS, make_clips

NUM_PEOPLE = 8
TINY = get_model_config("tiny")
CONFIG = TrainerConfig(steps=120, batch_size=32, learning_rate=4e-3, warmup_steps=10, ema_decay=0.95)


def write_tiny_model(
    folder: Path,
    *,
    version: str = "v1",
    model: ModelConfig = TINY,
    trainer: TrainerConfig = CONFIG,
    signs: tuple[str, ...] = LABELS,
) -> ModelManifest:
    """Write `model_vN.pt` and `model_vN.onnx`, trained on eight made-up people; returns the manifest as written."""
    weights, manifest = _train(model, trainer, signs)
    source = folder / f"model_{version}.pt"
    manifest = save_torch_artifact(source, state_dict=weights, manifest=replace(manifest, version=version))
    export_to_onnx(source, source.with_suffix(".onnx"))
    return manifest


@cache
def _train(
    config: ModelConfig, trainer: TrainerConfig, signs: tuple[str, ...]
) -> tuple[dict[str, Tensor], ModelManifest]:
    clips = make_clips(num_people=NUM_PEOPLE, takes=3, labels=(*signs, IDLE))
    dataset = LandmarkDataset(clips, labels=tuple(sorted((*signs, *BACKGROUND))))
    model = SignTrainer(config, trainer).fit(dataset).model
    people = people_per_label(clips)
    manifest = ModelManifest(
        version="v1",
        config=config.to_dict(),
        feature_spec=trainer.feature_spec,
        num_features=get_feature_spec(trainer.feature_spec).num_features,
        labels=tuple(
            SignLabel(label=label, language="ase", num_people=people.get(label, 0)) for label in dataset.labels
        ),
        background=BACKGROUND,
        calibration=Calibration(temperature=0.7, threshold=0.5),
        provenance={"seed": trainer.seed, "signers": list(dataset.signers), "licence": "Apache-2.0"},
    )
    return model.state_dict(), manifest
