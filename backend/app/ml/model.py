"""Networks that read landmarks, or features of them, of any length and answer per window and per frame.

Padding never changes an answer: every block hides padded frames from attention, convolution and pooling.

Shapes: B batch, T frames (padded), F features, L tokens, W width, D embedding, C signs.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.landmarks.layout import NUM_VALUES
from app.ml.model_configs import Architecture, ModelConfig
from app.ml.spatial_encoder import SPATIAL_FEATURES, SpatialLandmarkEncoder
from app.ml.temporal_pooling import TemporalConvPooling

_HIDDEN = -1e4  # finite, so that a row with no real frame gives numbers rather than NaN


class ModelOutput(NamedTuple):
    """`logits` `[B, C]`, `embedding` `[B, D]` (unit length), `signing` `[B, T]` logits of "signing at this frame"."""

    logits: Tensor
    embedding: Tensor
    signing: Tensor


class DropPath(nn.Module):
    """Skips a residual branch for some sequences while training (stochastic depth, Huang et al. 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, branch: Tensor) -> Tensor:
        """`branch` `[B, T, W]`."""
        if not self.training or self.probability == 0:
            return branch
        keep = (torch.rand(len(branch), 1, 1, device=branch.device) >= self.probability).to(branch.dtype)
        return branch * keep / (1 - self.probability)


class AttentionBlock(nn.Module):
    """Pre-norm self-attention and feed-forward. Written on `scaled_dot_product_attention` so that it exports at any
    length."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.norm1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm2 = nn.LayerNorm(config.width)
        self.feedforward = nn.Sequential(
            nn.Linear(config.width, config.feedforward),
            nn.SiLU(),
            nn.Linear(config.feedforward, config.width),
        )
        self.drop_path = DropPath(config.drop_path)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """`x` `[B, T, W]`; `bias` `[B, 1, 1, T]`, 0 at real frames and very negative at padding."""
        batch, frames, width = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, frames, 3, self.num_heads, width // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        x = x + self.drop_path(self.out(attended.transpose(1, 2).reshape(batch, frames, width)))
        return x + self.drop_path(self.feedforward(self.norm2(x)))


class ConvBlock(nn.Module):
    """Inverted bottleneck with a depthwise convolution in time; padding is zeroed before it can leak through the
    kernel."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        hidden = 2 * config.width
        self.norm = nn.LayerNorm(config.width)
        self.expand = nn.Linear(config.width, hidden)
        self.depthwise = nn.Conv1d(hidden, hidden, config.kernel_size, padding=config.kernel_size // 2, groups=hidden)
        self.project = nn.Linear(hidden, config.width)
        self.drop_path = DropPath(config.drop_path)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """`x` `[B, T, W]`; `real` `[B, T, 1]`, 1 at real frames and 0 at padding."""
        hidden = functional.silu(self.expand(self.norm(x))) * real
        hidden = functional.silu(self.depthwise(hidden.transpose(1, 2)).transpose(1, 2))
        return x + self.drop_path(self.project(hidden))


class AttentionPooling(nn.Module):
    """Weighs the real frames and returns their weighted sum beside their plain mean: `[B, T, W]` to `[B, 2 W]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """`real` `[B, T, 1]`, 1 at real frames and 0 at padding."""
        weights = torch.softmax(self.score(x) + (1 - real) * _HIDDEN, dim=1)
        # sum / count, not mean(dim): the latter keeps the exported graph above opset 17.
        mean = (x * real).sum(1) / real.sum(1).clamp(min=1.0)
        return torch.cat([(x * weights).sum(1), mean], dim=-1)


class Encoded(NamedTuple):
    """What the blocks make of a window: `frames` `[B, T, W]`; `tokens` `[B, L, W]` that the classifier reads (the
    frames, unless they were pooled) and `real` `[B, L, 1]`, 1 where a token is real."""

    frames: Tensor
    tokens: Tensor
    real: Tensor


class SignEncoder(nn.Module):
    """The recogniser: stem, time blocks, attention blocks; one head for the window, one for each frame."""

    def __init__(self, config: ModelConfig, *, num_features: int, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.num_features = num_features
        self.num_labels = num_labels
        self.stem = nn.Sequential(
            nn.Linear(SPATIAL_FEATURES if config.reads_landmarks else num_features, config.width),
            nn.LayerNorm(config.width),
        )
        self.conv_blocks = nn.ModuleList([ConvBlock(config) for _ in range(config.num_conv_blocks)])
        self.temporal_pooling = (
            TemporalConvPooling(config.width, num_tokens=config.num_tokens) if config.num_tokens else None
        )
        self.attention_blocks = nn.ModuleList([AttentionBlock(config) for _ in range(config.num_layers)])
        self.norm = nn.LayerNorm(config.width)
        self.pooling = AttentionPooling(config.width)
        self.embed = nn.Linear(2 * config.width, config.embedding)
        self.head_dropout = nn.Dropout(config.head_dropout)
        self.classifier = nn.Linear(config.embedding, num_labels)
        self.signing = nn.Linear(config.width, 1)

    def forward(self, features: Tensor, mask: Tensor) -> ModelOutput:
        """Answer for each sequence.

        Args:
            features: float32 `[B, T, F]`; values at padding are ignored.
            mask: bool `[B, T]`, True at real frames, which come first.
        """
        encoded = self.encode(features, mask)
        embedding = self.embed(self.pooling(encoded.tokens, encoded.real))
        logits = self.classifier(self.head_dropout(functional.silu(embedding)))
        return ModelOutput(logits, functional.normalize(embedding, dim=-1), self.signing(encoded.frames).squeeze(-1))

    def encode(self, features: Tensor, mask: Tensor) -> Encoded:
        """Everything before the heads; arguments as `forward` has them."""
        real = mask.unsqueeze(-1).to(features.dtype)
        x = self.stem(features * real)
        if self.config.architecture is Architecture.TRANSFORMER:
            x = x + _sinusoidal_positions(x)
        for block in self.conv_blocks:
            x = block(x, real)
        if self.temporal_pooling is None:
            frames = self.norm(self._attend(x, real))
            return Encoded(frames, frames, real)
        lengths = mask.sum(1).clamp(min=1)
        tokens = self.temporal_pooling(x, lengths)
        all_real = torch.ones_like(tokens[..., :1])
        tokens = self._attend(tokens + _sinusoidal_positions(tokens), all_real)
        frames = x + self.temporal_pooling.to_frames(tokens, lengths, num_frames=x.shape[1])
        return Encoded(self.norm(frames), self.norm(tokens), all_real)

    def _attend(self, x: Tensor, real: Tensor) -> Tensor:
        bias = ((1 - real) * _HIDDEN).transpose(1, 2).unsqueeze(1)
        for block in self.attention_blocks:
            x = block(x, bias)
        return x


class SpatialTemporalTransformer(SignEncoder):
    """A recogniser that reads landmarks: the skeleton's graph in each frame, then as any `SignEncoder` over time."""

    def __init__(self, config: ModelConfig, *, num_labels: int) -> None:
        super().__init__(config, num_features=NUM_VALUES, num_labels=num_labels)
        self.spatial = SpatialLandmarkEncoder(
            joint_channels=config.joint_channels, joint_outputs=config.joint_outputs, num_features=SPATIAL_FEATURES
        )

    def encode(self, features: Tensor, mask: Tensor) -> Encoded:
        """As `SignEncoder.encode`, of landmarks.

        Args:
            features: normalised landmarks, float32 `[B, T, 75, 3]`; a joint with NaN is missing.
            mask: bool `[B, T]`, True at real frames, which come first.
        """
        return super().encode(self.spatial(features, mask), mask)


def _sinusoidal_positions(x: Tensor) -> Tensor:
    """Positions of Vaswani et al. 2017, section 3.5: `[T, W]` for `x` `[B, T, W]`."""
    width = x.shape[-1]
    position = torch.arange(x.shape[1], device=x.device, dtype=x.dtype).unsqueeze(-1)
    rate = torch.exp(torch.arange(0, width, 2, device=x.device, dtype=x.dtype) * (-math.log(10_000.0) / width))
    return torch.stack([torch.sin(position * rate), torch.cos(position * rate)], dim=-1).flatten(-2)


def build_model(config: ModelConfig, *, num_features: int, num_labels: int) -> SignEncoder:
    """Build the network of a configuration, freshly initialised.

    Raises:
        ValueError: the configuration reads landmarks, and `num_features` is not their 225 values.
    """
    if not config.reads_landmarks:
        return SignEncoder(config, num_features=num_features, num_labels=num_labels)
    if num_features != NUM_VALUES:
        msg = f"model config {config.name!r} reads {NUM_VALUES} values a frame (75 points), not {num_features} features"
        raise ValueError(msg)
    return SpatialTemporalTransformer(config, num_labels=num_labels)


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
