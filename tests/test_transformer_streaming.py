"""Streaming through the cache gives what the whole clip gives; it rolls, it forgets, it stays small."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import hypothesis
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import TRANSFORMER, transformer
from torch import Tensor

from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.streaming import advance, read
from muybridge.types import Carry, Streams

CAUSAL = replace(TRANSFORMER, causal=True, window=3, sink=1, spans=True)
CLIPS, ROWS, COLUMNS = 2, 4, 6


@pytest.fixture(scope="module")
def model() -> VideoTransformer:
    return transformer(CAUSAL).requires_grad_(False)


def clip(frames: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Streams]:
    """A latent, its levels and spans, and the streams beside it."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(CLIPS, frames, CAUSAL.channels, ROWS, COLUMNS, generator=generator)
    level = torch.rand(CLIPS, frames, generator=generator)
    text = torch.randn(CLIPS, 5, CAUSAL.text_width, generator=generator)
    known = torch.zeros(CLIPS, frames, dtype=torch.bool)
    return x, level, level * 0.3, Streams(text, None, x, known, torch.tensor([15.0, 24.0]))


def streamed(model: VideoTransformer, x: Tensor, level: Tensor, span: Tensor, of: Streams, cuts: list[int]) -> Tensor:
    words, carry, out = read(model, of.text, of.text_mask), {}, []
    for begin, end in pairwise([0, *cuts, x.shape[1]]):
        part = slice(begin, end)
        told = None if of.told is None else of.told[:, part]
        velocity, carry = advance(
            model, x[:, part], level[:, part], words, of.fps, carry, span[:, part], remember=True, told=told
        )
        out.append(velocity)
    return torch.cat(out, dim=1)


@hypothesis.settings(deadline=None, max_examples=15)
@given(cuts=st.sets(st.integers(1, 3)), masked=st.booleans(), is_told=st.booleans())
def test_with_the_cache_is_without(cuts: set[int], masked: bool, is_told: bool) -> None:
    model = transformer(CAUSAL).requires_grad_(False)
    x, level, span, of = clip(4)
    if masked:
        of = replace(of, text_mask=torch.tensor([[True] * 5, [True] * 2 + [False] * 3]))
    if is_told:
        of = replace(of, told=torch.randn(CLIPS, 4, 6, CAUSAL.width, generator=torch.Generator().manual_seed(1)))
    whole = model(x, level, of, span=span)
    torch.testing.assert_close(streamed(model, x, level, span, of, sorted(cuts)), whole, rtol=0, atol=1e-4)


def test_a_causal_model_is_block_causal_unasked(model: VideoTransformer) -> None:
    x, level, span, of = clip(3)
    assert torch.equal(model(x, level, of, span=span), model(x, level, of, block_causal=True, span=span))
    free = VideoTransformer(replace(CAUSAL, causal=False))
    free.load_state_dict(model.state_dict())
    assert (free(x, level, of, span=span) - model(x, level, of, span=span)).abs().max() > 1e-2


def test_beyond_the_window_the_first_and_the_last_frames_are_seen_side_by_side() -> None:
    """With one layer a key depends on its own frame alone, so the stream is a whole clip of the frames it remembers."""
    model = transformer(replace(CAUSAL, layers=1)).requires_grad_(False)
    x, level, span, of = clip(9)
    seen = [0, 6, 7, 8]
    kept = replace(of, known=of.known[:, seen], is_known=of.is_known[:, seen])
    whole = model(x[:, seen], level[:, seen], kept, span=span[:, seen])
    last = streamed(model, x, level, span, of, list(range(1, 9)))[:, -1]
    torch.testing.assert_close(last, whole[:, -1], rtol=0, atol=1e-4)


def test_what_is_remembered_does_not_grow_and_positions_stay(model: VideoTransformer) -> None:
    """A frame after a thousand: the same as after a few, had these been the same."""
    x, level, span, of = clip(1)
    words = read(model, of.text)
    sizes, velocities = [], []
    carry: Carry = {}
    for _ in range(40):
        velocity, carry = advance(model, x, level, words, of.fps, carry, span, remember=True)
        sizes.append(sum(tensor.numel() for tensor in carry.values()))
        velocities.append(velocity)
    assert sizes[2:] == sizes[2:3] * 38
    assert sizes[0] * 3 == sizes[2]
    torch.testing.assert_close(velocities[30], velocities[39], rtol=0, atol=1e-4)
    assert velocities[0].shape == x.shape


def test_looking_does_not_remember(model: VideoTransformer) -> None:
    x, level, span, of = clip(2)
    words = read(model, of.text)
    _, carry = advance(model, x[:, :1], level[:, :1], words, of.fps, {}, span[:, :1], remember=True)
    before = {name: tensor.clone() for name, tensor in carry.items()}
    first, after = advance(model, x[:, 1:], level[:, 1:], words, of.fps, carry, span[:, 1:])
    again, _ = advance(model, x[:, 1:], level[:, 1:], words, of.fps, after, span[:, 1:])
    assert torch.equal(first, again)
    assert carry.keys() == after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_new_words_reach_the_frames_to_come(model: VideoTransformer) -> None:
    x, level, span, of = clip(2)
    _, carry = advance(model, x[:, :1], level[:, :1], read(model, of.text), of.fps, {}, span[:, :1], remember=True)
    rest = x[:, 1:], level[:, 1:]
    same, _ = advance(model, *rest, read(model, of.text), of.fps, carry)
    other, _ = advance(model, *rest, read(model, -of.text), of.fps, carry)
    assert (same - other).abs().max() > 1e-2


def test_a_span_is_told_and_starts_at_no_effect(model: VideoTransformer) -> None:
    x, level, span, of = clip(2)
    assert (model(x, level, of, span=span) - model(x, level, of)).abs().max() > 1e-2
    torch.testing.assert_close(model(x, level, of, span=0 * span), model(x, level, of))
    plain = transformer().requires_grad_(False)
    grown = VideoTransformer(replace(TRANSFORMER, spans=True)).requires_grad_(False)
    missing, unexpected = grown.load_state_dict(plain.state_dict(), strict=False)
    assert missing == ["level.span.weight"]
    assert not unexpected
    assert torch.equal(grown(x, level, of, span=span), plain(x, level, of))
    with pytest.raises(AssertionError, match="takes none"):
        plain(x, level, of, span=span)


def test_heads_may_be_fewer_than_fill_the_width() -> None:
    model = transformer(replace(TRANSFORMER, heads=3, head_width=8)).requires_grad_(False)
    x, level, _, of = clip(2)
    assert model(x, level, of).std() > 0.1


def test_an_anchored_stream_is_the_clip_whose_past_is_known() -> None:
    config = replace(CAUSAL, anchored=True)
    model = transformer(config).requires_grad_(False)
    x, level, span, of = clip(3)
    words, carry = read(model, of.text, of.text_mask), {}
    for frame in range(2):
        part = slice(frame, frame + 1)
        known = replace(of, is_known=torch.tensor([[True, True, True]] * CLIPS))
        velocity, after = advance(model, x[:, part], level[:, part], words, of.fps, carry, span[:, part], remember=True)
        whole = model(x, level, known, span=span)[:, part]
        torch.testing.assert_close(velocity, whole, rtol=0, atol=1e-4)
        carry = after
    made, same = advance(model, x[:, 2:], level[:, 2:], words, of.fps, carry, span[:, 2:])
    of = replace(of, is_known=torch.tensor([[True, True, False]] * CLIPS))
    torch.testing.assert_close(made, model(x, level, of, span=span)[:, 2:], rtol=0, atol=1e-4)
    assert torch.equal(same["anchor"], x[:, 1:2])
