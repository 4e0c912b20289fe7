"""The processes that train one model together: which of them this is, and what they tell each other.

`torchrun` starts them; each draws batches of its own, and PyTorch's DistributedDataParallel averages their gradients.
"""

import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.distributed.distributed_c10d import get_node_local_rank
from torch.nn.parallel import DistributedDataParallel

from app.ml.errors import TrainingError

_T = TypeVar("_T")
_PATIENCE: Final = timedelta(minutes=10)
"""How long a process waits for the others: validation and export are done by the first alone."""
_HOW_TO_GO_ON: Final = "start the same command again: with --checkpoint it goes on from where it last saved"
_LOST: Final = ("connection closed", "connection reset", "broken pipe", "timed out", "nccl", "gloo", "socket")
"""What PyTorch's errors say when another process is gone; it has no class of its own for gloo's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """This process among those that train together.

    Attributes:
        rank: from 0; the process of rank 0 validates, saves and reports.
        size: how many there are.
        local_rank: this process's number on its machine: which of its GPUs it takes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    @property
    def place(self) -> int | None:
        """Rank among several, None when alone."""
        return self.rank if self.size > 1 else None

    def split(self, batch_size: int) -> int:
        """This process's part of a batch.

        Raises:
            TrainingError: the batch cannot be split evenly.
        """
        if batch_size % self.size:
            msg = f"a batch of {batch_size} cannot be split evenly between {self.size} processes; choose another number"
            raise TrainingError(msg)
        return batch_size // self.size

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model with gradients averaged over all processes."""
        return model if self.size == 1 else DistributedDataParallel(model)

    def mean(self, value: Tensor) -> Tensor:
        """Mean over the processes."""
        return value if self.size == 1 else self.sum(value) / self.size

    def sum(self, value: Tensor) -> Tensor:
        """Sum over the processes; every one gets the same bits."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
        return value

    def from_first(self, make: Callable[[], _T]) -> _T:
        """What the first process makes, given to all; an error of the first one ends the others too."""
        if self.size == 1:
            return make()
        made: list[_T | None] = [make() if self.is_first else None]
        distributed.broadcast_object_list(made, src=0)
        (value,) = made
        return value  # pyright: ignore[reportReturnType]

    @contextmanager
    def named_losses(self) -> Generator[None]:
        """Turn PyTorch's error after the death of another process into one that says what to do.

        Raises:
            TrainingError: another process is gone.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not any(word in str(error).lower() for word in _LOST):
                raise
            reason = str(error).partition("\n")[0]
            msg = f"process {self.rank} of {self.size} lost the others ({reason}); {_HOW_TO_GO_ON}"
            raise TrainingError(msg) from error


ALONE: Final = World()


@contextmanager
def joined_world() -> Generator[World]:
    """This process's place among those that `torchrun` started; alone without it. For the main thread.

    Raises:
        TrainingError: `torchrun` ends this process, because another one has ended.
    """
    if not distributed.is_available() or not distributed.is_torchelastic_launched():
        yield ALONE
        return
    has_gpu = torch.cuda.is_available()
    # Both: with --device cpu the weights stay on the CPU of a machine that has GPUs, and plain values always do.
    distributed.init_process_group("cpu:gloo,cuda:nccl" if has_gpu else "gloo", timeout=_PATIENCE)
    if has_gpu:
        torch.cuda.set_device(get_node_local_rank())
    world = World(rank=distributed.get_rank(), size=distributed.get_world_size(), local_rank=get_node_local_rank())

    def stop(_signal: int, _frame: object) -> None:
        msg = f"process {world.rank} of {world.size} was stopped, as all are when one of them ends; {_HOW_TO_GO_ON}"
        raise TrainingError(msg)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield world
    finally:
        signal.signal(signal.SIGTERM, before)
        distributed.destroy_process_group()
