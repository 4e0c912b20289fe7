"""Runs a `.pt` model with PyTorch; imported only when one is loaded, so that serving ONNX never needs torch."""

import logging
from pathlib import Path

import numpy as np
import torch

from app.ml.artifacts.files import load_torch_artifact
from app.ml.artifacts.manifest import ModelManifest
from app.ml.artifacts.prototypes import prototypes_from_text
from app.ml.errors import ManifestMismatchError
from app.ml.inference.backends import BackendOutput
from app.ml.landmarks.batches import WindowBatch
from app.ml.landmarks.features import get_feature_spec
from app.ml.model import SignEncoder, build_model
from app.ml.model_configs import ModelConfig, check_inputs
from app.ml.network.recogniser import LandmarkRecogniser

logger = logging.getLogger(__name__)


class TorchBackend:
    """A `.pt` file on PyTorch."""

    def __init__(self, path: Path, *, num_threads: int | None = None, device: str = "auto") -> None:
        """Load and check the file; where the device is missing, the CPU takes over with one warning.

        Args:
            path: the file.
            num_threads: PyTorch's, for the whole process; None leaves them as they are.
            device: `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes a GPU where there is one.

        Raises:
            ArtifactError: the file is missing, unreadable or not ours.
            ManifestMismatchError: its hash, config, features or labels do not fit its weights.
        """
        if num_threads is not None:
            torch.set_num_threads(num_threads)
        self._device = _find_device(device)
        model, self._manifest = load_model(path)
        prototypes = prototypes_from_text(self._manifest.prototypes, num_labels=len(self._manifest.labels))
        spec = get_feature_spec(self._manifest.feature_spec)
        recogniser = LandmarkRecogniser(model, spec=spec, prototypes=prototypes)
        self._recogniser = recogniser.eval().to(self._device)

    @property
    def name(self) -> str:
        """`torch`."""
        return "torch"

    @property
    def device(self) -> str:
        """Where the weights are."""
        return str(self._device)

    @property
    def manifest(self) -> ModelManifest:
        """What the file says about itself."""
        return self._manifest

    def run(self, batch: WindowBatch) -> BackendOutput:
        """See `Backend.run`."""
        # From each window's first frame, so that float32 holds them: Apple's GPUs have no float64.
        times_ms = batch.times_ms - batch.times_ms[:, :1]
        if self._device.type == "mps":
            times_ms = times_ms.astype(np.float32)
        inputs = (batch.landmarks, times_ms, batch.aspect, batch.mask)
        with torch.inference_mode():
            output = self._recogniser(*(torch.from_numpy(one).to(self._device) for one in inputs))
        return BackendOutput.from_tensors({name: value.cpu().numpy() for name, value in output._asdict().items()})


def _find_device(asked: str) -> torch.device:
    if torch.cuda.is_available() and asked.partition(":")[0] in ("auto", "cuda"):
        return torch.device("cuda:0" if asked in ("auto", "cuda") else asked)
    if torch.backends.mps.is_available() and asked in ("auto", "mps"):
        return torch.device("mps")
    if asked not in ("auto", "cpu"):
        logger.warning("PyTorch %s finds no %s; the CPU runs the model", torch.__version__, asked)
    return torch.device("cpu")


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
