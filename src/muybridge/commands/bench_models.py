"""A model as a contestant of the benches: its clips of their tasks, and what its autoencoder makes of the truth."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.backends.model import OpenModel
from muybridge.commands.rollout import possible, rollout
from muybridge.evaluation.running import CEILING, Contestant, NoClip, maker, pixels_of
from muybridge.evaluation.suite import Frames, Task
from muybridge.generate import Model, to_uint8
from muybridge.sampler.sample import Settings
from muybridge.storage.stills import fit
from muybridge.types import Condition, Latent


def of_model(model: Model, name: str, settings: Settings, seed: int, folder: Path) -> list[Contestant]:
    """The model; and of ours the truth as its autoencoder has it: what no clip of this model can do better than."""

    def make(task: Task) -> Frames:
        return _made(model, task, (task.seed + seed) % 2**64, settings)

    def ceiling(task: Task) -> Frames:
        latent, _ = model.autoencoder.encode(_floats(task.truth.rgb)[None].to(model.device))
        return to_uint8(model.decode(Latent(latent, task.truth.fps)).frames[0])

    runs_on = f"{model.dtype} {model.device.type}"
    own = maker(name, f"{model.hash} {sorted(asdict(settings).items())} {seed} {runs_on}", make, folder)
    if isinstance(model, OpenModel):  # its latents are its own business
        return [own]
    return [own, maker(CEILING, f"{model.hash} {runs_on}", ceiling, folder)]


def _made(model: Model, task: Task, seed: int, settings: Settings) -> Frames:
    """The model's clip of a task. NoClip where it is not made of numbers."""
    condition = condition_of(model, task)
    first = possible(model, min(condition.frames, int(model.config["trained"]["frames"])))
    model.check(replace(condition, frames=first))  # what it cannot make ends the bench; what goes wrong does not
    try:
        made = rollout(model, condition, seed, settings)
    except ValueError as error:
        raise NoClip(str(error)) from error
    return pixels_of(np.moveaxis(made.float().numpy(), 1, 3) / 2 + 0.5)


def condition_of(model: Model, task: Task) -> Condition:
    """What a model is asked for: the words and the known frames, as long as the truth.

    A model of others gets no words, or the first frame alone, where it takes no more, and pictures of about the size
    that its makers trained it for, in the truth's proportions.
    """
    frames, height, width = task.truth.rgb.shape[:3]
    given = _floats(task.given)
    if isinstance(model, OpenModel):
        family = model.pipeline.family
        scale = math.sqrt(family.height * family.width / (height * width))
        height, width = (max(1, round(scale * size / family.side)) * family.side for size in (height, width))
        given = torch.stack([fit(frame, height, width) for frame in given])
    prompt = task.prompt if "prompt" in model.takes else ""
    return Condition(
        prompt, "", frames, height, width, task.truth.fps, given if "opening" in model.takes else given[:1]
    )


def _floats(frames: Frames) -> Float[Tensor, "t 3 h w"]:
    """uint8 (t, h, w, 3) in [-1, 1]."""
    return torch.from_numpy(np.moveaxis(frames, 3, 1).astype(np.float32) / 127.5 - 1)
