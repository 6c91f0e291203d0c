"""Clips longer than a model makes at once: windows, each beginning with the last frames of what there is."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.generate import Model
from muybridge.sampler.sample import Settings
from muybridge.types import TEMPORAL_STRIDE, Condition

OVERLAP = 9
"""Frames of a window that are given, 1 + 4k: three latent frames, which show how things move."""


def rollout(model: Model, condition: Condition, seed: int, settings: Settings) -> Float[Tensor, "t 3 h w"]:
    """The frames of one clip, in [-1, 1], of any length 1 + 4k. ValueError for what the model cannot make.

    A clip of the length that the model learnt from, or shorter, is made at once. The noise of window n is that of seed
    + n; the words are the same in all of them.
    """
    longest = int(model.config["trained"]["frames"])
    if condition.frames <= longest:
        return _window(model, condition, seed, settings)
    made = _window(model, replace(condition, frames=_length(condition.prefix, longest)), seed, settings)
    while len(made) < condition.frames:
        seed = (seed + 1) % 2**64
        prefix = made[-min(OVERLAP, longest - TEMPORAL_STRIDE) :]
        frames = min(_length(prefix, longest), len(prefix) + condition.frames - len(made))
        window = _window(model, replace(condition, prefix=prefix, frames=frames), seed, settings)
        made = torch.cat([made, window[len(prefix) :]])
    return made[: condition.frames]


def _length(prefix: Tensor | None, longest: int) -> int:
    """Of a window: as long as the model learnt, and something new in it."""
    return longest if prefix is None else max(longest, len(prefix) + TEMPORAL_STRIDE)


def _window(model: Model, condition: Condition, seed: int, settings: Settings) -> Float[Tensor, "t 3 h w"]:
    (clip,) = model.generate(condition, seed, settings)
    return clip.video.frames[0].cpu()
