"""The Material of phyworld: balls in a plane, with the speeds and radii of a published training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from muybridge.data.material import THINGS, Seen, Shape, Tracked
from muybridge.data.naming import COLOURS, SHAPES
from muybridge.simulation.balls import CAPTIONS, LAWS, WORLD, Law, Scene, coloured, covered, grid_scene
from muybridge.simulation.balls import COLOURS as PAINT
from muybridge.simulation.captions import words


@dataclass(frozen=True)
class Balls:
    """Scenes of laws, which take turns, with the speeds and radii of a published grid ("30K", "300K" or "3M").

    Clip n is about law n modulo the number of laws. No task of `evaluation.phyworld` is among them: those are drawn
    from between the points of the grids.
    """

    laws: tuple[Law, ...] = LAWS
    grid: str = "30K"
    grammatical: bool = False
    classes: int = len(COLOURS) * len(SHAPES)

    @property
    def name(self) -> str:
        return f"phyworld's {', '.join(self.laws)}, {self.grid}"

    @property
    def identity(self) -> str:
        return self.name

    def clip(self, number: int, shape: Shape) -> Seen:
        balls = self.scene(number)
        cover, _ = covered(balls, shape.frames, shape.height, shape.width, shape.fps)
        inside, numbers = cover > 0.5, 1 + _colours(balls) * len(SHAPES) + SHAPES.index("ball")
        classes = (inside * numbers[:, None, None]).max(axis=1).astype(np.uint8)
        told = tracked(balls, shape)
        moving = np.asarray(inside.any(axis=1))
        return Seen(coloured(cover), moving, told.captions, shape.fps, classes, told.place, told.kind)

    def tracked(self, number: int, shape: Shape) -> Tracked:
        """Of the clip of that number, without its pictures."""
        return tracked(self.scene(number), shape)

    def words(self) -> frozenset[str]:
        return frozenset(word for law in self.laws for word in words(CAPTIONS[law]))

    def scene(self, number: int) -> Scene:
        """The scene of a clip. ValueError for a grid that was not published."""
        return grid_scene(self._law(number), self.grid, number // len(self.laws))

    def _law(self, number: int) -> Law:
        return self.laws[number % len(self.laws)]


_AWAY = 3.0
"""Metres, about the distance of what stands on a table: there is none in a plane."""


def _colours(balls: Scene) -> Int64[np.ndarray, " n"]:
    return np.array([COLOURS.index(colour) for colour in list(PAINT)[: len(balls.radius)]])


def tracked(balls: Scene, shape: Shape) -> Tracked:
    """Each ball at the number of its colour, as tracks of worlds have it. They are all as far away."""
    size, colours = np.array([shape.width, shape.height]), _colours(balls)
    unit, places = min(size) / WORLD, balls.at(np.arange(shape.frames) / shape.fps)
    place, kind = np.zeros((shape.frames, THINGS, 5), np.float32), np.full((THINGS, 2), -1)
    place[:, colours, :2] = (places - WORLD / 2) * (1, -1) * unit / size + 0.5
    place[:, colours, 2:4] = balls.radius[:, None] * unit / size
    place[:, colours, 4] = _AWAY
    kind[colours] = np.stack([colours, np.full_like(colours, SHAPES.index("ball"))], axis=1)
    return Tracked(place, kind, (CAPTIONS[balls.law],))
