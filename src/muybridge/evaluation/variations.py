"""Worlds that training had not: one thing about a sampled world is taken out of the range that worlds are drawn from.

The simulator's own ranges are in `simulation/motions.py` and `simulation/things.py`. A variation keeps what makes the
world plausible: what rolls rolls without slipping, what stands stands, and a rolling thing slows down as it did.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random

import mujoco
import numpy as np
from jaxtyping import Float

from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.evaluation.suite import Split
from muybridge.simulation import World, has_pair, sample_world
from muybridge.simulation.cameras import camera_path, project
from muybridge.simulation.palette import NEUTRALS
from muybridge.simulation.physics import mjcf, rotations, trajectory
from muybridge.simulation.things import AFTER, GRAVITY, SIZES, Prop, Thing, Vector, about_z
from muybridge.simulation.worlds import COVERS

SPEEDS = (0.6, 1.6)
"""Factors of the initial velocities: those of one way of moving differ by less than 1 : 1.6, a throw's height apart."""

SIZE_LIMITS = {"small": 0.8 * SIZES["small"], "large": 1.25 * SIZES["large"]}
"""Half extents in metres, and what to call them: smaller than the smallest, larger than the largest of training."""

GRAVITIES = (0.5 * GRAVITY, 1.6 * GRAVITY)
"""Metres/second²: training knows 9.81 alone."""

COUNTS = (5, 6)

OCCLUDERS = ("behind two walls", *COVERS)

STRIDE = 2**32
"""Where a world cannot be varied, the one whose seed is larger by this takes its place."""

TABLE_HEIGHTS = (0.6, 0.8)
"""Metres: to fall as far takes 5 to 6 frames at 15 a second."""

_ATTEMPTS = 400
_EDGE_AFTER = (0.5, 1.1)  # seconds after which what is put on a table is over its edge
_ASIDE = 0.1  # metres of table behind it and on either side of its way
_DOWNWARDS = 1.5  # m/s with which what is dropped is thrown down, when it is to be faster
_PUSH = 0.8  # m/s with which what rolls or slides down a ramp is set going, likewise
_OVERLAP = 2e-3  # metres by which bodies may be inside each other at the start
_IN_VIEW = 0.6  # share of the clip during which a moving thing's centre has to be in the picture


def varied(seed: int, split: Split) -> World:
    """The world of a seed in a split; in distribution it is the world as training samples it.

    Where it cannot be had (too large a thing, an object out of sight, no such pair) the next of the seed's own row of
    seeds, `STRIDE` apart, is tried: the world's `seed` says which it was. Raises ValueError if none of 400 will do.
    """
    rng = Random(f"variation {seed} {split}")
    for attempt in range(_ATTEMPTS):
        world = _VARIATIONS[split](seed + attempt * STRIDE, rng)
        if world is not None:
            return world
    raise ValueError(f"no world of seed {seed} can be varied in {split}: take another seed")


def plain(seed: int, split: Split, objects: int | None = None) -> World:
    """The world that is varied. Only "combination" may have what training never sees together (`HELD_OUT_PAIRS`)."""
    return sample_world(seed, objects, frozenset() if split == "combination" else HELD_OUT_PAIRS)


def on_a_table(world: World) -> World | None:
    """The world with the first thing that rolls or slides in it put on a table, over whose edge it will go.

    The thing is marked by `other` = -1, the table's kind is "table". None where nothing rolls or slides, the table
    would be in the way of something else, or the thing would not be seen; nor where things are to collide, for they
    might miss each other then.
    """
    subject = next((i for i, thing in enumerate(world.things) if thing.motion in ("roll", "slide")), None)
    if subject is None or any(thing.motion == "collide" for thing in world.things):
        return None
    rng = Random(f"table {world.seed}")
    table = _table(world, subject, rng)
    x, y, z = world.things[subject].position
    lifted = replace(world.things[subject], position=(x, y, z + 2 * table.size[2]), other=-1)
    things = tuple(lifted if i == subject else thing for i, thing in enumerate(world.things))
    raised = _if_plausible(replace(world, things=things, props=(*world.props, table)))
    return raised if raised and _touched_by(raised, len(world.things) + len(world.props)) <= {subject} else None


def is_on_table(thing: Thing) -> bool:
    """Whether `on_a_table` has put it there."""
    return thing.motion in ("roll", "slide") and thing.other == -1


def _table(world: World, subject: int, rng: Random) -> Prop:
    """A block under the way that the subject goes, up to where it is after a while."""
    thing, fps = world.things[subject], 30.0
    until = rng.uniform(*_EDGE_AFTER)
    path = trajectory(world, round(until * fps) + 1, fps).position[:, subject]
    heading = math.atan2(thing.velocity[1], thing.velocity[0])
    ahead = np.array([math.cos(heading), math.sin(heading)])
    behind = thing.girth + _ASIDE
    length = behind + float((path[-1, :2] - path[0, :2]) @ ahead)
    x, y = path[0, :2] + (length / 2 - behind) * ahead
    height = rng.uniform(*TABLE_HEIGHTS) / 2
    size = (length / 2, thing.girth + _ASIDE, height)
    return Prop("table", size, (float(x), float(y), height), about_z(heading), rng.choice(NEUTRALS))


def _touched_by(world: World, geom: int) -> set[int]:
    """The things that touch a geom within 2.2 seconds."""
    path = trajectory(world, len(AFTER), 1 / (AFTER[1] - AFTER[0]))
    pairs = [{contact.first, contact.second} for contact in path.contacts]
    return {i for pair in pairs if geom in pair for i in pair - {geom} if 0 <= i < len(world.things)}


def _in_distribution(seed: int, rng: Random) -> World | None:
    return plain(seed, "in distribution")


def _speed(seed: int, rng: Random) -> World | None:
    world, factor = plain(seed, "speed"), rng.choice(SPEEDS)
    things = tuple(_at_speed(thing, factor, world.props) for thing in world.things)
    return _if_plausible(replace(world, things=things)) if things != world.things else None


def _size(seed: int, rng: Random) -> World | None:
    world, size = plain(seed, "size"), rng.choice(tuple(SIZE_LIMITS))
    things = tuple(thing if thing.fixed else _of_size(thing, size, world.props) for thing in world.things)
    return _if_plausible(replace(world, things=things))


def _gravity(seed: int, rng: Random) -> World | None:
    return _if_plausible(replace(plain(seed, "gravity"), gravity=rng.choice(GRAVITIES)))


def _count(seed: int, rng: Random) -> World | None:
    try:
        return plain(seed, "count", rng.choice(COUNTS))
    except ValueError:  # they find no place
        return None


def _combination(seed: int, rng: Random) -> World | None:
    world = plain(seed, "combination")
    return world if has_pair(world.things, HELD_OUT_PAIRS) else None


def _occluders(seed: int, rng: Random) -> World | None:
    try:
        return sample_world(seed, without=HELD_OUT_PAIRS, story=(rng.choice(OCCLUDERS),))
    except ValueError:  # the camera turns away too soon
        return None


_VARIATIONS: dict[Split, Callable[[int, Random], World | None]] = {
    "in distribution": _in_distribution,
    "speed": _speed,
    "size": _size,
    "gravity": _gravity,
    "count": _count,
    "combination": _combination,
    "occluders": _occluders,
}


def _at_speed(thing: Thing, factor: float, props: tuple[Prop, ...]) -> Thing:
    """Moving at `factor` times its speed, turning with it; what starts from rest can only become faster."""
    if thing.motion == "drop":
        return replace(thing, velocity=(0.0, 0.0, -_DOWNWARDS)) if factor > 1 else thing
    if thing.motion == "ramp":
        return _pushed(thing, props) if factor > 1 else thing
    return replace(thing, velocity=_times(thing.velocity, factor), spin=_times(thing.spin, factor))


def _pushed(thing: Thing, props: tuple[Prop, ...]) -> Thing:
    """Set going down its ramp."""
    down, normal = _slope(thing, props)
    spin = np.cross(normal, down) * (_PUSH / thing.extents[0] if thing.shape == "ball" else 0.0)
    return replace(thing, velocity=_vector(_PUSH * down), spin=_vector(spin))


def _of_size(thing: Thing, size: str, props: tuple[Prop, ...]) -> Thing:
    """Scaled about the point that it stands on, or that it will land on. What rolls turns as fast as it has to."""
    factor = SIZE_LIMITS[size] / SIZES[thing.size]
    if thing.motion == "ramp":
        lift = (factor - 1) * thing.extents[0] * _slope(thing, props)[1]
    else:
        lift = np.array([0.0, 0.0, (factor - 1) * _half_height(thing)])
    return replace(
        thing,
        size=size,
        extents=_times(thing.extents, factor),
        position=_vector(np.array(thing.position) + lift),
        spin=_times(thing.spin, 1 / factor),
        rolling=thing.rolling * factor if thing.rolling > 0.001 else thing.rolling,
    )


def _slope(thing: Thing, props: tuple[Prop, ...]) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Unit vectors down and out of the ramp that is nearest to a thing."""
    ramps = [prop for prop in props if prop.kind == "ramp"]
    ramp = min(ramps, key=lambda prop: math.dist(prop.position, thing.position))
    along, _, normal = rotations(np.array(ramp.quaternion)).T
    return (along if along[2] < 0 else -along), normal


def _half_height(thing: Thing) -> float:
    """From its centre down to its lowest point, as it is turned at the start."""
    if thing.shape == "ball":
        return thing.extents[0]
    down = np.abs(rotations(np.array(thing.quaternion))[2])
    if thing.shape == "box":
        return float(down @ np.array(thing.extents))
    return float(down[2] * thing.extents[1] + math.hypot(down[0], down[1]) * thing.extents[0])


def _if_plausible(world: World) -> World | None:
    """The world, if nothing is inside anything at the start, and all can be watched."""
    return world if not _overlaps(world) and _in_view(world) else None


def _overlaps(world: World) -> bool:
    """Whether MuJoCo finds two bodies inside each other before the first step."""
    model = mujoco.MjModel.from_xml_string(mjcf(world, 1e-3))
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    return bool((data.contact.dist < -_OVERLAP).any())


def _in_view(world: World) -> bool:
    """Whether each thing starts whole in a square picture and has its centre there for most of 2.2 seconds."""
    path = trajectory(world, len(AFTER), 1 / (AFTER[1] - AFTER[0])).position
    camera = camera_path(world.move, np.linspace(0, 1, len(AFTER)), 2, 2)
    seen = project(camera, path)
    reach = np.abs(seen[..., :2] - 1).max(axis=-1)
    radii = np.array([thing.radius for thing in world.things]) * camera.intrinsics[0, 0, 0] / seen[0, :, 2]
    return bool((reach[0] + radii <= 1).all() and ((reach < 1).mean(axis=0) >= _IN_VIEW).all())


def _times(vector: Vector, factor: float) -> Vector:
    return (factor * vector[0], factor * vector[1], factor * vector[2])


def _vector(values: Float[np.ndarray, "3"]) -> Vector:
    x, y, z = (float(value) for value in values)
    return (x, y, z)
