"""Tracks in the transformer: what tokens are told, and what they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from test_transformer import latent, levels, streams
from tiny_models import TRANSFORMER
from torch import Tensor

from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.tracks import REACH, TrackEmbedding
from muybridge.types import Batch, Tracks

KINDS = (3, 2)


def embedding() -> TrackEmbedding:
    torch.manual_seed(0)
    made = TrackEmbedding(16, KINDS)
    torch.nn.init.normal_(made.out.weight)
    torch.nn.init.normal_(made.told)
    return made.eval()


def tracks(x: float = 0.5, y: float = 0.5, things: int = 1, depth: float = 3.0) -> Tracks:
    place = torch.tensor([x, y, 0.1, 0.1, depth]).expand(1, 2, 4, things, 5).clone()
    kind = torch.stack([torch.arange(things) % 3, torch.arange(things) % 2], dim=-1)[None]
    return Tracks(place, kind, torch.ones(1, things, dtype=torch.bool))


@torch.no_grad()
def test_at_first_nothing_is_told() -> None:
    torch.manual_seed(0)
    assert not TrackEmbedding(16, KINDS)(tracks(), 8, 8).any()


@torch.no_grad()
def test_only_tokens_nearby_hear_of_a_thing() -> None:
    told = embedding()(tracks(0.5, 0.5), 8, 8) - embedding().told
    heard = told.abs().amax(dim=-1)[0, 0].view(8, 8) > 0
    reach = 0.1 * 8 + REACH  # tokens from the middle at 4
    middles = (torch.arange(8) + 0.5 - 4).abs() < reach
    assert torch.equal(heard, middles[:, None] & middles[None])


@torch.no_grad()
def test_a_token_farther_on_hears_the_same_of_what_has_moved_on() -> None:
    told, moved = embedding()(tracks(0.3, 0.5), 8, 8), embedding()(tracks(0.3 + 1 / 8, 0.5), 8, 8)
    rows, shifted = told.view(1, 2, 8, 8, 16), moved.view(1, 2, 8, 8, 16)
    torch.testing.assert_close(shifted[:, :, :, 1:], rows[:, :, :, :-1])


@torch.no_grad()
def test_the_order_of_things_does_not_matter() -> None:
    some = tracks(things=3)
    some.place[..., 0] += torch.tensor([0.0, 0.1, -0.2])
    some.place[..., 4] += torch.tensor([0.0, 1.0, 2.0])
    other = [2, 0, 1]
    turned = Tracks(some.place[:, :, :, other], some.kind[:, other], some.is_there[:, other])
    torch.testing.assert_close(embedding()(turned, 8, 8), embedding()(some, 8, 8))


@torch.no_grad()
def test_what_is_not_there_is_not_told() -> None:
    made, some = embedding(), tracks(things=2)
    some.place[..., 1, 0] = 0.8
    one = Tracks(some.place, some.kind, torch.tensor([[True, False]]))
    torch.testing.assert_close(made(one, 8, 8), made(tracks(), 8, 8))
    nothing = Tracks(some.place, some.kind, torch.tensor([[False, False]]))
    assert not made(nothing, 8, 8).any()


@torch.no_grad()
def test_which_of_two_is_nearer_is_told() -> None:
    made, near = embedding(), tracks(things=2)
    near.place[..., 0, 4], near.place[..., 1, 4] = 2.0, 4.0
    far = replace(near, place=near.place.clone())
    far.place[..., 0, 4], far.place[..., 1, 4] = 4.0, 2.0
    assert not torch.allclose(made(near, 8, 8), made(far, 8, 8))


@torch.no_grad()
@pytest.mark.parametrize("told", [True, False])
def test_a_transformer_that_takes_tracks_is_the_same_until_it_has_learnt(told: bool) -> None:
    torch.manual_seed(0)
    plain = VideoTransformer(TRANSFORMER).eval()
    tracked = VideoTransformer(replace(TRANSFORMER, tracked=KINDS)).eval()
    tracked.load_state_dict(plain.state_dict(), strict=False)
    x = latent()
    place = torch.rand(len(x), x.shape[1], 4, 2, 5)
    kind = torch.zeros(len(x), 2, 2, dtype=torch.int64)
    some = Tracks(place, kind, torch.ones(len(x), 2, dtype=torch.bool))
    said = replace(streams(x), told=tracked.tell(some, x)) if told else streams(x)
    assert torch.equal(tracked(x, levels(), said), plain(x, levels(), streams(x)))


def test_of_clips_that_are_not_told_nothing_is_there() -> None:
    place, kind = torch.rand(2, 3, 4, 2, 5), torch.tensor([[[1, 1], [-1, -1]]]).expand(2, -1, -1)
    some = Tracks.of(Batch(place=place, kind=kind), torch.tensor([True, False]))
    assert some.is_there.tolist() == [[True, False], [False, False]]


def test_where_nobody_knows_nothing_is_there() -> None:
    latent: Tensor = torch.zeros(2, 3, 4, 8, 8)
    none = Tracks.of(Batch(latent=latent), torch.tensor([True, True]))
    assert none.place.shape == (2, 3, 4, 1, 5)
    assert not none.is_there.any()
