"""An exponential moving average of the weights, which samples better than the weights themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

POWER = 6.94
"""Exponent of the average while it is young: it then spans the last 10 % of the training, however short (Karras et al.
2024, arXiv:2312.02696, §3.1: sigma_rel = 0.10)."""


def decay_at(step: int, decay: float) -> float:
    """Weight of the past after `step` steps (1 is the first).

    The power profile (1 - 1/step)^(POWER + 1) forgets the random start at once and widens with the training, until it
    meets the constant `decay`.
    """
    return float(min(decay, (1 - 1 / step) ** (POWER + 1)))


def local(tensor: Tensor) -> Tensor:
    """This process's part of a tensor that may be sharded (FSDP2's DTensor)."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


class Ema:
    """Averages of all trainable parameters of a module, by name."""

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.weights = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights as they are after `step` steps (1 is the first)."""
        averages = [local(average) for average in self.weights.values()]
        lives = [local(live.detach()) for live in self._live.values()]
        torch._foreach_lerp_(averages, lives, 1 - decay_at(step, self.decay))

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Inside, the module has the averaged weights; afterwards its own again."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, live in self._live.items():
            average, weight = local(self.weights[name]), local(live.detach())
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
