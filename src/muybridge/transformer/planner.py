"""The planner: words and the frames that are known -> tracks, before there is a picture of what they tell of.

What goes where is a few hundred numbers, and a picture of it some ten thousand. A small network that sees only the few
learns from as many simulated worlds as one likes what falls, rolls, collides and hides; the large one then paints what
is told (motion first, as VideoJAM of Chefer et al. 2502.02492 and Motion-I2V of Shi et al. 2401.15977 have it, with
tracks in the place of flow).

It is a flow on tracks: noisy tracks, a level for each of their tokens, and what is clean beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.transformer.blocks import JointBlock
from muybridge.transformer.model import BASE_FPS, PLACE_FREQUENCIES, LevelEmbedding, gist, places
from muybridge.transformer.rope import rotations
from muybridge.types import TEMPORAL_STRIDE, Streams, Tracks

SHOWN = 3
"""Known frames that are looked at, the last so many: what is how fast where is seen from as few."""

_MOVING = 5 * TEMPORAL_STRIDE


@dataclass(frozen=True)
class PlannerConfig:
    """Every number of a planner. `patch` latent places a side make one token of a picture.

    kinds   how many colours and shapes things may have
    things  so many at most
    """

    channels: int
    text_width: int
    kinds: tuple[int, int]
    things: int = 6
    patch: int = 4
    width: int = 256
    layers: int = 6
    heads: int = 4
    expansion: int = 4
    text_expansion: int = 2

    @property
    def numbers(self) -> int:
        """Numbers of a token: where a thing is while a latent frame lasts, what it is, and whether it is there."""
        return _MOVING + sum(self.kinds) + 1


class Planner(nn.Module):
    """(noisy tracks, level of each token, clean streams) -> the tracks themselves, as numbers (see `written`)."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tracks_in = nn.Linear(config.numbers, width)
        self.slot = nn.Parameter(0.02 * torch.randn(config.things, width))
        self.text_in = nn.Linear(config.text_width, width)
        self.picture_in = nn.Linear(config.channels * config.patch**2, width)
        self.place_in = nn.Linear(4 * PLACE_FREQUENCIES, width, bias=False)
        self.unseen = nn.Parameter(torch.zeros(width))
        self.time_in = nn.Linear(2 * _TIMES, width, bias=False)
        self.level = LevelEmbedding(width, config.text_width)
        sizes = (width, config.heads, width // config.heads, config.expansion, config.text_expansion)
        self.blocks = nn.ModuleList(JointBlock(*sizes, last=i == config.layers - 1) for i in range(config.layers))
        self.out = nn.Linear(width, config.numbers)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, x: Float[Tensor, "b t k f"], level: Float[Tensor, "b t k"], streams: Streams
    ) -> Float[Tensor, "b t k f"]:
        t, k = x.shape[1:3]
        when = torch.arange(t, device=x.device) * (BASE_FPS / streams.fps)[:, None]
        tokens = rearrange(self.tracks_in(x) + self.slot[:k], "b t k d -> b (t k) 1 d")
        beside = self._beside(streams, when)
        modulation, _ = self.level(rearrange(level, "b t k -> b (t k)"), gist(streams.text, streams.text_mask))
        slots = torch.arange(k, device=x.device, dtype=when.dtype)
        position = torch.stack(
            [
                repeat(when, "b t -> b (t k)", k=k),
                repeat(slots, "k -> b (t k)", b=len(x), t=t),
                torch.zeros(len(x), t * k, device=x.device),
            ],
            dim=-1,
        )
        turn = rotations(position, self.config.width // self.config.heads)
        for block in self.blocks:
            tokens, beside = block(tokens, beside, modulation, turn, None)
        out: Tensor = self.out(F.rms_norm(tokens, tokens.shape[-1:], eps=1e-6))
        return rearrange(out, "b (t k) 1 f -> b t k f", k=k)

    def _beside(self, streams: Streams, when: Float[Tensor, "b t"]) -> Float[Tensor, "b n d"]:
        """The words and the last known frames as tokens; where fewer than `SHOWN` are known, that nothing is seen."""
        assert streams.text_mask is None, "a planner reads words without a mask"
        words: Tensor = self.text_in(streams.text)
        order = torch.arange(1, streams.is_known.shape[1] + 1, device=words.device)
        last, frames = (streams.is_known * order).topk(min(SHOWN, len(order)))
        shown = torch.gather(streams.known, 1, frames[..., None, None, None].expand(-1, -1, *streams.known.shape[2:]))
        p = self.config.patch
        shown = F.pad(shown, (0, -shown.shape[4] % p, 0, -shown.shape[3] % p))
        rows, columns = shown.shape[3] // p, shown.shape[4] // p
        patches = rearrange(shown.float(), "b t c (h p) (w q) -> b t (h w) (c p q)", p=p, q=p)
        angle = torch.gather(when, 1, frames)[..., None] * _frequencies(words.device)
        time = self.time_in(torch.cat([angle.sin(), angle.cos()], dim=-1))[:, :, None]
        pictures = self.picture_in(patches) + self.place_in(places(rows, columns, words.device)) + time
        pictures = torch.where(last[..., None, None] > 0, pictures, self.unseen.to(pictures))
        return torch.cat([words, rearrange(pictures, "b t s d -> b (t s) d").to(words)], dim=1)


_TIMES = 16


def _frequencies(device: torch.device) -> Float[Tensor, " f"]:
    return torch.exp(-math.log(100.0) / _TIMES * torch.arange(_TIMES, device=device))


# Middle and spread that the simulator's tracks have, roughly: x, y, log of half the width and height, log of metres.
_MIDDLE = (0.5, 0.5, -2.3, -2.3, 1.15)
_SPREAD = (0.25, 0.2, 0.4, 0.4, 0.25)
_LEAST, _MOST = (-1.0, -1.0, -4.0, -4.0, -1.0), (2.0, 2.0, 0.7, 0.7, 3.0)


def written(tracks: Tracks, config: PlannerConfig) -> Float[Tensor, "b t k f"]:
    """Tracks as the numbers that the planner's noise is added to, of about unit size."""
    place = tracks.place.float()
    place = torch.cat([place[..., :2], place[..., 2:].clamp_min(1e-3).log()], dim=-1)
    place = torch.minimum(torch.maximum(place, place.new_tensor(_LEAST)), place.new_tensor(_MOST))
    place = (place - place.new_tensor(_MIDDLE)) / place.new_tensor(_SPREAD)
    place = rearrange(place, "b t p k e -> b t k (p e)") * tracks.is_there[:, None, :, None]
    one_hot = [F.one_hot(of.clamp_min(0), n) for of, n in zip(tracks.kind.unbind(-1), config.kinds, strict=True)]
    kind = torch.cat([*one_hot, torch.zeros_like(one_hot[0][..., :1])], dim=-1).float() * tracks.is_there[..., None]
    kind[..., -1] = tracks.is_there.float()
    return torch.cat([place, repeat(2 * kind - 1, "b k f -> b t k f", t=place.shape[1])], dim=-1)


def told(numbers: Float[Tensor, "b t k f"], config: PlannerConfig) -> Tracks:
    """The tracks that numbers stand for: what a thing is, all frames together say."""
    place = rearrange(numbers[..., :_MOVING].float(), "b t k (p e) -> b t p k e", p=TEMPORAL_STRIDE)
    place = place * place.new_tensor(_SPREAD) + place.new_tensor(_MIDDLE)
    place = torch.cat([place[..., :2], place[..., 2:].exp()], dim=-1)
    colour, shape, there = torch.split(numbers[..., _MOVING:].float().mean(dim=1), [*config.kinds, 1], dim=-1)
    return Tracks(place, torch.stack([colour.argmax(-1), shape.argmax(-1)], dim=-1), there[..., 0] > 0)
