"""Falling objects: what drops, bounces, is thrown, goes down a ramp or hits another has to do so as physics has it.

A task is a held-out world with a camera that stands still and something in it that obeys the law of the task's number.
Every named object of the generated clip is followed by its pixels and held against the simulator's truth:

place        mean distance from the true place, in radii of the object, over the generated frames in which the truth
             shows half of it or more; where it cannot be found it counts as `LOST` radii away
step         the same of its displacement from frame to frame
gravity      second-order fit to the heights of a flight that has `FLIGHT` frames or more before anything is touched,
             and to those of a ball's first rebound that has as many
acceleration the same down a ramp, after the known frames
restitution  of a ball that is dropped or thrown: square root of the height it comes back to over the one it fell from
energy       kinetic and potential, per mass, above the start's; before it meets another object
penetration  how deep its lowest place lies below the one at which it would touch the ground
momentum     of two things that meet on the ground, after they have met, as a share of what came in

The others are read in the vertical plane in which the truth moves, where a pixel's ray through the truth's camera
meets it. What an object's path plane hides (it is seen edge-on) or nothing fits is left out of them, never of `place`.

The simulator that training clips come from has no "rolls off an edge": that law's worlds are its worlds with what rolls
or slides put on a table, and their prompts say that it falls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.mechanics import MOMENTUM, measures, momentum_off, tells_gravity
from muybridge.evaluation.permanence import radii
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.evaluation.tracking import Track, retimed, track, true_tracks
from muybridge.evaluation.variations import is_on_table, on_a_table, varied
from muybridge.simulation import Clip, World, film, sample_world
from muybridge.simulation.cameras import camera_path, project
from muybridge.simulation.captions import Happening, captions, intended
from muybridge.simulation.physics import GROUND, Trajectory, trajectory
from muybridge.simulation.things import Thing

LAWS = ("drop", "bounce", "throw", "edge", "ramp", "collide")
"""Task n is about law n modulo 6. What is dropped and comes up again by 8 cm bounces; what does not, drops."""

SEES = tuple(name for name in BREAKS if name not in ("changes size", "changes shape", "duplicated"))
"""Breaks that this suite is meant to see. What a thing looks like is another suite's business."""

UNDER_GRAVITY = ("drop", "bounce", "throw", "edge", "ramp")
"""Laws that half the gravity changes. What collides does so on the level ground, where weight tells by friction alone,
and that cannot be read off the known frames: to judge collisions by it would be to guess."""

FRAMES, SIDE, FPS, KNOWN = 33, 128, 15.0, 5

PLACE = 1.25
"""Radii of mean error that pass. How much a thing bounces, where it tumbles and how hard it hits what it meets cannot
be read off the known frames: of 50 clips of worlds that differ in nothing else, 49 stay within this."""

STEP = 0.4
"""Radii a frame of mean error that pass: the same 50 clips stay below 0.25, shuffled frames lie mostly above 0.4."""

LOST = 5.0
"""Radii that an object which cannot be found counts as being away."""

_TELLING = 1.5  # radii, on average, by which an object that stops after the known frames is off: else it tells nothing
_SHOWN = 0.5  # share of an object's outline that the truth has to show
_MOSTLY = 0.7  # share of the generated frames in which it does
_WHOLE = 0.97  # the same, where a centre has to be the object's own
_BOUNCE = 0.08  # metres that it comes up again
_DOWN = 0.3  # metres that it falls at least
_FIRST_SEED = HELD_OUT + 300_000_000
_CANDIDATES = 1000


@dataclass(frozen=True)
class FallingObjects:
    """The Suite of this module."""

    name: str = "falling"
    splits: tuple[Split, ...] = ("in distribution", "speed", "size", "gravity", "count", "combination")

    def task(self, split: Split, number: int) -> Task:
        """Number n obeys law n modulo 6. ValueError for a negative number."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        law = LAWS[number % len(LAWS)]
        first = _FIRST_SEED + number * _CANDIDATES
        for seed in range(first, first + _CANDIDATES):
            world = _world(seed, split, law)
            if world is None or not _subjects(world, law):
                continue
            clip = film(world, FRAMES, SIDE, SIDE, FPS)
            if _watched(clip, law):
                name = f"falling-{split.replace(' ', '-')}-{number:04d}"
                return Task(name, seed, split, _prompt(clip, law), KNOWN, clip, {"law": law})
        raise AssertionError(f"no world for {law} in {split} among {_CANDIDATES} seeds from {first}")

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        assert frames.shape == task.truth.rgb.shape, (frames.shape, task.truth.rgb.shape)
        return verdict(task, retimed(track(frames, task.truth.objects), times, task.truth.fps).objects)


def verdict(task: Task, tracks: Sequence[Track]) -> Verdict:
    """What is made of a clip in which the truth's objects, in their order, are found on `tracks`."""
    clip = task.truth
    assert len(tracks) == len(clip.objects), (len(tracks), len(clip.objects))
    truth, sizes = true_tracks(clip), radii(clip)
    wrong: list[str] = []
    errors: dict[str, list[float]] = {}

    def check(i: int, key: str, value: float | None, limit: float, sentence: str) -> None:
        if value is not None:
            errors.setdefault(key, []).append(value)
            if value > limit:
                wrong.append(f"the {clip.objects[i].name} {sentence.format(value)}")

    for i, (true, found) in enumerate(zip(truth, tracks, strict=True)):
        if clip.states.visible[0, i] >= _SHOWN and not _near(true, found, sizes[0, i]):
            wrong.append(f"the {clip.objects[i].name} of the first frame is not where it was given")
    for i, (true, found) in enumerate(zip(truth, tracks, strict=True)):
        off, step, when = _apart(clip, i, true, found, sizes[:, i], task.known)
        check(i, "place, radii", off, PLACE, f"is {{:.1f}} radii from its place on average, most in frame {when}")
        check(i, "step, radii", step, STEP, f"is {{:.2f}} radii off in each step, see frame {when}")
        for measure in measures(clip, i, found, task.known):
            check(i, measure.name, measure.value, measure.limit, measure.sentence)
    for i in (i for i, thing in enumerate(clip.world.things) if thing.motion == task.groups["law"] == "collide"):
        off = momentum_off(clip, tracks, task.known)
        check(i, "momentum, share off", off, MOMENTUM, "and what it meets have a momentum that is off by {:.0%}")
    return Verdict(0.0 if wrong else 1.0, wrong[0] if wrong else "", {key: max(v) for key, v in errors.items()})


def broken(task: Task) -> Iterator[tuple[str, Frames]]:
    """The truth of a task, broken in each of the ways of `SEES` right after the known frames.

    Half the gravity is left out of collisions, which cannot show it. What drops or is thrown has flown most of its way
    by then: it freezes where it is last known, and gravity is another one from the first frame on.
    """
    law = task.groups["law"]
    subject = _watched(task.truth, law)[0]
    for name in SEES:
        if name != "half gravity" or law in UNDER_GRAVITY:
            yield name, BREAKS[name](task.truth, subject, _start(name, law, task.known))


def _start(name: str, law: str, known: int) -> int:
    """The frame from which on a truth is broken."""
    if name == "freezes":
        return known - 1
    return 1 if law in ("drop", "throw") and name in ("falls up", "half gravity") else known


# --- scenes ----------------------------------------------------------------------------------------------------------


def _world(seed: int, split: Split, law: str) -> World | None:
    """The world of a seed in a split, if its camera stands still."""
    if sample_world(seed).move.kind != "static":  # a variation keeps the camera
        return None
    world = varied(seed, split)
    if world.move.kind != "static":  # another world took its place
        return None
    return on_a_table(world) if law == "edge" else world


def _subjects(world: World, law: str) -> list[int]:
    """Objects that obey the law, and move on enough after the known frames."""
    meant = [i for i, thing in enumerate(world.things) if _is_meant(thing, law)]
    if not meant:
        return []
    path = trajectory(world, FRAMES, FPS)
    return [i for i in meant if _law(world, path, i) == law and _left_to_do(world, path, i) >= _TELLING]


def _is_meant(thing: Thing, law: str) -> bool:
    """Whether a thing is meant to obey the law."""
    if law == "edge" or is_on_table(thing):
        return law == "edge" and is_on_table(thing)
    return thing.motion == ("drop" if law == "bounce" else law)


def _law(world: World, path: Trajectory, i: int) -> str:
    """The law that an object obeys, going by its trajectory; "" for none."""
    thing, height = world.things[i], path.position[:, i, 2]
    if thing.motion == "collide":
        met = any({c.first, c.second} == {i, thing.other} for c in path.contacts)
        return "collide" if met else ""
    if _is_meant(thing, "edge"):
        return "edge" if height[-1] < height[0] - _DOWN else ""
    if thing.motion != "drop":
        return thing.motion
    landed = next((c.frame for c in path.contacts if c.first == i and c.second == GROUND), None)
    if landed is None:
        return ""
    after = height[landed + 1 :]
    return "bounce" if (after - np.minimum.accumulate(after)).max(initial=0.0) > _BOUNCE else "drop"


def _prompt(clip: Clip, law: str) -> str:
    """The fullest caption; what goes over an edge "falls", for the grammar's rolling is along the ground."""
    if law != "edge":
        return clip.captions[-1]
    off = [i for i, thing in enumerate(clip.world.things) if _is_meant(thing, law)]
    happenings = [Happening(i, "fall") if i in off else h for i, h in enumerate(intended(clip.world))]
    return captions(clip.world, tuple(happenings), FRAMES)[-1]


def _left_to_do(world: World, path: Trajectory, i: int) -> float:
    """Mean distance in the picture, in radii, from where the known frames leave it."""
    camera = camera_path(world.move, np.linspace(0, 1, FRAMES), SIDE, SIDE)
    place = project(camera, path.position[:, i : i + 1])[:, 0]
    radius = world.things[i].radius * camera.intrinsics[:, 0, 0] / place[:, 2]
    away = np.linalg.norm(place[KNOWN:, :2] - place[KNOWN - 1, :2], axis=1) / radius[KNOWN:]
    return float(away.mean())


def _watched(clip: Clip, law: str) -> list[int]:
    """Those that obey the law and are seen in most of the frames that are to be made, and whole in the known ones.

    What goes over an edge or down a ramp has to be seen so well then that gravity can be read off.
    """
    shown = clip.states.visible
    seen = (shown[:KNOWN] > _WHOLE).all(axis=0) & ((shown[KNOWN:] >= _SHOWN).mean(axis=0) > _MOSTLY)
    subjects, truth = [i for i in _subjects(clip.world, law) if seen[i]], true_tracks(clip)
    return [i for i in subjects if law not in ("edge", "ramp") or tells_gravity(clip, i, truth[i], KNOWN)]


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
