"""The vocabulary every room speaks: Video, Latent, Condition, Streams, Batch, Carry, Event.

Legend of axes, used in every annotation of the project:
    b  clips in a batch         t  frames (pixel frames of a Video, latent frames of a Latent)
    c  channels                 h, w  rows and columns
    n  tokens                   d  features of a token

Pixel values are float in [-1, 1]; time of the flow runs from 0 (data) to 1 (noise). This module imports no other room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float, Float32, Int, Integer, UInt8
from torch import Tensor

TEMPORAL_STRIDE = 4
"""Pixel frames that a latent frame stands for, the first one excepted: 1 + 4k pixel frames are 1 + k latent frames."""

Carry: TypeAlias = dict[str, Tensor]
"""What a streaming module remembers between chunks. Explicit: it goes in and comes out, no module keeps it."""

Metrics: TypeAlias = Mapping[str, float]


def latent_frames(pixel_frames: int) -> int:
    """Latent frames of a clip of `pixel_frames`; ValueError unless it is 1 + 4k."""
    if pixel_frames < 1 or (pixel_frames - 1) % TEMPORAL_STRIDE:
        low = max(1, pixel_frames - (pixel_frames - 1) % TEMPORAL_STRIDE)
        raise ValueError(f"a clip has 1 + 4k frames, not {pixel_frames}: take {low} or {low + TEMPORAL_STRIDE}")
    return 1 + (pixel_frames - 1) // TEMPORAL_STRIDE


def of_latents(place: Float32[np.ndarray, "t k e"], temporal_stride: int) -> Float32[np.ndarray, "l p k e"]:
    """What a track of pixel frames tells of each latent frame: of as many as that stands for, of the first the same."""
    first: Float32[np.ndarray, "l p k e"] = np.repeat(place[None, :1], temporal_stride, axis=1)
    return np.concatenate([first, rearrange(place[1:], "(l p) k e -> l p k e", p=temporal_stride)])


def sizes_named(sizes: Sequence[Sequence[int]]) -> str:
    """Sizes (width, height), one or more, as a part of a sentence."""
    *others, last = (f"{width}x{height}" for width, height in sizes)
    return f"{', '.join(others)} and {last}" if others else last


def device_of(name: str | None = None) -> torch.device:
    """The device of that name, by default the best there is. ValueError where there is none."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without it
        raise ValueError(f"there is no device {name!r} here: take cpu, or cuda where there is a GPU") from error


@dataclass(frozen=True)
class Video:
    """Moving pictures: `frames` in [-1, 1], sRGB-encoded, shown at `fps` frames a second."""

    frames: Float[Tensor, "b t 3 h w"]
    fps: float

    @property
    def seconds(self) -> float:
        return self.frames.shape[1] / self.fps


@dataclass(frozen=True)
class Latent:
    """What the video autoencoder makes of a Video: 1 + k frames of `c` channels, about unit variance."""

    frames: Float[Tensor, "b t c h w"]
    fps: float


@dataclass(frozen=True)
class Move:
    """Where a thing goes in the picture: motion that is drawn and not said.

    thing   what it is called; its colour tells which is meant ("red ball")
    points  x and y of its middle, as shares of the picture (x to the right, y down), evenly spaced in time from the
            first frame to the last; in between it goes straight on. Of one point: it stays there
    """

    thing: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Condition:
    """A task, in the words of a user: what is known of one clip. Whatever is not known will be made.

    prompt    what the clip shows; empty means anything
    negative  what it shall not show: stands in for the empty prompt in classifier-free guidance
    frames    length in pixel frames, 1 + 4k (1 = a still)
    height, width  size in pixels
    fps       frames a second
    prefix    the first frames where they are given (one: image to video; 1 + 4k: the clip is extended),
              of shape (t, 3, h, w) in [-1, 1]
    suffix    the last frames where they are given, likewise
    video     a clip that is made over, of as many frames, likewise; it enters at the level `strength`
    strength  0 … 1: how much of `video` becomes noise: 1 leaves nothing of it
    mask      where `video` is made anew (True); elsewhere it is kept
    control   pictures of the structure to keep (depth, edges, poses), as the model at hand learnt to read them
    camera    a pose for each frame, camera to world; x right, y down, z forward
    intrinsics  of that camera: fx, fy, cx, cy in pixels
    moves     where things go that somebody wants to go somewhere
    """

    prompt: str = ""
    negative: str = ""
    frames: int = 33
    height: int = 128
    width: int = 128
    fps: float = 15.0
    prefix: Float[Tensor, "t 3 h w"] | None = None
    suffix: Float[Tensor, "_ 3 h w"] | None = None
    video: Float[Tensor, "_ 3 h w"] | None = None
    strength: float = 0.8
    mask: Bool[Tensor, "_ h w"] | None = None
    control: Float[Tensor, "_ 3 h w"] | None = None
    camera: Float[Tensor, "_ 4 4"] | None = None
    intrinsics: Float[Tensor, " 4"] | None = None
    moves: tuple[Move, ...] = ()

    @property
    def given(self) -> frozenset[str]:
        """What is known of the clip, in the words that `GIVEN` explains."""
        known = {
            "prompt": bool(self.prompt),
            "negative": bool(self.negative),
            "image": self.prefix is not None and len(self.prefix) == 1,
            "opening": self.prefix is not None and len(self.prefix) > 1,
            "ending": self.suffix is not None,
            "video": self.video is not None,
            "mask": self.mask is not None,
            "control": self.control is not None,
            "camera": self.camera is not None,
            "moves": bool(self.moves),
        }
        return frozenset(name for name, is_given in known.items() if is_given)


GIVEN: Mapping[str, str] = MappingProxyType(
    {
        "prompt": "a prompt",
        "negative": "a negative prompt",
        "image": "a first frame",
        "opening": "several first frames",
        "ending": "last frames",
        "video": "a video to make over",
        "mask": "a mask of what to make anew",
        "control": "a control video",
        "camera": "a camera path",
        "moves": "where a thing goes",
    }
)
"""What a Condition may hold, for people; a model takes some of it."""


@dataclass(frozen=True)
class Tracks:
    """Where the things of a batch of clips are: up to k of them, each the same from the first frame to the last.

    place     x and y of its middle, half its width, half its height, as shares of the picture (x to the right, y down),
              and metres from the camera: at each of the p pixel frames that a latent frame stands for, hidden or not.
              The first latent frame stands for one, which is told p times
    kind      numbers of its colour and of its shape
    is_there  False where there are fewer things than k
    """

    place: Float[Tensor, "b t p k 5"]
    kind: Int[Tensor, "b k 2"]
    is_there: Bool[Tensor, "b k"]

    @classmethod
    def of(cls, batch: Batch, are_told: Bool[Tensor, " b"]) -> Tracks:
        """Those of a batch's clips that are told; of others, and where nobody knows, that there is nothing."""
        place, kind = batch.place, batch.kind
        if place is None or kind is None:
            assert batch.latent is not None, "neither tracks nor latents"
            place = batch.latent.new_zeros(*batch.latent.shape[:2], TEMPORAL_STRIDE, 1, 5)
            kind = torch.full((len(batch), 1, 2), -1, device=place.device)
        return cls(place, kind, (kind[..., 0] >= 0) & are_told[:, None])


@dataclass(frozen=True)
class Streams:
    """A batch of Conditions, encoded: the clean streams that the transformer reads beside the noisy one.

    text       features of the prompt's tokens
    text_mask  True where a token is a word, False where it is padding; None where none is padding
    known      latent frames that are given; any value where `is_known` is False
    is_known   which latent frames are given
    fps        playing speed of each clip
    when       which latent frames these are, counted from the first; None where they are all from the first on
    told       what each token of the frames is told of where things are (`VideoTransformer.tell`); None: nothing
    held       what is certain of a plan's numbers before it is made (`planner.held`); NaN where the planner is free
    """

    text: Float[Tensor, "b n d"]
    text_mask: Bool[Tensor, "b n"] | None
    known: Float[Tensor, "b t c h w"]
    is_known: Bool[Tensor, "b t"]
    fps: Float[Tensor, " b"]
    when: Int[Tensor, "b t"] | None = None
    told: Float[Tensor, "b t s e"] | None = None
    held: Float[Tensor, "b t k f"] | None = None


@dataclass(frozen=True)
class Batch:
    """What a training step eats. A field that the objective at hand does not need is None.

    video   pixels as uint8, straight from disk or simulator
    moving  True where a pixel belongs to an object (the part of a clip that whole-frame losses overlook)
    latent  the video, already encoded
    text    token ids of the captions, 0 = padding
    classes what stands at each place of the latent: 0 nothing, others 1 + a number that the material gives out
    named   what the words name: (colour, shape, size) of each object as numbers, in the order they come up
    place   where things are at each pixel frame, as in `Tracks`; frames are those that each latent frame stands for
    kind    what they are: (colour, shape), -1 where there is nothing
    when    which latent frames of the clip these are, counted from the first; None: they are all from the first on
    fps     playing speed of each clip
    seed    one a clip: whatever is random in a step is drawn from it, so a clip's share of the loss does not
            depend on the batch, the process or the restart it falls into
    common  one a step, the same for each of its clips in every process: what shapes follow from is drawn from it
    """

    video: UInt8[Tensor, "b t 3 h w"] | None = None
    moving: Bool[Tensor, "b t h w"] | None = None
    latent: Float[Tensor, "b t c h w"] | None = None
    text: Int[Tensor, "b n"] | None = None
    classes: Integer[Tensor, "b t h w"] | None = None
    named: Int[Tensor, "b k 3"] | None = None
    place: Float[Tensor, "b t p j 5"] | None = None
    kind: Int[Tensor, "b j 2"] | None = None
    when: Int[Tensor, "b t"] | None = None
    fps: Float[Tensor, " b"] | None = None
    seed: Int[Tensor, " b"] | None = None
    common: Int[Tensor, " b"] | None = None

    def __len__(self) -> int:
        return next(len(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) is not None)

    def to(self, device: torch.device | str) -> Batch:
        moved = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in moved.items() if value is not None})


@dataclass(frozen=True)
class Progress:
    """One step of something long is done, `seconds` after it began; `preview` is the clip as far as it is known."""

    step: int
    steps: int
    seconds: float
    preview: Latent | None = None

    @property
    def seconds_left(self) -> float:
        return self.seconds / max(self.step, 1) * (self.steps - self.step)


@dataclass(frozen=True)
class Sampled:
    """The sampler's last event: the finished latent."""

    latent: Latent


@dataclass(frozen=True)
class Trained:
    """One step of the optimiser is done; `metrics` are plain numbers, the loss among them."""

    step: int
    steps: int
    seconds: float
    metrics: Metrics


Event: TypeAlias = Progress | Sampled | Trained
