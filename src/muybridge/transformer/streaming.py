"""A block-causal clip taken a few frames at a time: what frames and words leave behind is kept, not computed again.

In a block-causal clip words see words, and a frame sees the words, itself and the frames before it. So what later
frames need of earlier ones are their keys and values: the Carry. Keys are kept as they were before they were turned by
their position, and positions count from the oldest frame that is remembered; so a stream never leaves the positions
that the model learnt, however long it runs, and what it remembers never grows.

A Carry holds `keys.<layer>` and `values.<layer>`, of shape (b, heads, frames * tokens of a frame, width of a head); of
an anchored transformer also `anchor`, the last frame that was remembered, (b, 1, c, h, w).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from muybridge.transformer.blocks import JointBlock
from muybridge.transformer.model import TransformerConfig, VideoTransformer, gist, positions
from muybridge.transformer.rope import rotate, rotations
from muybridge.types import Carry


@dataclass(frozen=True)
class Words:
    """A prompt as all layers of a causal transformer see it: read once, good for any number of frames.

    keys, values  of each layer, (b, heads, words, width of a head)
    gist          the mean of the words' features
    mask          True where a token is a word; None where none is padding
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    gist: Float[Tensor, "b d"]
    mask: Bool[Tensor, "b n"] | None


def read(
    transformer: VideoTransformer, text: Float[Tensor, "b n d"], text_mask: Bool[Tensor, "b n"] | None = None
) -> Words:
    """What the frames to come will see of a prompt's features."""
    about, mask = gist(text, text_mask), None if text_mask is None else text_mask[:, None, None]
    keys, values, hidden = [], [], transformer.text_in(text)
    for block in _blocks(transformer):
        key, value, hidden = block.read(hidden, mask)
        keys.append(key)
        values.append(value)
    return Words(tuple(keys), tuple(values), about, text_mask)


def advance(
    transformer: VideoTransformer,
    latent: Float[Tensor, "b t c h w"],
    level: Float[Tensor, "b t"],
    words: Words,
    fps: Float[Tensor, " b"],
    carry: Carry,
    span: Float[Tensor, "b t"] | None = None,
    remember: bool = False,
    told: Float[Tensor, "b t s d"] | None = None,
) -> tuple[Float[Tensor, "b t c h w"], Carry]:
    """Velocity of the next frames of a clip, and the carry; {} where it begins. `remember`: they are in it from now on.

    told  what their tokens are told of where things are, as in `Streams`

    Of a clip that fits into the window it is what `VideoTransformer.forward` says of it as a whole, block-causal. Later
    frames see the `sink` first frames and as many of the last as the window has room for, all of them at positions as
    if nothing had ever been between.
    """
    rows, columns = transformer.rows_columns(latent)
    size, t = rows * columns, latent.shape[1]
    past = carry["keys.0"].shape[2] // size if carry else 0
    anchor = None
    if transformer.config.anchored and (remember or carry):
        anchor = transformer.anchor(latent if remember else carry["anchor"])
    mask = _mask(t, past, size, words)
    velocity, new = following(transformer, latent, level, words, fps, carry, past, span, anchor, told, mask)
    if not remember:
        return velocity, dict(carry)
    after = {
        name: _rolled(torch.cat([*([carry[name]] if carry else []), own], dim=2), size, transformer.config)
        for name, own in new.items()
    }
    if transformer.config.anchored:
        after["anchor"] = latent[:, -1:]
    return velocity, after


def following(
    transformer: VideoTransformer,
    latent: Float[Tensor, "b t c h w"],
    level: Float[Tensor, "b t"],
    words: Words,
    fps: Float[Tensor, " b"],
    before: Carry,
    past: int,
    span: Float[Tensor, "b t"] | None,
    anchor: Float[Tensor, "b #t s d"] | None,
    told: Float[Tensor, "b t s d"] | None,
    mask: Bool[Tensor, "#b 1 #n m"] | None,
    when: Int[Tensor, "b f"] | None = None,
) -> tuple[Float[Tensor, "b t c h w"], Carry]:
    """Velocity of frames that follow `past` ones, and the keys and values that they would be remembered by.

    before  keys and values of the past frames, as in a Carry
    anchor  what the frames nearest to them add to their tokens
    told    what their tokens are told of where things are
    mask    which of words, past and own tokens they may attend to; None: all
    when    positions in time of past and own frames; None: they follow one another
    """
    rows, columns = transformer.rows_columns(latent)
    earlier = past * rows * columns
    modulation, hidden = transformer.level(level, words.gist, span)
    turns = rotations(positions(past + latent.shape[1], rows, columns, fps, when), transformer.config.head)
    back, turn = tuple(x[:, :, :earlier] for x in turns), tuple(x[:, :, earlier:] for x in turns)
    frames = transformer.embed(latent)
    if anchor is not None:
        frames = frames + anchor
    if told is not None:
        frames = frames + told
    new: Carry = {}
    for i, block in enumerate(_blocks(transformer)):
        seen = words.keys[i], words.values[i]
        if past:
            seen = (
                torch.cat([seen[0], rotate(before[f"keys.{i}"], (back[0], back[1]))], dim=2),
                torch.cat([seen[1], before[f"values.{i}"]], dim=2),
            )
        frames, (keys, values) = block.advance(frames, modulation, (turn[0], turn[1]), seen, mask)
        new |= {f"keys.{i}": keys, f"values.{i}": values}
    return transformer.project(frames, hidden, rows), new


def _blocks(transformer: VideoTransformer) -> Iterator[JointBlock]:
    for block in transformer.blocks:
        assert isinstance(block, JointBlock), type(block)
        yield block


def _rolled(x: Float[Tensor, "b k n e"], size: int, config: TransformerConfig) -> Float[Tensor, "b k m e"]:
    """The first `sink` frames and the last, `window` in all."""
    if x.shape[2] <= config.window * size:
        return x
    first, last = config.sink * size, (config.window - config.sink) * size
    return torch.cat([x[:, :, :first], x[:, :, x.shape[2] - last :]], dim=2)


def _mask(t: int, past: int, size: int, words: Words) -> Bool[Tensor, "#b 1 n m"] | None:
    """Which new tokens may attend to which words, past and new tokens; None where all may."""
    if t == 1 and words.mask is None:
        return None
    device, count = words.gist.device, words.keys[0].shape[2]
    frame = torch.arange(1, t + 1, device=device).repeat_interleave(size)
    order = F.pad(frame, (count + past * size, 0))
    allowed = (frame[:, None] >= order)[None, None]
    if words.mask is None:
        return allowed
    return allowed & F.pad(words.mask, (0, (past + t) * size), value=True)[:, None, None, :]
