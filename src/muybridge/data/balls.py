"""The Material of phyworld: balls in a plane, with the speeds and radii of a published training set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muybridge.data.material import Seen, Shape
from muybridge.simulation.balls import CAPTIONS, LAWS, Law, Scene, draw, grid_scene
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
    classes: int = 0

    @property
    def name(self) -> str:
        return f"phyworld's {', '.join(self.laws)}, {self.grid}"

    @property
    def identity(self) -> str:
        return self.name

    def clip(self, number: int, shape: Shape) -> Seen:
        rgb = draw(self.scene(number), shape.frames, shape.height, shape.width, shape.fps)
        moving = np.asarray((rgb < 128).any(axis=-1))
        return Seen(rgb, moving, (CAPTIONS[self._law(number)],), shape.fps)

    def words(self) -> frozenset[str]:
        return frozenset(word for law in self.laws for word in words(CAPTIONS[law]))

    def scene(self, number: int) -> Scene:
        """The scene of a clip. ValueError for a grid that was not published."""
        return grid_scene(self._law(number), self.grid, number // len(self.laws))

    def _law(self, number: int) -> Law:
        return self.laws[number % len(self.laws)]
