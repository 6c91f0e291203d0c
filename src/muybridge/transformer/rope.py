"""Rotary position embedding over time, rows and columns (Su et al. 2104.09864, axial)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

SHARES = (0.25, 0.375, 0.375)
"""How a head's rotation planes are divided among time, rows and columns."""


def rotations(
    positions: Float[Tensor, "b n 3"], head_width: int, base: float = 100.0
) -> tuple[Float[Tensor, "b 1 n r"], Float[Tensor, "b 1 n r"]]:
    """Cosine and sine by which each of a head's r = head_width / 2 planes turns, at (time, row, column) `positions`.

    The base is small because clips are: wavelengths run from 2 pi to 2 pi x 100 tokens.
    """
    planes = head_width // 2
    shares = [round(planes * share) for share in SHARES[:2]]
    shares.append(planes - sum(shares))
    angles = []
    for axis, share in enumerate(shares):
        frequency = base ** -(torch.arange(share, device=positions.device, dtype=torch.float32) / share)
        angles.append(positions[:, :, axis, None] * frequency)
    angle = torch.cat(angles, dim=-1)[:, None]
    return angle.cos(), angle.sin()


def rotate(x: Float[Tensor, "b k n e"], turn: tuple[Tensor, Tensor]) -> Float[Tensor, "b k n e"]:
    """`x` with each of its planes (i, i + e/2) turned. Dot products then depend on differences of position alone."""
    cos, sin = turn[0].to(x.dtype), turn[1].to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
