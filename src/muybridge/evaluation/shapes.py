"""Ball, box or cylinder, and how large: a small classifier of segments, learnt from simulated clips.

`shapes.safetensors` beside this file holds its weights; `shape_training.py` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import dropout

from muybridge.evaluation.segments import Segment

SHAPES = ("ball", "box", "cylinder", "unclear")
"""`unclear`: a fragment of something hidden or cut off, a fringe, a smudge."""
SIZES = ("small", "medium", "large", "tall")
WEIGHTS = Path(__file__).with_name("shapes.safetensors")


class Guess(NamedTuple):
    """Probabilities of the `SHAPES` and of the `SIZES`, a row for each segment."""

    shape: Float32[np.ndarray, "n 4"]
    size: Float32[np.ndarray, "n 4"]


class ShapeNet(nn.Module):
    """Three strided convolutions over the crop; measures join before the last two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Sequential(*_halved(4, 16), *_halved(16, 32), *_halved(32, 48), nn.Flatten())
        self.decide = nn.Sequential(nn.Linear(48 * 16 + 5, 64), nn.ReLU(), nn.Linear(64, len(SHAPES) + len(SIZES)))

    def forward(
        self, crop: Float[Tensor, "n 4 32 32"], measures: Float[Tensor, "n 5"]
    ) -> tuple[Float[Tensor, "n 4"], Float[Tensor, "n 4"]]:
        """Logits of the shapes and of the sizes."""
        seen = dropout(self.look(crop), 0.2, self.training)
        logits: Tensor = self.decide(torch.cat([seen, measures], dim=1))
        return logits[:, : len(SHAPES)], logits[:, len(SHAPES) :]

    @torch.inference_mode()
    def guess(self, segments: Sequence[Segment]) -> Guess:
        if not segments:
            return Guess(np.zeros((0, len(SHAPES)), np.float32), np.zeros((0, len(SIZES)), np.float32))
        crops = torch.from_numpy(np.stack([s.crop for s in segments]))
        measures = torch.from_numpy(np.stack([s.measures for s in segments]))
        shape, size = self(crops, measures)
        return Guess(shape.softmax(-1).numpy(), size.softmax(-1).numpy())


def _halved(channels: int, out: int) -> tuple[nn.Module, ...]:
    """A convolution to half the rows and columns."""
    return nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()


def load_shapes(path: Path = WEIGHTS) -> ShapeNet:
    """The classifier that comes with the package, on the CPU."""
    if not path.is_file():
        raise ValueError(f"{path} is missing: make it with  python -m muybridge.evaluation.shape_training")
    net = ShapeNet()
    net.load_state_dict(load_file(path))
    return net.eval()
