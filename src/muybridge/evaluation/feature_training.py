"""Teach the network of features:  python -m muybridge.evaluation.feature_training  (a quarter of an hour of one core).

It learns to say what simulated clips show: colours and shapes, how many things, the camera's move, what they do, and
how far every colour goes. All are true clips; it never sees a broken one. Seeds from 2**38 up: neither the models' nor
the held-out ones, nor those of the classifier of shapes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, smooth_l1_loss

from muybridge.evaluation.features import MOTIONS, SHAPES, SIDE, WEIGHTS, WINDOW, FeatureNet, as_input
from muybridge.simulation.cameras import MOVES
from muybridge.simulation.clip import Clip, simulate
from muybridge.simulation.palette import COLOURS
from muybridge.storage.atomic import new_file

FIRST_SEED = 2**38
CLIPS = 6000
_FRAMES = 33
_STARTS = (0, _FRAMES - WINDOW)  # the first and the last window
_PIXELS = 10  # so many show a thing
_NAMES = tuple(COLOURS)


Labels: TypeAlias = dict[str, Tensor]
"""What there is to see in windows, a row for each.

thing    1 for every colour with a shape that is seen (8 x 3)
subject  index of the colour and shape that fills most pixels
count    number of things seen, less one, at most 3
camera   index of the camera's move
motion   1 for everything that a thing which is seen does
shift    way of each colour's middle over the window, right and down, in picture sides; `moved` is 1 where it is known
"""


def sample_windows(seeds: Iterable[int]) -> tuple[UInt8[np.ndarray, "n 16 64 64 3"], Labels]:
    """Two windows of every seed's clip in which something is seen, with their labels."""
    frames, labels = [], []
    for seed in seeds:
        clip = simulate(seed, frames=_FRAMES, height=SIDE, width=SIDE)
        for start in _STARTS:
            if (label := _labelled(clip, start)) is not None:
                frames.append(clip.rgb[start : start + WINDOW])
                labels.append(label)
    return np.stack(frames), {name: torch.stack([label[name] for label in labels]) for name in labels[0]}


def _labelled(clip: Clip, start: int) -> Labels | None:
    """What a window shows; None if that is nothing."""
    window = clip.instance[start : start + WINDOW]
    inside = np.stack([window == i + 1 for i in range(len(clip.objects))])
    area = inside.sum(axis=(2, 3))
    things = [i for i in range(len(clip.objects)) if (area[i] >= _PIXELS).mean() >= 0.25]
    if not things:
        return None
    thing, motion = torch.zeros(len(_NAMES) * len(SHAPES)), torch.zeros(len(MOTIONS))
    shift, moved = torch.zeros(len(_NAMES), 2), torch.zeros(len(_NAMES), 2)
    for i in things:
        about = clip.objects[i]
        thing[_kind(clip, i)] = 1
        if clip.world.things[i].motion in MOTIONS:
            motion[MOTIONS.index(clip.world.things[i].motion)] = 1
        if min(area[i, 0], area[i, -1]) >= _PIXELS:
            shift[_NAMES.index(about.colour)] = _way(inside[i])
            moved[_NAMES.index(about.colour)] = 1
    subject = max(things, key=lambda i: int(area[i].sum()))
    return {
        "thing": thing,
        "subject": torch.tensor(_kind(clip, subject)),
        "count": torch.tensor(min(len(things), 4) - 1),
        "camera": torch.tensor(MOVES.index(clip.world.move.kind)),
        "motion": motion,
        "shift": shift.flatten(),
        "moved": moved.flatten(),
    }


def _way(mask: Bool[np.ndarray, "16 64 64"]) -> Tensor:
    """From a thing's middle in the first frame to that in the last: right and down, in picture sides."""
    down, across = (np.argwhere(mask[-1]).mean(axis=0) - np.argwhere(mask[0]).mean(axis=0)).tolist()
    return torch.tensor([across, down]) / SIDE


def _kind(clip: Clip, i: int) -> int:
    about = clip.objects[i]
    return _NAMES.index(about.colour) * len(SHAPES) + SHAPES.index(about.shape)


def train(frames: UInt8[np.ndarray, "n 16 64 64 3"], labels: Labels, epochs: int = 6, batch: int = 32) -> FeatureNet:
    """AdamW on one cycle of the learning rate (Smith 2018), the products in bfloat16."""
    torch.manual_seed(0)
    net = FeatureNet()
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.05)
    order = torch.split(torch.cat([torch.randperm(len(frames)) for _ in range(epochs)]), batch)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=len(order), pct_start=0.15)
    for picked in order:
        clips = as_input(frames[picked.numpy()])
        with torch.autocast("cpu", torch.bfloat16):
            seen = {name: logits.float() for name, logits in net.seen(net(clips)).items()}
        loss = _loss(seen, {name: column[picked] for name, column in labels.items()})
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        cycle.step()
    return net.eval().requires_grad_(False)


def _loss(seen: dict[str, Tensor], labels: Labels) -> Tensor:
    """Of every label, scaled so that none outweighs the others."""
    things = binary_cross_entropy_with_logits(seen["thing"], labels["thing"], reduction="sum") / len(labels["thing"])
    motions = binary_cross_entropy_with_logits(seen["motion"], labels["motion"], reduction="sum") / len(
        labels["motion"]
    )
    choices = sum(cross_entropy(seen[name], labels[name]) for name in ("subject", "count", "camera"))
    shifts = smooth_l1_loss(
        seen["shift"] * labels["moved"], labels["shift"] * labels["moved"], beta=0.05, reduction="sum"
    )
    total: Tensor = things + 0.5 * motions + choices + 5 * shifts / len(labels["shift"])
    return total


def main() -> None:
    torch.set_num_threads(1)
    net = train(*sample_windows(range(FIRST_SEED, FIRST_SEED + CLIPS)))
    with new_file(WEIGHTS) as temporary:
        temporary.write_bytes(save(net.state_dict()))


if __name__ == "__main__":
    main()
