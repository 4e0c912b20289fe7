"""Runs a `.pt` model with PyTorch; imported only when one is loaded, so that serving ONNX never needs torch."""

from pathlib import Path

import torch

from app.ml.artifacts import ModelManifest, load_torch_artifact
from app.ml.errors import ManifestMismatchError
from app.ml.inference.backends import BackendOutput
from app.ml.landmarks.features import get_feature_spec
from app.ml.model import SignEncoder, build_model
from app.ml.model_configs import ModelConfig, check_inputs
from app.ml.types import BoolArray, FloatArray


class TorchBackend:
    """A `.pt` file on PyTorch. Its thread count belongs to the whole process and stays as it is."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        """Load and check the file, and move its weights to a device, as `torch.device` names it.

        Raises:
            ArtifactError: the file is missing, unreadable or not ours.
            ManifestMismatchError: its hash, config, features or labels do not fit its weights.
        """
        self._device = torch.device(device)
        model, self._manifest = load_model(path)
        self._model = model.to(self._device)

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
            output = self._model(torch.from_numpy(features).to(self._device), torch.from_numpy(mask).to(self._device))
        return BackendOutput(
            logits=output.logits.cpu().numpy(),
            embedding=output.embedding.cpu().numpy(),
            signing=output.signing.cpu().numpy(),
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
        check_inputs(config, get_feature_spec(manifest.feature_spec))
        model = build_model(config, num_features=manifest.num_features, num_labels=len(manifest.labels))
        model.load_state_dict(weights)
    except (ValueError, RuntimeError) as error:
        msg = f"{path}: weights and manifest do not fit: {error}"
        raise ManifestMismatchError(msg) from error
    return model.eval(), manifest
