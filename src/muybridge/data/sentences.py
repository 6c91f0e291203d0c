"""Captions without pictures, and what they name: what the text encoder reads before it ever meets a video."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from muybridge.data.naming import named
from muybridge.data.source import Encode, choose, clip_seeds, share, token_ids
from muybridge.data.worlds import HELD_OUT, HELD_OUT_PAIRS
from muybridge.simulation import describe
from muybridge.types import Batch


@dataclass(frozen=True)
class Sentences:
    """A Source of `clips` captions of worlds that are never rendered, each with what it names."""

    clips: int
    encode_text: Encode
    seed: int = 0
    text_length: int = 64

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        seeds = clip_seeds(self.seed, step, share(self.clips, rank, world))
        captions = [choose(describe(seed % HELD_OUT, HELD_OUT_PAIRS)[0], seed) for seed in seeds.tolist()]
        return Batch(
            text=token_ids(captions, self.encode_text, self.text_length),
            named=torch.stack([named(caption) for caption in captions]),
            seed=seeds,
        )
