"""Windows cut from clips, about what moves in them: what the autoencoder learns from.

A convolutional autoencoder does not need whole pictures, and a window about a moving object has four times the edges
and motion of the frame it came from. Clips are written once into a folder of plain arrays, so that every window of a
batch can come from another clip: windows of one clip share their light and ground, and gradients would follow those.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from muybridge.data.material import Material, Shape
from muybridge.data.source import clip_seeds, share
from muybridge.storage.atomic import new_file
from muybridge.types import Batch


def cache_pixels(folder: Path, number: int, clips: int, material: Material, shape: Shape) -> None:
    """Writes file `number` of a folder, unless it is there: `clips` clips of the material, from `number` * `clips` on.

    A file is uint8 (clip, t, h, w, 4): red, green, blue, and 255 where something moves.
    """
    path = _path(folder, number)
    if path.exists():
        return
    made = [material.clip(number * clips + i, shape) for i in range(clips)]
    pixels = [np.concatenate([seen.rgb, np.uint8(255) * seen.moving[..., None]], axis=-1) for seen in made]
    with new_file(path) as temporary, temporary.open("wb") as out:
        np.save(out, np.stack(pixels))


class Crops:
    """A Source of windows of `frames` frames and `side` pixels, each from another clip of the folder."""

    def __init__(self, folder: Path, files: int, batch: int, frames: int = 9, side: int = 64, seed: int = 0) -> None:
        self.paths = [_path(folder, number) for number in range(files)]
        self.windows, self.frames, self.side, self.seed = batch, frames, side, seed

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        seeds = clip_seeds(self.seed, step, share(self.windows, rank, world))
        windows = np.stack([self._window(np.random.default_rng(seed)) for seed in seeds.tolist()])
        video = rearrange(windows[..., :3], "b t h w c -> b t c h w")
        return Batch(
            video=torch.from_numpy(np.ascontiguousarray(video)),
            moving=torch.from_numpy(windows[..., 3] > 0),
            seed=seeds,
        )

    def _window(self, rng: np.random.Generator) -> UInt8[np.ndarray, "f s s 4"]:
        """A window at a random time, centred near a random object pixel, one time in four anywhere."""
        clips = np.load(self.paths[rng.integers(len(self.paths))], mmap_mode="r")
        clip = clips[rng.integers(len(clips))]
        start = int(rng.integers(len(clip) - self.frames + 1))
        height, width = clip.shape[1:3]
        top, left = rng.integers(height - self.side + 1), rng.integers(width - self.side + 1)
        if rng.random() < 0.75:
            places = np.argwhere(clip[start + self.frames // 2, :, :, 3])
            if len(places):
                reach = self.side // 4
                centre = places[rng.integers(len(places))] + rng.integers(-reach, reach + 1, 2)
                top, left = np.clip(centre - self.side // 2, 0, (height - self.side, width - self.side))
        return np.array(clip[start : start + self.frames, top : top + self.side, left : left + self.side])


def whole_clips(folder: Path, count: int) -> Iterator[UInt8[Tensor, "1 t 3 h w"]]:
    """The first clips of a folder, whole: `count`, or as many as there are."""
    files = (np.load(path, mmap_mode="r") for path in sorted(folder.glob("clips-*.npy")))
    for clip in islice(chain.from_iterable(files), count):
        yield torch.from_numpy(np.ascontiguousarray(rearrange(clip[..., :3], "t h w c -> 1 t c h w")))


def _path(folder: Path, number: int) -> Path:
    return folder / f"clips-{number:05d}.npy"
