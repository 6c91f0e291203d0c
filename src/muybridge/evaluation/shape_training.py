"""Teach the classifier of shapes:  python -m muybridge.evaluation.shape_training  (a minute and a half on one core).

Segments of simulated clips with their truth, clean and degraded as a model's clips are (blurred, noisy, pale), and
smudges that are nothing. Seeds from 2**39 up: neither the models' nor the held-out ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from safetensors.torch import save
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import affine_grid, cross_entropy, grid_sample

from muybridge.evaluation.segments import Segment, segments
from muybridge.evaluation.shapes import SHAPES, SIZES, WEIGHTS, ShapeNet
from muybridge.simulation.cameras import project
from muybridge.simulation.clip import Clip, simulate
from muybridge.storage.atomic import new_file

FIRST_SEED = 2**39
CLIPS = 1600
_FRAMES, _FPS, _EVERY = 5, 1.875, 2  # first, middle and last moment of the 2.2 s of 33 frames at 15 fps
_UNCLEAR, _UNKNOWN = SHAPES.index("unclear"), -100  # -100: what cross_entropy leaves out


class Example(NamedTuple):
    """A segment with the indices of its shape and size; -100 where that cannot be told."""

    segment: Segment
    shape: int
    size: int


def degraded(frames: UInt8[np.ndarray, "t h w 3"], rng: np.random.Generator) -> UInt8[np.ndarray, "t h w 3"]:
    """As a model would make them: blurred up to 1.8 pixels, noisy up to 8 levels, contrast and brightness off a bit."""
    pixels = frames.astype(np.float32)
    blur = rng.uniform(0, 1.8)
    pixels = ndimage.gaussian_filter(pixels, (0, blur, blur, 0))
    grain = ndimage.gaussian_filter(rng.normal(size=pixels.shape), (0, *2 * [rng.uniform(0, 1.2)], 0))
    pixels = pixels + rng.uniform(0, 8) * grain / max(grain.std(), 1e-6)
    pixels = 128 + (pixels - 128) * rng.uniform(0.92, 1.05) + rng.uniform(-8, 8)
    made: UInt8[np.ndarray, "t h w 3"] = np.rint(pixels).clip(0, 255).astype(np.uint8)
    return made


def examples(clip: Clip, frames: UInt8[np.ndarray, "n h w 3"], every: int = 1) -> Iterator[Example]:
    """Segments of `frames`, a version of every so manieth of the clip's, with what the clip's masks say of them."""
    for i, picture in enumerate(frames):
        for segment in segments(picture):
            yield _labelled(segment, clip, i * every)


def _labelled(segment: Segment, clip: Clip, t: int) -> Example:
    """Clear from 45 % of the object on; unclear below 30 %, or when its middle is out of the picture."""
    of_colour = [i for i, o in enumerate(clip.objects) if o.colour == segment.colour]
    overlap = _iou(segment.mask(*clip.instance[t].shape), clip.instance[t] == of_colour[0] + 1) if of_colour else 0.0
    shown = min(overlap, _shown(clip, t, of_colour[0])) if of_colour else 0.0
    if shown < 0.45:
        return Example(segment, _UNCLEAR if shown < 0.3 else _UNKNOWN, _UNKNOWN)
    about = clip.objects[of_colour[0]]
    return Example(segment, SHAPES.index(about.shape), SIZES.index(about.size))


def _shown(clip: Clip, t: int, i: int) -> float:
    """Share of an object that is not hidden; 0 if its middle is out of the picture."""
    across, down, _ = project(clip.camera, clip.states.position)[t, i]
    height, width = clip.instance.shape[1:]
    return float(clip.states.visible[t, i]) if 0 < across < width and 0 < down < height else 0.0


def _iou(a: Bool[np.ndarray, "h w"], b: Bool[np.ndarray, "h w"]) -> float:
    return float((a & b).sum() / max((a | b).sum(), 1))


def smudges(picture: UInt8[np.ndarray, "h w 3"], rng: np.random.Generator) -> Iterator[Example]:
    """Segments of clouds of colour laid over a picture."""
    clouds = ndimage.gaussian_filter(rng.normal(size=picture.shape), (*2 * [rng.uniform(1.5, 9)], 0))
    clouds *= rng.uniform(30, 110) / clouds.std()
    pixels = picture * rng.uniform(0, 1) + 128 * rng.uniform(0, 1) + clouds
    for segment in segments(pixels.clip(0, 255).astype(np.uint8)):
        yield Example(segment, _UNCLEAR, _UNKNOWN)


def sample_examples(seeds: Iterable[int], rng: np.random.Generator) -> list[Example]:
    """Three pictures of every seed's clip, a third of the clips clean, the others degraded, and a few smudges."""
    found: list[Example] = []
    for seed in seeds:
        clip = simulate(seed, frames=_FRAMES, fps=_FPS)
        frames = clip.rgb[::_EVERY]
        found += examples(clip, frames if rng.random() < 1 / 3 else degraded(frames, rng), _EVERY)
        if rng.random() < 0.1:
            found += list(smudges(clip.rgb[0], rng))[:8]
    return found


def train(found: list[Example], epochs: int = 20, batch: int = 128, seed: int = 0) -> ShapeNet:
    """AdamW on one cycle of the learning rate (Smith 2018), on crops and measures that are `varied` every time."""
    torch.manual_seed(seed)
    net = ShapeNet()
    crops = torch.from_numpy(np.stack([e.segment.crop for e in found]))
    measures = torch.from_numpy(np.stack([e.segment.measures for e in found]))
    shape, size = (torch.tensor([e[k] for e in found]) for k in (1, 2))
    optimiser = torch.optim.AdamW(net.parameters(), lr=4e-3, weight_decay=0.05)
    order = torch.split(torch.cat([torch.randperm(len(found)) for _ in range(epochs)]), batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=len(order), pct_start=0.15)
    for picked in order:
        crop, measure = varied(crops[picked], measures[picked])
        loss = _loss(net(crop, measure), shape[picked], size[picked])
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
    return net.eval()


def varied(
    crop: Float[Tensor, "n 4 32 32"], measures: Float[Tensor, "n 5"]
) -> tuple[Float[Tensor, "n 4 32 32"], Float[Tensor, "n 5"]]:
    """Crops turned by up to 12 degrees, scaled by up to 12 %, shifted by up to 5 %, half of them mirrored.

    Their contrast changes by up to 30 %, the measures by 5 % or so.
    """
    n = len(crop)
    angle, scale, gain = (reach * (2 * torch.rand(n) - 1) for reach in (0.21, 0.12, 0.3))
    cos, sin = (scale.exp() * f(angle) for f in (torch.cos, torch.sin))
    mirror = torch.randint(0, 2, (n,)) * 2 - 1.0
    across, down = 0.1 * torch.rand(2, n) - 0.05
    warp = torch.stack([cos * mirror, -sin, across, sin * mirror, cos, down], dim=1).view(n, 2, 3)
    grid = affine_grid(warp, list(crop.shape), align_corners=False)
    warped = grid_sample(crop, grid, padding_mode="border", align_corners=False)
    contrast = torch.ones(n, 4, 1, 1)
    contrast[:, 0, 0, 0] += gain
    return warped * contrast, measures + 0.05 * torch.randn_like(measures)


def _loss(logits: tuple[Tensor, Tensor], shape: Tensor, size: Tensor) -> Tensor:
    total = cross_entropy(logits[0], shape, label_smoothing=0.02, reduction="sum")
    total = total + 0.3 * cross_entropy(logits[1], size, reduction="sum")
    return total / len(shape)


def main() -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    net = train(sample_examples(range(FIRST_SEED, FIRST_SEED + CLIPS), rng))
    with new_file(WEIGHTS) as temporary:
        temporary.write_bytes(save(net.state_dict()))


if __name__ == "__main__":
    main()
