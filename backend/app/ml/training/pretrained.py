"""An encoder that has learned from unlabelled clips: its weights, what it is, and its file.

The file is a dictionary of tensors and texts, loaded without pickle's code path, as all our model files are; it is no
model, because it knows no signs.
"""

import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

from app.ml.artifacts.files import UNREADABLE
from app.ml.artifacts.whole_files import write_whole
from app.ml.errors import ArtifactError, DatasetError, ManifestMismatchError, ModelNotFoundError
from app.ml.model import SignEncoder
from app.ml.model_configs import ModelConfig

_FORMAT: Final = "signflow-pretrained-1"
_HEADS: Final = ("pooling.", "embed.", "classifier.", "signing.")
_FREE: Final = frozenset({"name", "embedding", "drop_path", "head_dropout"})
"""Values of a config that may differ: the encoder's weights do not depend on them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PretrainedEncoder:
    """Weights of everything before a network's heads.

    Attributes:
        config: of the network.
        feature_spec: what it reads.
        weights: by their names in the network.
        provenance: free facts: steps, seed, number of clips, data fingerprint, signers, reconstruction error.
    """

    config: ModelConfig
    feature_spec: str
    weights: Mapping[str, Tensor]
    provenance: dict[str, str | int | float | list[str]] = field(default_factory=dict)

    @classmethod
    def take(
        cls,
        model: SignEncoder,
        *,
        feature_spec: str,
        provenance: dict[str, str | int | float | list[str]] | None = None,
    ) -> "PretrainedEncoder":
        """The encoder of a network, its heads left behind."""
        weights = {
            name: value.detach().clone() for name, value in model.state_dict().items() if not name.startswith(_HEADS)
        }
        return cls(config=model.config, feature_spec=feature_spec, weights=weights, provenance=provenance or {})

    @property
    def sha256(self) -> str:
        """Hash of the weights."""
        digest = hashlib.sha256()
        for name, value in sorted(self.weights.items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.reshape(-1).contiguous().numpy().tobytes())
        return digest.hexdigest()

    def load_into(self, model: SignEncoder, *, feature_spec: str) -> None:
        """Give a network these weights; its heads stay as they are.

        Raises:
            ManifestMismatchError: the network differs, or reads something else; the message says what.
        """
        ours, theirs = self.config.to_dict(), model.config.to_dict()
        differences = [
            f"{name} is {theirs[name]}, was {ours[name]}"
            for name in sorted(ours)
            if name not in _FREE and ours[name] != theirs[name]
        ]
        if self.feature_spec != feature_spec:
            differences.append(f"feature spec is {feature_spec}, was {self.feature_spec}")
        if differences:
            msg = (
                f"the encoder was pretrained for {self.config.name!r}, not for {model.config.name!r}: "
                f"{'; '.join(differences)}; pretrain one for this network"
            )
            raise ManifestMismatchError(msg)
        own = model.state_dict()
        expected = {name: value.shape for name, value in own.items() if not name.startswith(_HEADS)}
        found = {name: value.shape for name, value in self.weights.items()}
        if expected != found:
            wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
            msg = f"the pretrained weights are not this network's: {', '.join(wrong[:5])} differ"
            raise ManifestMismatchError(msg)
        model.load_state_dict({**own, **self.weights})

    def require_unseen(self, signers: Iterable[str]) -> None:
        """Refuse to judge people whom the pretraining has seen, with or without labels.

        Raises:
            DatasetError: it has seen somebody.
        """
        seen = self.provenance.get("signers", [])
        both = sorted(set(signers) & set(seen if isinstance(seen, list) else []) - {""})
        if both:
            msg = f"{', '.join(both)} was seen in pretraining; pretrain without (--leave-out), or hold others out"
            raise DatasetError(msg)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        about = {"config": self.config.to_dict(), "feature_spec": self.feature_spec, "provenance": self.provenance}
        content = {
            "format": _FORMAT,
            "about": json.dumps(about, sort_keys=True),
            "sha256": self.sha256,
            "weights": {name: value.contiguous() for name, value in self.weights.items()},
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_whole(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> "PretrainedEncoder":
        """Read what `save` wrote.

        Raises:
            ModelNotFoundError: there is no such file.
            ArtifactError: it cannot be read, or holds no pretrained encoder.
            ManifestMismatchError: it was changed or damaged after it was written.
        """
        if not path.is_file():
            msg = f"{path}: no such file; make one with 'python -m scripts.pretrain_encoder'"
            raise ModelNotFoundError(msg)
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, *UNREADABLE) as error:
            msg = f"{path}: not a readable file of weights ({type(error).__name__})"
            raise ArtifactError(msg) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            msg = f"{path}: not a pretrained encoder; make one with 'python -m scripts.pretrain_encoder'"
            raise ArtifactError(msg)
        try:
            about = json.loads(content["about"])
            encoder = cls(
                config=ModelConfig.from_dict(about["config"]),
                feature_spec=about["feature_spec"],
                weights=content["weights"],
                provenance=about["provenance"],
            )
        except (KeyError, TypeError, ValueError) as error:
            msg = f"{path}: this version of SignFlow cannot use it ({error}); pretrain again"
            raise ArtifactError(msg) from error
        if encoder.sha256 != content.get("sha256"):
            msg = f"{path}: hash of the weights differs: it was changed or damaged; pretrain again"
            raise ManifestMismatchError(msg)
        return encoder
