"""Drafts: the first frame is the best of several, and the rest of the clip follows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
import torch
from test_sampler import FRAMES, SIDE, GaussianClips, streams
from torch import Tensor

from muybridge.sampler import Settings, sample
from muybridge.sampler.drafts import AT_ONCE, WILL_DO, drafted, first_frame, layout, still
from muybridge.sampler.tries import copied, more_seeds
from muybridge.types import Event, Progress, Sampled, Streams

SIZE, LARGER = (SIDE, SIDE), (2 * SIDE, 2 * SIDE)
SETTINGS = Settings(guidance=1, steps=6, drafts=AT_ONCE, draft_steps=4, preview_every=2)


class OfAnyLength(GaussianClips):
    """The Gaussian clips' velocity, for their first frame alone too: it is Gaussian as well."""

    def __call__(self, latent: Tensor, level: Tensor, streams: Streams) -> Tensor:
        if latent.shape[1] == FRAMES:
            return super().__call__(latent, level, streams)
        mean = streams.text[:, 0, 0][:, None, None, None, None]
        t = level[..., None, None, None]
        offset = latent - (1 - t) * mean
        variance = (1 - t) ** 2 * 0.25 + t**2
        return t / variance * offset - (mean + 0.25 * (1 - t) / variance * offset)


DRAW = partial(sample, OfAnyLength())


def never(frames: Tensor, size: tuple[int, int]) -> Tensor:
    raise AssertionError("resized for nothing")


begin = partial(drafted, size=SIZE, resize=never)


def brightness(pictures: Tensor, streams: Streams) -> Tensor:
    """The darker, the more mistaken."""
    return -pictures.mean(dim=(1, 2, 3))


def last(events: Iterator[Event]) -> Tensor:
    *_, end = events
    assert isinstance(end, Sampled)
    return end.latent.frames


def all_drafts(seed: int, count: int = AT_ONCE) -> Tensor:
    alone = replace(SETTINGS, steps=SETTINGS.draft_steps, drafts=0)
    return last(sample(OfAnyLength(), copied(still(streams(1), 0, SIZE), count), None, alone, more_seeds(seed, count)))


def test_the_clip_begins_with_its_best_draft() -> None:
    frames = last(begin(DRAW, streams(2), None, SETTINGS, [3, 4], brightness))
    for clip, seed in enumerate([3, 4]):
        drafts = all_drafts(seed)
        brightest = drafts[drafts.mean(dim=(1, 2, 3, 4)).argmax()]
        torch.testing.assert_close(frames[clip, :1], brightest, atol=1e-5, rtol=0)


def test_the_rest_follows_the_first_frame_as_an_image_to_video_clip_would() -> None:
    frames = last(begin(DRAW, streams(1), None, SETTINGS, [3], brightness))
    known = streams(1, known=1)
    known = replace(known, known=torch.where(known.is_known[..., None, None, None], frames, known.known))
    torch.testing.assert_close(frames, last(sample(OfAnyLength(), known, None, replace(SETTINGS, drafts=0), [3])))


def test_of_a_still_the_best_draft_is_all() -> None:
    events = list(begin(DRAW, still(streams(1), 0, SIZE), None, SETTINGS, [3], brightness))
    whole = last(begin(DRAW, streams(1), None, SETTINGS, [3], brightness))
    assert [event.step for event in events if isinstance(event, Progress)] == [1, 2, 3, 4]
    torch.testing.assert_close(last(iter(events)), whole[:, :1], atol=1e-5, rtol=0)


def test_a_clip_is_the_same_in_any_batch() -> None:
    together = last(begin(DRAW, streams(3), None, SETTINGS, [7, 8, 9], brightness))
    alone = last(begin(DRAW, streams(1), None, SETTINGS, [8], brightness))
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=0)


def test_the_best_of_smaller_drafts_is_enlarged() -> None:
    asked: list[tuple[int, int]] = []

    def larger(frames: Tensor, size: tuple[int, int]) -> Tensor:
        asked.append(size)
        return frames.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4) + 100

    large = streams(2)
    large = replace(large, known=large.known.new_zeros(*large.known.shape[:3], *LARGER))
    frames = last(drafted(DRAW, large, None, SETTINGS, [3, 4], brightness, SIZE, larger))
    best = [last(begin(DRAW, still(streams(1), 0, SIZE), None, SETTINGS, [seed], brightness)) for seed in (3, 4)]
    torch.testing.assert_close(frames[:, :1], larger(torch.cat(best), LARGER), atol=1e-5, rtol=0)
    assert frames.shape[3:] == LARGER
    assert asked[:2] == [LARGER] * 2


@pytest.mark.parametrize(
    ("size", "drafts"),
    [
        ((16, 16), (16, 16)),
        ((22, 22), (22, 22)),
        ((24, 24), (16, 16)),
        ((32, 32), (16, 16)),
        ((24, 42), (12, 22)),
        ((200, 8), (80, 4)),
        ((4, 4), (4, 4)),
    ],
)
def test_drafts_of_much_larger_clips_are_as_large_as_what_was_learnt(
    size: tuple[int, int], drafts: tuple[int, int]
) -> None:
    assert layout(*size, learnt=(16, 16), patch=2) == drafts


def test_guidance_leads_drafts_away_from_the_negative_too() -> None:
    settings = replace(SETTINGS, guidance=3.0)
    lead = last(begin(DRAW, streams(1, mean=0.5), streams(1, mean=-0.5), settings, [3], brightness))
    plain = last(begin(DRAW, streams(1, mean=0.5), None, SETTINGS, [3], brightness))
    assert lead[:, 0].mean() > plain[:, 0].mean() + 0.3


def test_progress_counts_drafts_and_clip_as_one() -> None:
    events = list(begin(DRAW, streams(1), None, SETTINGS, [3], brightness))
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in told] == list(range(1, 11))
    assert {event.steps for event in told} == {10}
    assert [event.seconds for event in told] == sorted(event.seconds for event in told)
    shown = [event.step for event in told if event.preview is not None]
    assert shown == [6, 8]


def test_the_first_of_equal_drafts_is_taken() -> None:
    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        return torch.tensor([1.0, 0.2, 0.2, 2.0])

    taken = last(first_frame(DRAW, still(streams(1), 0, SIZE), None, SETTINGS, 3, wrong))
    torch.testing.assert_close(taken, all_drafts(3)[1:2], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("enough", "rounds"), [(0, 1), (1, 2), (2, 3), (9, 3)])
def test_drafts_follow_until_one_will_do(enough: int, rounds: int) -> None:
    """Of two rounds and a half at most; the last of round `enough` will do, and each before it is a little better."""
    shown: list[Tensor] = []

    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        shown.append(pictures)
        found = 3 - len(shown) / 10 - torch.arange(len(pictures)) / 100
        if len(shown) == enough + 1:
            found[-1] = WILL_DO - 0.1
        return found

    most = 2 * AT_ONCE + AT_ONCE // 2
    settings = replace(SETTINGS, drafts=most)
    events = list(first_frame(DRAW, still(streams(1), 0, SIZE), None, settings, 3, wrong))
    assert [len(pictures) for pictures in shown] == [AT_ONCE, AT_ONCE, AT_ONCE // 2][:rounds]
    every = all_drafts(3, most)
    torch.testing.assert_close(torch.cat(shown), every[: len(torch.cat(shown)), 0], atol=1e-5, rtol=0)
    torch.testing.assert_close(last(iter(events))[0, 0], torch.cat(shown)[-1], atol=0, rtol=0)
    told = [event for event in events if isinstance(event, Progress)]
    assert [event.step for event in told] == list(range(1, 4 * rounds + 1))
    assert [event.steps for event in told] == [4 * (1 + i // 4) for i in range(4 * rounds)]


def test_each_clip_of_a_batch_gets_as_many_drafts_as_it_needs() -> None:
    needed = iter([2.0, 0.0, 0.0, 2.0, 2.0, 2.0])  # rounds of clips: one and another, one, three

    def wrong(pictures: Tensor, streams: Streams) -> Tensor:
        return torch.full((len(pictures),), next(needed))

    settings = replace(SETTINGS, drafts=3 * AT_ONCE)
    told = [e for e in begin(DRAW, streams(3), None, settings, [3, 4, 5], wrong) if isinstance(e, Progress)]
    assert next(needed, None) is None
    assert [event.step for event in told] == list(range(1, 4 * 6 + 6 + 1))
    assert told[0].steps == 3 * 4 + 6
    assert told[-1].steps == told[-1].step


@pytest.mark.parametrize("seed", [0, 7, 2**40 + 1, 2**64 - 1])
def test_more_seeds_begin_with_the_clips_own_and_differ_in_what_the_generator_reads(seed: int) -> None:
    seeds = more_seeds(seed, 16)
    assert seeds[0] == seed
    assert seeds == more_seeds(seed, 16)
    assert more_seeds(seed, 4) == seeds[:4]
    assert len({one % 2**32 for one in seeds}) == 16
