"""Mechanics read off a clip's pixels: gravity, acceleration down a ramp, restitution, energy, penetration.

What is found in the picture is put into the vertical plane in which the truth moves, where a pixel's ray through the
truth's camera meets it. An object whose plane is seen edge-on is not measured, nor what nothing can be fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from muybridge.evaluation.permanence import radii
from muybridge.evaluation.tracking import Track
from muybridge.evaluation.variations import is_on_table
from muybridge.simulation import Clip, Contact, Landed
from muybridge.simulation.things import Thing

GRAVITY = 0.3
"""Relative error of gravity that passes: 5 frames with centres half a pixel off have a standard deviation of 0.12."""

RESTITUTION = 0.35
"""Error of a ball's restitution that passes: training draws it from 0.45 to 0.75, nothing in the known frames tells."""

ENERGY = 1.0
"""Radii by which the energy gained could lift an object, that pass: half a pixel of noise at 4 m/s is worth 0.5."""

PENETRATION = 0.5
"""Radii that pass: the truth itself has up to 0.16, where a thing is covered in part or leaves its path's plane."""

RAMP = 0.35
"""Relative error of the acceleration down a ramp that passes: the friction of what slides, which the known frames
hardly tell, changes it by up to a third."""

MEETING = 4
"""Frames after two things have met that their momentum is read from."""

MOMENTUM = 0.4
"""Share of the incoming momentum that may be off after things have met: friction, which the known frames hardly tell,
takes up to a third of it in that time. Truth has 0.07, a thing that stops or goes to the wrong side 0.45 and more."""

FLIGHT = 5
"""Frames of a flight that gravity is fitted to, at least."""

_FREE = 0.8  # share of gravity from which on a thing has left a table
_STANDS = 0.15  # metres within which a path is vertical or no path at all
_EDGE_ON = 0.5  # least cosine between line of sight and the normal of a path's plane
_BESIDE = 0.25  # radii that the truth may be beside that plane
_WHOLE = 0.97  # share of an object's outline that the truth shows where a centre is the object's own
_IN_THE_AIR = 0.3  # radii above its resting place from which on a ball is


class Measure(NamedTuple):
    """A measured quantity, what it must not exceed, and what is said of an object whose quantity does; None: not
    measured."""

    name: str
    value: float | None
    limit: float
    sentence: str


def measures(clip: Clip, i: int, found: Track, known: int) -> tuple[Measure, ...]:
    """The mechanics of object i, if it moves, in a clip whose first `known` frames are given."""
    way = clip.states.position[:, i] - clip.states.position[0, i]
    if clip.world.things[i].fixed or np.linalg.norm(way, axis=1).max() < _STANDS:
        return ()
    points = _in_plane(clip, i, found)
    if points is None:
        return ()
    falls = (_gravity_off(clip, i, points, known), _rebound_off(clip, i, points, known))
    worst = max((fall for fall in falls if fall is not None), default=None)
    ramp, restituted = _ramp_off(clip, i, points, known), _restitution_off(clip, i, points)
    gained, deep = _energy_gained(clip, i, points), _penetration(clip, i, points)
    return (
        Measure("gravity, share off", worst, GRAVITY, "has its gravity off by {:.0%}"),
        Measure("acceleration, share off", ramp, RAMP, "goes down the ramp with an acceleration off by {:.0%}"),
        Measure("restitution, off", restituted, RESTITUTION, "has a restitution off by {:.2f}"),
        Measure("energy gained, radii", gained, ENERGY, "gains energy that could lift it by {:.1f} radii"),
        Measure("penetration, radii", deep, PENETRATION, "is {:.1f} radii deep in the ground"),
    )


def momentum_off(clip: Clip, found: Sequence[Track], known: int) -> float | None:
    """How far the momentum of two things is off after they have met, as a share of what came in.

    Mass times velocity along the ground, over `MEETING` frames that are not given. None where nothing meets, or one of
    them is not seen whole in these frames. Most meet within the known frames, so it is the truth's that came in.
    """
    pairs = (e for e in clip.events if isinstance(e, Contact) and max(e.first, e.second) < len(clip.objects))
    met = next(pairs, None)
    if met is None:
        return None
    start = max(met.frame + 1, known - 1)
    after = slice(start, start + MEETING)
    if after.stop > len(clip.rgb):
        return None
    came, off = np.zeros(2), np.zeros(2)
    for i in (met.first, met.second):
        mass, path = _volume(clip.world.things[i]), clip.states.position[:, i, :2]
        came += mass * clip.states.velocity[0, i, :2]
        off += mass * _velocity((_on_level(clip, i, found[i]) - path)[after], clip.fps)
    share = float(np.linalg.norm(off) / np.linalg.norm(came))
    return share if np.isfinite(share) else None


def tells_gravity(clip: Clip, i: int, found: Track, known: int) -> bool:
    """Whether gravity can be read off an object's flight, or off its way down a ramp."""
    points = _in_plane(clip, i, found)
    if points is None:
        return False
    return _gravity_off(clip, i, points, known) is not None or _ramp_off(clip, i, points, known) is not None


def _in_plane(clip: Clip, i: int, found: Track) -> Float[np.ndarray, "t 2"] | None:
    """Along the object's way and up, metres, where rays through its centres meet the vertical plane of its true way.

    NaN where it is not found, covered in part, or its truth leaves that plane: what tumbles does. None if the plane is
    seen too much from the side. What falls straight down has a plane that faces the camera.
    """
    path, until = clip.states.position[:, i], _alone(clip, i)
    if clip.world.things[i].motion in ("drop", "throw"):
        until = min(until, _first_touch(clip, i))
    pose, focus = clip.camera.pose, clip.camera.intrinsics
    sight = path[0, :2] - pose[0, :2, 3]
    sight = sight / np.linalg.norm(sight)
    way = path[until - 1, :2] - path[0, :2]
    ahead = way / np.linalg.norm(way) if np.linalg.norm(way) > _STANDS else np.array([-sight[1], sight[0]])
    normal = np.array([-ahead[1], ahead[0]])
    if abs(normal @ sight) < _EDGE_ON:
        return None
    local = np.concatenate([(found.centre - focus[:, :2, 2]) / focus[:, :1, 0], np.ones((len(path), 1))], axis=1)
    rays = np.einsum("tij,tj->ti", pose[:, :3, :3], local)
    reach = (path[0, :2] - pose[:, :2, 3]) @ normal / (rays[:, :2] @ normal)
    points = pose[:, :3, 3] + reach[:, None] * rays
    border = np.minimum(found.centre, clip.rgb.shape[2:0:-1] - found.centre).min(axis=1)
    whole = found.seen & (clip.states.visible[:, i] >= _WHOLE) & (border > radii(clip)[:, i])
    whole &= np.abs((path[:, :2] - path[0, :2]) @ normal) < _BESIDE * clip.world.things[i].radius
    flat = np.stack([(points[:, :2] - path[0, :2]) @ ahead, points[:, 2]], axis=1)
    return np.where(whole[:, None], flat, np.nan)


def _on_level(clip: Clip, i: int, found: Track) -> Float[np.ndarray, "t 2"]:
    """Metres along the ground, where rays through its centres meet the height that the truth has it at.

    NaN where it is not found or the truth does not show the whole of it.
    """
    pose, focus = clip.camera.pose, clip.camera.intrinsics
    local = np.concatenate([(found.centre - focus[:, :2, 2]) / focus[:, :1, 0], np.ones((len(pose), 1))], axis=1)
    rays = np.einsum("tij,tj->ti", pose[:, :3, :3], local)
    reach = (clip.states.position[:, i, 2] - pose[:, 2, 3]) / rays[:, 2]
    level = pose[:, :2, 3] + reach[:, None] * rays[:, :2]
    whole = found.seen & (clip.states.visible[:, i] >= _WHOLE)
    return np.where(whole[:, None], level, np.nan)


def _velocity(path: Float[np.ndarray, "t 2"], fps: float) -> Float[np.ndarray, "2"]:
    """Metres/second of a line through all places, by least squares; NaN if one of them is not known."""
    time = (np.arange(len(path)) - (len(path) - 1) / 2) / fps
    velocity: Float[np.ndarray, "2"] = time @ path / (time @ time)
    return velocity


def _volume(thing: Thing) -> float:
    """Cubic metres; all things are of the same stuff."""
    a, b, c = thing.extents
    return {"ball": 4 / 3 * math.pi * a**3, "box": 8 * a * b * c, "cylinder": 2 * math.pi * a**2 * b}[thing.shape]


def _alone(clip: Clip, i: int) -> int:
    """Frames before it meets another object for the first time."""
    props = len(clip.objects)
    met = [
        e.frame
        for e in clip.events
        if isinstance(e, Contact) and i in (e.first, e.second) and max(e.first, e.second) < props
    ]
    return min(met, default=len(clip.rgb) - 1) + 1


def _gravity_off(clip: Clip, i: int, points: Float[np.ndarray, "t 2"], known: int) -> float | None:
    """Relative error of gravity, from the frames of the true flight; None where they are too few.

    Known frames count where there are not enough others: what drops has all but arrived by then.
    """
    flight = _flight(clip, i)
    if flight.stop - (known - 1) >= FLIGHT:
        flight = slice(max(flight.start, known - 1), flight.stop)
    return _second_order_off(points[flight, 1], clip.states.position[flight, i, 2], clip.fps)


def _second_order_off(found: Float[np.ndarray, " t"], true: Float[np.ndarray, " t"], fps: float) -> float | None:
    """Relative error of an acceleration: both are fitted alike. None where less than `FLIGHT` frames are known."""
    known = np.isfinite(found)
    if known.sum() < FLIGHT:
        return None
    return abs(gravity(found, fps) / gravity(np.where(known, true, np.nan), fps) - 1)


def _rebound_off(clip: Clip, i: int, points: Float[np.ndarray, "t 2"], known: int) -> float | None:
    """Relative error of gravity in a ball's first long rebound, wherever the clip has it.

    How high it comes up is not foreseen by the known frames, but how long it takes to go so high and come down is.
    """
    thing = clip.world.things[i]
    if thing.shape != "ball" or thing.motion not in ("drop", "throw"):
        return None
    height = points[: _alone(clip, i), 1]
    aloft = height > thing.radius * (1 + _IN_THE_AIR)  # False where it is not known
    landed = known + int((~aloft[known:] & np.isfinite(height[known:])).argmax())
    run = _first_run(aloft[landed:], FLIGHT)
    if run is None:
        return None
    rebound = height[landed + run.start : landed + run.stop]
    return abs(gravity(rebound, clip.fps) / clip.world.gravity - 1)


def _first_run(mask: Bool[np.ndarray, " t"], least: int) -> slice | None:
    """The first run of True that is long enough."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    runs = (slice(int(a), int(b)) for a, b in edges.reshape(-1, 2))
    return next((run for run in runs if run.stop - run.start >= least), None)


def _ramp_off(clip: Clip, i: int, points: Float[np.ndarray, "t 2"], known: int) -> float | None:
    """Relative error of the acceleration of what goes down a ramp, after the known frames, to the ramp's foot."""
    if clip.world.things[i].motion != "ramp":
        return None
    height, speed = clip.states.position[:, i, 2], clip.states.velocity[:, i, 2]
    foot = int(speed.argmin())
    down = slice(known - 1, min(foot + 1, _alone(clip, i)))
    if down.stop - down.start < FLIGHT:
        return None
    way = clip.states.position[:, i] - clip.states.position[0, i]
    flat = np.stack([np.linalg.norm(way[:, :2], axis=1), height - height[0]], axis=1)
    slope = flat[down.stop - 1] / np.linalg.norm(flat[down.stop - 1])
    return _second_order_off(-(points - [0, height[0]])[down] @ slope, -(flat @ slope)[down], clip.fps)


def _flight(clip: Clip, i: int) -> slice:
    """Frames in which an object is in the air for the first time and has touched nothing; none if it never is."""
    thing = clip.world.things[i]
    if thing.motion in ("drop", "throw"):
        return slice(0, min(_first_touch(clip, i), _alone(clip, i)))
    if not is_on_table(thing):
        return slice(0, 0)
    gain = -np.diff(clip.states.velocity[:, i, 2]) * clip.fps / clip.world.gravity
    free = np.append(gain > _FREE, False)  # what tips over an edge is held by it
    run = _first_run(free, 1)
    return slice(run.start, min(run.stop + 1, _alone(clip, i))) if run else slice(0, 0)


def gravity(height: Float[np.ndarray, " t"], fps: float) -> float:
    """Metres/second² downwards of a flight: z = z0 + v t - g t² / 2, by least squares. NaN heights do not count."""
    frames = np.flatnonzero(np.isfinite(height))
    return float(-2 * np.polyfit(frames / fps, height[frames], 2)[0])


def _first_touch(clip: Clip, i: int) -> int:
    """Frames before what is in the air touches anything."""
    landed = [e.frame for e in clip.events if isinstance(e, Landed) and e.object == i]
    met = [e.frame for e in clip.events if isinstance(e, Contact) and i in (e.first, e.second)]
    return min(landed + met, default=len(clip.rgb) - 1) + 1


def _restitution_off(clip: Clip, i: int, points: Float[np.ndarray, "t 2"]) -> float | None:
    """Difference of a ball's restitution to what the same rule finds in the simulator's heights in the same frames."""
    thing = clip.world.things[i]
    if thing.shape != "ball" or thing.motion not in ("drop", "throw"):
        return None
    landed, until = _first_touch(clip, i), _alone(clip, i)
    found, height = points[:until, 1], clip.states.position[:until, i, 2]
    measured = restitution(found, landed, thing.radius)
    true = restitution(np.where(np.isfinite(found), height, np.nan), landed, thing.radius)
    return abs(measured - true) if measured is not None and true is not None else None


def restitution(height: Float[np.ndarray, " t"], landed: int, floor: float) -> float | None:
    """Share of the speed kept in the first bounce: the square root of the ratio of apexes above `floor`.

    `landed` is the first frame after the landing; heights are metres, NaN where unknown. None if less than 5 frames
    are known after the landing, or none before. Source: v² = 2 g h on both sides of the bounce.
    """
    before, after = height[:landed], height[landed:]
    if not np.isfinite(before).any() or np.isfinite(after).sum() < 5:
        return None
    fallen, risen = np.nanmax(before) - floor, max(0.0, float(np.nanmax(after)) - floor)
    return math.sqrt(risen / fallen) if fallen > 0 else None


def _energy_gained(clip: Clip, i: int, points: Float[np.ndarray, "t 2"]) -> float | None:
    """Largest energy per mass before it meets another object above that of the start, as a height in radii."""
    thing, g = clip.world.things[i], clip.world.gravity
    path = points[: _alone(clip, i)]
    speed = (path[2:] - path[:-2]) * clip.fps / 2
    energy = 0.5 * (speed**2).sum(axis=1) + g * path[1:-1, 1]
    if not np.isfinite(energy).any():
        return None
    spin = 0.4 * thing.radius**2 * float(np.sum(np.square(thing.spin)))
    start = 0.5 * (float(np.sum(np.square(thing.velocity))) + spin) + g * thing.position[2]
    return max(0.0, float(np.nanmax(energy)) - start) / (g * thing.radius)


def _penetration(clip: Clip, i: int, points: Float[np.ndarray, "t 2"]) -> float | None:
    """How far its centre comes below the height at which it would lie on the ground, in radii."""
    thing = clip.world.things[i]
    heights = points[: _alone(clip, i), 1]
    if not np.isfinite(heights).any():
        return None
    lowest = min(thing.bounds)
    return max(0.0, lowest - float(np.nanmin(heights))) / thing.radius
