"""Dynamics: where things go from where they are, one latent frame after the other.

A flow on whole plans is right about what happens, and a radius or two off where it ends. Physics is local: what is next
follows from where things are and how fast. A small network that makes one step, trained on where many of them lead, is
several times as exact. It is an interaction network (Battaglia et al. 1612.00222, Sanchez-Gonzalez et al. 2002.09405)
whose relations are attention: every thing sees every other, and what it says is by how much a motion does not go on.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.transformer.blocks import Block, normed
from muybridge.transformer.eye import Eye
from muybridge.types import TEMPORAL_STRIDE

PLACE = 5
"""Numbers of a place: x, y, logarithms of half the width, of half the height, and of the distance."""

FEWEST, MOST = 2, 4
"""Latent frames that it reads: two tell how fast things are, and more than four it has never met."""

_FINE = 4.0  # by how much larger differences of places are written than places
_READS, _STEPS = 2, 3  # blocks


@dataclass(frozen=True)
class DynamicsConfig:
    """Every number of a dynamics.

    kinds   how many colours and shapes things may have
    things  so many at most
    """

    channels: int
    text_width: int
    kinds: tuple[int, int]
    things: int
    width: int
    eye: int
    looks: int


class Dynamics(nn.Module):
    """What is known of some first frames, words, and what things are -> where they are, from first to last.

    First the known frames are read, all at once: from pictures or from places. What is found out by that of each thing
    and of the scene (how rough is the ground, does the camera turn) it keeps in mind while it steps.

    Places are written as numbers of about unit size (see `planner.written`), TEMPORAL_STRIDE of them a latent frame.
    """

    def __init__(self, config: DynamicsConfig) -> None:
        super().__init__()
        width, self.config = config.width, config
        moving = PLACE * TEMPORAL_STRIDE
        self.eye = Eye(config.channels, config.things, width, config.eye, config.looks)
        self.told_in = nn.Linear(moving, width)
        self.kind_in = nn.Linear(sum(config.kinds) + 1, width)
        self.text_in = nn.Linear(config.text_width, width)
        self.ago = nn.Linear(1, width)
        self.scene = nn.Parameter(0.02 * torch.randn(width))
        self.reading = nn.ModuleList(Block(width, width // 32, 4) for _ in range(_READS))
        self.read = nn.Linear(width, moving)
        self.motion_in = nn.Linear(2 * moving + PLACE, width)
        self.stepping = nn.ModuleList(Block(width, width // 32, 4) for _ in range(_STEPS))
        self.bends = nn.Linear(2 * moving, moving, bias=False)
        self.turns = nn.Linear(width, moving)
        for last in (self.read, self.bends, self.turns):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)

    def look(
        self, pictures: Float[Tensor, "b m c h w"]
    ) -> tuple[Float[Tensor, "b m k f"], Float[Tensor, "b m j d"], Float[Tensor, "b m j h w"]]:
        """Latent pictures: roughly where each thing is, what is seen of it and of the whole, and the eye's scores."""
        clips = len(pictures)
        seen, whole, scores = self.eye(pictures.flatten(0, 1))
        rows, columns = scores.shape[2:]
        there = torch.softmax(scores[:, :-1].flatten(2), dim=-1)
        y = (torch.arange(rows, device=there.device) + 0.5) / rows
        x = (torch.arange(columns, device=there.device) + 0.5) / columns
        grid = torch.stack([repeat(x, "w -> (h w)", h=rows), repeat(y, "h -> (h w)", w=columns)], dim=-1)
        with torch.autocast(there.device.type, enabled=False):  # in bfloat16 a place would be a tenth of a pixel off
            middle = there @ ((grid - grid.new_tensor(MIDDLE[:2])) / grid.new_tensor(SPREAD[:2]))
        roughly = repeat(F.pad(middle, (0, PLACE - 2)), "n k e -> n k (p e)", p=TEMPORAL_STRIDE)
        found = torch.cat([seen + self.told_in(roughly), whole[:, None]], dim=1)
        roughly, found, scores = (part.unflatten(0, (clips, -1)) for part in (roughly, found, scores))
        return roughly, found, scores

    def listen(self, places: Float[Tensor, "b m k f"]) -> Float[Tensor, "b m j d"]:
        """What `look` finds in pictures, of places alone: all else is as the eye sees it where there is nothing."""
        config = self.config
        seen, whole, _ = self.eye(places.new_zeros(1, config.channels, 1, 1))
        return torch.cat([seen + self.told_in(places), whole.expand(*places.shape[:2], 1, -1)], dim=2)

    def forward(
        self,
        roughly: Float[Tensor, "b m k f"],
        found: Float[Tensor, "b m j d"],
        what: Float[Tensor, "b k w"],
        text: Float[Tensor, "b n e"],
        frames: int,
    ) -> Float[Tensor, "b t k f"]:
        """Places in the m known frames and in those that follow, up to `frames`.

        roughly, found  see `look` and `listen`
        what            what things are and whether they are there
        """
        places, mind = self._read(roughly, found, what, text)
        while places.shape[1] < frames:
            step, mind = self._step(places[:, -2:], mind)
            places = torch.cat([places, step[:, None]], dim=1)
        return places

    def _read(
        self,
        roughly: Float[Tensor, "b m k f"],
        found: Float[Tensor, "b m j d"],
        what: Float[Tensor, "b k w"],
        text: Float[Tensor, "b n e"],
    ) -> tuple[Float[Tensor, "b m k f"], Float[Tensor, "b j d"]]:
        """Where things are, and what is to be kept in mind of each of them and of the scene."""
        m = found.shape[1]
        assert FEWEST <= m <= MOST, f"{m} known frames"
        ago = torch.arange(1 - m, 1, device=found.device).to(found)[:, None, None]
        kinds = torch.cat([self.kind_in(what), self.scene.expand(len(what), 1, -1).to(what)], dim=1)
        tokens = found + kinds[:, None] + self.ago(ago)
        x = torch.cat([tokens.flatten(1, 2), self.text_in(text)], dim=1)
        for block in self.reading:
            x = block(x)
        tokens = rearrange(x[:, : -text.shape[1]], "b (m j) d -> b m j d", m=m)
        return roughly + self.read(normed(tokens[:, :, :-1])).float(), tokens[:, -1]

    def _step(
        self, places: Float[Tensor, "b 2 k f"], mind: Float[Tensor, "b j d"]
    ) -> tuple[Float[Tensor, "b k f"], Float[Tensor, "b j d"]]:
        """The latent frame after two others: each thing goes on at its speed, and by what is said of it, otherwise."""
        points = rearrange(places, "b t k (p e) -> b k (t p) e", e=PLACE)
        last = points[:, :, -1:]
        speed = (last - points[:, :, -1 - TEMPORAL_STRIDE, None]) / TEMPORAL_STRIDE
        ahead = torch.arange(1, TEMPORAL_STRIDE + 1, device=places.device).to(places)[:, None]
        motion = _FINE * (points - last).flatten(2)
        about = self.motion_in(torch.cat([motion, last.flatten(2)], dim=-1))
        x = normed(mind) + F.pad(about, (0, 0, 0, 1))
        for block in self.stepping:
            x = block(x)
        otherwise = self.bends(motion).float() + self.turns(normed(x[:, :-1])).float()
        return (last + ahead * speed).flatten(2) + otherwise / _FINE, x


# Middle and spread that the simulator's tracks have, roughly: x, y, log of half the width and height, log of metres.
MIDDLE = (0.5, 0.5, -2.3, -2.3, 1.15)
SPREAD = (0.25, 0.2, 0.4, 0.4, 0.25)
