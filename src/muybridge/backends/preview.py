"""A rough picture of a latent whose autoencoder is too slow to ask at every step."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from muybridge.types import Condition, Latent


def false_colours(latents: Tensor, condition: Condition) -> Latent | None:
    """The three strongest components of a latent as red, green and blue: shapes and motion are right, colours are not.

    latents  (b, c, t, h, w) or (b, t, c, h, w), the channels told by being nearest to none of the clip's proportions;
             None for layouts that are not known (latents packed into tokens)
    """
    if latents.ndim != 5:
        return None
    clip = latents[0].float()
    rows = clip.shape[-2] / clip.shape[-1]
    if not 0.5 < rows / (condition.height / condition.width) < 2:
        return None
    channels_first = clip.shape[0] in (4, 8, 12, 16, 24, 32, 48, 64, 128)
    clip = clip if channels_first else rearrange(clip, "t c h w -> c t h w")
    points = rearrange(clip, "c t h w -> (t h w) c")
    points = points - points.mean(dim=0)
    _, _, axes = torch.linalg.svd(points[:: max(1, len(points) // 4096)], full_matrices=False)
    axes = axes[:3]
    colours = points @ axes.T
    colours = colours / colours.std(dim=0).clamp(min=1e-6) / 2
    shape = {"t": clip.shape[1], "h": clip.shape[2], "w": clip.shape[3]}
    frames = rearrange(colours, "(t h w) c -> 1 t c h w", **shape)
    padded = torch.cat([frames, frames[:, :, :1].expand(-1, -1, 3 - frames.shape[2], -1, -1)], dim=2)
    return Latent(padded.clamp(-1, 1).cpu(), condition.fps)
