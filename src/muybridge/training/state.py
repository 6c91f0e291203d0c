"""The state of a training on disk: everything that step k + 1 needs and that cannot be computed from k.

One safetensors file, written under another name and moved into place, so that there is a whole one at any moment:
`model.*` weights and buffers, `ema.*` averages, `optim.<parameter>.*` what the optimisers remember; step, seconds and
recipe as JSON. Batches, learning rates and random numbers follow from the step.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from muybridge.storage.checkpoint import load_tensors, save_tensors
from muybridge.training.ema import Ema
from muybridge.training.parallel import like, whole

FILE = "state.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Progress:
    """Where a training is: steps done, seconds they took, and the recipe it follows (JSON values)."""

    step: int
    seconds: float
    recipe: Mapping[str, Any]


@dataclass(frozen=True)
class Trainee:
    """The living things whose state is kept."""

    module: nn.Module
    optimizers: Sequence[Optimizer]
    ema: Ema | None

    def tensors(self) -> dict[str, Tensor]:
        """All of their tensors by name, not copied."""
        found = {f"model.{name}": tensor for name, tensor in self._model().items()}
        if self.ema is not None:
            found |= {f"ema.{name}": tensor for name, tensor in self.ema.weights.items()}
        for optimizer in self.optimizers:
            for parameter, memory in optimizer.state.items():
                name = self._names()[id(parameter)]
                found |= {f"optim.{name}.{key}": value for key, value in memory.items()}
        return found

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes over `tensors`, as `tensors()` gave them. ValueError if they belong to another model."""
        expected = {name: tuple(tensor.shape) for name, tensor in self.tensors().items()}
        found = {name: tuple(tensor.shape) for name, tensor in tensors.items() if not name.startswith("optim.")}
        if odd := sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)):
            raise ValueError(f"another model: {len(odd)} tensors are missing, new or of another shape, as {odd[0]}")
        with torch.no_grad():
            for name, tensor in self.tensors().items():
                tensor.copy_(like(tensors[name], tensor))
        for optimizer in self.optimizers:
            self._load_optimizer(optimizer, tensors)

    def _load_optimizer(self, optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
        names = self._names()
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        state: dict[int, dict[str, Tensor]] = {}
        for index, parameter in enumerate(parameters):
            prefix = f"optim.{names[id(parameter)]}."
            memory = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
            state[index] = {
                key: like(value, parameter.detach()) if value.shape == parameter.shape else value
                for key, value in memory.items()
            }
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})

    def _model(self) -> dict[str, Tensor]:
        """Trainable parameters and persistent buffers; what is frozen came from elsewhere and is not ours to keep."""
        frozen = {name for name, p in self.module.named_parameters(remove_duplicate=False) if not p.requires_grad}
        kept = self.module.state_dict().keys() - frozen
        own = [*self.module.named_parameters(), *self.module.named_buffers()]  # a tied parameter comes once
        return {name: tensor.detach() for name, tensor in own if name in kept}

    def _names(self) -> dict[int, str]:
        return {id(p): name for name, p in self.module.named_parameters()}


def save(folder: Path, trainee: Trainee, progress: Progress, write: bool = True) -> None:
    """Writes the state of `trainee` to `folder`. Collective where it is sharded: all call, one has `write`."""
    tensors = {name: whole(tensor).detach().cpu().contiguous() for name, tensor in trainee.tensors().items()}
    about = {"format": FORMAT, "step": progress.step, "seconds": progress.seconds, "recipe": dict(progress.recipe)}
    if write:
        save_tensors(folder / FILE, tensors, {"training": json.dumps(about, sort_keys=True)})


def restore(folder: Path, trainee: Trainee, recipe: Mapping[str, Any]) -> Progress | None:
    """Brings `trainee` to the state in `folder`; None if there is none. ValueError if it follows another recipe."""
    path = folder / FILE
    for left in folder.glob(".*.part"):  # by a process that was killed while it wrote (see storage.atomic)
        left.unlink(missing_ok=True)
    if not path.exists():
        return None
    tensors, meta = load_tensors(path)
    if "training" not in meta:
        raise ValueError(f"{path} is not the state of a training: move it away or train into another folder")
    about = json.loads(meta["training"])
    if about["format"] > FORMAT:
        raise ValueError(
            f"{path} was written by a newer muybridge (format {about['format']}): update, or use another folder"
        )
    _check_recipe(path, about["recipe"], recipe)
    try:
        trainee.load(tensors)
    except ValueError as error:
        raise ValueError(f"{path} holds {error}; train into another folder") from error
    return Progress(about["step"], about["seconds"], about["recipe"])


def _check_recipe(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    if changed:
        what = ", ".join(f"{key} = {old.get(key)!r} there, {new.get(key)!r} here" for key in changed)
        raise ValueError(f"{path} is in the middle of another recipe ({what}): train into another folder or remove it")
