"""Where a training run computes and in which precision."""

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from app.ml.errors import TrainingError
from app.ml.training.config import Precision

_DTYPES: Final = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Device:
    """A device and the precision in which the network runs on it; weights and losses stay float32."""

    def __init__(self, name: str | None = None, precision: Precision | None = None, *, local_rank: int = 0) -> None:
        """Choose.

        Args:
            name: `cpu`, `cuda`, `cuda:1`, `mps`; None takes a GPU of NVIDIA or AMD if there is one, else the CPU.
            precision: of matrix products; None is float32 on the CPU, and on a GPU bf16 where it has that, else fp16.
            local_rank: which of this machine's GPUs `cuda` without a number is.

        Raises:
            TrainingError: there is no such device.
        """
        chosen = name or ("cuda" if torch.cuda.is_available() else "cpu")
        self.torch_device = _find(f"cuda:{local_rank}" if chosen == "cuda" else chosen)
        self.precision: Precision = precision or _default_precision(self.torch_device)
        kind = self.torch_device.type
        self._scaler = torch.amp.GradScaler(kind, enabled=self.precision == "fp16")

    def __str__(self) -> str:
        return f"{self.torch_device.type} {self.precision}"

    def autocast(self) -> AbstractContextManager[object]:
        """Inside, matrix products run in the chosen precision."""
        is_mixed = self.precision in _DTYPES
        return torch.autocast(
            self.torch_device.type, dtype=_DTYPES.get(self.precision, torch.bfloat16), enabled=is_mixed
        )

    def step(self, loss: Tensor, optimizer: Optimizer, model: nn.Module, *, clip_norm: float) -> None:
        """Differentiate, clip and update. In fp16 the loss is scaled so that small gradients survive, and a step whose
        gradients overflow is left out."""
        optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, object]:
        """The loss scale, for a checkpoint; empty unless it is fp16."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on with a saved loss scale."""
        if state:
            self._scaler.load_state_dict(state)


def _find(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # a PyTorch without CUDA raises the second
        reason = str(error).partition("\n")[0]
        msg = f"device {name!r} cannot be used here ({reason}); leave it out, or name cpu"
        raise TrainingError(msg) from error
    return device


def _default_precision(device: torch.device) -> Precision:
    if device.type != "cuda":
        return "f32"
    return "bf16" if torch.cuda.is_bf16_supported() else "fp16"


@contextmanager
def reproducible(num_threads: int) -> Generator[None]:
    """One thread count for the whole run: sums in another order give other weights."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
