"""Which optimiser trains which parameter, and how the learning rate moves.

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon; update scale of Liu et al. 2025, arXiv:2502.16982, §2.2)
takes the weights of hidden linear layers; AdamW (Loshchilov & Hutter 2019) takes the rest: embeddings, norms, biases,
convolutions, and the layers in which a network begins and ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from muybridge.training.settings import TrainSettings


def wsd(step: int, steps: int, warmup: int, decay: float) -> float:
    """Warm-up, stable, decay: the factor on the peak rate at `step` (0 is the first); linear at both ends."""
    rise = min(1.0, (step + 1) / max(warmup, 1))
    fall = min(1.0, (steps - step) / max(decay * steps, 1))
    return min(rise, fall)


def cosine(step: int, steps: int, warmup: int) -> float:
    """Linear warm-up, then half a cosine that would be 0 at `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 + 0.5 * math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))


def rate(step: int, settings: TrainSettings) -> float:
    """The schedule of `settings` at `step`, in [0, 1]."""
    if settings.schedule == "cosine":
        return cosine(step, settings.steps, settings.warmup)
    return wsd(step, settings.steps, settings.warmup, settings.decay)


@dataclass(frozen=True)
class Split:
    """Trainable parameters by what they want: Muon, AdamW with decay, AdamW without."""

    muon: list[nn.Parameter]
    decayed: list[nn.Parameter]
    plain: list[nn.Parameter]


def split(module: nn.Module, settings: TrainSettings) -> Split:
    """Sorts the trainable parameters of `module`, each into one list."""
    hidden = set() if settings.muon_lr is None else _hidden_matrices(module, settings.muon_within)
    found = Split([], [], [])
    for parameter in module.parameters():
        if not parameter.requires_grad:
            continue
        if id(parameter) in hidden:
            found.muon.append(parameter)
        elif sum(length > 1 for length in parameter.shape) >= 2:  # a gain of shape (c, 1, 1) is a vector
            found.decayed.append(parameter)
        else:
            found.plain.append(parameter)
    return found


def build(module: nn.Module, settings: TrainSettings) -> list[Optimizer]:
    """The optimisers of `module`: one or two. Each group keeps its peak rate as `initial_lr`.

    A module whose children learn at rates of their own has `rates`, name -> share of the settings' rates, for all that
    learn; then each of these has its optimisers.
    """
    rates: Mapping[str, float] = getattr(module, "rates", {})
    if not rates:
        return _optimizers(module, settings)
    found: list[Optimizer] = []
    for name, share in rates.items():
        muon_lr = None if settings.muon_lr is None else share * settings.muon_lr
        own = replace(settings, lr=share * settings.lr, muon_lr=muon_lr)
        found += _optimizers(module.get_submodule(name), own)
    return found


def _optimizers(module: nn.Module, settings: TrainSettings) -> list[Optimizer]:
    parts = split(module, settings)
    optimizers: list[Optimizer] = []
    if parts.muon:
        assert settings.muon_lr is not None
        optimizers.append(
            Muon(parts.muon, settings.muon_lr, settings.weight_decay, adjust_lr_fn="match_rms_adamw", nesterov=True)
        )
    groups = [
        {"params": parts.decayed, "weight_decay": settings.weight_decay},
        {"params": parts.plain, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if groups:
        optimizers.append(AdamW(groups, settings.lr, settings.betas, fused=not settings.fsdp))
    assert optimizers, "nothing to train: no parameter requires a gradient"
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers


def advance(optimizers: Iterable[Optimizer], factor: float) -> None:
    """One step of all optimisers at `factor` times their peak rates; gradients are gone afterwards."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)


def clip_gradient(parameters: Iterable[nn.Parameter], largest: float | None) -> Tensor:
    """Scales the gradient down to a global norm of `largest`; returns the norm it had."""
    norm = torch.nn.utils.clip_grad_norm_(parameters, math.inf if largest is None else largest)
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def _hidden_matrices(module: nn.Module, within: tuple[str, ...]) -> set[int]:
    """Ids of the weights of all linear layers that lie inside a submodule with one of the names `within`."""
    return {
        id(layer.weight)
        for name, layer in module.named_modules()
        if isinstance(layer, nn.Linear) and set(name.split(".")) & set(within)
    }
