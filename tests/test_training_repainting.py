"""Other colours: greys stay, hues turn as told, forms stay; and a pair that was never shown is recognised."""

from __future__ import annotations

import math

import pytest
import torch
from test_objectives import text_encoder
from torch import Tensor, nn

from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.training.objectives import Witnessing
from muybridge.training.repainting import hue_turn, repainted
from muybridge.types import Batch

PRIMARIES = torch.eye(3)
COLOURS, SHAPES, SIDE = 3, 2, 8


class Plain(VideoAutoencoder):
    """Its latents are the pixels."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def encode(self, frames: Tensor, carry: object = None) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        return frames, {}

    def decode(self, latent: Tensor, carry: object = None) -> tuple[Tensor, dict[str, Tensor]]:  # type: ignore[override]
        return latent, {}


def test_a_third_of_a_turn_takes_each_primary_to_the_next() -> None:
    third, none, whole = hue_turn(torch.tensor([2 * math.pi / 3, 0.0, 2 * math.pi]))
    torch.testing.assert_close(third @ PRIMARIES, PRIMARIES.roll(1, dims=0), atol=1e-6, rtol=0)
    torch.testing.assert_close(none, torch.eye(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(whole, torch.eye(3), atol=1e-6, rtol=0)


def test_turns_keep_greys_and_how_far_a_colour_is_from_them() -> None:
    turn = hue_turn(torch.rand(5, generator=torch.Generator().manual_seed(0)) * 7)
    torch.testing.assert_close(turn @ torch.ones(3), torch.ones(5, 3))
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).expand(5, 3, 3), atol=1e-6, rtol=0)


def test_a_repainted_picture_has_its_form_in_another_light() -> None:
    red = torch.full((1, 3, SIDE, SIDE), -1.0)
    red[:, 0, 2:5, 2:5] = 0.0  # half as bright as can be
    third = (2 * math.pi / 3 - math.pi / 4) / (1.5 * math.pi)
    green = repainted(red, torch.tensor([[third, 0.25]]), Plain())
    assert float(green[0, 1, 3, 3]) == pytest.approx(0.75 - 1, abs=1e-5)
    there = green > -1 + 1e-4
    assert there[0, 1].equal(red[0, 0] > -1)
    assert not bool(there[0, [0, 2]].any())


def pictures(kinds: Tensor) -> tuple[Tensor, Tensor]:
    """One square of a colour, its stripes along rows or columns by its shape: pixels, and what stands where."""
    count, generator = len(kinds), torch.Generator().manual_seed(int(kinds.sum()))
    rgb, classes = torch.full((count, 3, SIDE, SIDE), -1.0), torch.zeros(count, 1, SIDE, SIDE, dtype=torch.long)
    stripes = torch.arange(4) % 2 * 0.5 + 0.5
    for i, kind in enumerate(kinds.tolist()):
        top, left = torch.randint(SIDE - 4, (2,), generator=generator).tolist()
        form = stripes[:, None].expand(4, 4) if kind % SHAPES else stripes.expand(4, 4)
        rgb[i, kind // SHAPES, top : top + 4, left : left + 4] = 2 * form - 1
        classes[i, 0, top : top + 4, left : left + 4] = 1 + kind
    return rgb, classes


def test_a_pair_that_was_never_shown_is_recognised() -> None:
    torch.manual_seed(0)
    text = text_encoder()
    witness = Witness(WitnessConfig(3, text.config.width, COLOURS, SHAPES, objects=2, width=16, blocks=2))
    objective = Witnessing(witness, text, Plain(), noise=0.0)
    optimizer = torch.optim.Adam(witness.parameters(), lr=1e-2)
    for step in range(120):
        rgb, classes = pictures(torch.randint(COLOURS * SHAPES - 1, (32,)))  # the last colour has one shape only
        seed = torch.arange(32) + 32 * step
        named = torch.zeros(32, 2, 3, dtype=torch.long)
        words = torch.ones(32, 4, dtype=torch.long)
        loss, _ = objective(Batch(latent=rgb[:, None], classes=classes, text=words, named=named, seed=seed))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    rgb, _ = pictures(torch.full((32,), COLOURS * SHAPES - 1))
    found = witness.eval().objects(rgb)
    seen = [(one.colour, int(one.shapes.argmax())) for picture in found for one in picture]
    assert seen.count((COLOURS - 1, SHAPES - 1)) >= 30, seen
