"""Pruning: the small network is the large one with the rest masked, and what is left out is what did least."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from tiny_models import TRANSFORMER, transformer
from torch import Tensor

from muybridge.distillation.pruning import (
    Pruning,
    head_energies,
    least_missed,
    masked,
    on,
    pruned,
    top,
    unit_energies,
    with_blocks,
    with_heads,
    with_units,
)
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Streams

DEEP = replace(TRANSFORMER, layers=4, heads=4, expansion=3)
INPUTS = torch.Generator().manual_seed(0)
LATENT = torch.randn(3, 2, 4, 4, 6, generator=INPUTS)
LEVEL = torch.rand(3, 2, generator=INPUTS)
STREAMS = Streams(
    torch.randn(3, 5, DEEP.text_width, generator=INPUTS),
    None,
    LATENT,
    torch.zeros(3, 2, dtype=torch.bool),
    torch.full((3,), 15.0),
)
RUN = on(LATENT, LEVEL, STREAMS)


@pytest.fixture
def model() -> VideoTransformer:
    return transformer(DEEP)


def near(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_fewer_heads_are_the_others_masked(model: VideoTransformer) -> None:
    kept = [top(energy, 2) for energy in head_energies(model, RUN)]
    smaller = with_heads(model, kept)
    assert smaller.config.heads == 2
    assert smaller.config.head == DEEP.head
    near(RUN(smaller), RUN(masked(model, heads=kept)))
    assert (RUN(smaller) - RUN(model)).abs().max() > 1e-3


def test_fewer_hidden_units_are_the_others_masked(model: VideoTransformer) -> None:
    kept = [top(energy, 2 * DEEP.width) for energy in unit_energies(model, RUN)]
    smaller = with_units(model, kept)
    assert smaller.config.expansion == 2
    near(RUN(smaller), RUN(masked(model, units=kept)))


@pytest.mark.parametrize("kept", [[0, 1, 2], [0, 2], [1, 3], [3]])
def test_fewer_blocks_are_the_others_without_effect(model: VideoTransformer, kept: list[int]) -> None:
    silent = deepcopy(model)
    for number in set(range(DEEP.layers)) - set(kept):
        block = silent.blocks[number]
        for name, parameter in block.named_parameters():
            if name.endswith(("out.weight", "down.weight")):
                parameter.data.zero_()
    near(RUN(with_blocks(model, kept)), RUN(silent))


def test_all_at_once_and_smaller(model: VideoTransformer) -> None:
    smaller = pruned(model, Pruning(layers=3, heads=3, expansion=2), RUN)
    assert (smaller.config.layers, smaller.config.heads, smaller.config.expansion) == (3, 3, 2)
    assert RUN(smaller).shape == LATENT.shape
    count = [sum(p.numel() for p in network.parameters()) for network in (smaller, model)]
    assert count[0] < 0.75 * count[1]
    near(RUN(pruned(model, Pruning(), RUN)), RUN(model))


def test_what_does_nothing_goes_first(model: VideoTransformer) -> None:
    """A head, units and a block whose outputs are small are those that are left out."""
    with torch.no_grad():
        for block in model.blocks:
            width = DEEP.head
            block.attention.out.weight[:, width : 2 * width] *= 1e-3
            if not block.last:
                block.text_attention.out.weight[:, width : 2 * width] *= 1e-3
            block.feed.down.weight[:, 7] *= 1e-3
        for matrix in (model.blocks[2].attention.out, model.blocks[2].feed.down):
            matrix.weight *= 1e-3
    assert all(int(energy.argmin()) == 1 for energy in head_energies(model, RUN))
    assert all(energy[7] < 1e-4 * energy.mean() for energy in unit_energies(model, RUN))
    assert least_missed(model, 3, RUN) == [0, 1, 3]
    close, far = RUN(with_blocks(model, [0, 1, 3])), RUN(with_blocks(model, [0, 2, 3]))
    assert (close - RUN(model)).square().mean() < (far - RUN(model)).square().mean()


def test_energies_are_the_mean_squares_of_what_is_added(model: VideoTransformer) -> None:
    seen = {}
    layer = model.blocks[1].feed.down
    handle = layer.register_forward_pre_hook(lambda module, inputs: seen.update(x=inputs[0]))
    RUN(model)
    handle.remove()
    unit = 11
    added = seen["x"][..., unit, None] * layer.weight[:, unit]
    expected = added.square().sum(-1).mean()
    torch.testing.assert_close(unit_energies(model, RUN)[1][unit], expected)


def test_what_is_measured_leaves_no_trace(model: VideoTransformer) -> None:
    before = RUN(model)
    pruned(model, Pruning(2, 2, 1), RUN)
    assert torch.equal(RUN(model), before)
    assert not any(module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize(("keep", "said"), [(Pruning(layers=5), "layers"), (Pruning(heads=0), "heads")])
def test_more_than_there_is(model: VideoTransformer, keep: Pruning, said: str) -> None:
    with pytest.raises(ValueError, match=rf"{said} to keep are \d, the network has 4: keep 1 to 4"):
        pruned(model, keep, RUN)


def test_the_first_of_equals() -> None:
    assert top(torch.tensor([1.0, 2.0, 2.0, 2.0]), 2).tolist() == [False, True, True, False]
