"""Simulated tabletop worlds, made the moment they are needed: no clip is ever seen twice, none is stored."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange

from muybridge.data.source import Encode, choose, clip_seeds, share, token_ids
from muybridge.simulation import Pairs, simulate
from muybridge.types import Batch

HELD_OUT = 2**40
"""Worlds with this seed or a larger one are never trained on."""

HELD_OUT_PAIRS: Pairs = frozenset({("red", "cylinder"), ("yellow", "box"), ("teal", "ball"), ("purple", "cylinder")})
"""Colours with shapes that are never trained on; each colour and each shape comes in other pairs."""


class Worlds:
    """A source of clips by `muybridge.simulation.simulate`: pixels, moving masks, captions.

    frames, height, width, fps   of every clip
    batch                        clips in a global batch
    seed                         another seed, other worlds
    encode_text, text_length     captions to ids, and the length they are padded to; without the former, no text
    """

    def __init__(
        self,
        frames: int,
        height: int,
        width: int,
        fps: float,
        batch: int,
        seed: int = 0,
        encode_text: Encode | None = None,
        text_length: int = 64,
    ) -> None:
        self.frames, self.height, self.width, self.fps = frames, height, width, fps
        self.clips, self.seed = batch, seed
        self.encode_text, self.text_length = encode_text, text_length

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        seeds = clip_seeds(self.seed, step, share(self.clips, rank, world))
        clips = [
            simulate(seed % HELD_OUT, self.frames, self.height, self.width, self.fps, HELD_OUT_PAIRS)
            for seed in seeds.tolist()
        ]
        captions = [choose(clip.captions, seed) for clip, seed in zip(clips, seeds.tolist(), strict=True)]
        rgb = torch.from_numpy(np.stack([clip.rgb for clip in clips]))
        return Batch(
            video=rearrange(rgb, "b t h w c -> b t c h w").contiguous(),
            moving=torch.from_numpy(np.stack([clip.instance > 0 for clip in clips])),
            text=token_ids(captions, self.encode_text, self.text_length) if self.encode_text else None,
            fps=torch.full((len(clips),), self.fps),
            seed=seeds,
        )
