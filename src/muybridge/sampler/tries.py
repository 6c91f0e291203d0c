"""A clip is drawn again while it does not show what was asked for, and the best of its tries is kept.

What stood in its first frame may dissolve, double or change its colour on the way. A witness that looks at every frame
of the latent sees that, and from other noise the clip goes another way (search over noise, Ma et al. 2501.09732).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.sampler.sample import Draw, Settings
from muybridge.types import Event, Latent, Progress, Sampled, Streams

Mistakes: TypeAlias = Callable[[Float[Tensor, "b c h w"], Streams], Float[Tensor, " b"]]
"""How far pictures are from what is asked of them: the fewer the better."""

WILL_DO = 0.3
"""A clip with fewer mistakes a frame, on average, will do (docs/decisions.md)."""


def tried(
    draw: Draw,
    streams: Streams,
    negative: Streams | None,
    settings: Settings,
    seeds: Sequence[int],
    mistakes: Mistakes,
) -> Iterator[Event]:
    """As `sampler.sample`, each clip up to `settings.tries` times; of equals the earliest is kept.

    The first try has the clip's own seed, the others seeds that follow from it. The steps told of are those to come if
    no further tries are needed.
    """
    once = replace(settings, tries=1)
    if settings.tries == 1:
        yield from draw(streams, negative, once, seeds)
        return
    frames, least = streams.known.clone(), torch.full((len(seeds),), torch.inf)
    waiting, done = list(range(len(seeds))), Progress(0, 0, 0.0)
    for number in range(settings.tries):
        asked = some(streams, waiting)
        unwanted = None if negative is None else some(negative, waiting)
        drawn = [more_seeds(seeds[clip], settings.tries)[number] for clip in waiting]
        for event in draw(asked, unwanted, once, drawn):
            if isinstance(event, Progress):
                told = after(done, event)
                yield told
            elif isinstance(event, Sampled):
                wrong = per_frame(event.latent.frames, asked, mistakes)
                for clip, made, many in zip(waiting, event.latent.frames, wrong.tolist(), strict=True):
                    if many < least[clip]:
                        frames[clip], least[clip] = made, many
        done = told
        waiting = [clip for clip in waiting if least[clip] >= WILL_DO]
        if not waiting:
            break
    yield Sampled(Latent(frames, float(streams.fps[0])))


def per_frame(frames: Float[Tensor, "b t c h w"], streams: Streams, mistakes: Mistakes) -> Float[Tensor, " b"]:
    """Mistakes of clips in a frame, on average."""
    count = frames.shape[1]
    return mistakes(frames.flatten(0, 1), copied(streams, count)).view(-1, count).mean(dim=1)


def more_seeds(seed: int, count: int) -> list[int]:
    """`count` seeds that follow from one, which is the first of them."""
    more = torch.randint(2**31, (max(0, count - 1),), generator=torch.Generator().manual_seed(seed))
    return [seed, *more.tolist()][:count]


def some(streams: Streams, clips: Sequence[int]) -> Streams:
    """These clips of a batch."""
    return _each(streams, lambda x: x[list(clips)])


def copied(streams: Streams, copies: int) -> Streams:
    """Each clip so many times."""
    return _each(streams, lambda x: x.repeat_interleave(copies, dim=0))


def _each(streams: Streams, change: Callable[[Tensor], Tensor]) -> Streams:
    mask = None if streams.text_mask is None else change(streams.text_mask)
    known, is_known = change(streams.known), change(streams.is_known)
    told = None if streams.told is None else change(streams.told)
    held = None if streams.held is None else change(streams.held)
    return Streams(change(streams.text), mask, known, is_known, change(streams.fps), None, told, held)


def after(done: Progress, event: Progress, to_come: int = 0) -> Progress:
    """The event as one of something longer: what is `done` went before it, and `to_come` steps follow."""
    steps = done.step + event.steps + to_come
    return Progress(done.step + event.step, steps, done.seconds + event.seconds, event.preview)
