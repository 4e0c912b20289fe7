"""Pools frames of any number to a fixed number of tokens, in place of resampling every window to one length.

Shapes: B batch, T frames (padded), D channels, L tokens.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.errors import InvalidLandmarksError

DILATIONS: Final = (1, 2, 4)
NUM_TOKENS: Final = 64


class TemporalConvPooling(nn.Module):
    """Dilated convolutions in time, then each token averages its share of the sequence's own frames.

    The convolutions (Bai et al. 2018, arXiv:1803.01271, here residual, centred and with padding hidden) see 15 frames.
    Token l takes the stretch [l, l + 1) of L equal stretches of the sequence, frames that lie in two stretches counting
    for each in proportion: a mean for long sequences, a repetition for short ones, and every frame weighs the same.
    """

    def __init__(self, channels: int, *, num_tokens: int = NUM_TOKENS, drop: float = 0.0) -> None:
        super().__init__()
        self.num_tokens = num_tokens
        self.norms = nn.ModuleList([nn.LayerNorm(channels) for _ in DILATIONS])
        self.convolutions = nn.ModuleList(
            [nn.Conv1d(channels, channels, 3, dilation=dilation, padding=dilation) for dilation in DILATIONS]
        )
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Pool each sequence's own frames to `num_tokens`.

        Args:
            x: `[B, T, D]`; frames at or past `lengths` are padding and never change the result.
            lengths: int64 `[B]`, each in `1..T`.

        Returns:
            `[B, L, D]`.

        Raises:
            InvalidLandmarksError: a length is outside `1..T`.
        """
        frames = x.shape[1]
        if bool((lengths < 1).any()) or bool((lengths > frames).any()):
            msg = f"lengths {lengths.tolist()} are not all in 1..{frames}, the number of frames"
            raise InvalidLandmarksError(msg)
        is_real = (torch.arange(frames, device=x.device) < lengths.unsqueeze(-1)).unsqueeze(-1)
        nothing = torch.zeros((), dtype=x.dtype, device=x.device)
        x = torch.where(is_real, x, nothing)
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            hidden = torch.where(is_real, norm(x), nothing)  # a norm's bias would fill the padding
            branch = functional.silu(convolution(hidden.transpose(1, 2)).transpose(1, 2))
            x = x + torch.where(is_real, self.drop(branch), nothing)
        share, _ = self._shares(lengths, frames=frames, dtype=x.dtype)
        return share @ x

    def to_frames(self, tokens: Tensor, lengths: Tensor, *, num_frames: int) -> Tensor:
        """Bring tokens back to the frames they came from: each frame's mean over the tokens that share it.

        Args:
            tokens: `[B, L, D]`.
            lengths: int64 `[B]`, as given to `forward`.
            num_frames: T.

        Returns:
            `[B, T, D]`, zero at padding.
        """
        _, part = self._shares(lengths, frames=num_frames, dtype=tokens.dtype)
        return part.transpose(1, 2) @ tokens

    def _shares(self, lengths: Tensor, *, frames: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """How far stretch l and frame t overlap, `[B, L, T]` twice: as a part of the stretch, and of the frame."""
        size = lengths.to(dtype).reshape(-1, 1, 1) / self.num_tokens
        start = torch.arange(self.num_tokens, device=lengths.device, dtype=dtype).reshape(1, -1, 1) * size
        frame = torch.arange(frames, device=lengths.device, dtype=dtype).reshape(1, 1, -1)
        overlap = (torch.minimum(start + size, frame + 1) - torch.maximum(start, frame)).clamp(min=0)
        return overlap / size, overlap
