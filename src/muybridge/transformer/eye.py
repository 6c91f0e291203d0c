"""The eye: from a latent picture to what is seen of each thing, for what foresees where things go."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.transformer.model import PLACE_FREQUENCIES, places


class Eye(nn.Module):
    """A latent picture -> for each thing where it is seen and what it looks like there, and the same of the whole.

    What a thing is looked for by is a score at each place: the middle of the places where it is high (the spatial
    softmax of Finn et al. 1509.06113) is a position at once. Attention over tokens would have to learn to read one.
    """

    def __init__(self, channels: int, things: int, width: int, inner: int, looks: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(channels, inner, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.GroupNorm(8, inner), nn.SiLU(), nn.Conv2d(inner, inner, 3, padding=1))
            for _ in range(looks)
        )
        self.scores = nn.Conv2d(inner, things + 1, 1)
        self.out = nn.Linear(inner + 4 * PLACE_FREQUENCIES + 1, width)
        self.whole = nn.Linear(inner, width)

    def forward(
        self, picture: Float[Tensor, "n c h w"]
    ) -> tuple[Float[Tensor, "n k d"], Float[Tensor, "n d"], Float[Tensor, "n j h w"]]:
        """Of each thing and of the whole; and the scores, the last of which is that there is nothing."""
        x = self.enter(picture)
        for block in self.blocks:
            x = x + block(x)
        scores = self.scores(x).float()
        features = rearrange(x, "n e h w -> n (h w) e").float()
        rows, columns = picture.shape[2:]
        at = places(rows, columns, picture.device).expand(picture.shape[0], -1, -1)
        surely = scores.log_softmax(dim=1)[:, :-1].flatten(2)
        there = torch.softmax(scores[:, :-1].flatten(2), dim=-1)
        pooled = [there @ features, there @ at, surely.amax(dim=-1, keepdim=True)]
        return self.out(torch.cat(pooled, dim=-1)), self.whole(features.mean(dim=1)), scores
