"""Mixup of feature windows (Zhang et al. 2018)."""

import torch
from torch import Tensor


def mix(features: Tensor, mask: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """Blend each window with its neighbour in the batch; the longer of the two decides which frames are real.

    Args:
        features: `[B, T, F]`, zero at padding.
        mask: bool `[B, T]`.
        weight: share of the window's own features, in [0, 1]; the neighbour's loss counts for the rest.

    Returns:
        Blended features `[B, T, F]` and mask `[B, T]`.
    """
    features = features * mask.unsqueeze(-1)
    return weight * features + (1 - weight) * torch.roll(features, 1, 0), mask | torch.roll(mask, 1, 0)
