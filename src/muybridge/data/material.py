"""What models are made of: numbered clips, simulated or filmed, in any shape that is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from jaxtyping import Bool, UInt8

from muybridge.data.footage import Bucket, Footage
from muybridge.simulation import VOCABULARY, simulate
from muybridge.simulation.captions import words


@dataclass(frozen=True)
class Shape:
    """Of the clips wanted: frames in all, pixels, frames a second."""

    frames: int
    height: int
    width: int
    fps: float


@dataclass(frozen=True)
class Seen:
    """A clip as it is seen and said. `moving` marks the pixels that the autoencoder shall take most care of."""

    rgb: UInt8[np.ndarray, "t h w 3"]
    moving: Bool[np.ndarray, "t h w"]
    captions: tuple[str, ...]
    fps: float


class Material(Protocol):
    """Clip `number` is the same whoever asks, in whatever process.

    name         says to people what it is
    grammatical  captions are of the simulator's grammar, so what they name is known without looking
    """

    @property
    def name(self) -> str: ...

    @property
    def grammatical(self) -> bool: ...

    def clip(self, number: int, shape: Shape) -> Seen: ...

    def words(self) -> frozenset[str]:
        """Every word that a caption may have."""
        ...


@dataclass(frozen=True)
class Simulated:
    """Tabletop worlds; the number is the seed."""

    name: str = "simulated tabletop worlds"
    grammatical: bool = True

    def clip(self, number: int, shape: Shape) -> Seen:
        clip = simulate(number, shape.frames, shape.height, shape.width, shape.fps)
        return Seen(clip.rgb, clip.instance > 0, clip.captions, clip.fps)

    def words(self) -> frozenset[str]:
        return VOCABULARY


@dataclass(frozen=True)
class Filmed:
    """The MP4s with captions in a folder; the number chooses file and window. What moves is what changes."""

    folder: Path
    grammatical: bool = False

    @property
    def name(self) -> str:
        return f"the clips in {self.folder.name}"

    def clip(self, number: int, shape: Shape) -> Seen:
        footage = Footage(self.folder, [Bucket(shape.frames, shape.height, shape.width)], batch=1, fps=shape.fps)
        rgb, file = footage.window(number)
        step = np.abs(np.diff(rgb.astype(np.int16), axis=0, prepend=rgb[:1])).max(axis=-1)
        return Seen(rgb, step > CHANGE, file.captions, file.fps)

    def words(self) -> frozenset[str]:
        footage = Footage(self.folder, [Bucket(1, 16, 16)], batch=1, encode_text=lambda caption: [])
        return frozenset(word for file in footage.files for caption in file.captions for word in words(caption))


CHANGE = 12
"""Of 255: a pixel that changes by more from one frame to the next shows something that moves."""
