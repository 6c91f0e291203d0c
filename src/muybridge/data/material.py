"""What models are made of: numbered clips, simulated or filmed, in any shape that is asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int64, UInt8

from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.data.footage import Bucket, Footage
from muybridge.data.naming import COLOURS, SHAPES
from muybridge.data.worlds import HELD_OUT, HELD_OUT_PAIRS
from muybridge.simulation import VOCABULARY, Camera, World, simulate, unseen
from muybridge.simulation.outlines import outlines
from muybridge.types import sizes_named


@dataclass(frozen=True)
class Shape:
    """Of the clips wanted: frames in all, pixels, frames a second.

    among  sizes (width, height) that clips come in, of which this is one; footage goes to the nearest to it. None: all
           clips come in this size
    """

    frames: int
    height: int
    width: int
    fps: float
    among: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> str:
        """As people write it: width x height."""
        return f"{self.width}x{self.height}"


@dataclass(frozen=True)
class Seen:
    """A clip as it is seen and said.

    moving   the pixels that the autoencoder shall take most care of
    classes  at each pixel what is seen there: 0 no object, others 1 + a number below the material's `classes`; None
             where nobody knows
    place    where things are, as in `Tracks`, and `kind` what they are, -1 where there is nothing; None likewise
    """

    rgb: UInt8[np.ndarray, "t h w 3"]
    moving: Bool[np.ndarray, "t h w"]
    captions: tuple[str, ...]
    fps: float
    classes: UInt8[np.ndarray, "t h w"] | None = None
    place: Float32[np.ndarray, "t k 5"] | None = None
    kind: Int64[np.ndarray, "k 2"] | None = None


@runtime_checkable
class Material(Protocol):
    """Clip `number` is the same whoever asks, in whatever process.

    name         says to people what it is
    identity     tells it from any other material
    grammatical  captions are of the simulator's grammar, so what they name is known without looking
    classes      kinds of objects that are told apart; 0 where nobody knows what is seen
    """

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def grammatical(self) -> bool: ...

    @property
    def classes(self) -> int: ...

    def clip(self, number: int, shape: Shape) -> Seen: ...

    def words(self) -> frozenset[str]:
        """Every word that a caption may have."""
        ...


@dataclass(frozen=True)
class Tracked:
    """Where things go in a clip that nobody renders, what they are, and what is said of it; see `Seen`."""

    place: Float32[np.ndarray, "t k 5"]
    kind: Int64[np.ndarray, "k 2"]
    captions: tuple[str, ...]


@runtime_checkable
class Foretold(Material, Protocol):
    """Material that knows where things go: its clips say so, and it can say so without making a picture."""

    def tracked(self, number: int, shape: Shape) -> Tracked: ...


def origin_of(material: Material, shape: Shape) -> str:
    """What clips are of: their material and their shape, in words that tell them from any others."""
    beside = f", one of {sizes_named(shape.among)}" if shape.among else ""
    return f"{material.identity}, {shape.frames} frames of {shape.size} at {shape.fps:g} fps{beside}"


@dataclass(frozen=True)
class Simulated:
    """Tabletop worlds without what is held out; the number is the seed, and a class is a colour with a shape."""

    name: str = "simulated tabletop worlds"
    grammatical: bool = True
    classes: int = len(COLOURS) * len(SHAPES)

    @property
    def identity(self) -> str:
        return self.name

    def clip(self, number: int, shape: Shape) -> Seen:
        assert number < HELD_OUT, number
        clip = simulate(number, shape.frames, shape.height, shape.width, shape.fps, HELD_OUT_PAIRS)
        kinds = [1 + COLOURS.index(o.colour) * len(SHAPES) + SHAPES.index(o.shape) for o in clip.objects]
        kind_of = np.zeros(256, np.uint8)  # props stay 0
        kind_of[1 : 1 + len(kinds)] = kinds
        place, kind = tracks_of(clip.world, clip.states.position, clip.states.quaternion, clip.camera, shape)
        return Seen(clip.rgb, clip.instance > 0, clip.captions, clip.fps, kind_of[clip.instance], place, kind)

    def tracked(self, number: int, shape: Shape) -> Tracked:
        """Of the clip of that number, without its pictures."""
        assert number < HELD_OUT, number
        clip = unseen(number, shape.frames, shape.height, shape.width, shape.fps, HELD_OUT_PAIRS)
        return Tracked(*tracks_of(clip.world, clip.position, clip.quaternion, clip.camera, shape), clip.captions)

    def words(self) -> frozenset[str]:
        return VOCABULARY


@dataclass(frozen=True)
class Filmed:
    """The MP4s with captions in a folder; the number chooses file and window. What moves is what changes."""

    folder: Path
    grammatical: bool = False
    classes: int = 0

    @property
    def name(self) -> str:
        return f"the clips in {self.folder.name}"

    @property
    def identity(self) -> str:
        """Of videos and captions the names and sizes: the folder itself may be moved."""
        videos = [path for path in self.folder.rglob("*") if path.suffix.lower() == ".mp4"]
        files = [*videos, *(video.with_suffix(".txt") for video in videos), self.folder / "captions.jsonl"]
        there = (file for file in files if file.is_file())
        found = sorted(f"{file.relative_to(self.folder).as_posix()}\0{file.stat().st_size}\0" for file in there)
        digest = hashlib.sha256("".join(found).encode("utf-8", "surrogateescape")).hexdigest()
        return f"{self.name} ({digest[:12]})"

    def clip(self, number: int, shape: Shape) -> Seen:
        rgb, file = _footage(self.folder, shape).window(number, _bucket(shape))
        step = np.abs(np.diff(rgb.astype(np.int16), axis=0, prepend=rgb[:1])).max(axis=-1)
        return Seen(rgb, step > CHANGE, file.captions, file.fps)

    def words(self) -> frozenset[str]:
        footage = Footage(self.folder, [Bucket(1, 16, 16)], batch=1, encode_text=lambda caption: [])
        split = Vocabulary.of(()).split
        return frozenset(word for file in footage.files for caption in file.captions for word in split(caption))

    def check(self, shape: Shape) -> None:
        """ValueError if no file has clips of this shape."""
        _footage(self.folder, shape).check(_bucket(shape))

    def notes(self, shape: Shape, vocabulary: Vocabulary | None = None) -> list[str]:
        """A sentence for each file that has no clip so long, and for each caption that is not read to its end.

        vocabulary  what captions are read in; by default words
        """
        footage, reads = _footage(self.folder, shape), vocabulary or Vocabulary.of(())
        short = [f"{path} is shorter than {shape.frames} frames: no such clip is of it" for path in footage.skipped]
        long = [
            f"{file.path} has a caption of {reads.longest + beyond} {reads.unit}: the first {reads.longest} are read"
            for file in dict.fromkeys(footage.files)  # which stand there once for each size that they fit
            for caption in file.captions
            if (beyond := reads.beyond(caption))
        ]
        return short + long


def _bucket(shape: Shape) -> Bucket:
    return Bucket(shape.frames, shape.height, shape.width)


def _footage(folder: Path, shape: Shape) -> Footage:
    """The clips of a folder, in this shape and in those beside it."""
    return _opened(folder, shape.frames, shape.fps, shape.among or ((shape.width, shape.height),))


@lru_cache(maxsize=16)
def _opened(folder: Path, frames: int, fps: float, sizes: tuple[tuple[int, int], ...]) -> Footage:
    """Kept in each process, for every file is opened to be known."""
    return Footage(folder, [Bucket(frames, height, width) for width, height in sizes], batch=1, fps=fps)


CHANGE = 12
"""Of 255: a pixel that changes by more from one frame to the next shows something that moves."""


THINGS = len(COLOURS) + 1
"""Tracks of a world: one for each colour, which no two objects share, and one for a prop, which has none."""

KINDS = (len(COLOURS) + 1, len(SHAPES) + 2)
"""How many colours and shapes a track may have: those of objects; then of props: no colour, and walls and ramps."""


def tracks_of(
    world: World,
    position: Float[np.ndarray, "t n 3"],
    quaternion: Float[np.ndarray, "t n 4"],
    camera: Camera,
    shape: Shape,
) -> tuple[Float32[np.ndarray, "t k 5"], Int64[np.ndarray, "k 2"]]:
    """Where the objects and props of a world are, as in `Tracks`, and what they are; -1 where there is nothing.

    What has a colour stands at its number: so nobody has to tell in what order things come.
    """
    around = outlines(world, position, quaternion, camera, shape.height, shape.width)
    kinds = [(COLOURS.index(thing.colour), SHAPES.index(thing.shape)) for thing in world.things]
    kinds += [(len(COLOURS), len(SHAPES) + (prop.kind == "ramp")) for prop in world.props]
    place, kind = np.zeros((len(around), THINGS, 5), np.float32), np.full((THINGS, 2), -1)
    for n, (colour, shape_of) in enumerate(kinds):
        place[:, colour], kind[colour] = around[:, n], (colour, shape_of)
    return place, kind


def classes_of_places(
    classes: UInt8[np.ndarray, "t h w"], temporal_stride: int, spatial_stride: int
) -> UInt8[np.ndarray, "k i j"]:
    """What is seen at each place of the latent, at the last pixel frame it stands for: the class with most pixels.

    "No object" has to have three times as many: what is small counts too.
    """
    size = spatial_stride
    blocks = rearrange(classes[::temporal_stride], "t (i y) (j x) -> t i j (y x)", y=size, x=size)
    present = np.unique(classes)
    pixels = np.stack([(blocks == one).sum(axis=-1) * (1 if one == 0 else 3) for one in present])
    most: UInt8[np.ndarray, "k i j"] = present[pixels.argmax(axis=0)]
    return most
