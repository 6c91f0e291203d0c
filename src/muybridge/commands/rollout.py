"""Clips longer than a model makes at once: windows, each beginning with the last frames of what there is."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.generate import Model
from muybridge.sampler.sample import Settings
from muybridge.types import TEMPORAL_STRIDE, Condition

OVERLAP = 9
"""Frames of a window that are given, 1 + 4k: three latent frames, which show how things move."""


def rollout(model: Model, condition: Condition, seed: int, settings: Settings) -> Float[Tensor, "t 3 h w"]:
    """The frames of one clip, in [-1, 1], of any length. ValueError for what the model cannot make.

    A clip of the length that the model learnt from, or shorter, is made at once. The noise of window n is that of seed
    + n; the words are the same in all of them. A model that takes one first frame only begins with the last there is.
    """
    longest, given = int(model.config["trained"]["frames"]), condition.prefix
    overlap = min(OVERLAP, longest - TEMPORAL_STRIDE) if "opening" in model.takes else 1
    missing = condition.frames if condition.frames <= longest else _length(given, longest)
    made = _window(model, replace(condition, frames=possible(model, missing)), seed, settings)
    while len(made) < condition.frames:
        seed = (seed + 1) % 2**64
        prefix = made[-overlap:]
        frames = min(_length(prefix, longest), len(prefix) + condition.frames - len(made))
        following = replace(condition, prefix=prefix, frames=possible(model, frames))
        made = torch.cat([made, _window(model, following, seed, settings)[len(prefix) :]])
    return made[: condition.frames]


def possible(model: Model, frames: int) -> int:
    """The shortest clip that the model can make and that is so long."""
    return next(near for more in count() if (near := model.frames_near(frames + more)) >= frames)


def _length(prefix: Tensor | None, longest: int) -> int:
    """Of a window: as long as the model learnt, and something new in it."""
    return longest if prefix is None else max(longest, len(prefix) + TEMPORAL_STRIDE)


def _window(model: Model, condition: Condition, seed: int, settings: Settings) -> Float[Tensor, "t 3 h w"]:
    (clip,) = model.generate(condition, seed, settings)
    return clip.video.frames[0].cpu()
