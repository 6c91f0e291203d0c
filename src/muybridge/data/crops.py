"""Windows cut from clips, about what moves in them: what the autoencoder learns from.

A convolutional autoencoder does not need whole pictures, and a window about a moving object has four times the edges
and motion of the frame it came from. Fast objects are rare, and hardest, for four pictures of them share a latent
frame: most windows are about a place and time where much changes. Clips are written once into a folder of plain arrays,
so that every window of a batch can come from another clip: windows of one clip share their light and ground, and
gradients would follow those.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Int64, UInt8
from torch import Tensor

from muybridge.data.material import Material, Shape, origin_of
from muybridge.data.source import clip_seeds, share
from muybridge.storage.atomic import new_file
from muybridge.types import Batch

COARSE = 4
"""Pixels between those by which is told how much changes."""


def cache_pixels(folder: Path, number: int, clips: int, material: Material, shape: Shape) -> None:
    """Writes file `number` of a folder, unless it is there: `clips` clips of the material, from `number` * `clips` on.

    A file is uint8 (clip, t, h, w, 4): red, green, blue, and 255 where something moves. ValueError if the folder holds
    other clips.
    """
    _claim(folder, f"{origin_of(material, shape)}, {clips} a file")
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
        """A window of some clip, about its centre up to a quarter of the window's size."""
        clips = np.load(self.paths[rng.integers(len(self.paths))], mmap_mode="r")
        clip = clips[rng.integers(len(clips))]
        size = np.array([self.frames, self.side, self.side])
        centre = _centre(clip, rng) + rng.integers(-(size // 4), size // 4 + 1)
        time, top, left = np.clip(centre - size // 2, 0, clip.shape[:3] - size).tolist()
        return np.array(clip[time : time + self.frames, top : top + self.side, left : left + self.side])


def _centre(clip: UInt8[np.ndarray, "t h w 4"], rng: np.random.Generator) -> Int64[np.ndarray, "3"]:
    """Time, row and column: six times in ten where much changes, three times of an object, else any."""
    anywhere, about = rng.integers(clip.shape[:3]), rng.random()
    if about < 0.6:
        change = np.abs(np.diff(clip[:, ::COARSE, ::COARSE, :3].astype(np.int16), axis=0)).sum(axis=-1) ** 1.5
        if change.any():
            busy = np.unravel_index(rng.choice(change.size, p=change.ravel() / change.sum()), change.shape)
            return np.array(busy) * (1, COARSE, COARSE)
    elif about < 0.9:
        places = np.argwhere(clip[anywhere[0], :, :, 3])
        if len(places):
            anywhere[1:] = places[rng.integers(len(places))]
    return anywhere


def whole_clips(folder: Path, count: int) -> Iterator[UInt8[Tensor, "1 t 3 h w"]]:
    """The first clips of a folder, whole: `count`, or as many as there are."""
    files = (np.load(path, mmap_mode="r") for path in sorted(folder.glob("clips-*.npy")))
    for clip in islice(chain.from_iterable(files), count):
        yield torch.from_numpy(np.ascontiguousarray(rearrange(clip[..., :3], "t h w c -> 1 t c h w")))


def _claim(folder: Path, origin: str) -> None:
    """Writes down what the folder's clips are of. ValueError if they are of something else."""
    held, said = any(folder.glob("clips-*.npy")), folder / "origin.txt"  # in this order: another process may be writing
    if not held and not said.exists():
        with new_file(said) as temporary:
            temporary.write_text(origin, encoding="utf-8")
    there = said.read_text(encoding="utf-8") if said.exists() else "what an older version did not write down"
    if there != origin:
        raise ValueError(f"{folder} holds clips of {there}, not of {origin}: train into another folder (-o)")


def _path(folder: Path, number: int) -> Path:
    return folder / f"clips-{number:05d}.npy"
