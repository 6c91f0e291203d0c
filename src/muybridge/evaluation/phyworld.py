"""phyworld: balls in a plane that move uniformly, in a parabola, or collide, with everything published rebuilt.

Source: Kang et al. 2024, "How Far is Video Generation from World Model: A Physical Law Perspective" (2411.02385), and
its code. A world of 10 x 10 units on white, 0.1 s a frame, 32 frames; ranges of speed and radius in and out of
distribution; what is measured is the error of the velocity that is parsed from the pixels.

As published: ranges, grids, gravity, elasticity, time, parse and error. Ours, and why:

- No Box2D: the three motions have closed forms. (Box2D steps by 0.01 s, which moves a parabola by less than 0.03.)
- A 33rd frame, since clips of ours have 1 + 4k; it is never measured.
- 5 known frames (1 + 4 is the least that shows a velocity) where the paper has 3; errors begin after the known ones.
- Every clip draws its own position. (The code of the paper seeds every file of 1,000 clips alike.)
- The paper does not say where balls start: here at the left, whole in view for 8 frames at least and in view for 24
  where the speed lets them. Collisions are head-on, 8 frames or more before the end of view on either side of the
  hit; large and fast balls have only 5 before it, more do not fit.
- The ball is red, the second one blue: the rule for red, R > 127 and G, B < 127, is used for blue with the letters
  changed. Pictures of another size than the paper's 256 x 256 are first brought to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from muybridge.data.material import Seen, Shape
from muybridge.evaluation.suite import Split, Task, Verdict
from muybridge.simulation import Clip, Contact, ObjectInfo, States, World
from muybridge.simulation.cameras import CameraMove
from muybridge.simulation.captions import words
from muybridge.simulation.scene import Camera, Look
from muybridge.simulation.things import Thing

Law: TypeAlias = Literal["uniform", "parabola", "collision"]
Range: TypeAlias = Literal["in", "small", "large"]

LAWS: tuple[Law, ...] = ("uniform", "parabola", "collision")
WORLD = 10.0
"""Units that the shorter side of a picture shows; x to the right, y up, the origin in the lower left corner."""
STEP = 0.1
"""Seconds a frame."""
GRAVITY = 2.5
"""Units/second², downwards, in the parabola."""
FRAMES, MEASURED, KNOWN = 33, 32, 5
PIXELS = 256
"""Side of the paper's pictures, in which balls are parsed."""

SPEED: dict[Range, tuple[float, float]] = {"in": (1.0, 4.0), "small": (0.0, 0.8), "large": (4.5, 6.0)}
RADIUS: dict[Range, tuple[float, float]] = {"in": (0.7, 1.4), "small": (0.3, 0.6), "large": (1.5, 2.0)}
RADIUS_OF_TWO: dict[Range, tuple[float, float]] = {"in": (0.5, 1.5), "small": (0.3, 0.4), "large": (1.7, 2.0)}
"""Of balls that collide, as in the code; the paper's appendix has the ranges of one ball."""

GRIDS = {"30K": (300, 100), "300K": (1000, 300), "3M": (3000, 1000)}
"""Published training sets of one ball: so many speeds, so many radii."""
GRIDS_OF_TWO = {"30K": (21, 8), "300K": (41, 14), "3M": (71, 26)}
"""The same for each of two balls, before impossible collisions are left out; there is a (121, 41) as well."""

PASS = 0.1
"""Units/second: between what the paper's models reach in distribution (0.01 to 0.02) and out of it (0.3 to 0.4)."""

PUBLISHED = {"uniform": 0.0099, "parabola": 0.0210, "collision": 0.0117}
"""Floor of the velocity error: the paper's own parse of its own videos, 256 x 256."""

_AROUND = 8  # frames before and after a hit, and whole in view at the start
_IN_VIEW = 24  # frames
_CLOSING = 0.1  # least units/second at which two balls near each other
_COLOURS = {"red": (255, 0, 0), "blue": (0, 0, 255)}
_CAPTIONS: dict[Law, str] = {
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


def draw(balls: Scene, frames: int, height: int, width: int, fps: float) -> UInt8[np.ndarray, "t h w 3"]:
    """Discs on white, without jagged edges; see `_covered`."""
    return _coloured(_covered(balls, frames, height, width, fps)[0])


def _coloured(cover: Float[np.ndarray, "t n h w"]) -> UInt8[np.ndarray, "t h w 3"]:
    """What is covered in the colour of its ball, the rest white."""
    paint = np.array(list(_COLOURS.values())[: cover.shape[1]], np.float32) - 255
    light: Float[np.ndarray, "t h w 3"] = 255 + np.einsum("tnyx,nc->tyxc", cover, paint)
    codes: UInt8[np.ndarray, "t h w 3"] = np.rint(light).clip(0, 255).astype(np.uint8)
    return codes


def _covered(
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


def as_clip(balls: Scene, seed: int, side: int) -> Clip:
    """A scene with its truth as the simulator's clips have it: balls in the plane y = 0, seen from far along +y.

    Metres are units, z is the paper's y. `world` says which balls there are; there is no ground for `film` to show.
    """
    cover, places = _covered(balls, FRAMES, side, side, 1 / STEP)
    scale, distance, count = side / WORLD, 10 * WORLD, len(balls.radius)
    velocity = np.gradient(places, STEP, axis=0)
    half, focal = WORLD / 2, scale * distance
    pose = np.array([[1.0, 0, 0, half], [0, 0, 1, -distance], [0, -1, 0, half], [0, 0, 0, 1]])
    focus = np.array([[focal, 0, side / 2], [0, focal, side / 2], [0, 0, 1]])
    own = cover > 0.5
    instance = sum((own[:, i] * np.uint8(i + 1) for i in range(count)), np.zeros((FRAMES, side, side), np.uint8))
    way = np.diff(places, axis=0) * (scale, -scale)
    flow = sum(own[:-1, i, ..., None] * way[:, i, None, None] for i in range(count))
    things = tuple(_thing(balls, i) for i in range(count))
    hit = int(balls.hit / STEP) if balls.hit < (FRAMES - 1) * STEP else FRAMES
    return Clip(
        seed=seed,
        fps=1 / STEP,
        rgb=_coloured(cover),
        depth=np.full((FRAMES, side, side), distance, np.float32),
        flow=np.asarray(flow, np.float32),
        instance=instance,
        normal=np.broadcast_to(np.array([0, -1, 0], np.float32), (FRAMES, side, side, 3)),
        camera=Camera(np.tile(pose, (FRAMES, 1, 1)), np.tile(focus, (FRAMES, 1, 1))),
        objects=tuple(ObjectInfo(f"{t.colour} ball", "ball", t.colour, t.size, t.extents, False) for t in things),
        states=States(
            _upright(places),
            np.tile([1.0, 0.0, 0.0, 0.0], (FRAMES, count, 1)),
            _upright(velocity),
            np.zeros((FRAMES, count, 3)),
            own.any(axis=(2, 3)).astype(float),
        ),
        events=(Contact(hit, 0, 1),) if hit < FRAMES else (),
        captions=(_CAPTIONS[balls.law],),
        world=World(
            seed,
            things,
            (),
            CameraMove("static", 0.0, 0.0, 0.0, distance, (WORLD / 2, 0.0, WORLD / 2)),
            _white(),
            GRAVITY if balls.law == "parabola" else 0.0,
        ),
    )


def _thing(balls: Scene, i: int) -> Thing:
    (x, y), (vx, vy), radius = balls.position[i].tolist(), balls.velocity[i].tolist(), float(balls.radius[i])
    motion = {"uniform": "roll", "parabola": "throw", "collision": "collide"}[balls.law]
    return Thing(
        "ball",
        list(_COLOURS)[i],
        "medium",
        (radius, 0.0, 0.0),
        (x, 0.0, y),
        velocity=(vx, 0.0, vy),
        motion=motion,
        other=1 - i if balls.law == "collision" else None,
        friction=0.0,
        rolling=0.0,
        restitution=1.0,
    )


def _upright(plane: Float[np.ndarray, "t n 2"]) -> Float[np.ndarray, "t n 3"]:
    return np.stack([plane[..., 0], np.zeros(plane.shape[:2]), plane[..., 1]], axis=-1)


def _white() -> Look:
    """Evenly lit, with nothing but white around."""
    one, two = np.ones(3), np.ones((2, 3))
    return Look(np.array([0.0, -1.0, 0.0]), 0.0, one, one, one, two, "plain", 1.0, two, 1.0, 2.0)


# --- what is measured ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parsed:
    """A ball as the pixels have it, in units: centre, and radius of a disc of that area (0 where there is none)."""

    centre: Float[np.ndarray, "t 2"]
    radius: Float[np.ndarray, " t"]


def parse(frames: UInt8[np.ndarray, "t h w 3"], colour: str) -> Parsed:
    """The ball of a colour: mean place and area of the pixels whose own channel is above 127 and the others below.

    A ball that is not there is put where the way from the middle through its last place meets the border, as the paper
    puts it "at the border"; one that never was there is put in the corner at the origin.
    """
    channel = _COLOURS[colour].index(255)
    bright = _as_published(frames) > 127
    mask = bright[..., channel] & ~bright[..., (channel + 1) % 3] & ~bright[..., (channel + 2) % 3]
    height, width = mask.shape[1:]
    scale = min(height, width) / WORLD
    area = mask.sum(axis=(1, 2))
    x = mask.sum(axis=1) @ (np.arange(width) + 0.5 - width / 2) / np.maximum(area, 1) / scale + WORLD / 2
    y = mask.sum(axis=2) @ (height / 2 - np.arange(height) - 0.5) / np.maximum(area, 1) / scale + WORLD / 2
    centre, last = np.stack([x, y], axis=1), np.zeros(2)
    for t in range(len(frames)):
        if area[t]:
            last = centre[t]
        else:
            centre[t] = _border(last)
    return Parsed(centre, np.sqrt(area / math.pi) / scale)


def _as_published(frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t rows columns 3"]:
    """Enlarged or reduced until the shorter side has 256 pixels."""
    height, width = frames.shape[1:3]
    if min(height, width) == PIXELS:
        return frames
    size = (round(width * PIXELS / min(height, width)), round(height * PIXELS / min(height, width)))
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC)) for frame in frames])


def _border(place: Float[np.ndarray, "2"]) -> Float[np.ndarray, "2"]:
    way = place - WORLD / 2
    stretched: Float[np.ndarray, "2"] = WORLD / 2 + way * (WORLD / 2) / max(float(np.abs(way).max()), 1e-9)
    return stretched


def errors(frames: UInt8[np.ndarray, "t h w 3"], balls: Scene, known: int = KNOWN) -> dict[str, float]:
    """The published errors of a clip, by name; every speed in units/second.

    A frame is measured from the last known one on, while the truth has the ball whole in view. Source: the paper's
    `evaluate.py`: v = Δx / 0.1 s for clip and truth, mean absolute difference over steps, axes and balls.
    """
    time = np.arange(MEASURED) * STEP
    true = balls.at(time)
    found = [parse(frames[:MEASURED], colour) for colour in list(_COLOURS)[: len(balls.radius)]]
    places, radii = np.stack([ball.centre for ball in found], axis=1), np.stack([ball.radius for ball in found], axis=1)
    counted = _whole(balls, true, known)
    velocity, should = np.diff(places, axis=0) / STEP, np.diff(true, axis=0) / STEP
    off = np.abs(velocity - should).mean(axis=-1)
    result = {"velocity, units/s": float(off[counted].mean())}
    shape = [float(np.ptp(radii[1:, i][counted[:, i]])) for i in range(len(found)) if counted[:, i].any()]
    result["change of radius, units"] = max(shape)
    if len(found) == 2:
        result |= _of_collision(balls, velocity, should, radii, off, counted)
    return result


def _whole(balls: Scene, true: Float[np.ndarray, "t n 2"], known: int) -> Bool[np.ndarray, "t-1 n"]:
    """Steps from frame t to t + 1, all generated, that start and end with the ball whole in view."""
    inside = (np.minimum(true, WORLD - true) >= balls.radius[:, None] - 1e-9).all(axis=-1)
    inside[: known - 1] = False
    steps: Bool[np.ndarray, "t-1 n"] = inside[1:] & inside[:-1]
    assert steps.any(), (balls, known)
    return steps


def _of_collision(
    balls: Scene,
    velocity: Float[np.ndarray, "s n 2"],
    should: Float[np.ndarray, "s n 2"],
    radii: Float[np.ndarray, "t n"],
    off: Float[np.ndarray, "s n"],
    counted: Bool[np.ndarray, "s n"],
) -> dict[str, float]:
    """Errors before and after the hit, and of the sums r² v and r² v² / 2 while both balls are in view."""
    hit = int(balls.hit / STEP)  # the step in which the velocities of the truth jump
    both = counted.all(axis=1)
    result: dict[str, float] = {}
    for name, part in (("before the hit", slice(0, hit)), ("after the hit", slice(hit, None))):
        if counted[part].any():
            result[f"velocity {name}, units/s"] = float(off[part][counted[part]].mean())
    if both.any():
        mass, own = balls.radius**2, radii[1:] ** 2
        momentum = (own * velocity[..., 0] - mass * should[..., 0]).sum(axis=1)
        energy = (own * (velocity**2).sum(-1) - mass * (should**2).sum(-1)).sum(axis=1) / 2
        result["momentum, units³/s"] = float(np.abs(momentum[both]).mean())
        result["energy, units⁴/s²"] = float(np.abs(energy[both]).mean())
    return result


# --- suite and training clips ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Phyworld:
    """The Suite. Task n is about law n modulo 3, its truth `side` pixels square.

    Splits: "speed" and "size" take the speed or the radius out of distribution and leave the other in it; "combination"
    takes both out, which is what the paper calls out of distribution. Half of them are small, half large.
    """

    side: int = 128
    name: str = "phyworld"
    splits: tuple[Split, ...] = ("in distribution", "speed", "size", "combination")

    def scene(self, split: Split, number: int) -> Scene:
        """What task `number` is about. ValueError for a negative number and for a split that there is none of."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        if split not in self.splits:
            raise ValueError(f"phyworld has no split {split!r}: take one of {', '.join(self.splits)}")
        rng = Random(f"phyworld task {split} {number}")
        out = self._range(number)
        speed: Range = out if split in ("speed", "combination") else "in"
        size: Range = out if split in ("size", "combination") else "in"
        return scene(LAWS[number % len(LAWS)], speed, size, rng)

    def _range(self, number: int) -> Range:
        return "small" if number // len(LAWS) % 2 == 0 else "large"

    def task(self, split: Split, number: int) -> Task:
        balls = self.scene(split, number)
        groups = {"law": balls.law} | ({} if split == "in distribution" else {"range": self._range(number)})
        name = f"phyworld-{split.replace(' ', '-')}-{number:04d}"
        truth = as_clip(balls, number, self.side)
        return Task(name, number, split, _CAPTIONS[balls.law], KNOWN, truth, groups)

    def judge(self, task: Task, frames: UInt8[np.ndarray, "t h w 3"]) -> Verdict:
        """1 if the velocity error is at most `PASS`; the published figure is the mean of the error itself."""
        found = errors(frames, self.scene(task.split, task.seed))
        off = found["velocity, units/s"]
        why = f"the balls are {off:.2f} units/s too fast or slow from frame {KNOWN} on" if off > PASS else ""
        return Verdict(0.0 if why else 1.0, why, found)


@dataclass(frozen=True)
class Balls:
    """The Material to train on: scenes of a law with the speeds and radii of a published grid, at random places.

    Number n is point n of the grid (modulo its length). No task of `Phyworld` is among them: those are drawn from
    between the points.
    """

    law: Law = "uniform"
    grid: str = "30K"
    grammatical: bool = True
    classes: int = 0

    @property
    def name(self) -> str:
        return f"phyworld's {self.law}, {self.grid}"

    def clip(self, number: int, shape: Shape) -> Seen:
        rgb = draw(self.scene(number), shape.frames, shape.height, shape.width, shape.fps)
        moving = np.asarray((rgb < 128).any(axis=-1))
        return Seen(rgb, moving, (_CAPTIONS[self.law],), shape.fps)

    def words(self) -> frozenset[str]:
        return frozenset(words(_CAPTIONS[self.law]))

    def scene(self, number: int) -> Scene:
        """The scene of a clip. A pair of balls that cannot collide in view gives way to the next of the grid."""
        rng = Random(f"phyworld {self.law} {self.grid} {number}")
        speeds, radii = axes(self.law, self.grid)
        if self.law != "collision":
            speed, radius = divmod(number % (len(speeds) * len(radii)), len(radii))
            return _one(self.law, speeds[speed], radii[radius], rng)
        for (v, r), (w, s) in _pairs(number, speeds, radii):
            if (found := _two((v, w), (r, s), rng)) is not None:
                return found
        raise AssertionError(f"no collision in the grid {self.grid}")


def axes(law: Law, grid: str) -> tuple[list[float], list[float]]:
    """Speeds and radii of a published training grid, both ends included. ValueError for a grid that is not."""
    grids, radius = (GRIDS_OF_TWO, RADIUS_OF_TWO) if law == "collision" else (GRIDS, RADIUS)
    if grid not in grids:
        raise ValueError(f"there is no grid {grid!r}: take one of {', '.join(grids)}")
    speeds, radii = grids[grid]
    return np.linspace(*SPEED["in"], speeds).tolist(), np.linspace(*radius["in"], radii).tolist()


def _pairs(
    number: int, speeds: list[float], radii: list[float]
) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    """Points of the grid of two balls, from `number` on; neighbours in number are far apart in the grid."""
    balls = list(product(speeds, radii))
    total = len(balls) ** 2
    stride = next(k for k in range(round(0.618 * total), total) if math.gcd(k, total) == 1)
    for k in range(number, number + total):
        first, second = divmod(k * stride % total, len(balls))
        yield balls[first], balls[second]
