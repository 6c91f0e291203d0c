"""What a network sees in clips, as rows of numbers: the space in which sets of clips are compared.

`FeatureNet` is our own, learnt from simulated clips (`feature_training.py`); its weights come with the package, so that
distances can be had offline. Other people's networks come in through `foreign_features.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from muybridge.simulation.cameras import MOVES

SHAPES = ("ball", "box", "cylinder")
MOTIONS = (
    *("drop", "rest", "roll", "collide", "slide", "struck"),
    *("behind", "throw", "stand", "ramp", "meet", "stop behind"),
)
WINDOW, SIDE = 16, 64
"""Frames and pixels that the network looks at, at 15 frames a second."""
WIDTH = 64
"""Features of a window."""
WEIGHTS = Path(str(resources.files("muybridge"))) / "weights" / "features" / "features.safetensors"

Frames: TypeAlias = UInt8[np.ndarray, "t h w 3"]
Features: TypeAlias = Callable[[Frames], Float[np.ndarray, "n d"]]
"""A clip to one row for each of its windows, or for each of its frames."""


class FeatureNet(nn.Module):
    """Convolutions over places and over times in turn (R(2+1)D, Tran et al. 2018, arXiv:1711.11248).

    What is left of the places is pooled by its largest value and by its mean. A still is a clip in
    which nothing happens: what one frame gives, its static copies give.
    """

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(
            nn.PixelUnshuffle(4),
            *(_across(48, 32, 1), _Along(32, stride=2)),
            *(_across(32, 32), _Along(32)),
            *(_across(32, 64, stride=2), _Along(64, stride=2)),
            *(_across(64, 64), _Along(64)),
            *(_across(64, 128, stride=2), _Along(128)),
        )
        self.gather = nn.Sequential(nn.Linear(2 * 128, WIDTH), nn.ReLU())
        heads = {"thing": 24, "subject": 24, "count": 4, "camera": len(MOVES), "motion": len(MOTIONS), "shift": 16}
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, size) for name, size in heads.items()})

    def forward(self, clips: Float[Tensor, "b t 3 64 64"]) -> Float[Tensor, "b 64"]:
        """Features of clips in [-1, 1]."""
        seen = self.look(clips)
        somewhere, everywhere = seen.amax(dim=(3, 4)).mean(dim=1), seen.mean(dim=(1, 3, 4))
        features: Tensor = self.gather(torch.cat([somewhere, everywhere], dim=1))
        return features

    def seen(self, features: Float[Tensor, "b 64"]) -> dict[str, Tensor]:
        """Logits of what was to be learnt: see `feature_training.Labels`."""
        return {name: head(features) for name, head in self.heads.items()}


class _Along(nn.Module):
    """A convolution over three moments, added to what comes in; before the first and after the last time stands still.

    With `stride` 2, every second moment is left out.
    """

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.mix = nn.Conv3d(channels, channels, (3, 1, 1), bias=False)
        self.norm = nn.BatchNorm3d(channels)
        self.stride = stride

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b s c h w"]:
        held = torch.cat([x[:, :1], x, x[:, -1:]], dim=1)
        mixed = self.norm(self.mix(rearrange(held, "b t c h w -> b c t h w")))
        out: Tensor = (x + rearrange(mixed, "b c t h w -> b t c h w")).relu()
        return out[:, :: self.stride]


class _Frames(nn.Module):
    """A module of pictures, for every frame of clips."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t d y x"]:
        out: Tensor = rearrange(
            self.layers(rearrange(x, "b t c h w -> (b t) c h w")), "(b t) c h w -> b t c h w", b=len(x)
        )
        return out


def _across(channels: int, out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution over rows and columns."""
    convolution = nn.Conv2d(channels, out, kernel, stride, kernel // 2, bias=False)
    return _Frames(convolution, nn.BatchNorm2d(out), nn.ReLU())


def load_features(path: Path = WEIGHTS) -> FeatureNet:
    """The network that comes with the package, on the CPU. ValueError if its file is missing."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: make it with  python -m muybridge.evaluation.feature_training")
    net = FeatureNet()
    net.load_state_dict(load_file(path))
    return net.eval().requires_grad_(False)


def windows(count: int, length: int = WINDOW) -> list[slice]:
    """As few windows of `length` consecutive frames as show all of a clip, evenly spread; a shorter clip is one."""
    starts = np.linspace(0, max(0, count - length), max(1, -(-count // length))).round().astype(int)
    return [slice(start, start + length) for start in starts.tolist()]


def clip_features(net: FeatureNet | None = None) -> Features:
    """Rows of 64 features by our own network (the bundled one unless given), one for each 16 frames of a clip."""
    own = net or load_features()
    return lambda frames: np.concatenate([_features(own, frames[None, window]) for window in windows(len(frames))])


def frame_features(net: FeatureNet | None = None, every: int = 4) -> Features:
    """Rows of 64 features of single frames, each taken as a clip in which nothing happens."""
    own = net or load_features()
    return lambda frames: _features(own, frames[::every, None])


def subjects(net: FeatureNet | None = None) -> Features:
    """Probabilities that a thing of this colour and shape fills most of the picture, for each 16 frames of a clip."""
    own, features = net or load_features(), clip_features(net)
    return lambda frames: own.seen(torch.from_numpy(features(frames)))["subject"].softmax(-1).numpy()


@torch.inference_mode()
def _features(net: FeatureNet, clips: UInt8[np.ndarray, "b t h w 3"]) -> Float[np.ndarray, "b 64"]:
    rows: Float[np.ndarray, "b 64"] = net(as_input(clips)).numpy()
    return rows


def as_input(clips: UInt8[np.ndarray, "b t h w 3"]) -> Float[Tensor, "b t 3 64 64"]:
    """Clips in [-1, 1], squeezed or stretched to 64x64 by the area of pixels."""
    pixels = rearrange(torch.from_numpy(clips), "b t h w c -> (b t) c h w").float() / 127.5 - 1
    small = pixels if pixels.shape[-2:] == (SIDE, SIDE) else interpolate(pixels, (SIDE, SIDE), mode="area")
    return rearrange(small, "(b t) c h w -> b t c h w", b=len(clips))
