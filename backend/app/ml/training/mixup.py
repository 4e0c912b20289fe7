"""Mixup of feature windows (Zhang et al. 2018)."""

import torch
from torch import Tensor


def mix(features: Tensor, mask: Tensor, *, weight: float) -> tuple[Tensor, Tensor]:
    """Blend each window with its neighbour in the batch; the longer of the two decides which frames are real.

    Args:
        features: `[B, T, F]`, or landmarks `[B, T, 75, 3]` with NaN where missing.
        mask: bool `[B, T]`.
        weight: share of the window's own features, in [0, 1]; the neighbour's loss counts for the rest.

    Returns:
        Blended features and mask; a landmark that one of the two lacks is the other's.
    """
    features = features * mask.reshape(*mask.shape, *[1] * (features.ndim - 2))
    neighbour = torch.roll(features, 1, 0)
    mixed = weight * features + (1 - weight) * neighbour
    mixed = torch.where(torch.isnan(features), neighbour, torch.where(torch.isnan(neighbour), features, mixed))
    return mixed, mask | torch.roll(mask, 1, 0)
