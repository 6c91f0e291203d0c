"""phyworld: balls in a plane that move uniformly, in a parabola, or collide; what is measured is their velocity.

Source: Kang et al. 2024, "How Far is Video Generation from World Model: A Physical Law Perspective" (2411.02385), and
its code. The scenes are those of `simulation/balls.py`; parse and error are as published. Ours, and why:

- 5 known frames (1 + 4 is the least that shows a velocity) where the paper has 3; errors begin after the known ones.
- The second ball is blue: the rule for red, R > 127 and G, B < 127, is used for it with the letters changed. Pictures
  of another size than the paper's 256 x 256 are first brought to it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from muybridge.evaluation.suite import Split, Task, Times, Verdict
from muybridge.simulation import Clip, Contact, ObjectInfo, States, World
from muybridge.simulation.balls import (
    CAPTIONS,
    COLOURS,
    FRAMES,
    GRAVITY,
    LAWS,
    MEASURED,
    STEP,
    WORLD,
    Range,
    Scene,
    coloured,
    covered,
    scene,
)
from muybridge.simulation.cameras import CameraMove
from muybridge.simulation.scene import Camera, Look
from muybridge.simulation.things import Thing

KNOWN = 5
PIXELS = 256
"""Side of the paper's pictures, in which balls are parsed."""

VELOCITY = "velocity, units/s"
"""The error that the paper's figures are of."""

PASS = 0.1
"""Units/second: between what the paper's models reach in distribution (0.01 to 0.02) and out of it (0.3 to 0.4)."""

PUBLISHED = {"uniform": 0.0099, "parabola": 0.0210, "collision": 0.0117}
"""Floor of the velocity error: the paper's own parse of its own videos, 256 x 256."""


def as_clip(balls: Scene, seed: int, side: int) -> Clip:
    """A scene with its truth as the simulator's clips have it: balls in the plane y = 0, seen from far along +y.

    Metres are units, z is the paper's y. `world` says which balls there are; there is no ground for `film` to show.
    """
    cover, places = covered(balls, FRAMES, side, side, 1 / STEP)
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
        rgb=coloured(cover),
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
        captions=(CAPTIONS[balls.law],),
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
        list(COLOURS)[i],
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
    channel = COLOURS[colour].index(255)
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


def errors(
    frames: UInt8[np.ndarray, "t h w 3"], balls: Scene, known: int = KNOWN, times: Times | None = None
) -> dict[str, float]:
    """The published errors of a clip, by name; every speed in units/second.

    A frame is measured from the last known one on, while the truth has the ball whole in view. Source: the paper's
    `evaluate.py`: v = Δx / 0.1 s for clip and truth, mean absolute difference over steps, axes and balls.
    """
    time = np.arange(MEASURED) * STEP
    true = balls.at(time)
    found = [parse(frames[:MEASURED], colour) for colour in list(COLOURS)[: len(balls.radius)]]
    places, radii = np.stack([ball.centre for ball in found], axis=1), np.stack([ball.radius for ball in found], axis=1)
    if times is not None:
        places = _at(time, times[:MEASURED], places)
    counted = _whole(balls, true, known)
    velocity, should = np.diff(places, axis=0) / STEP, np.diff(true, axis=0) / STEP
    off = np.abs(velocity - should).mean(axis=-1)
    result = {VELOCITY: float(off[counted].mean())}
    shape = [float(np.ptp(radii[1:, i][counted[:, i]])) for i in range(len(found)) if counted[:, i].any()]
    result["change of radius, units"] = max(shape)
    if len(found) == 2:
        result |= _of_collision(balls, velocity, should, radii, off, counted)
    return result


def _at(
    moments: Float[np.ndarray, " t"], times: Times, places: Float[np.ndarray, "t n 2"]
) -> Float[np.ndarray, "t n 2"]:
    """Where the balls are at some moments, moving evenly between those at which the frames were shown."""
    shown, first = np.unique(times, return_index=True)
    flat = places[first].reshape(len(shown), -1)
    return np.stack([np.interp(moments, shown, way) for way in flat.T], axis=1).reshape(len(moments), -1, 2)


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


# --- the suite -------------------------------------------------------------------------------------------------------


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
        return Task(name, number, split, CAPTIONS[balls.law], KNOWN, truth, groups)

    def judge(self, task: Task, frames: UInt8[np.ndarray, "t h w 3"], times: Times | None = None) -> Verdict:
        """1 if the velocity error is at most `PASS`; the published figure is the mean of the error itself."""
        found = errors(frames, self.scene(task.split, task.seed), times=times)
        off = found[VELOCITY]
        why = f"the balls are {off:.2f} units/s too fast or slow from frame {KNOWN} on" if off > PASS else ""
        return Verdict(0.0 if why else 1.0, why, found)
