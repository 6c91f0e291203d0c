"""Other people's feature networks, read from TorchScript files that the user names: I3D for FVD, Inception for FID."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate

from muybridge.evaluation.features import Features, Frames, windows


@dataclass(frozen=True)
class Reading:
    """How a network wants to be fed.

    what       "clips": (b, 3, t, h, w), a row for each window of `frames` frames; "frames": (b, 3, h, w), a row for
               each frame
    side       rows and columns that pictures are scaled to; None: as they are
    scale      what black and white become
    arguments  keyword arguments of the call
    """

    what: Literal["clips", "frames"]
    frames: int = 16
    side: int | None = None
    scale: tuple[float, float] = (0.0, 255.0)
    arguments: Mapping[str, bool] = field(default_factory=dict)


I3D = Reading("clips", 16, 224, (-1.0, 1.0), {"rescale": False, "resize": False, "return_features": True})
"""The I3D of `i3d_torchscript.pt`, by which FVD is computed most often (Ge et al. 2024 compare its variants)."""
INCEPTION = Reading("frames", scale=(0.0, 255.0), arguments={"return_features": True})
"""The Inception of `inception-2015-12-05.pt`, which scales pictures itself."""
CLASSES = Reading("frames", scale=(0.0, 255.0), arguments={"no_output_bias": True})
"""The same network's probabilities of its classes, without the last bias, as inception scores are published."""


def foreign_features(path: Path, reading: Reading, batch: int = 8) -> Features:
    """Rows of features by the network in a TorchScript file. Such a file can run any code: open only what you trust.

    Raises ValueError if the file is missing or no TorchScript; when used, if the network refuses the clip or gives
    anything but finite rows.
    """
    if not path.is_file():
        raise ValueError(f"{path} does not exist: give the file of a network saved with torch.jit.save")
    try:
        net: torch.jit.ScriptModule = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        raise ValueError(f"{path} is not TorchScript ({_first_line(error)}): give what torch.jit.save wrote") from error

    @torch.inference_mode()
    def features(frames: Frames) -> Float[np.ndarray, "n d"]:
        rows = [_called(net, part, reading, path) for part in torch.split(_inputs(frames, reading), batch)]
        return torch.cat(rows).float().numpy()

    return features


def _inputs(frames: Frames, reading: Reading) -> Float[Tensor, "b 3 *t h w"]:
    low, high = reading.scale
    pixels = rearrange(torch.from_numpy(np.ascontiguousarray(frames)), "t h w c -> t c h w").float()
    if reading.side is not None:
        size = (reading.side, reading.side)
        pixels = interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
    scaled = low + (high - low) * pixels / 255
    if reading.what == "frames":
        return scaled
    if len(frames) < reading.frames:
        raise ValueError(
            f"the network looks at {reading.frames} frames, and a clip has {len(frames)}: give longer clips"
        )
    picked = torch.stack([scaled[window] for window in windows(len(frames), reading.frames)])
    return rearrange(picked, "b t c h w -> b c t h w")


def _called(net: torch.jit.ScriptModule, part: Tensor, reading: Reading, path: Path) -> Float[Tensor, "b d"]:
    try:
        rows: Tensor = net(part, **reading.arguments)
    except RuntimeError as error:
        shape = tuple(part.shape)
        raise ValueError(
            f"{path} refuses pixels of shape {shape} ({_first_line(error)}): give another Reading"
        ) from error
    if rows.ndim != 2 or len(rows) != len(part) or not rows.isfinite().all():
        found = "numbers that are not finite" if rows.ndim == 2 else f"the shape {tuple(rows.shape)}"
        raise ValueError(
            f"{path} gives {found} for {len(part)} inputs, not a row of features for each: check the Reading"
        )
    return rows


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
