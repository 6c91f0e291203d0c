"""Windows cut from simulated clips, about their objects: what the autoencoder learns from.

A convolutional autoencoder does not need whole pictures, and a window about an object has four times the edges and
motion of the frame it came from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, UInt8

from muybridge.simulation import simulate
from muybridge.types import Batch


@dataclass(frozen=True)
class WorldCrops:
    """A Source of `clips` x `windows` windows a step, each of `frames` frames and `side` pixels."""

    clips: int = 2
    windows: int = 8
    frames: int = 9
    side: int = 64
    clip_frames: int = 33
    clip_side: int = 128
    seed: int = 0

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Rank `rank`'s share of step `step`: whole clips, so `clips` must be a multiple of `world`."""
        share, rest = divmod(self.clips, world)
        if rest:
            raise ValueError(f"{self.clips} clips a step cannot be shared by {world} processes: take a multiple")
        first = step * self.clips + rank * share
        windows = [w for index in range(first, first + share) for w in self._windows_of(index)]
        video = rearrange(np.stack([video for video, _ in windows]), "b t h w c -> b t c h w")
        seeds = np.arange(first * self.windows, (first + share) * self.windows)
        return Batch(
            video=torch.from_numpy(np.ascontiguousarray(video)),
            moving=torch.from_numpy(np.stack([moving for _, moving in windows])),
            seed=torch.from_numpy(seeds),
        )

    def _windows_of(self, index: int) -> list[tuple[UInt8[np.ndarray, "t h w 3"], Bool[np.ndarray, "t h w"]]]:
        clip = simulate(self.seed + index, frames=self.clip_frames, height=self.clip_side, width=self.clip_side)
        rng = np.random.default_rng((self.seed, index))
        return [_window(clip.rgb, clip.instance > 0, self.frames, self.side, rng) for _ in range(self.windows)]


def _window(
    rgb: UInt8[np.ndarray, "t h w 3"],
    objects: Bool[np.ndarray, "t h w"],
    frames: int,
    side: int,
    rng: np.random.Generator,
) -> tuple[UInt8[np.ndarray, "f s s 3"], Bool[np.ndarray, "f s s"]]:
    """A window at a random time, centred near a random object pixel, one time in four anywhere."""
    start = int(rng.integers(rgb.shape[0] - frames + 1))
    height, width = objects.shape[1:]
    places = np.argwhere(objects[start + frames // 2])
    if len(places) and rng.random() < 0.75:
        centre = places[rng.integers(len(places))] + rng.integers(-side // 4, side // 4 + 1, 2)
        top, left = np.clip(centre - side // 2, 0, (height - side, width - side))
    else:
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    cut = np.s_[start : start + frames, top : top + side, left : left + side]
    return rgb[cut], objects[cut]
