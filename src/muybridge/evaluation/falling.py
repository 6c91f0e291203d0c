"""Falling objects: what drops, bounces, is thrown, goes down a ramp or hits another has to do so as physics has it.

A task is a held-out world with a camera that stands still and something in it that obeys the law of the task's number.
Every named object of the generated clip is followed by its pixels and held against the simulator's truth:

place        mean distance from the true place, in radii of the object, over the generated frames in which the truth
             shows half of it or more; where it cannot be found it counts as `LOST` radii away
step         the same of its displacement from frame to frame
gravity      second-order fit to the heights of a flight that has `FLIGHT` frames or more before anything is touched
restitution  of a ball that is dropped or thrown: square root of the height it comes back to over the one it fell from
energy       kinetic and potential, per mass, above the start's; before it meets another object
penetration  how deep its lowest place lies below the one at which it would touch the ground

The others are read in the vertical plane in which the truth moves, where a pixel's ray through the truth's camera
meets it. What an object's path plane hides (it is seen edge-on) or nothing fits is left out of them, never of `place`.

There is no "rolls off an edge": the simulator has no such motion and its grammar no words for it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, UInt8

from muybridge.evaluation.segments import SIDE as SEARCHED
from muybridge.evaluation.segments import segments
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Split, Task, Verdict
from muybridge.evaluation.variations import varied
from muybridge.simulation import Clip, Contact, Landed, ObjectInfo, World, film
from muybridge.simulation.cameras import camera_path, project
from muybridge.simulation.physics import GROUND, Trajectory, trajectory

LAWS = ("drop", "bounce", "throw", "ramp", "collide")
"""Task n is about law n modulo 5. What is dropped and comes up again by 8 cm bounces; what does not, drops."""

UNDER_GRAVITY = ("drop", "bounce", "throw", "ramp")
"""Laws that another gravity changes; what collides rolls or slides on the level ground."""

FRAMES, SIDE, FPS, KNOWN = 33, 128, 15.0, 5

PLACE = 1.25
"""Radii of mean error that pass. How much a thing bounces, where it tumbles and how hard it hits what it meets cannot
be read off the known frames: of 50 clips of worlds that differ in nothing else, 49 stay within this."""

STEP = 0.4
"""Radii a frame of mean error that pass: the same 50 clips stay below 0.25, shuffled frames lie mostly above 0.4."""

GRAVITY = 0.3
"""Relative error of gravity that passes: 5 frames with centres half a pixel off have a standard deviation of 0.12."""

RESTITUTION = 0.35
"""Error of a ball's restitution that passes: training draws it from 0.45 to 0.75, nothing in the known frames tells."""

ENERGY = 1.0
"""Radii by which the energy gained could lift an object, that pass: half a pixel of noise at 4 m/s is worth 0.5."""

PENETRATION = 0.5
"""Radii that pass: the truth itself has up to 0.16, where a thing is covered in part or leaves its path's plane."""

LOST = 5.0
"""Radii that an object which cannot be found counts as being away."""

FLIGHT = 5
"""Frames of a flight that gravity is fitted to, at least."""

_TELLING = 1.5  # radii, on average, by which an object that stops after the known frames is off: else it tells nothing
_SHOWN = 0.5  # share of an object's outline that the truth has to show
_WHOLE = 0.97  # the same, where a centre has to be the object's own
_BOUNCE = 0.08  # metres that it comes up again
_STANDS = 0.15  # metres within which a path is vertical or no path at all
_EDGE_ON = 0.5  # least cosine between line of sight and the normal of a path's plane
_FIRST_SEED = HELD_OUT + 300_000_000
_CANDIDATES = 1000


class Track(Protocol):
    """One object of a clip: in which frames it is found, and there its centre (x, y) and area in pixels."""

    @property
    def seen(self) -> Bool[np.ndarray, " t"]: ...

    @property
    def centre(self) -> Float[np.ndarray, "t 2"]: ...

    @property
    def area(self) -> Float[np.ndarray, " t"]: ...


@dataclass(frozen=True)
class PixelTrack:
    """A Track as arrays: of a clip's own masks or of segments found in it."""

    seen: Bool[np.ndarray, " t"]
    centre: Float[np.ndarray, "t 2"]
    area: Float[np.ndarray, " t"]


@dataclass(frozen=True)
class FallingObjects:
    """The Suite of this module."""

    name: str = "falling"
    splits: tuple[Split, ...] = ("in distribution", "speed", "size", "gravity", "count", "combination")

    def task(self, split: Split, number: int) -> Task:
        """Number n obeys law n modulo 5. ValueError for a negative number."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        law = LAWS[number % len(LAWS)]
        first = _FIRST_SEED + number * _CANDIDATES
        for seed in range(first, first + _CANDIDATES):
            world = varied(seed, split)
            if world.move.kind != "static" or not (subjects := _subjects(world, law)):
                continue
            clip = film(world, FRAMES, SIDE, SIDE, FPS)
            if any(_watched(clip, i) for i in subjects):
                name = f"falling-{split.replace(' ', '-')}-{number:04d}"
                return Task(name, seed, split, clip.captions[-1], KNOWN, clip, {"law": law})
        raise AssertionError(f"no world for {law} in {split} among {_CANDIDATES} seeds from {first}")

    def judge(self, task: Task, frames: UInt8[np.ndarray, "t h w 3"]) -> Verdict:
        assert frames.shape == task.truth.rgb.shape, (frames.shape, task.truth.rgb.shape)
        return verdict(task, follow(frames, task.truth.objects))


def verdict(task: Task, tracks: Sequence[Track]) -> Verdict:
    """What is made of a clip in which the truth's objects, in their order, are found on `tracks`."""
    clip = task.truth
    assert len(tracks) == len(clip.objects), (len(tracks), len(clip.objects))
    truth, radii = true_tracks(clip), _radii(clip)
    wrong: list[str] = []
    errors: dict[str, list[float]] = {}

    def check(i: int, key: str, value: float | None, limit: float, sentence: str) -> None:
        if value is not None:
            errors.setdefault(key, []).append(value)
            if value > limit:
                wrong.append(f"the {clip.objects[i].name} {sentence.format(value)}")

    for i, (true, found) in enumerate(zip(truth, tracks, strict=True)):
        if clip.states.visible[0, i] >= _SHOWN and not _near(true, found, radii[0, i]):
            wrong.append(f"the {clip.objects[i].name} of the first frame is not where it was given")
    for i, (true, found) in enumerate(zip(truth, tracks, strict=True)):
        off, step, when = _apart(clip, i, true, found, radii[:, i], task.known)
        check(i, "place, radii", off, PLACE, f"is {{:.1f}} radii from its place on average, most in frame {when}")
        check(i, "step, radii", step, STEP, f"is {{:.2f}} radii off in each step, see frame {when}")
        for measure in _physics(clip, i, found):
            check(i, *measure)
    return Verdict(0.0 if wrong else 1.0, wrong[0] if wrong else "", {key: max(v) for key, v in errors.items()})


def true_tracks(clip: Clip) -> tuple[PixelTrack, ...]:
    """The objects of a simulated clip as its masks have them."""
    return tuple(_masked(clip.instance == i + 1) for i in range(len(clip.objects)))


def follow(frames: UInt8[np.ndarray, "t h w 3"], objects: Sequence[ObjectInfo]) -> tuple[PixelTrack, ...]:
    """Each object as the largest segment of its colour in every frame: no two objects of a world share a colour."""
    pictures = [segments(frame) for frame in frames]
    scale = min(frames.shape[1:3]) / SEARCHED
    tracks = []
    for known in objects:
        own = [
            max((s for s in found if s.colour == known.colour), key=lambda s: s.area, default=None)
            for found in pictures
        ]
        centre = [(s.centre[1] + 0.5, s.centre[0] + 0.5) if s else (math.nan, math.nan) for s in own]
        area = [float(s.area) if s else 0.0 for s in own]
        tracks.append(PixelTrack(np.array(area) > 0, scale * np.array(centre), scale**2 * np.array(area)))
    return tuple(tracks)


def _masked(mask: Bool[np.ndarray, "t h w"]) -> PixelTrack:
    area = mask.sum(axis=(1, 2)).astype(float)
    rows, columns = np.arange(mask.shape[1]) + 0.5, np.arange(mask.shape[2]) + 0.5
    weight = np.maximum(area, 1)
    x, y = mask.sum(axis=1) @ columns / weight, mask.sum(axis=2) @ rows / weight
    return PixelTrack(area > 0, np.where(area[:, None] > 0, np.stack([x, y], axis=1), np.nan), area)


# --- scenes ----------------------------------------------------------------------------------------------------------


def _subjects(world: World, law: str) -> list[int]:
    """Objects that obey the law, and move on enough after the known frames."""
    motions = {"drop": "drop", "bounce": "drop"}
    meant = [i for i, thing in enumerate(world.things) if thing.motion == motions.get(law, law)]
    if not meant:
        return []
    path = trajectory(world, FRAMES, FPS)
    return [i for i in meant if _law(world, path, i) == law and _left_to_do(world, path, i) >= _TELLING]


def _law(world: World, path: Trajectory, i: int) -> str:
    """The law that an object obeys, going by its trajectory; "" for none."""
    thing, height = world.things[i], path.position[:, i, 2]
    if thing.motion == "collide":
        met = any({c.first, c.second} == {i, thing.other} for c in path.contacts)
        return "collide" if met else ""
    if thing.motion != "drop":
        return thing.motion
    landed = next((c.frame for c in path.contacts if c.first == i and c.second == GROUND), None)
    if landed is None:
        return ""
    after = height[landed + 1 :]
    return "bounce" if (after - np.minimum.accumulate(after)).max(initial=0.0) > _BOUNCE else "drop"


def _left_to_do(world: World, path: Trajectory, i: int) -> float:
    """Mean distance in the picture, in radii, from where the known frames leave it."""
    camera = camera_path(world.move, np.linspace(0, 1, FRAMES), SIDE, SIDE)
    place = project(camera, path.position[:, i : i + 1])[:, 0]
    radius = world.things[i].radius * camera.intrinsics[:, 0, 0] / place[:, 2]
    away = np.linalg.norm(place[KNOWN:, :2] - place[KNOWN - 1, :2], axis=1) / radius[KNOWN:]
    return float(away.mean())


def _watched(clip: Clip, i: int) -> bool:
    """Whether it is seen in most of the frames that are to be made, and whole from the first to the last known one."""
    shown = clip.states.visible[:, i]
    return bool((shown[:KNOWN] > _WHOLE).all() and (shown[KNOWN:] >= _SHOWN).mean() > 0.7)


# --- judging ---------------------------------------------------------------------------------------------------------


def _near(true: Track, found: Track, radius: float) -> bool:
    """Whether it is found in the first frame, within a radius of its true place."""
    return bool(found.seen[0] and np.linalg.norm(found.centre[0] - true.centre[0]) <= radius)


def _apart(
    clip: Clip, i: int, true: Track, found: Track, radii: Float[np.ndarray, " t"], known: int
) -> tuple[float | None, float | None, int]:
    """Mean distance from the true place and the true step in radii, and the frame of the largest distance.

    None for an object that the truth does not show either.
    """
    outline = true.area / radii**2  # less where the picture's border cuts it off
    counts = (clip.states.visible[:, i] >= _SHOWN) & (outline > _SHOWN * outline.max())
    counts[: known - 1] = False  # the last known frame is where the first step begins
    gap = found.centre - true.centre
    away = np.where(found.seen, np.minimum(np.linalg.norm(gap, axis=1) / radii, LOST), LOST)
    moved = np.linalg.norm(np.diff(gap, axis=0), axis=1) / radii[1:]
    moved = np.where(found.seen[1:] & found.seen[:-1], np.minimum(moved, LOST), LOST)
    pairs = counts[1:] & counts[:-1]
    counts[known - 1] = False
    place = float(away[counts].mean()) if counts.any() else None
    step = float(moved[pairs].mean()) if pairs.any() else None
    return place, step, int(np.where(counts, away, -1).argmax())


def _radii(clip: Clip) -> Float[np.ndarray, "t n"]:
    """Radii of the objects in pixels."""
    depth = project(clip.camera, clip.states.position)[..., 2]
    radius = np.array([thing.radius for thing in clip.world.things])
    size: Float[np.ndarray, "t n"] = radius * clip.camera.intrinsics[:, :1, 0] / depth
    return size


_Measure: TypeAlias = tuple[str, float | None, float, str]  # key, value, limit, sentence


def _physics(clip: Clip, i: int, found: Track) -> tuple[_Measure, ...]:
    """Gravity, restitution, energy and penetration of an object that moves."""
    way = clip.states.position[:, i] - clip.states.position[0, i]
    if clip.world.things[i].fixed or np.linalg.norm(way, axis=1).max() < _STANDS:
        return ()
    points = _in_plane(clip, i, found)
    if points is None:
        return ()
    gained, deep = _energy_gained(clip, i, points), _penetration(clip, i, points)
    return (
        ("gravity, share off", _gravity_off(clip, i, points), GRAVITY, "falls under a gravity that is off by {:.0%}"),
        ("restitution, off", _restitution_off(clip, i, points), RESTITUTION, "has a restitution off by {:.2f}"),
        ("energy gained, radii", gained, ENERGY, "gains energy that could lift it by {:.1f} radii"),
        ("penetration, radii", deep, PENETRATION, "is {:.1f} radii deep in the ground"),
    )


def _in_plane(clip: Clip, i: int, found: Track) -> Float[np.ndarray, "t 2"] | None:
    """Along the object's way and up, metres, where rays through its centres meet the vertical plane of its true way.

    NaN where it is not found, or covered in part; None if that plane is seen too much from the side. What falls
    straight down has a plane that faces the camera.
    """
    path, until = clip.states.position[:, i], _alone(clip, i)
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
    whole = found.seen & (clip.states.visible[:, i] >= _WHOLE) & (border > _radii(clip)[:, i])
    flat = np.stack([(points[:, :2] - path[0, :2]) @ ahead, points[:, 2]], axis=1)
    return np.where(whole[:, None], flat, np.nan)


def _alone(clip: Clip, i: int) -> int:
    """Frames before it meets another object for the first time."""
    props = len(clip.objects)
    met = [
        e.frame
        for e in clip.events
        if isinstance(e, Contact) and i in (e.first, e.second) and max(e.first, e.second) < props
    ]
    return min(met, default=len(clip.rgb) - 1) + 1


def _gravity_off(clip: Clip, i: int, points: Float[np.ndarray, "t 2"]) -> float | None:
    """Relative error of gravity, from the frames of the true flight; None where they are too few."""
    if clip.world.things[i].motion not in ("drop", "throw"):
        return None
    flight = points[: min(_first_touch(clip, i), _alone(clip, i)), 1]
    if np.isfinite(flight).sum() < FLIGHT:
        return None
    return abs(gravity(flight, clip.fps) / clip.world.gravity - 1)


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
    """Difference of a ball's restitution to the one that the same rule finds in the simulator's heights."""
    thing = clip.world.things[i]
    if thing.shape != "ball" or thing.motion not in ("drop", "throw"):
        return None
    landed, until = _first_touch(clip, i), _alone(clip, i)
    measured = restitution(points[:until, 1], landed, thing.radius)
    true = restitution(clip.states.position[:until, i, 2], landed, thing.radius)
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
