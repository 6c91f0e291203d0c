"""Balls in a plane that move uniformly, in a parabola, or collide: the scenes of phyworld, rebuilt as published.

Source: Kang et al. 2024, "How Far is Video Generation from World Model: A Physical Law Perspective" (2411.02385), and
its code. A world of 10 x 10 units on white, 0.1 s a frame, 32 frames; ranges of speed and radius in and out of
distribution.

As published: ranges, grids, gravity, elasticity, time. Ours, and why:

- No Box2D: the three motions have closed forms. (Box2D steps by 0.01 s, which moves a parabola by less than 0.03.)
- A 33rd frame, since clips of ours have 1 + 4k; it is never measured.
- Every clip draws its own position. (The code of the paper seeds every file of 1,000 clips alike.)
- The paper does not say where balls start: here at the left, whole in view for 8 frames at least and in view for 24
  where the speed lets them. Collisions are head-on, 8 frames or more before the end of view on either side of the
  hit; large and fast balls have only 5 before it, more do not fit.
- The ball is red, the second one blue.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8

Law: TypeAlias = Literal["uniform", "parabola", "collision"]
Range: TypeAlias = Literal["in", "small", "large"]

LAWS: tuple[Law, ...] = ("uniform", "parabola", "collision")
WORLD = 10.0
"""Units that the shorter side of a picture shows; x to the right, y up, the origin in the lower left corner."""
STEP = 0.1
"""Seconds a frame."""
GRAVITY = 2.5
"""Units/second², downwards, in the parabola."""
FRAMES, MEASURED = 33, 32

SPEED: dict[Range, tuple[float, float]] = {"in": (1.0, 4.0), "small": (0.0, 0.8), "large": (4.5, 6.0)}
RADIUS: dict[Range, tuple[float, float]] = {"in": (0.7, 1.4), "small": (0.3, 0.6), "large": (1.5, 2.0)}
RADIUS_OF_TWO: dict[Range, tuple[float, float]] = {"in": (0.5, 1.5), "small": (0.3, 0.4), "large": (1.7, 2.0)}
"""Of balls that collide, as in the code; the paper's appendix has the ranges of one ball."""

GRIDS = {"30K": (300, 100), "300K": (1000, 300), "3M": (3000, 1000)}
"""Published training sets of one ball: so many speeds, so many radii."""
GRIDS_OF_TWO = {"30K": (21, 8), "300K": (41, 14), "3M": (71, 26)}
"""The same for each of two balls, before impossible collisions are left out; there is a (121, 41) as well."""

_AROUND = 8  # frames before and after a hit, and whole in view at the start
_IN_VIEW = 24  # frames
_CLOSING = 0.1  # least units/second at which two balls near each other
COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
CAPTIONS: dict[Law, str] = {
    "uniform": "a red ball rolls to the right",
    "parabola": "a red ball is thrown to the right",
    "collision": "a red ball rolls and hits a blue ball",
}


@dataclass(frozen=True)
class Scene:
    """Balls in the plane at time 0: radius, position and velocity of each, in units and seconds."""

    law: Law
    radius: Float[np.ndarray, " n"]
    position: Float[np.ndarray, "n 2"]
    velocity: Float[np.ndarray, "n 2"]

    @property
    def hit(self) -> float:
        """Seconds until two balls touch; infinite for one."""
        if len(self.radius) == 1:
            return math.inf
        gap = self.position[1, 0] - self.position[0, 0] - self.radius.sum()
        return float(gap / (self.velocity[0, 0] - self.velocity[1, 0]))

    def at(self, time: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t n 2"]:
        """Where the balls are: x0 + v t, with gravity in the parabola, and with exchanged momenta after the hit."""
        places: Float[np.ndarray, "t n 2"] = self.position + time[:, None, None] * self.velocity
        if self.law == "parabola":
            places[..., 1] -= 0.5 * GRAVITY * time[:, None] ** 2
        if len(self.radius) == 2:
            after = np.maximum(time - self.hit, 0)[:, None, None]
            places += after * (elastic(self.radius**2, self.velocity) - self.velocity)
        return places


def elastic(mass: Float[np.ndarray, "2"], velocity: Float[np.ndarray, "2 d"]) -> Float[np.ndarray, "2 d"]:
    """Velocities after a head-on elastic collision: each is mirrored at that of the centre of mass."""
    centre = mass @ velocity / mass.sum()
    after: Float[np.ndarray, "2 d"] = 2 * centre - velocity
    return after


def scene(law: Law, speed: Range, size: Range, rng: Random) -> Scene:
    """A scene with speeds and radii out of these ranges. A pair of balls that cannot collide in view is drawn anew."""
    if law != "collision":
        return _one(law, rng.uniform(*SPEED[speed]), rng.uniform(*RADIUS[size]), rng)
    while True:
        speeds = rng.uniform(*SPEED[speed]), rng.uniform(*SPEED[speed])
        radii = rng.uniform(*RADIUS_OF_TWO[size]), rng.uniform(*RADIUS_OF_TWO[size])
        if (found := _two(speeds, radii, rng)) is not None:
            return found


def _one(law: Law, speed: float, radius: float, rng: Random) -> Scene:
    """A ball that starts at the left; in the parabola within one unit of the top."""
    latest = min(WORLD - radius - _AROUND * STEP * speed, WORLD + radius - _IN_VIEW * STEP * speed)
    x = rng.uniform(radius, max(radius, latest))
    top = WORLD - radius
    y = rng.uniform(top - 1 if law == "parabola" else radius, top)
    return Scene(law, np.array([radius]), np.array([[x, y]]), np.array([[speed, 0.0]]))


def _two(speeds: tuple[float, float], radii: tuple[float, float], rng: Random) -> Scene | None:
    """Two balls that meet; None if they cannot do so in view with enough frames before and after."""
    closing, reach = sum(speeds), sum(radii)
    room = WORLD - reach  # centres start in view
    least = (5 if speeds[0] > SPEED["in"][1] else _AROUND) * STEP
    most = min(room / max(closing, 1e-9), (MEASURED - 1 - _AROUND) * STEP)
    if closing < _CLOSING or most < least:
        return None
    gap = closing * rng.uniform(least, most)
    left = rng.uniform(0, WORLD - reach - gap)
    y = rng.uniform(max(radii), WORLD - max(radii))
    places = np.array([[left, y], [left + reach + gap, y]])
    found = Scene("collision", np.array(radii), places, np.array([[speeds[0], 0.0], [-speeds[1], 0.0]]))
    x = found.at(np.array([found.hit + _AROUND * STEP]))[0, :, 0]
    return found if ((x > -found.radius) & (x < WORLD + found.radius)).all() else None


def coloured(cover: Float[np.ndarray, "t n h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """What is covered in the colour of its ball, the rest white."""
    paint = np.array(list(COLOURS.values())[: cover.shape[1]], np.float32) - 255
    light: Float[np.ndarray, "t h w 3"] = 255 + np.einsum("tnyx,nc->tyxc", cover, paint)
    codes: UInt8[np.ndarray, "t h w 3"] = np.rint(light).clip(0, 255).astype(np.uint8)
    return codes


def covered(
    balls: Scene, frames: int, height: int, width: int, fps: float
) -> tuple[Float[np.ndarray, "t n h w"], Float[np.ndarray, "t n 2"]]:
    """Share of every pixel that each disc covers, as if its edge were straight and upright there; and their places."""
    scale = min(height, width) / WORLD
    places = balls.at(np.arange(frames) / fps)
    x = ((np.arange(width) + 0.5 - width / 2) / scale + WORLD / 2).astype(np.float32)
    y = ((height / 2 - np.arange(height) - 0.5) / scale + WORLD / 2).astype(np.float32)
    across, up = x - places[..., 0, None], y - places[..., 1, None]
    away = np.sqrt(across[:, :, None, :] ** 2 + up[:, :, :, None] ** 2)
    inside = (balls.radius[:, None, None] - away) * scale
    return np.clip(inside + 0.5, 0, 1).astype(np.float32), places


def grid_scene(law: Law, grid: str, number: int) -> Scene:
    """Scene `number` of a published training set: a point of the grid (modulo its length), at a random place.

    A pair of balls that cannot collide in view gives way to the next of the grid.
    """
    rng = Random(f"phyworld {law} {grid} {number}")
    speeds, radii = axes(law, grid)
    if law != "collision":
        speed, radius = divmod(_scattered(number, len(speeds) * len(radii)), len(radii))
        return _one(law, speeds[speed], radii[radius], rng)
    for (v, r), (w, s) in _pairs(number, speeds, radii):
        if (found := _two((v, w), (r, s), rng)) is not None:
            return found
    raise AssertionError(f"no collision in the grid {grid}")


def axes(law: Law, grid: str) -> tuple[list[float], list[float]]:
    """Speeds and radii of a published training grid, both ends included. ValueError for a grid that is not."""
    grids, radius = (GRIDS_OF_TWO, RADIUS_OF_TWO) if law == "collision" else (GRIDS, RADIUS)
    if grid not in grids:
        raise ValueError(f"there is no grid {grid!r}: take one of {', '.join(grids)}")
    speeds, radii = grids[grid]
    return np.linspace(*SPEED["in"], speeds).tolist(), np.linspace(*radius["in"], radii).tolist()


def _scattered(number: int, total: int) -> int:
    """A permutation of the points of a grid in which neighbours in number are far apart: few clips span it, too."""
    stride = next(k for k in range(round(0.618 * total), total) if math.gcd(k, total) == 1)
    return number * stride % total


def _pairs(
    number: int, speeds: list[float], radii: list[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Points of the grid of two balls, from `number` on."""
    balls = list(product(speeds, radii))
    total = len(balls) ** 2
    for k in range(number, number + total):
        first, second = divmod(_scattered(k, total), len(balls))
        yield balls[first], balls[second]
