"""What a training step makes smaller.

Shapes: B batch, T frames (padded), F features, C labels.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from app.ml.model import ModelOutput
from app.ml.training.mixup import mix
from app.ml.training.sampling import IGNORE, Batch


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Windows:
    """What the networks read: the student's `features`, a teacher's `for_teacher`, `mask` bool `[B, T]`.

    With mixup each window is blended with its neighbour in the batch, and `weight` is its own share.
    """

    features: Tensor
    for_teacher: Tensor
    mask: Tensor
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LossConfig:
    """Parts of the loss; see `TrainerConfig`."""

    label_smoothing: float
    mixup: float
    signing_weight: float
    seed: int


class SignObjective:
    """Cross entropy of the class, with mixup and label smoothing, and of "is signing" at every frame."""

    def __init__(self, config: LossConfig) -> None:
        self._config = config

    def loss(self, model: nn.Module, batch: Batch, *, step: int, device: torch.device) -> Tensor:
        """The loss of a network on a batch, a scalar that can be differentiated."""
        windows = self._windows(batch, step, device)
        classes, signing = torch.from_numpy(batch.targets).to(device), torch.from_numpy(batch.signing).to(device)
        frames = torch.from_numpy(batch.mask).to(device).float()
        output: ModelOutput = model(windows.features, windows.mask)
        logits = output.logits.float()
        loss = windows.weight * _class_loss(logits, classes, self._config.label_smoothing)
        if self._config.mixup:
            neighbours = torch.roll(classes, 1, 0)
            loss = loss + (1 - windows.weight) * _class_loss(logits, neighbours, self._config.label_smoothing)
        loss = self._with_teacher(loss, logits, classes, windows)
        per_frame = functional.binary_cross_entropy_with_logits(output.signing.float(), signing, reduction="none")
        return loss + self._config.signing_weight * (per_frame * frames).sum() / frames.sum()

    def _with_teacher(self, loss: Tensor, logits: Tensor, classes: Tensor, windows: Windows) -> Tensor:  # noqa: ARG002
        """Blend the class loss with what a teacher says; there is none here."""
        return loss

    def _windows(self, batch: Batch, step: int, device: torch.device) -> Windows:
        features, mask = torch.from_numpy(batch.features).to(device), torch.from_numpy(batch.mask).to(device)
        other = None if batch.for_teacher is None else torch.from_numpy(batch.for_teacher).to(device)
        weight, real = 1.0, mask
        if self._config.mixup:
            rng = np.random.default_rng([self._config.seed, step, 1])
            weight = float(rng.beta(self._config.mixup, self._config.mixup))
            features, real = mix(features, mask, weight=weight)
            other = None if other is None else mix(other, mask, weight=weight)[0]
        return Windows(features=features, for_teacher=features if other is None else other, mask=real, weight=weight)


def _class_loss(logits: Tensor, targets: Tensor, smoothing: float) -> Tensor:
    if bool((targets == IGNORE).all()):
        return logits.sum() * 0
    return functional.cross_entropy(logits, targets, ignore_index=IGNORE, label_smoothing=smoothing)
