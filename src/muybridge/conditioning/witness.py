"""A witness: reads which objects a prompt names, looks at a picture's latent and names what stands there, and compares.

So a model can look at several drafts of a first frame and go on with the one that shows what was asked for (search over
noise with a verifier, Ma et al. 2501.09732). What it knows are kinds of objects: pairs of a colour and a shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

SMALLEST = 2
"""Places of the latent that an object fills at least; what is smaller is a speck."""


@dataclass(frozen=True)
class WitnessConfig:
    """Every number of a witness. A kind is colour * shapes + shape.

    objects  of a prompt that are told apart
    """

    channels: int
    text_width: int
    colours: int
    shapes: int
    objects: int = 5
    width: int = 96
    blocks: int = 5

    @property
    def kinds(self) -> int:
        return self.colours * self.shapes


class Witness(nn.Module):
    """Names what stands at each place of a picture, and what a prompt's tokens name."""

    def __init__(self, config: WitnessConfig) -> None:
        super().__init__()
        self.config = config
        self.picture_in = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(config.width) for _ in range(config.blocks))
        self.colours_out = nn.Conv2d(config.width, config.colours + 1, 1)
        self.shapes_out = nn.Conv2d(config.width, config.shapes, 1)
        self.colour = nn.Linear(config.text_width, config.colours + 1)
        self.shape = nn.Linear(config.text_width, config.shapes)

    def look(self, picture: Float[Tensor, "b c h w"]) -> tuple[Float[Tensor, "b k h w"], Float[Tensor, "b s h w"]]:
        """Scores of colour and shape at each place; the last colour is no object.

        They are told apart, so a colour that was never seen on a shape is recognised there.
        """
        x = self.picture_in(picture)
        for block in self.blocks:
            x = block(x)
        return self.colours_out(x), self.shapes_out(x)

    def objects(self, picture: Float[Tensor, "b c h w"]) -> list[list[Seen]]:
        """What stands in each picture: connected regions of one colour, the shape of each judged by all its places."""
        colours, shapes = self.look(picture)
        likeliest, shape = colours.argmax(dim=1), shapes.float().softmax(dim=1).movedim(1, -1)
        return [
            [Seen(colour, of[places].mean(dim=0)) for colour, places in regions(one.cpu(), self.config.colours)]
            for one, of in zip(likeliest, shape.cpu(), strict=True)
        ]

    def read(self, text: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b o c"], Float[Tensor, "b o s"]]:
        """Scores of colour and shape of each object that a prompt may name; the last colour is no object."""
        first = text[:, : self.config.objects]
        return self.colour(first), self.shape(first)

    def asked(self, text: Float[Tensor, "b n d"]) -> Bool[Tensor, "b k"]:
        """Which kinds a prompt names."""
        colour, shape = (scores.argmax(dim=-1) for scores in self.read(text))
        kind = torch.where(colour < self.config.colours, colour * self.config.shapes + shape, self.config.kinds)
        named: Tensor = F.one_hot(kind, self.config.kinds + 1).amax(dim=1).bool()
        return named[:, :-1]

    def mistakes(self, picture: Float[Tensor, "b c h w"], asked: Bool[Tensor, "b k"]) -> Float[Tensor, " b"]:
        """How far each picture is from what was asked: objects missing or too many, and a part of one for doubts.

        Where nothing is asked nothing is wrong.
        """
        found = [
            compared(seen, wanted.view(self.config.colours, self.config.shapes))
            for seen, wanted in zip(self.objects(picture), asked.cpu(), strict=True)
        ]
        return torch.tensor(found, device=picture.device)


@dataclass(frozen=True)
class Seen:
    """An object in a picture: its colour, and how likely it has each shape."""

    colour: int
    shapes: Float[Tensor, " s"]


def compared(seen: Sequence[Seen], wanted: Bool[Tensor, "c s"]) -> float:
    """Objects of `wanted` that lack and others that are there, and less than one for how unsure the shapes are."""
    if not bool(wanted.any()):
        return 0.0
    counts, surely = torch.zeros(wanted.shape), torch.zeros(wanted.shape)
    for one in seen:
        counts[one.colour, one.shapes.argmax()] += 1
        surely[one.colour] = torch.maximum(surely[one.colour], one.shapes)
    return float((counts - wanted.float()).abs().sum() + 0.99 * (1 - surely[wanted].mean()))


class _Block(nn.Module):
    """A residual block that sees three places a side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, x: Float[Tensor, "b d h w"]) -> Float[Tensor, "b d h w"]:
        out: Tensor = x + self.second(F.silu(self.first(F.silu(self.norm(x)))))
        return out


def regions(colours: Int[Tensor, "h w"], most: int) -> list[tuple[int, Bool[Tensor, "h w"]]]:
    """Connected regions (sides touch, corners do not) of one colour below `most`, of at least `SMALLEST` places."""
    left, found = colours.tolist(), []
    for row in range(len(left)):
        for column in range(len(left[0])):
            colour = left[row][column]
            if colour < most:
                places = _filled(left, row, column, most)
                if len(places) >= SMALLEST:
                    mask = torch.zeros(colours.shape, dtype=torch.bool)
                    mask[tuple(zip(*places, strict=True))] = True
                    found.append((colour, mask))
    return found


def _filled(left: list[list[int]], row: int, column: int, nothing: int) -> list[tuple[int, int]]:
    """The places of the region that (row, column) belongs to; in `left` they become `nothing`."""
    colour, waiting, places = left[row][column], [(row, column)], []
    left[row][column] = nothing
    while waiting:
        y, x = waiting.pop()
        places.append((y, x))
        for v, u in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
            if 0 <= v < len(left) and 0 <= u < len(left[0]) and left[v][u] == colour:
                left[v][u] = nothing
                waiting.append((v, u))
    return places
