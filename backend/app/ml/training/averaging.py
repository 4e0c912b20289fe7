"""Averages of a model's weights over training steps."""

import torch
from torch import Tensor, nn


class WeightAverage:
    """A running average of weights: exponential (EMA) when `decay` is given, the plain mean of all updates (SWA,
    Izmailov et al. 2018) when it is None."""

    def __init__(self, model: nn.Module, *, decay: float | None) -> None:
        self._decay = decay
        self.num_updates = 0
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the model's present weights in; the first updates of an EMA weigh more, so that it forgets the start."""
        self.num_updates += 1
        if self._decay is None:
            keep = 1 - 1 / self.num_updates
        else:
            keep = min(self._decay, self.num_updates / (10 + self.num_updates))
        for name, value in model.state_dict().items():
            self.weights[name].lerp_(value, 1 - keep)

    def state_dict(self) -> dict[str, object]:
        """What `load_state_dict` takes back."""
        return {"num_updates": self.num_updates, "weights": self.weights}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Continue from a saved state."""
        weights, num_updates = state["weights"], state["num_updates"]
        assert isinstance(weights, dict)
        assert isinstance(num_updates, int)
        self.num_updates = num_updates
        for name, value in weights.items():
            assert isinstance(value, Tensor)
            self.weights[name].copy_(value)
