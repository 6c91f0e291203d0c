"""A clip's first frame comes first: several are drawn until one will do, and the clip goes on from the best.

What stands where is decided in one picture, at a ninth of a clip's cost, so several can be drawn and looked at (the
factorised generation of Girdhar et al. 2311.10709, with a search over noise as Ma et al. 2501.09732). Of clips that are
much larger than those that the model learnt from, drafts are as large as those, and the best is enlarged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.sampler.sample import Draw, Settings
from muybridge.sampler.tries import Mistakes, after, copied, more_seeds, some, tried
from muybridge.types import Event, Latent, Progress, Sampled, Streams

Resize: TypeAlias = Callable[[Float[Tensor, "b t c h w"], tuple[int, int]], Float[Tensor, "b t c y x"]]
"""The latent of the same frames with so many rows and columns."""

AT_ONCE = 4
"""Drafts that are drawn together; more follow only while none of them will do."""

WILL_DO = 0.05
"""A draft with fewer mistakes will do: nothing lacks, nothing is too many, and shapes are sure (docs/decisions.md)."""

MUCH_LARGER = 1.5
"""Times as wide and high as what a model learnt from, that is: things come out in blocks (docs/decisions.md)."""


def drafted(
    draw: Draw,
    streams: Streams,
    negative: Streams | None,
    settings: Settings,
    seeds: Sequence[int],
    mistakes: Mistakes,
    size: tuple[int, int],
    resize: Resize,
) -> Iterator[Event]:
    """As `tries.tried`, for clips of which nothing is known: each one's first frame, then the rest of them all.

    Of a still, the best draft is all there is. The steps told of are those to come if no further drafts are needed.

    size    rows and columns of the drafts' latents
    resize  makes first frames of drafts that have another size
    """
    assert not bool(streams.is_known.any()), "drafts of a clip whose first frame is known"
    rest = settings.steps if streams.is_known.shape[1] > 1 else 0
    firsts, done = [], Progress(0, 0, 0.0)
    for clip, seed in enumerate(seeds):
        to_come = rest + settings.draft_steps * (len(seeds) - clip - 1)
        alone = None if negative is None else still(negative, clip, size)
        for event in first_frame(draw, still(streams, clip, size), alone, settings, seed, mistakes):
            if isinstance(event, Sampled):
                draft, whole = event.latent.frames, (streams.known.shape[3], streams.known.shape[4])
                firsts.append(draft if size == whole else resize(draft, whole))
            elif isinstance(event, Progress):
                told = after(done, event, to_come)
                yield told
        done = told
    first = torch.cat(firsts)
    if not rest:
        yield Sampled(Latent(first, float(streams.fps[0])))
        return
    for event in tried(
        draw,
        begun(streams, first),
        None if negative is None else begun(negative, first),
        replace(settings, drafts=0),
        seeds,
        mistakes,
    ):
        yield after(done, event) if isinstance(event, Progress) else event


def first_frame(
    draw: Draw,
    streams: Streams,
    negative: Streams | None,
    settings: Settings,
    seed: int,
    mistakes: Mistakes,
) -> Iterator[Event]:
    """Of up to `settings.drafts` drafts of one still the best, and of equals the earliest.

    Drafts have seeds of their own that follow from `seed`.
    """
    waiting, done = more_seeds(seed, settings.drafts), Progress(0, 0, 0.0)
    best, least = streams.known, math.inf
    while waiting and least >= WILL_DO:
        drawn, waiting = waiting[:AT_ONCE], waiting[AT_ONCE:]
        asked = copied(streams, len(drawn))
        unwanted = None if negative is None else copied(negative, len(drawn))
        each = replace(settings, steps=settings.draft_steps, drafts=0, tries=1, preview_every=0)
        for event in draw(asked, unwanted, each, drawn):
            if isinstance(event, Progress):
                told = after(done, event)
                yield told
            elif isinstance(event, Sampled):
                wrong = mistakes(event.latent.frames[:, 0], asked)
                which = int(wrong.argmin())
                if wrong[which] < least:
                    best, least = event.latent.frames[which : which + 1], float(wrong[which])
        done = told
    yield Sampled(Latent(best, float(streams.fps[0])))


def layout(rows: int, columns: int, learnt: tuple[int, int], patch: int) -> tuple[int, int]:
    """Rows and columns of drafts: the clip's own, unless it is much larger than what the model learnt from.

    Then as much as was learnt, of the clip's proportions as nearly as whole patches have them.
    """
    times = math.sqrt(rows * columns / (learnt[0] * learnt[1]))
    if times < MUCH_LARGER:
        return rows, columns
    return _whole(rows / times, patch), _whole(columns / times, patch)


def _whole(size: float, patch: int) -> int:
    return patch * max(2, round(size / patch))


def still(streams: Streams, clip: int, size: tuple[int, int]) -> Streams:
    """The first frame of one clip, alone, of which nothing is known, with so many rows and columns."""
    one = some(streams, [clip])
    told = None if one.told is None else one.told[:, :1]
    held = None if one.held is None else one.held[:, :1]
    known = one.known.new_zeros(*one.known[:, :1].shape[:3], *size)
    return replace(one, known=known, is_known=one.is_known[:, :1], told=told, held=held)


def begun(streams: Streams, first: Float[Tensor, "b k c h w"]) -> Streams:
    """The clips with their first frames known."""
    count = first.shape[1]
    known, is_known = streams.known.clone(), torch.zeros_like(streams.is_known)
    known[:, :count], is_known[:, :count] = first.to(known), True
    return replace(streams, known=known, is_known=is_known)
