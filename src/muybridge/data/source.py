"""What a source of training batches is, and the three things all of them need: shares, draws and token ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from muybridge.types import Batch

Encode: TypeAlias = Callable[[str], list[int]]
"""A caption's token ids; 0 is kept for padding."""


@runtime_checkable
class Source(Protocol):
    """An endless row of batches in which batch k is a function of k alone."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """What process `rank` of `world` gets at `step`: an equal share of a batch that is the same for any `world`."""
        ...


def share(clips: int, rank: int, world: int) -> range:
    """Places in a global batch of `clips` that process `rank` of `world` takes; ValueError if they do not divide."""
    assert 0 <= rank < world, (rank, world)
    if clips % world:
        nearest = max(world, clips - clips % world)
        raise ValueError(f"{world} processes cannot share a batch of {clips} clips equally: take a batch of {nearest}")
    each = clips // world
    return range(rank * each, (rank + 1) * each)


def draw(*key: int) -> int:
    """A number in [0, 2**63) that depends on `key` alone, and on all of it (NumPy's SeedSequence, a stable hash)."""
    words = np.random.SeedSequence(key).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def clip_seeds(seed: int, step: int, places: Sequence[int]) -> Int64[Tensor, " b"]:
    """`Batch.seed`: one number for each place of the global batch at `step`."""
    return torch.tensor([draw(seed, step, place, 0) for place in places], dtype=torch.int64)


def choose(captions: Sequence[str], clip_seed: int) -> str:
    """One of a clip's captions, drawn by the clip's seed; "" if it has none."""
    return captions[draw(clip_seed, 1) % len(captions)] if captions else ""


def token_ids(captions: Sequence[str], encode: Encode, length: int) -> Int64[Tensor, "b n"]:
    """Captions as rows of `length` ids, padded with 0. ValueError for one that is longer: nothing is cut off unsaid."""
    ids = torch.zeros(len(captions), length, dtype=torch.int64)
    for row, caption in zip(ids, captions, strict=True):
        tokens = encode(caption)
        if len(tokens) > length:
            raise ValueError(f"a caption has {len(tokens)} tokens, but text_length is {length}: {caption[:80]!r}")
        row[: len(tokens)] = torch.tensor(tokens, dtype=torch.int64)
    return ids
