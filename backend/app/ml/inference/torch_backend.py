"""Runs a `.pt` model with PyTorch; imported only when one is loaded, so that serving ONNX never needs torch."""

from pathlib import Path

import torch

from app.ml.artifacts import ModelManifest, load_torch_artifact
from app.ml.errors import ManifestMismatchError
from app.ml.inference.backends import BackendOutput
from app.ml.model import SignEncoder, build_model
from app.ml.model_configs import ModelConfig
from app.ml.types import BoolArray, FloatArray


class TorchBackend:
    """A `.pt` file on the CPU. PyTorch's thread count belongs to the whole process and stays as it is."""

    def __init__(self, path: Path) -> None:
        """Load and check the file.

        Raises:
            ArtifactError: the file is missing, unreadable or not ours.
            ManifestMismatchError: its hash, config, features or labels do not fit its weights.
        """
        self._model, self._manifest = load_model(path)

    @property
    def name(self) -> str:
        """`torch`."""
        return "torch"

    @property
    def manifest(self) -> ModelManifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, features: FloatArray, mask: BoolArray) -> BackendOutput:
        """See `Backend.run`."""
        with torch.inference_mode():
            output = self._model(torch.from_numpy(features), torch.from_numpy(mask))
        return BackendOutput(
            logits=output.logits.numpy(), embedding=output.embedding.numpy(), signing=output.signing.numpy()
        )


def load_model(path: Path) -> tuple[SignEncoder, ModelManifest]:
    """Build the network that a `.pt` file describes, with its weights, in evaluation mode.

    Raises:
        ArtifactError: the file is missing, unreadable or not ours.
        ManifestMismatchError: its hash, config, features or labels do not fit its weights.
    """
    weights, manifest = load_torch_artifact(path)
    try:
        config = ModelConfig.from_dict(manifest.config)
        model = build_model(config, num_features=manifest.num_features, num_labels=len(manifest.labels))
        model.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        msg = f"{path}: weights and manifest do not fit: {error}"
        raise ManifestMismatchError(msg) from error
    return model.eval(), manifest
