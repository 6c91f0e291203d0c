"""Ways of moving: for each, how an object starts and where it will be, foreseen in closed form.

Stage coordinates: x to the right of the picture, y away from the camera, z up; metres, seconds, radians.
"""

from __future__ import annotations

import math
from random import Random

import numpy as np
from jaxtyping import Float

from muybridge.simulation.things import (
    AFTER,
    GRAVITY,
    SIZES,
    UPRIGHT,
    Plan,
    Prop,
    Thing,
    Vector,
    about_z,
    extents,
    lying,
    standing_height,
    tilted,
)

SHAPES_OF: dict[str, tuple[str, ...]] = {
    "rest": ("ball", "box", "cylinder"),
    "drop": ("ball", "box", "cylinder"),
    "throw": ("ball", "ball", "box", "cylinder"),
    "roll": ("ball", "ball", "cylinder"),
    "slide": ("box", "box", "cylinder"),
    "ramp": ("ball", "ball", "box"),
}
"""Shapes that can move so, as often as they are to be drawn."""


def sample_size(rng: Random, crowd: int = 2) -> str:
    """Large things are rare where there are many."""
    return rng.choices(tuple(SIZES), (0.3, 0.4, 0.3) if crowd < 3 else (0.5, 0.36, 0.14))[0]


def plan_solo(rng: Random, motion: str, shape: str, size: str, colour: str, neutral: str) -> tuple[Plan, list[Prop]]:
    """An object that moves on its own."""
    if motion == "ramp":
        return _ramp(rng, shape, size, colour, neutral)
    build = {"rest": _rest, "drop": _drop, "throw": _throw, "roll": _roll, "slide": _roll}[motion]
    return build(rng, shape, size, colour), []


def _rest(rng: Random, shape: str, size: str, colour: str) -> Plan:
    spot = (rng.uniform(-1.05, 1.05), rng.uniform(-0.75, 0.8))
    thing = _thing(
        shape, colour, size, (*spot, standing_height(shape, size)), quaternion=about_z(rng.uniform(-1.5, 1.5))
    )
    return Plan(thing, _still(thing.position))


def _drop(rng: Random, shape: str, size: str, colour: str) -> Plan:
    floor = standing_height(shape, size)
    start = (rng.uniform(-0.95, 0.95), rng.uniform(-0.6, 0.7), floor + rng.uniform(0.5, 1.0))
    # Never exactly flat: MuJoCo's contact of plane and cylinder loses its digits when only rounding tilts the axis.
    tilt = rng.uniform(0.1, 0.6) if rng.random() < 0.5 else rng.uniform(0.005, 0.03)
    thing = _thing(
        shape,
        colour,
        size,
        start,
        quaternion=tilted(rng.uniform(-1.5, 1.5), tilt),
        motion="drop",
        restitution=_bounce(rng, shape),
        friction=rng.uniform(0.4, 0.7),
        rolling=0.01 if shape == "ball" else 0.0005,
    )
    height = np.maximum(start[2] - 0.5 * GRAVITY * np.array(AFTER) ** 2, floor)
    return Plan(thing, np.stack([np.full_like(height, start[0]), np.full_like(height, start[1]), height], axis=1))


def _throw(rng: Random, shape: str, size: str, colour: str) -> Plan:
    side, floor = rng.choice((-1, 1)), standing_height(shape, size)
    start = (-side * rng.uniform(0.65, 1.0), rng.uniform(-0.4, 0.6), floor + rng.uniform(0.1, 0.5))
    velocity = (side * rng.uniform(0.7, 1.1), rng.uniform(-0.1, 0.1), rng.uniform(1.8, 2.9))
    thing = _thing(
        shape,
        colour,
        size,
        start,
        quaternion=tilted(rng.uniform(-1.5, 1.5), 0.0),
        velocity=velocity,
        spin=(0.0, side * rng.uniform(0.5, 3.0), 0.0),
        motion="throw",
        restitution=_bounce(rng, shape),
        friction=rng.uniform(0.4, 0.7),
        rolling=0.01 if shape == "ball" else 0.0005,
    )
    time = np.array(AFTER)
    landing = (velocity[2] + math.sqrt(velocity[2] ** 2 + 2 * GRAVITY * (start[2] - floor))) / GRAVITY
    after = 0.75 if shape == "ball" else 0.3
    travelled = np.minimum(time, landing) + after * np.maximum(time - landing, 0)
    height = np.maximum(start[2] + velocity[2] * time - 0.5 * GRAVITY * time**2, floor)
    return Plan(
        thing, np.stack([start[0] + velocity[0] * travelled, start[1] + velocity[1] * travelled, height], axis=1)
    )


def _roll(rng: Random, shape: str, size: str, colour: str) -> Plan:
    """Rolled (ball, lying cylinder) or pushed so that it slides (box, upright cylinder), mostly across the picture."""
    slides = shape == "box" or (shape == "cylinder" and rng.random() < 0.4)
    side = rng.choice((-1, 1))
    heading = (0.0 if side > 0 else math.pi) + rng.uniform(-0.35, 0.35)
    start = (-side * rng.uniform(0.5, 1.1), rng.uniform(-0.6, 0.7))
    if rng.random() < 0.2:  # towards the camera or away from it
        away = rng.choice((-1, 1))
        heading = away * (math.pi / 2 + rng.uniform(-0.3, 0.3))
        start = (rng.uniform(-0.7, 0.7), -away * rng.uniform(0.4, 0.7))
    if slides:
        return moving(shape, colour, size, start, heading, rng.uniform(1.3, 2.0), rng.uniform(1.2, 1.9), slides=True)
    return moving(shape, colour, size, start, heading, rng.uniform(0.75, 1.15), rng.uniform(0.05, 0.2), slides=False)


def moving(
    shape: str,
    colour: str,
    size: str,
    start: tuple[float, float],
    heading: float,
    speed: float,
    slowing: float,
    *,
    slides: bool,
    motion: str = "",
    other: int | None = None,
) -> Plan:
    """An object that rolls or slides over the ground at `speed` towards `heading`, losing `slowing` metres/second².

    Sliding: slowing = friction * g. Rolling with rolling friction m: slowing = m g / ((1 + i) r), where i is 2/5 for
    a ball and 1/2 for a cylinder.
    """
    on_side = shape == "cylinder" and not slides
    size3 = extents(shape, size)
    floor = size3[0] if on_side else standing_height(shape, size)
    ahead = (math.cos(heading), math.sin(heading))
    inertia = 1.4 if shape == "ball" else 1.5
    thing = _thing(
        shape,
        colour,
        size,
        (*start, floor),
        quaternion=lying(heading) if on_side else about_z(heading),
        velocity=(speed * ahead[0], speed * ahead[1], 0.0),
        spin=(0.0, 0.0, 0.0) if slides else (-ahead[1] * speed / size3[0], ahead[0] * speed / size3[0], 0.0),
        motion=motion or ("slide" if slides else "roll"),
        other=other,
        friction=slowing / GRAVITY if slides else 0.6,
        rolling=0.0005 if slides else inertia * size3[0] * slowing / GRAVITY,
        restitution=0.25 if slides else 0.5,
    )
    time = np.minimum(np.array(AFTER), speed / slowing)
    way = speed * time - 0.5 * slowing * time**2
    path = np.stack([start[0] + ahead[0] * way, start[1] + ahead[1] * way, np.full_like(way, floor)], axis=1)
    return Plan(thing, path)


def _ramp(rng: Random, shape: str, size: str, colour: str, neutral: str) -> tuple[Plan, list[Prop]]:
    """Down a ramp: a thick tilted block, its lower edge in the ground."""
    if size == "large":
        size = "medium"
    side, slope, length = rng.choice((-1, 1)), math.radians(rng.uniform(14, 19)), rng.uniform(0.85, 1.05)
    half = extents(shape, size)[0]
    middle = (-side * rng.uniform(0.55, 0.75), rng.uniform(-0.1, 0.5))
    down = np.array([side * math.cos(slope), 0.0, -math.sin(slope)])
    normal = np.array([side * math.sin(slope), 0.0, math.cos(slope)])
    thick = 0.5 * length * math.tan(slope)
    surface = np.array([*middle, 0.5 * length * math.sin(slope)])
    tilt = (math.cos(slope / 2), 0.0, side * math.sin(slope / 2), 0.0)
    block = Prop("ramp", (length / 2, half + 0.06, thick), _vector(surface - thick * normal), tilt, neutral)
    start = surface + normal * half - down * (length / 2 - 0.8 * half)
    friction = 0.6 if shape == "ball" else rng.uniform(0.1, 0.16)
    slowing = 0.55 if shape == "ball" else friction * GRAVITY
    gain = (
        GRAVITY * math.sin(slope) / 1.4 if shape == "ball" else GRAVITY * (math.sin(slope) - friction * math.cos(slope))
    )
    gain -= slowing if shape == "ball" else 0.0
    thing = _thing(
        shape,
        colour,
        size,
        _vector(start),
        quaternion=tilt,
        motion="ramp",
        other=-1,
        friction=friction,
        rolling=1.4 * half * slowing / GRAVITY if shape == "ball" else 0.0005,
        restitution=0.2,
    )
    way_down, time = length - 0.8 * half, np.array(AFTER)
    at_foot = math.sqrt(2 * way_down / gain)
    beyond = np.minimum(np.maximum(time - at_foot, 0), gain * at_foot / slowing)
    path = start + down * np.minimum(0.5 * gain * time**2, way_down)[:, None]
    path[:, 0] += side * (gain * at_foot * beyond - 0.5 * slowing * beyond**2)
    return Plan(thing, path), [block]


def occluder(rng: Random, colour: str | None, albedo: str) -> Prop:
    """Something to hide behind: a neutral wall, wide, or a tall box, as slim as it may be."""
    half = (rng.uniform(0.34, 0.44), 0.05, rng.uniform(0.36, 0.46))
    if colour:
        half = (rng.uniform(0.25, 0.3), rng.uniform(0.12, 0.2), rng.uniform(0.42, 0.52))
    place = (rng.uniform(-0.2, 0.2), rng.uniform(-0.45, -0.2), half[2])
    return Prop("wall" if colour is None else "tall box", half, place, UPRIGHT, albedo)


def two_walls(rng: Random, albedo: str) -> tuple[Prop, Prop]:
    """Two narrow walls side by side: what goes behind both is seen between them."""
    gap, middle, away = rng.uniform(0.15, 0.21), rng.uniform(-0.08, 0.08), rng.uniform(-0.45, -0.3)

    def wall(side: int) -> Prop:
        half = (rng.uniform(0.2, 0.23), 0.05, rng.uniform(0.36, 0.46))
        return Prop("wall", half, (middle + side * (gap + half[0]), away, half[2]), UPRIGHT, albedo)

    return wall(-1), wall(1)


def standing(cover: Prop, colour: str) -> Plan:
    """A tall box that has a name."""
    thing = Thing("box", colour, "tall", cover.size, cover.position, cover.quaternion, motion="stand", fixed=True)
    return Plan(thing, _still(cover.position))


def plan_behind_walls(rng: Random, colour: str, walls: tuple[Prop, Prop]) -> Plan:
    """Rolls behind one wall after the other, and out again."""
    shape, side, cover = rng.choice(("ball", "ball", "cylinder")), rng.choice((-1, 1)), walls[0]
    lane = cover.position[1] + cover.size[1] + (1.0 if shape == "ball" else 1.45) * SIZES["small"] + 0.06
    start, heading = (-side * rng.uniform(0.88, 0.98), lane), 0.0 if side > 0 else math.pi
    speed = rng.uniform(0.95, 1.1)
    return moving(shape, colour, "small", start, heading, speed, 0.08, slides=False, motion="behind", other=-1)


def plan_cover(rng: Random, colours: list[str], *, stops: bool) -> list[Plan]:
    """A thing rests, and a tall box slides in front of it: past it, or it stops there."""
    shape, side, half = rng.choice(("ball", "box", "cylinder")), rng.choice((-1, 1)), rng.uniform(0.27, 0.31)
    spot = (side * (rng.uniform(0.15, 0.3) if stops else rng.uniform(0.0, 0.2)), rng.uniform(0.1, 0.4))
    rests = _thing(
        shape, colours[0], "small", (*spot, standing_height(shape, "small")), quaternion=about_z(rng.uniform(-1.5, 1.5))
    )
    size = (half, rng.uniform(0.1, 0.14), rng.uniform(0.36, 0.4))
    lane = spot[1] - rests.girth - size[1] - rng.uniform(0.08, 0.2)
    before = spot[0] * (3.1 + lane) / (3.1 + spot[1])  # the place in its lane that hides the other one
    start, duration = -side * rng.uniform(0.58, 0.68), rng.uniform(1.8, 2.05)
    way = abs(before - start)
    speed, slowing = (2 * way / duration, 2 * way / duration**2) if stops else (rng.uniform(0.6, 0.75), 0.03)
    slides = Thing(
        "box",
        colours[1],
        "tall",
        size,
        (start, lane, size[2]),
        velocity=(side * speed, 0.0, 0.0),
        motion="slide",
        friction=slowing / GRAVITY,
    )
    time = np.minimum(np.array(AFTER), speed / slowing)
    path = np.repeat(np.array([slides.position]), len(AFTER), axis=0)
    path[:, 0] += side * (speed * time - 0.5 * slowing * time**2)
    return [Plan(rests, _still(rests.position)), Plan(slides, path)]


def plan_behind(rng: Random, motion: str, colour: str, cover: Prop, other: int) -> Plan:
    """Rolls or slides behind `cover` and out again ("behind"), no further ("stop behind") or from there ("emerge")."""
    shape = rng.choice(("ball", "ball", "ball", "cylinder", "box"))
    size = rng.choice(("small", "medium"))
    half, side = SIZES[size], rng.choice((-1, 1))
    lane = cover.position[1] + cover.size[1] + (half if shape == "ball" else 1.45 * half) + rng.uniform(0.05, 0.2)
    line_of_sight = cover.position[0] * (3.1 + lane) / (3.1 + cover.position[1])
    slides = shape == "box"
    heading = 0.0 if side > 0 else math.pi
    if motion == "emerge":
        start, speed, slowing = (line_of_sight, lane), rng.uniform(0.6, 0.8), 0.1
    elif motion == "behind":
        start, speed, slowing = (-side * rng.uniform(0.8, 1.0), lane), rng.uniform(0.8, 1.0), 0.08
    else:
        start = (-side * rng.uniform(0.8, 1.0), lane)
        way, duration = abs(line_of_sight - start[0]), rng.uniform(1.2, 1.7)
        speed, slowing = 2 * way / duration, 2 * way / duration**2
    return moving(shape, colour, size, start, heading, speed, slowing, slides=slides, motion=motion, other=other)


def plan_collision(rng: Random, first: str, second: str, index: int) -> list[Plan]:
    """One object runs into another that rests, or into a ball that comes to meet it."""
    large, small = sorted((sample_size(rng), sample_size(rng)), key=lambda size: -SIZES[size])
    shape, target = rng.choice(("ball", "ball", "cylinder", "box")), rng.choice(("ball", "box", "cylinder"))
    side, lane = rng.choice((-1, 1)), rng.uniform(-0.3, 0.5)
    start = (-side * rng.uniform(0.75, 1.0), lane + rng.uniform(-0.05, 0.05))
    heading = 0.0 if side > 0 else math.pi
    slides = shape == "box"
    speed, slowing = (rng.uniform(1.6, 2.1), 0.6) if slides else (rng.uniform(1.2, 1.7), 0.15)
    mover = moving(
        shape, first, large, start, heading, speed, slowing, slides=slides, motion="collide", other=index + 1
    )
    if target == "ball" and rng.random() < 0.6:
        facing = (side * rng.uniform(0.75, 1.0), lane)
        met = moving(
            "ball",
            second,
            small,
            facing,
            math.pi - heading,
            0.8 * speed,
            0.15,
            slides=False,
            motion="meet",
            other=index,
        )
    else:
        met = _struck(rng, target, small, second, (side * rng.uniform(-0.15, 0.25), lane), index)
    return [_until_contact(mover, met), _until_contact(met, mover)]


def _struck(rng: Random, shape: str, size: str, colour: str, spot: tuple[float, float], other: int) -> Plan:
    thing = _thing(
        shape,
        colour,
        size,
        (*spot, standing_height(shape, size)),
        quaternion=about_z(rng.uniform(-0.5, 0.5)),
        motion="struck",
        other=other,
        friction=0.6 if shape == "ball" else 0.15,
        rolling=0.006 if shape == "ball" else 0.0005,
        restitution=0.6,
    )
    return Plan(thing, _still(thing.position))


def _until_contact(plan: Plan, other: Plan) -> Plan:
    """The plan as far as it can be foreseen: it stays where the two are about to meet."""
    reach = plan.thing.girth + other.thing.girth
    gap = np.abs(plan.path[:, 0] - other.path[:, 0])
    touched = gap < reach if (gap < reach).any() else gap <= gap.min()
    path = plan.path.copy()
    path[touched.argmax() :] = path[touched.argmax()]
    return Plan(plan.thing, path)


def _thing(shape: str, colour: str, size: str, position: tuple[float, ...], **state: object) -> Thing:
    x, y, z = (float(value) for value in position)
    return Thing(shape, colour, size, extents(shape, size), (x, y, z), **state)  # type: ignore[arg-type]


def _bounce(rng: Random, shape: str) -> float:
    return float(rng.uniform(0.45, 0.75) if shape == "ball" else rng.uniform(0.1, 0.35))


def _still(position: Vector) -> Float[np.ndarray, "t 3"]:
    return np.repeat(np.array([position]), len(AFTER), axis=0)


def _vector(values: Float[np.ndarray, "3"]) -> Vector:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
