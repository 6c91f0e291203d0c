"""What goes where is foreseen before anything is drawn: from words and known frames to tracks.

What there is, and how it starts, is drawn from noise by the planner's flow. How it goes on is physics: where two latent
frames or more are known, its dynamics, if it has one, makes the rest of them step by step. Where somebody has said
where something shall be, the flow plans all of it, for it can be held to what is to come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.paths import expand_level
from muybridge.flow.schedules import hold_levels, time_grid
from muybridge.flow.solvers import euler
from muybridge.transformer.dynamics import FEWEST, MOST, Dynamics
from muybridge.transformer.planner import PlannerConfig, is_led, joined, parted, told
from muybridge.types import Streams, Tracks

SHIFT = 2.0
"""Of the steps' grid, as the planner learns it."""

SALT = 0x504C414E
"""A plan is drawn from other noise than its clip."""


@runtime_checkable
class Foreseer(Protocol):
    """What is asked of a planner: `transformer.planner.Planner` has it, and so has an engine that runs one."""

    @property
    def config(self) -> PlannerConfig: ...

    @property
    def dynamics(self) -> Dynamics | None: ...

    def look_once(self, streams: Streams) -> tuple[Float[Tensor, "b t k d"], Float[Tensor, "b t d"]]: ...

    def foresee(
        self,
        x: Float[Tensor, "b t k f"],
        level: Float[Tensor, "b t k"],
        text: Float[Tensor, "b n e"],
        fps: Float[Tensor, " b"],
        seen: Float[Tensor, "b t k d"],
        whole: Float[Tensor, "b t d"],
    ) -> Float[Tensor, "b t k f"]: ...


@torch.inference_mode()
def plan(planner: Foreseer, streams: Streams, window: int, steps: int, seeds: Sequence[int]) -> Tracks:
    """Where things will be in each clip; its noise depends on the clip's seed alone.

    window  latent frames of the clips that the planner learnt from. Of shorter clips a plan is made as if they went on
            for so long; of longer ones a window after the other, each from where things were in the second half of
            the one before

    What `streams.held` says of where and what things are is so, and the rest follows as far as the planner knows:
    numbers that are known stay on their straight way from noise (as Lugmayr et al. 2201.09865 fill in pictures).
    """
    frames = streams.is_known.shape[1]
    noise = _noise(planner, max(frames, window) + window, streams, seeds)  # the last window is whole, and cut off
    planned = _first(planner, noise[:, :window], streams, steps)
    while planned.shape[1] < frames:
        before, begin = planned[:, -(window // 2) :], planned.shape[1]
        rest = noise[:, begin : begin + window - before.shape[1]]
        unseen = _unseen(streams, window, begin - before.shape[1])
        planned = torch.cat([planned, _next(planner, rest, before, unseen, steps)], dim=1)
    return told(planned[:, :frames], planner.config)


class Plans:
    """The plans of a stream's windows: each goes on from the one before, so what is hidden meanwhile is not forgotten.

    A window's frames are the stream's first, some that were made before, and new ones (see `windows`). Where its words
    are others than those of the window before, what was foreseen no longer holds, and the pictures tell what is there.

    as_learnt  streams with the pictures of a size that the planner can look at: asked only where it does
    """

    def __init__(self, planner: Foreseer, as_learnt: Callable[[Streams], Streams]) -> None:
        self.planner, self._as_learnt = planner, as_learnt
        self._planned: tuple[Tensor, Float[Tensor, "1 t k f"]] | None = None

    def forget(self) -> None:
        """A window was made without a plan: what was foreseen before it is of long ago."""
        self._planned = None

    @torch.inference_mode()
    def window(self, streams: Streams, steps: int, seed: int, unused: int = 0) -> Tracks:
        """Where things are in a window; `streams`: one clip with its known frames.

        unused  frames at the end of the window before that were never made
        """
        length, known = streams.is_known.shape[1], int(streams.is_known.sum())
        noise = _noise(self.planner, length, streams, [seed])
        if known <= 1:
            planned = _first(self.planner, noise, self._as_learnt(streams), steps)
        elif self._planned is not None and torch.equal(self._planned[0], streams.text):
            before = self._planned[1][:, : self._planned[1].shape[1] - unused]
            first, recent = before[:, :1], before[:, 1 - known :]
            rest = _next(self.planner, noise[:, known:], recent, _unseen(streams, length - 1, begin=1), steps)
            planned = torch.cat([first, recent, rest], dim=1)
        else:  # the first frame may be of long ago: only those after it follow each other
            seen = self._as_learnt(streams)
            first = _first(self.planner, noise, _cut(seen, 0, 1), steps)[:, :1]
            planned = torch.cat([first, _first(self.planner, noise[:, 1:], _cut(seen, 1, length), steps)], dim=1)
        self._planned = streams.text, planned
        return told(planned, self.planner.config)


def _first(
    planner: Foreseer, noise: Float[Tensor, "b n k f"], streams: Streams, steps: int
) -> Float[Tensor, "b n k f"]:
    """The tracks, as numbers, of as many frames as there is noise for, from the pictures of those that are known."""
    length = noise.shape[1]
    more = max(0, length - streams.is_known.shape[1])
    known = F.pad(streams.known, (0,) * 6 + (0, more))[:, :length]
    is_known = F.pad(streams.is_known, (0, more))[:, :length]
    seen = replace(streams, known=known, is_known=is_known, held=_held(streams, 0, length))
    planned = _window(planner, noise, noise[:, :0], seen, steps)
    return torch.cat([_seen(planner, planned, seen, slice(i, i + 1)) for i in range(len(planned))])


def _seen(
    planner: Foreseer, planned: Float[Tensor, "b n k f"], streams: Streams, row: slice
) -> Float[Tensor, "1 n k f"]:
    """The plan of one clip; if enough of its frames are known, as the dynamics has it from what is seen in them."""
    count, one = int(streams.is_known[row].sum()), planned[row]
    if planner.dynamics is None or count < FEWEST or bool(is_led(streams.held, planned)[row]):
        return one
    begin = max(0, count - MOST)
    places, what = parted(one, planner.config)
    roughly, found, _ = planner.dynamics.look(streams.known[row, begin:count])
    follows = planner.dynamics(roughly, found, what, streams.text[row], one.shape[1] - begin)
    return joined(torch.cat([places[:, :begin], follows], dim=1), what)


def _next(
    planner: Foreseer,
    noise: Float[Tensor, "b n k f"],
    before: Float[Tensor, "b m k f"],
    streams: Streams,
    steps: int,
) -> Float[Tensor, "b n k f"]:
    """The tracks, as numbers, of the frames that follow those of `before`, of which there are no pictures."""
    led = is_led(streams.held, before)
    if planner.dynamics is None or before.shape[1] < FEWEST or bool(led.all()):
        return _window(planner, noise, before, streams, steps)
    places, what = parted(before[:, -MOST:], planner.config)
    found, count = planner.dynamics.listen(places), places.shape[1]
    follows = joined(planner.dynamics(places, found, what, streams.text, count + noise.shape[1])[:, count:], what)
    if not bool(led.any()):
        return follows
    return torch.where(led[:, None, None, None], _window(planner, noise, before, streams, steps), follows)


def _unseen(streams: Streams, length: int, begin: int = 0) -> Streams:
    """The words, the speed and what is certain, and no pictures: of so many frames from `begin` on."""
    known = streams.known[:, :1, :, :1, :1].expand(-1, length, -1, -1, -1)
    is_known = torch.zeros(known.shape[:2], dtype=torch.bool, device=known.device)
    return replace(streams, known=known, is_known=is_known, held=_held(streams, begin, length))


def _held(streams: Streams, begin: int, length: int) -> Float[Tensor, "b t k f"] | None:
    """What is certain of so many frames from `begin` on; beyond the clip's end nothing is."""
    if streams.held is None:
        return None
    cut = streams.held[:, begin : begin + length]
    return F.pad(cut, (0,) * 4 + (0, length - cut.shape[1]), value=torch.nan)


def _cut(streams: Streams, begin: int, end: int) -> Streams:
    """Frames `begin` to `end` as if they were a clip's first ones."""
    known, is_known = streams.known[:, begin:end], streams.is_known[:, begin:end]
    return replace(streams, known=known, is_known=is_known, held=_held(streams, begin, end - begin))


def _noise(planner: Foreseer, length: int, streams: Streams, seeds: Sequence[int]) -> Float[Tensor, "b n k f"]:
    config = planner.config
    drawn = [torch.randn(length, config.things, config.numbers, generator=_generator(seed)) for seed in seeds]
    return torch.stack(drawn).to(streams.known.device)


def _window(
    planner: Foreseer,
    noise: Float[Tensor, "b n k f"],
    before: Float[Tensor, "b m k f"],
    streams: Streams,
    steps: int,
) -> Float[Tensor, "b n k f"]:
    """The tracks, as numbers, of the frames that follow those of `before`."""
    x = torch.cat([before, noise], dim=1)
    is_told = (torch.arange(x.shape[1], device=x.device) < before.shape[1]).expand(x.shape[:2])
    grid = time_grid(steps, SHIFT).to(x)[:, None, None].expand(-1, *x.shape[:2])
    levels = hold_levels(grid, is_told)[..., None].expand(-1, *x.shape[:3])

    held, (seen, whole) = streams.held, planner.look_once(streams)

    def velocity(x: Tensor, level: Tensor) -> Tensor:
        foreseen = planner.foresee(x, level, streams.text, streams.fps, seen, whole).float()
        away: Tensor = x - (foreseen if held is None else torch.where(held.isnan(), foreseen, held))
        return away / expand_level(level.clamp_min(1e-6), x)

    for step in euler(velocity, x, levels):
        x = step.x
    return x[:, before.shape[1] :]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed ^ SALT)
