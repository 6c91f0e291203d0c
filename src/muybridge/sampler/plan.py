"""What goes where is foreseen before anything is drawn: from words and known frames to tracks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.paths import expand_level
from muybridge.flow.schedules import hold_levels, time_grid
from muybridge.flow.solvers import euler
from muybridge.transformer.planner import Planner, told
from muybridge.types import Streams, Tracks

_SHIFT = 2.0
"""Of the steps' grid, as the planner learns it."""

_SALT = 0x504C414E
"""A plan is drawn from other noise than its clip."""


@torch.inference_mode()
def plan(planner: Planner, streams: Streams, window: int, steps: int, seeds: Sequence[int]) -> Tracks:
    """Where things will be in each clip; its noise depends on the clip's seed alone.

    window  latent frames of the clips that the planner learnt from. Of shorter clips a plan is made as if they went on
            for so long; of longer ones a window after the other, each from where things were in the second half of
            the one before
    """
    frames, config = streams.is_known.shape[1], planner.config
    length = max(frames, window) + window  # the last window is as long as the others, and cut off
    drawn = [torch.randn(length, config.things, config.numbers, generator=_generator(s)) for s in seeds]
    noise = torch.stack(drawn).to(streams.known.device)
    more = max(0, window - frames)
    known = F.pad(streams.known, (0,) * 6 + (0, more))[:, :window]
    first = replace(streams, known=known, is_known=F.pad(streams.is_known, (0, more))[:, :window])
    unseen = replace(first, known=known[..., :1, :1], is_known=torch.zeros_like(first.is_known))
    planned = _window(planner, noise[:, :window], noise[:, :0], first, steps)
    while planned.shape[1] < frames:
        before, begin = planned[:, -(window // 2) :], planned.shape[1]
        rest = noise[:, begin : begin + window - before.shape[1]]
        planned = torch.cat([planned, _window(planner, rest, before, unseen, steps)], dim=1)
    return told(planned[:, :frames], config)


def _window(
    planner: Planner,
    noise: Float[Tensor, "b n k f"],
    before: Float[Tensor, "b m k f"],
    streams: Streams,
    steps: int,
) -> Float[Tensor, "b n k f"]:
    """The tracks, as numbers, of the frames that follow those of `before`."""
    x = torch.cat([before, noise], dim=1)
    is_told = (torch.arange(x.shape[1], device=x.device) < before.shape[1]).expand(x.shape[:2])
    grid = time_grid(steps, _SHIFT).to(x)[:, None, None].expand(-1, *x.shape[:2])
    levels = hold_levels(grid, is_told)[..., None].expand(-1, *x.shape[:3])

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        away: Tensor = x - planner(x, level, streams)[0].float()
        return away / expand_level(level.clamp_min(1e-6), x)

    for step in euler(velocity, x, levels):
        x = step.x
    return x[:, before.shape[1] :]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed ^ _SALT)
