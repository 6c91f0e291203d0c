"""A clip's first frame comes first: several are drawn, the best is kept, and the clip goes on from it.

What stands where is decided in one picture, at a ninth of a clip's cost, so several can be drawn and looked at (the
factorised generation of Girdhar et al. 2311.10709, with a search over noise as Ma et al. 2501.09732).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.sampler.sample import Denoiser, Settings, sample
from muybridge.types import Event, Latent, Progress, Sampled, Streams

Mistakes: TypeAlias = Callable[[Float[Tensor, "b c h w"], Streams], Float[Tensor, " b"]]
"""How far pictures are from what is asked of them: the fewer the better."""


def drafted(
    denoiser: Denoiser,
    streams: Streams,
    negative: Streams | None,
    settings: Settings,
    seeds: Sequence[int],
    mistakes: Mistakes,
) -> Iterator[Event]:
    """As `sampler.sample`, for clips of which nothing is known: `settings.drafts` first frames, then the rest.

    A clip's drafts have seeds of their own that follow from its seed. Of a still, the best draft is all there is.
    """
    assert not bool(streams.is_known.any()), "drafts of a clip whose first frame is known"
    first, seconds = None, 0.0
    steps = settings.draft_steps + (settings.steps if streams.is_known.shape[1] > 1 else 0)
    for event in sample(
        denoiser,
        still(streams, settings.drafts),
        None if negative is None else still(negative, settings.drafts),
        replace(settings, steps=settings.draft_steps, drafts=0, preview_every=0),
        [draft for seed in seeds for draft in draft_seeds(seed, settings.drafts)],
    ):
        if isinstance(event, Sampled):
            first = best(event.latent.frames, still(streams, settings.drafts), len(seeds), mistakes)
        elif isinstance(event, Progress):
            seconds = event.seconds
            yield _counted(event, 0, 0.0, steps)
    assert first is not None, "the sampler ended without its last event"
    if streams.is_known.shape[1] == 1:
        yield Sampled(Latent(first, float(streams.fps[0])))
        return
    for event in sample(
        denoiser,
        begun(streams, first),
        None if negative is None else begun(negative, first),
        replace(settings, drafts=0),
        seeds,
    ):
        yield _counted(event, settings.draft_steps, seconds, steps)


def best(
    drafts: Float[Tensor, "n 1 c h w"], streams: Streams, clips: int, mistakes: Mistakes
) -> Float[Tensor, "b 1 c h w"]:
    """Of each clip's drafts the one with the fewest mistakes; of equals the earliest."""
    wrong = mistakes(drafts[:, 0], streams).view(clips, -1)
    each = torch.arange(clips, device=wrong.device)
    return drafts.view(clips, wrong.shape[1], *drafts.shape[1:])[each, wrong.argmin(dim=1)]


def draft_seeds(seed: int, count: int) -> list[int]:
    """Seeds of the drafts of a clip; the first is the clip's own."""
    more = torch.randint(2**31, (max(0, count - 1),), generator=torch.Generator().manual_seed(seed))
    return [seed, *more.tolist()][:count]


def still(streams: Streams, copies: int) -> Streams:
    """The first frame of each clip alone, so many times."""

    def repeated(x: Tensor) -> Tensor:
        return x.repeat_interleave(copies, dim=0)

    return Streams(
        repeated(streams.text),
        None if streams.text_mask is None else repeated(streams.text_mask),
        repeated(streams.known[:, :1]),
        repeated(streams.is_known[:, :1]),
        repeated(streams.fps),
    )


def begun(streams: Streams, first: Float[Tensor, "b k c h w"]) -> Streams:
    """The clips with their first frames known."""
    count = first.shape[1]
    known, is_known = streams.known.clone(), torch.zeros_like(streams.is_known)
    known[:, :count], is_known[:, :count] = first.to(known), True
    return replace(streams, known=known, is_known=is_known)


def _counted(event: Event, before: int, seconds: float, steps: int) -> Event:
    """The event as one of the whole of so many steps: `before` of them and `seconds` went before it."""
    if not isinstance(event, Progress):
        return event
    return Progress(before + event.step, steps, seconds + event.seconds, event.preview)
