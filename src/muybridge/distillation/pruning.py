"""Smaller networks out of larger ones: whole blocks, attention heads and hidden units that add least are left out.

What matters little is told by what it does on real inputs. A block counts by how much the velocity changes when it is
skipped (as Men et al. 2403.03853 do by similarity of what goes in and comes out); a head or a hidden unit by the mean
square of what it adds to the tokens: that of its activation times that of its column of the matrix behind it. What is
left behaves exactly as the large network with the rest masked to zero; a short recovery with the teacher's outputs as
the target follows (`Imitation`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from muybridge.transformer.blocks import JointBlock, Projection
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Streams

Calibration = Callable[[VideoTransformer], Tensor]
"""Runs a transformer on the inputs that importance is measured with; gives its velocities."""


@dataclass(frozen=True)
class Pruning:
    """How much is kept: blocks, heads of each, and hidden units as multiples of the width. None: all there are."""

    layers: int | None = None
    heads: int | None = None
    expansion: int | None = None


def on(
    latent: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"], streams: Streams
) -> Callable[[VideoTransformer], Tensor]:
    """A calibration with these inputs."""

    @torch.no_grad()
    def run(transformer: VideoTransformer) -> Tensor:
        velocity: Tensor = transformer(latent, level, streams)
        return velocity

    return run


def pruned(transformer: VideoTransformer, keep: Pruning, calibration: Calibration) -> VideoTransformer:
    """A smaller transformer. ValueError if more is to be kept than there is, or nothing."""
    config = transformer.config
    layers = _kept("layers", keep.layers, config.layers)
    heads = _kept("heads", keep.heads, config.heads)
    expansion = _kept("expansion", keep.expansion, config.expansion)
    shallow = with_blocks(transformer, least_missed(transformer, layers, calibration))
    if heads < config.heads:
        shallow = with_heads(shallow, [top(energy, heads) for energy in head_energies(shallow, calibration)])
    if expansion < config.expansion:
        units = expansion * config.width
        shallow = with_units(shallow, [top(energy, units) for energy in unit_energies(shallow, calibration)])
    return shallow


def least_missed(transformer: VideoTransformer, layers: int, calibration: Calibration) -> list[int]:
    """Numbers of the blocks to keep: one after the other, that is left out whose absence changes the velocity least."""
    whole, kept = calibration(transformer), list(range(transformer.config.layers))
    while len(kept) > layers:
        ways = [[one for one in kept if one != out] for out in kept]
        changes = [float((calibration(with_blocks(transformer, way)) - whole).square().mean()) for way in ways]
        kept = ways[changes.index(min(changes))]
    return kept


def with_blocks(transformer: VideoTransformer, kept: Sequence[int]) -> VideoTransformer:
    """The transformer with these blocks alone. The last of them carries no text on, for nobody reads it."""
    smaller = VideoTransformer(replace(transformer.config, layers=len(kept)))
    weights = {name: tensor for name, tensor in transformer.state_dict().items() if not name.startswith("blocks.")}
    for new, old in enumerate(kept):
        own = smaller.blocks[new].state_dict()
        weights |= {f"blocks.{new}.{name}": transformer.blocks[old].state_dict()[name] for name in own}
    smaller.load_state_dict(weights)
    return _like(smaller, transformer)


def head_energies(transformer: VideoTransformer, calibration: Calibration) -> list[Float[Tensor, " k"]]:
    """Of each block, how much its heads add to frames and words: mean squares of outputs, summed over the width."""
    ways = [
        [block.attention] if block.last else [block.attention, block.text_attention] for block in _blocks(transformer)
    ]
    layers = [projection.out for way in ways for projection in way]
    energies = iter(_energies(transformer, layers, calibration))
    sums = [sum((next(energies) for _ in way), torch.zeros(())) for way in ways]
    return [rearrange(energy, "(k e) -> k e", k=transformer.config.heads).sum(dim=1) for energy in sums]


def unit_energies(transformer: VideoTransformer, calibration: Calibration) -> list[Float[Tensor, " u"]]:
    """Of each block, how much its hidden units add to the frames."""
    return _energies(transformer, [block.feed.down for block in _blocks(transformer)], calibration)


def top(energy: Float[Tensor, " n"], count: int) -> Bool[Tensor, " n"]:
    """Which are the `count` largest, the first of equals."""
    kept = torch.zeros(len(energy), dtype=torch.bool)
    kept[energy.argsort(descending=True, stable=True)[:count]] = True
    return kept


def with_heads(transformer: VideoTransformer, kept: Sequence[Bool[Tensor, " k"]]) -> VideoTransformer:
    """The transformer with these heads of each block alone, of frames and words alike: they attend together."""
    config = transformer.config
    counts = {int(heads.sum()) for heads in kept}
    assert len(counts) == 1, f"blocks keep different numbers of heads: {counts}"
    smaller = VideoTransformer(replace(config, heads=counts.pop(), head_width=config.head))
    weights = transformer.state_dict()
    for number, heads in enumerate(kept):
        inner = repeat(heads, "k -> (k e)", e=config.head)
        for name in (f"blocks.{number}.{way}" for way in ("attention", "text_attention")):
            _cut(weights, f"{name}.query.weight", rows=inner)
            _cut(weights, f"{name}.key_value.weight", rows=torch.cat([inner, inner]))
            _cut(weights, f"{name}.out.weight", columns=inner)
    smaller.load_state_dict(weights)
    return _like(smaller, transformer)


def with_units(transformer: VideoTransformer, kept: Sequence[Bool[Tensor, " u"]]) -> VideoTransformer:
    """The transformer with these hidden units of each block's feed-forward alone."""
    config = transformer.config
    (count,) = {int(units.sum()) for units in kept}
    assert count % config.width == 0, f"{count} hidden units are no multiple of the width {config.width}"
    smaller = VideoTransformer(replace(config, expansion=count // config.width))
    weights = transformer.state_dict()
    for number, units in enumerate(kept):
        _cut(weights, f"blocks.{number}.feed.up.weight", rows=units)
        _cut(weights, f"blocks.{number}.feed.down.weight", columns=units)
    smaller.load_state_dict(weights)
    return _like(smaller, transformer)


def masked(
    transformer: VideoTransformer,
    heads: Sequence[Bool[Tensor, " k"]] | None = None,
    units: Sequence[Bool[Tensor, " u"]] | None = None,
) -> VideoTransformer:
    """A copy as large as before, in which what is not kept adds nothing: what pruning has to be equal to."""
    copy = deepcopy(transformer)
    for number, block in enumerate(_blocks(copy)):
        ways: list[Projection] = [block.attention] if block.last else [block.attention, block.text_attention]
        if heads is not None:
            for projection in ways:
                projection.out.weight.data[:, ~repeat(heads[number], "k -> (k e)", e=copy.config.head)] = 0
        if units is not None:
            block.feed.down.weight.data[:, ~units[number]] = 0
    return copy


def _kept(name: str, wanted: int | None, there: int) -> int:
    if wanted is None:
        return there
    if not 1 <= wanted <= there:
        raise ValueError(f"{name} to keep are {wanted}, the network has {there}: keep 1 to {there}")
    return wanted


def _cut(
    weights: dict[str, Tensor], name: str, rows: Bool[Tensor, " r"] | None = None, columns: Tensor | None = None
) -> None:
    if name in weights:  # the last block has fewer matrices
        weights[name] = weights[name][rows] if rows is not None else weights[name][:, columns]


def _energies(
    transformer: VideoTransformer, layers: Sequence[nn.Linear], calibration: Calibration
) -> list[Float[Tensor, " n"]]:
    """Of each linear layer, the mean square of every input times the square of its column."""
    with _listening(layers) as heard:
        calibration(transformer)
    return [
        mean * layer.weight.detach().float().square().sum(dim=0).cpu()
        for mean, layer in zip(heard, layers, strict=True)
    ]


@contextmanager
def _listening(layers: Sequence[nn.Linear]) -> Iterator[list[Tensor]]:
    """Inside, the mean squares of what goes into each layer, of its last call, are noted."""
    heard = [torch.zeros(layer.in_features) for layer in layers]

    def hook(number: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            heard[number] = inputs[0].detach().float().square().flatten(0, -2).mean(dim=0).cpu()

        return note

    handles = [layer.register_forward_pre_hook(hook(number)) for number, layer in enumerate(layers)]
    try:
        yield heard
    finally:
        for handle in handles:
            handle.remove()


def _blocks(transformer: VideoTransformer) -> list[JointBlock]:
    return [block for block in transformer.blocks if isinstance(block, JointBlock)]


def _like(smaller: VideoTransformer, transformer: VideoTransformer) -> VideoTransformer:
    weight = transformer.frames_in.weight
    return smaller.to(weight.device).train(transformer.training).requires_grad_(weight.requires_grad)
