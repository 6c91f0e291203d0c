"""Tracks as the transformer reads them: what each token of a frame is told of the things that pass it.

A token hears of what comes within a token of it, and of that alone: how far away the middle is and how large the thing,
at each of the pixel frames that its latent frame stands for, what it is, and how much of it lies behind others.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.types import TEMPORAL_STRIDE, Tracks

REACH = 1.5
"""Tokens from a thing's rectangle to the middle of the farthest token that hears of it, ever less on the way there."""

_KIND = 16
_FARTHEST = 8.0  # tokens; the numbers of what is farther away are not larger


class TrackEmbedding(nn.Module):
    """(tracks, rows and columns of tokens) -> what is added to the tokens; at first nothing.

    kinds  how many colours and shapes there are
    """

    def __init__(self, width: int, kinds: tuple[int, int], hidden: int = 128) -> None:
        super().__init__()
        colours, shapes = kinds
        self.colour, self.shape = nn.Embedding(colours, _KIND), nn.Embedding(shapes, _KIND)
        self.numbers = nn.Linear(5 * TEMPORAL_STRIDE + 1, hidden)
        self.kind = nn.Linear(2 * _KIND, hidden, bias=False)
        self.hidden = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, width, bias=False)
        self.told = nn.Parameter(torch.zeros(width))
        nn.init.zeros_(self.out.weight)

    def forward(self, tracks: Tracks, rows: int, columns: int) -> Float[Tensor, "b t s d"]:
        place = tracks.place.float()
        middles = _middles(rows, columns, place)
        size = middles[-1] + 0.5  # numbers would be fixed in a graph
        away = (place[..., :2] * size)[:, :, None] - middles[:, None, None]
        half = (place[..., 2:4] * size)[:, :, None].expand_as(away)
        beside = (away.abs() - half).amax(dim=-1).amin(dim=3)  # (b t s k), at the frame where it comes nearest
        near = (REACH - beside).clamp(0, 1) * tracks.is_there[:, None, None]
        depth = place[..., 4].clamp_min(0.1).log()
        before = depth.mean(dim=2)[:, :, None, :] < depth.mean(dim=2)[:, :, :, None]
        covered = (near[:, :, :, None] * before[:, :, None]).amax(dim=-1)
        farther = depth[:, :, None, ..., None].expand(*away.shape[:-1], 1)
        numbers = torch.cat([away, half, farther], dim=-1).clamp(-_FARTHEST, _FARTHEST)
        numbers = torch.cat([numbers.movedim(3, -2).flatten(-2), covered[..., None]], dim=-1)
        colour, shape = tracks.kind.clamp_min(0).unbind(dim=-1)
        kind = self.kind(torch.cat([self.colour(colour), self.shape(shape)], dim=-1))
        seen = F.silu(self.hidden(F.silu(self.numbers(numbers) + kind[:, None, None])))
        told: Tensor = self.out((seen * near[..., None]).sum(dim=3))
        return told + self.told * tracks.is_there.any(dim=1)[:, None, None, None]


def _middles(rows: int, columns: int, like: Tensor) -> Float[Tensor, "s 2"]:
    """x and y of the middles of a frame's tokens, in tokens."""
    y, x = torch.meshgrid(
        torch.arange(rows, device=like.device) + 0.5, torch.arange(columns, device=like.device) + 0.5, indexing="ij"
    )
    return torch.stack([x, y], dim=-1).flatten(0, 1).to(like)
