"""From a seed to a World: which objects there are, how they start, and who films them in which light.

No physics here: where things will go is foreseen in closed form (`motions.py`), well enough to keep them in view and
out of each other's way, and a draft that breaks a rule is drawn again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from random import Random
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from muybridge.simulation.cameras import CameraMove, camera_path, project, sample_move
from muybridge.simulation.motions import (
    SHAPES_OF,
    occluder,
    plan_behind,
    plan_behind_walls,
    plan_collision,
    plan_cover,
    plan_solo,
    sample_size,
    standing,
    two_walls,
)
from muybridge.simulation.palette import COLOURS, NEUTRALS, sample_look
from muybridge.simulation.scene import Camera, Look
from muybridge.simulation.things import AFTER, GRAVITY, Plan, Prop, Thing, Vector, moved, turned

COUNTS = (0.25, 0.35, 0.25, 0.15)
"""Probability of 1, 2, 3 and 4 objects."""

SMALLEST = 0.115
"""Least radius of an object in half frames: 14.7 pixels across at 128."""

NEAREST = 1.5
"""Metres from the camera that nothing starts nearer than."""

Pairs: TypeAlias = frozenset[tuple[str, str]]
"""Colours, each with a shape."""

_ATTEMPTS = 2000  # far more than 1 to 4 objects ever need

_SOLO = {"rest": 0.1, "drop": 0.2, "throw": 0.14, "roll": 0.17, "slide": 0.13, "ramp": 0.12, "behind wall": 0.1}
_SOLO |= {"stop behind wall": 0.04}
_LEADS = {"collide": 0.3, "behind box": 0.15, "stop behind box": 0.05, "emerge": 0.03, "behind wall": 0.07, "ramp": 0.1}
_LEADS |= {"none": 0.3}
_OTHERS = {"rest": 0.3, "drop": 0.27, "throw": 0.13, "roll": 0.15, "slide": 0.15}
COVERS = ("pass before", "stop before")
"""Stories of a tall box that slides in front of a thing at rest. No world has one, nor "behind two walls", unasked."""

STORIES = (*COVERS, "behind two walls", *dict.fromkeys(name for name in (*_SOLO, *_LEADS) if name != "none"))
"""Motions that may be asked for."""

_TWO_OBJECTS = ("collide", "behind box", "stop behind box", "emerge")


@dataclass(frozen=True)
class World:
    """All that decides a clip: things with names, props without, the camera's move, the light. Poses are at time 0.

    `gravity` is in metres/second². Friction and rolling friction are the things' own: where gravity is less, they slow
    a thing down less.
    """

    seed: int
    things: tuple[Thing, ...]
    props: tuple[Prop, ...]
    move: CameraMove
    look: Look
    gravity: float = GRAVITY


def sample_world(
    seed: int, objects: int | None = None, without: Pairs = frozenset(), story: tuple[str, ...] | None = None
) -> World:
    """The world of a seed: the same in every process, whatever was sampled before.

    `objects` asks for so many, from 1 to the 8 that have a colour of their own; by itself a world has 1 to 4.
    `without` are colours with shapes that no object may have: a world that has none of them anyway stays as it is, of
    another one camera, light and number of objects do. `story` says which motions there are, in the place of drawing
    them and their number: any of `STORIES`.

    Raises ValueError for a negative seed, for a number of objects outside that range, for other stories and where no
    place is found for them, which happens to none of the 1 to 4 and to some of the others.
    """
    if objects is not None and not 1 <= objects <= len(COLOURS):
        raise ValueError(f"a world has 1 to {len(COLOURS)} objects, each of its own colour, not {objects}")
    if story is not None and not (1 <= len(story) <= 4 and set(story) <= set(STORIES)):
        raise ValueError(f"a story is one to four of {', '.join(STORIES)}, not {' and '.join(story) or 'none'}")
    if seed < 0:
        raise ValueError(f"a seed is a number from 0 up, not {seed}: take {-seed}")
    rng = Random(f"world {seed}")
    drawn = rng.choices((1, 2, 3, 4), COUNTS)[0]
    count = objects or drawn
    move = sample_move(rng)
    look = sample_look(rng, move.azimuth - math.pi / 2)
    motions = story or _sample_story(rng, count, move)
    for attempt in range(_ATTEMPTS):
        if attempt % 50 == 49 and not story:  # these are hard to place: others, of the same count
            motions = _sample_story(rng, count, move)
        stage = _Stage(move)
        if not _fill(stage, rng, motions, 2 * 4 if story else max(4, count)):  # two objects a motion, at most
            continue
        things = tuple(turned(plan.thing, move.azimuth) for plan in stage.plans)
        if not has_pair(things, without):
            return World(seed, things, tuple(turned(prop, move.azimuth) for prop in stage.props), move, look)
    told = " and ".join(story) if story else f"{count} objects"
    raise ValueError(f"no place for {told} in the world of seed {seed}: take another seed or fewer objects")


def has_pair(things: Iterable[Thing], pairs: Pairs) -> bool:
    """Whether one of the things has a colour and a shape of `pairs`."""
    return any((thing.colour, thing.shape) in pairs for thing in things)


@dataclass(frozen=True)
class _Outline:
    """Rectangle of the first frame (which spans -1 to 1) around a body, and the body's depth in metres."""

    left: float
    right: float
    top: float
    bottom: float
    depth: float

    def covers(self, other: _Outline) -> bool:
        """Whether it hides a good part of what is farther away."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        large = across > 0.3 * (other.right - other.left) and down > 0.3 * (other.bottom - other.top)
        return self.depth < other.depth + 0.05 and large


@dataclass
class _Stage:
    """What has been placed so far, in stage coordinates (x right, y away from the camera), and its view."""

    move: CameraMove
    plans: list[Plan] = field(default_factory=list)
    props: list[Prop] = field(default_factory=list)
    outlines: list[_Outline] = field(default_factory=list)
    scenery: list[_Outline] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.camera = camera_path(replace(self.move, azimuth=0.0), np.array(AFTER) / AFTER[-1], 2, 2)
        self.first = Camera(self.camera.pose[:1], self.camera.intrinsics[:1])

    def add(self, plans: list[Plan], props: list[Prop], shifts: Float[np.ndarray, "k 3"]) -> bool:
        """Put a group on the stage, moved by the first of `shifts` with which it is in view and in nobody's way."""
        for shift in shifts[self._free(plans, props, shifts)]:
            if self._put([moved(plan, shift) for plan in plans], [replace(p, position=_sum(p, shift)) for p in props]):
                return True
        return False

    def _put(self, plans: list[Plan], props: list[Prop]) -> bool:
        """Add them unless somebody hides somebody unasked in the first frame."""
        outlines = self.outlines + [self._outline(plan.thing) for plan in plans]
        scenery = self.scenery + [self._outline(prop) for prop in props]
        shown = [o for plan, o in zip(self.plans + plans, outlines, strict=True) if plan.thing.motion != "emerge"]
        if any(a is not b and a.covers(b) for b in shown for a in outlines + scenery):
            return False
        self.plans += plans
        self.props += props
        self.outlines, self.scenery = outlines, scenery
        return True

    def _free(self, plans: list[Plan], props: list[Prop], shifts: Float[np.ndarray, "k 3"]) -> Bool[np.ndarray, " k"]:
        """For each shift, whether the group is in view and keeps clear of what stands or moves there already."""
        free = np.ones(len(shifts), dtype=bool)
        for plan in plans:
            paths, girth = plan.path[:, None] + shifts, plan.thing.girth + 0.06
            free &= self._in_view(plan.thing.radius, paths)
            for other in self.plans:
                free &= closest(paths - other.path[:, None]) > girth + other.thing.girth
            for prop in self.props:
                free &= closest((paths - np.array(prop.position))[..., :2]) > girth + prop.girth
        for prop in props:
            for other in self.plans:
                gap = other.path[:, None] - (np.array(prop.position) + shifts)
                free &= closest(gap[..., :2]) > prop.girth + other.thing.girth + 0.06
        return free

    def _in_view(self, radius: float, paths: Float[np.ndarray, "t k 3"]) -> Bool[np.ndarray, " k"]:
        """Whole in the first frame and not too near, the centre in view mostly and in the middle of the clip, never too
        small."""
        seen = project(self.camera, paths)
        reach = np.abs(seen[..., :2] - 1).max(axis=-1)
        radii = radius * self.camera.intrinsics[:, :1, 0] / seen[..., 2]
        whole, large = (reach[0] + radii[0] <= 1) & (seen[0, :, 2] > NEAREST), radii.min(axis=0) > SMALLEST
        inside = reach < 0.97
        framed: Bool[np.ndarray, " k"] = whole & large & (inside.mean(axis=0) >= 0.75) & inside[len(inside) // 2]
        return framed

    def _outline(self, body: Thing | Prop) -> _Outline:
        corners = np.array(body.position) + _CORNERS * np.array(body.bounds)
        seen = project(self.first, corners[None])[0] - 1
        (left, top, _), (right, bottom, _), depth = seen.min(0).tolist(), seen.max(0).tolist(), seen[:, 2].mean() + 1
        return _Outline(left, right, top, bottom, float(depth))


_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])


def _sample_story(rng: Random, count: int, move: CameraMove) -> tuple[str, ...]:
    """The motions of a clip; the leading one may take two objects."""
    if count == 1:
        motion = _weighted(rng, _SOLO)
        return ("drop" if motion == "rest" and move.kind == "static" else motion,)
    lead = _weighted(rng, _LEADS)
    rest = count - (2 if lead in _TWO_OBJECTS else 0 if lead == "none" else 1)
    others = tuple(_weighted(rng, _OTHERS) for _ in range(rest))
    if lead == "none" and set(others) == {"rest"}:  # a clip with several objects has some life in it
        others = ("drop", *others[1:])
    return others if lead == "none" else (lead, *others)


def _weighted(rng: Random, shares: dict[str, float]) -> str:
    return rng.choices(tuple(shares), tuple(shares.values()))[0]


def _fill(stage: _Stage, rng: Random, story: tuple[str, ...], palette: int) -> bool:
    """Place the objects of a story one after the other; False when one finds no place.

    Their colours, out of `palette`, are all different: words identify them.
    """
    colours = rng.sample(tuple(COLOURS), palette)
    for motion in story:
        for _ in range(6):
            group = _place(rng, motion, colours[len(stage.plans) :], len(stage.plans), len(story))
            if stage.add(*group, _sample_shifts(rng, motion)):
                break
        else:
            return False
    return True


def _sample_shifts(rng: Random, motion: str) -> Float[np.ndarray, "k 3"]:
    """Other places to try for a group. One that hides something stays where it hides it."""
    if "behind" in motion or motion == "emerge" or motion in COVERS:
        return np.zeros((1, 3))
    shifts = [(0.0, 0.0, 0.0)] + [(rng.uniform(-0.7, 0.7), rng.uniform(-0.6, 0.6), 0.0) for _ in range(23)]
    return np.array(shifts)


def _place(rng: Random, motion: str, colours: list[str], first: int, crowd: int) -> tuple[list[Plan], list[Prop]]:
    """One motion of a story; `first` is the index of its first object, `crowd` the number of motions."""
    neutral = rng.choice(NEUTRALS)
    if motion == "collide":
        return plan_collision(rng, colours[0], colours[1], first), []
    if motion == "behind two walls":
        walls = two_walls(rng, neutral)
        return [plan_behind_walls(rng, colours[0], walls)], [*walls]
    if motion in COVERS:
        return plan_cover(rng, colours, stops=motion == "stop before"), []
    if motion.endswith(" wall"):
        wall = occluder(rng, None, neutral)
        return [plan_behind(rng, motion.removesuffix(" wall"), colours[0], wall, -1)], [wall]
    if motion in _TWO_OBJECTS:
        box = occluder(rng, colours[1], neutral)
        return [
            plan_behind(rng, motion.removesuffix(" box"), colours[0], box, first + 1),
            standing(box, colours[1]),
        ], []
    plan, scenery = plan_solo(rng, motion, rng.choice(SHAPES_OF[motion]), sample_size(rng, crowd), colours[0], neutral)
    return [plan], scenery


def closest(gap: Float[np.ndarray, "t k d"]) -> Float[np.ndarray, " k"]:
    """Smallest distance from the origin of each of k polylines."""
    start, way = gap[:-1], gap[1:] - gap[:-1]
    share = -(start * way).sum(-1) / ((way * way).sum(-1) + 1e-12)
    nearest = start + np.minimum(np.maximum(share, 0), 1)[..., None] * way
    distance: Float[np.ndarray, " k"] = np.sqrt((nearest * nearest).sum(-1).min(axis=0))
    return distance


def _sum(prop: Prop, shift: Float[np.ndarray, "3"]) -> Vector:
    return (prop.position[0] + float(shift[0]), prop.position[1] + float(shift[1]), prop.position[2])
