"""Tries: a clip is drawn again until it will do, and the best is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_drafts import DRAW, OfAnyLength, begin, brightness, last
from test_sampler import FRAMES, streams
from torch import Tensor

from muybridge.sampler import Settings, sample
from muybridge.sampler.tries import WILL_DO, more_seeds, per_frame, tried
from muybridge.types import Progress, Streams

ONCE = Settings(guidance=1, steps=6, preview_every=2)
THRICE = replace(ONCE, tries=3)


def clips(seed: int, count: int = 3) -> Tensor:
    """Every try of a clip."""
    return last(sample(OfAnyLength(), streams(count), None, ONCE, more_seeds(seed, count)))


def test_the_best_of_all_tries_is_kept() -> None:
    frames = last(tried(DRAW, streams(2), None, THRICE, [3, 4], lambda *x: 9 + brightness(*x)))
    for clip, seed in enumerate([3, 4]):
        every = clips(seed)
        brightest = every[every.mean(dim=(1, 2, 3, 4)).argmax()]
        torch.testing.assert_close(frames[clip], brightest, atol=1e-5, rtol=0)


def test_one_try_is_the_clip_of_its_seed_and_nobody_looks() -> None:
    def never(pictures: Tensor, streams: Streams) -> Tensor:
        raise AssertionError("looked at")

    frames = last(tried(DRAW, streams(1), None, ONCE, [3], never))
    torch.testing.assert_close(frames, last(sample(OfAnyLength(), streams(1), None, ONCE, [3])))


@pytest.mark.parametrize("enough", [1, 2, 3])
def test_each_clip_of_a_batch_is_tried_until_it_will_do(enough: int) -> None:
    """One clip never will, the other at try `enough`."""
    looked = []

    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        count = len(pictures) // FRAMES
        looked.append(count)
        found = torch.full((count,), 3.0 - len(looked) / 10)
        if count == 2 and len(looked) == enough:
            found[1] = WILL_DO - 0.1
        return found.repeat_interleave(FRAMES)

    events = list(tried(DRAW, streams(2), None, THRICE, [3, 4], wrong))
    assert looked == [2] * enough + [1] * (3 - enough)
    torch.testing.assert_close(last(iter(events)), torch.stack([clips(3)[2], clips(4)[enough - 1]]), atol=1e-5, rtol=0)
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in told] == list(range(1, 19))
    assert [event.steps for event in told] == [6] * 6 + [12] * 6 + [18] * 6


def test_of_equals_the_earliest_is_kept() -> None:
    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        return torch.ones(len(pictures))

    frames = last(tried(DRAW, streams(1), None, THRICE, [3], wrong))
    torch.testing.assert_close(frames, clips(3)[:1], atol=1e-5, rtol=0)


def test_a_clip_is_the_same_in_any_batch() -> None:
    together = last(tried(DRAW, streams(3), None, THRICE, [7, 8, 9], brightness))
    alone = last(tried(DRAW, streams(1), None, THRICE, [8], brightness))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


def test_mistakes_of_a_clip_are_those_of_all_its_frames_against_its_own_words() -> None:
    def off(pictures: Tensor, streams: Streams) -> Tensor:
        return (pictures.mean(dim=(1, 2, 3)) - streams.text[:, 0, 0]).abs()

    asked = replace(streams(2), text=torch.tensor([1.0, 5.0])[:, None, None].expand(2, 1, 1))
    frames = torch.stack([torch.full((FRAMES, 1, 2, 2), 2.0), torch.full((FRAMES, 1, 2, 2), 2.0)])
    frames[0, 1:] = 1
    assert per_frame(frames, asked, off).tolist() == pytest.approx([1 / FRAMES, 3])


def test_every_try_goes_on_from_the_best_draft() -> None:
    settings = replace(THRICE, drafts=4, draft_steps=4)
    first = last(begin(DRAW, streams(1), None, replace(settings, tries=1), [3], brightness))[:, :1]
    seen = []

    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        seen.append(pictures)
        return 9 + brightness(pictures, streams)

    events = list(begin(DRAW, streams(1), None, settings, [3], wrong))
    assert len(seen) == 1 + 3
    for pictures in seen[1:]:
        torch.testing.assert_close(pictures[:1], first[0], atol=1e-5, rtol=0)
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(1, 4 + 18 + 1))
