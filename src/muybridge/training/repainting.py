"""The same pictures in other colours, so that what a thing's form is can be learnt from its form alone."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.tokenizer.autoencoder import VideoAutoencoder

LEAST_TURN = math.pi / 4
"""No hue is turned by less, so no object keeps the colour that it had."""


def repainted(
    pictures: Float[Tensor, "b c h w"], chance: Float[Tensor, "b 2"], autoencoder: VideoAutoencoder
) -> Float[Tensor, "b c h w"]:
    """Latents of the same pictures in other hues, at another brightness (half to one and a half of what it was).

    chance  from 0 to 1: of all turns which, of all brightnesses which
    """
    angle = LEAST_TURN + chance[:, 0] * (2 * math.pi - 2 * LEAST_TURN)
    rgb = (autoencoder.decode(pictures[:, None])[0][:, 0].float() + 1) / 2
    rgb = torch.einsum("bij,bjhw->bihw", hue_turn(angle), rgb) * (0.5 + chance[:, 1])[:, None, None, None]
    return autoencoder.encode((2 * rgb - 1).clamp(-1, 1)[:, None])[0][:, 0].float()


def hue_turn(angle: Float[Tensor, " b"]) -> Float[Tensor, "b 3 3"]:
    """Matrices that turn colours about the greys by angles in radians (Rodrigues' formula); greys stay as they are."""
    along = torch.full((3, 3), 1 / 3)
    across = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]) / math.sqrt(3)
    cos, sin = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return along.to(angle) + cos * (torch.eye(3) - along).to(angle) + sin * across.to(angle)
