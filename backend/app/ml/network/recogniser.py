"""The whole recogniser as one network: landmarks in, answers out. What PyTorch serves; `export` joins the same
parts."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from app.ml.landmarks.features import FeatureSpec
from app.ml.model import SignEncoder
from app.ml.network.landmark_features import LandmarkFeatures
from app.ml.types import FloatArray


class RecogniserOutput(NamedTuple):
    """`logits` `[B, C]`, `embedding` `[B, D]`, `signing` `[B, T]` in [0, 1] for each frame (any number at padding),
    `familiarity` `[B, C]` in [0, 1], or `[B, 0]` for a model without prototypes."""

    logits: Tensor
    embedding: Tensor
    signing: Tensor
    familiarity: Tensor


class Conclusion(nn.Module):
    """What follows from a network's embedding and signing curve."""

    prototypes: Tensor

    def __init__(self, prototypes: FloatArray) -> None:
        """`prototypes` `[C, D]`, or `[0, 0]` for a model without them; see `inference/familiarity.py`."""
        super().__init__()
        self.register_buffer("prototypes", torch.from_numpy(prototypes).T.contiguous(), persistent=False)

    def forward(self, embedding: Tensor, curve: Tensor, to_frames: Tensor) -> tuple[Tensor, Tensor]:
        """Signing and familiarity.

        Args:
            embedding: `[B, D]`.
            curve: `[B, G]`, a logit a grid step.
            to_frames: `[B, T, G]`; see `GridFeatures`.
        """
        signing = (to_frames @ curve.sigmoid().unsqueeze(-1)).squeeze(-1)
        if not self.prototypes.numel():
            return signing, embedding[:, :0]
        return signing, (embedding @ self.prototypes).clamp(0.0, 1.0)


class LandmarkRecogniser(nn.Module):
    """Features, network, and what follows from them."""

    def __init__(self, network: SignEncoder, *, spec: FeatureSpec, prototypes: FloatArray) -> None:
        """Put the parts together: a network that reads what `spec` describes, and its prototypes."""
        super().__init__()
        self.features = LandmarkFeatures(spec)
        self.network = network
        self.conclusion = Conclusion(prototypes)

    def forward(self, landmarks: Tensor, times_ms: Tensor, aspect: Tensor, mask: Tensor) -> RecogniserOutput:
        """Answer for each window; see `WindowBatch` for the arguments."""
        features = self.features(landmarks, times_ms, aspect, mask)
        output = self.network(features.values, features.mask)
        signing, familiarity = self.conclusion(output.embedding, output.signing, features.to_frames)
        return RecogniserOutput(output.logits, output.embedding, signing, familiarity)
