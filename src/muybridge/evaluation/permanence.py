"""The permanence suite: what is hidden still exists. It comes back where and when it should, or stays hidden.

A task is a held-out world in which an object is wholly hidden after the known frames, behind a wall, a named box or
another object, and comes back or stays there (`KINDS`); the camera stands still in half of the tasks. In the known
frames all objects are seen, and from then on nothing touches the hidden one before it is back, so its motion is
determined. In the split "occluders" there are two walls, or a tall box slides in front of what rests.

A clip passes if

- it begins as it was given,
- every object is seen while the truth shows it, and not seen while the truth hides it, up to `LATE` frames,
- what will stay hidden is seen on its way in,
- what was hidden comes back within `PLACE` radii of the true place and within `LATE` frames of the true time,
- with its colour, its shape and, within a factor `SIZE`, its size,
- and nothing else appears for `LASTING` frames or more.

How objects move that are never hidden is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion

from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.shapes import SHAPES
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.evaluation.tracking import Track, Tracks, retimed, track, true_tracks
from muybridge.evaluation.variations import plain, varied
from muybridge.simulation import Clip, Contact, Hidden, World, film
from muybridge.simulation.cameras import camera_path, project
from muybridge.simulation.physics import GROUND, rotations, trajectory
from muybridge.simulation.scene import Camera
from muybridge.simulation.things import Thing

FRAMES, SIDE, FPS = 33, 128, 15.0

KNOWN = {"returns": 9, "stays": 5}
"""Frames that are given. What stops behind something is half hidden after 9, and plainly slowing down within 5."""

KINDS = (
    ("returns", "wall"),
    ("returns", "named box"),
    ("stays", ""),
    ("returns", "named box"),
    ("returns", "other object"),
    ("stays", ""),
)
"""What happens to the hidden object and what hides it ("": a wall or a named box), in task n modulo 6.

Out of distribution nothing is looked for that hides behind another object, for that takes too long, and what stops at
the right place in training does not at another speed: these tasks are of kind ("returns", "").
"""

OCCLUDERS = (("returns", "wall"), ("returns", "passing box"), ("stays", "passing box"))
"""The same in the split "occluders", task n modulo 3: two walls, one after the other; a box that slides over a thing at
rest, and one that stops before it."""

SEES = tuple(name for name in BREAKS if name not in ("falls up", "half gravity"))
"""Breaks that this suite is meant to see. How things move is another suite's business."""

PLACE = 1.0
"""Radii off that pass: a thing and its place still overlap by more than a third. What is hidden moves at 0.2 to 0.35
radii a frame, so that much is three frames of its way."""

LATE = 2
"""Frames too early or too late that pass: an edge that is a radius off costs three frames, a latent of four frames
cannot say more than that."""

HALF = (0.4, 0.6)
"""Shares of an object's area that may be taken for half of it: the thin rim of what is partly covered is not seen."""

SIZE = 1.25
"""Factor of the length, up or down, that passes; the named sizes are 1.3 apart."""

UNLIKELY = 0.2
"""Probability of its own shape below which a thing has another one: the blur of an autoencoder leaves a moving ball
0.3 and more, a box in its place gets less than 0.1."""

LASTING = 3
"""Frames in a row from which on something is there, or missing: a moving thing's ghost in an autoencoder's clip lasts
one or two."""

DURATIONS = (0.4, 0.8, 1.2)
"""Seconds between which the times of hiding are told apart."""

_SHOWN = 0.5  # share of an object's outline from which on it has to be seen
_CLEAR = 0.9  # the same, where its place, shape and size are measured
_LEAST = 60.0  # pixels in the truth of what has to be seen; the smallest objects have 150
_THERE = 0.35  # share of its true area from which on an object that has to be seen is
_COVERED = 8.0  # pixels in the truth below which an object is not to be seen
_PEEPING = 0.25  # share of its usual area that what should be hidden must not show
_ON_ITS_WAY = 0.25  # share of its true area, summed over the frames before it hides; two frames too early leave 0.35
_AFTERWARDS = 6  # frames after the return in which place, shape and size are measured
_FOR_GOOD = 12  # frames for which what stays hidden is so
_MOVED = 2.0  # radii between the last known place and that of the return, so that a copy of the frame cannot pass
_FIRST_SEED = HELD_OUT + 400_000_000
_CANDIDATES = 10_000


@dataclass(frozen=True)
class Spell:
    """Object `subject` is hidden by geom `by` from frame `first` to frame `last`; `back` is the first frame in which
    half of it is seen again, None if it stays hidden."""

    subject: int
    by: int
    first: int
    last: int
    back: int | None


@dataclass(frozen=True)
class Permanence:
    """The Suite of this module."""

    name: str = "permanence"
    splits: tuple[Split, ...] = ("in distribution", "speed", "size", "gravity", "count", "combination", "occluders")

    def task(self, split: Split, number: int) -> Task:
        """Number n is of kind n modulo 6. ValueError for a negative number."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        then, by = _kind(split, number)
        moves = (number + number // len(KINDS)) % 2 == 1
        known, first = _known(split, then), _FIRST_SEED + number * _CANDIDATES
        least = 2 if (split, by) == ("occluders", "wall") else 1
        for seed in range(first, first + _CANDIDATES):
            world = _world(seed, split, then, by, moves)
            if world is None or not _may_hide(world, known):
                continue
            clip = film(world, FRAMES, SIDE, SIDE, FPS)
            groups = [_groups(clip, spell) for spell in spells(clip, known)]
            told = [g for g in groups if g["then"] == then and by in ("", g["by"])]
            if len(told) >= least and _introduced(clip, known):
                name = f"permanence-{split.replace(' ', '-')}-{number:04d}"
                return Task(name, seed, split, clip.captions[-1], known, clip, told[0])
        raise AssertionError(f"nothing of kind {then} {by} in {split} among {_CANDIDATES} seeds from {first}")

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        assert frames.shape == task.truth.rgb.shape, (frames.shape, task.truth.rgb.shape)
        return verdict(task, retimed(track(frames, task.truth.objects), times, task.truth.fps))


def verdict(task: Task, found: Tracks) -> Verdict:
    """What is made of a clip in which these tracks are found."""
    looks = _Looks(task.truth, task.known, true_tracks(task.truth), found)
    errors: dict[str, float] = {}
    wrong: list[str] = []
    for i in range(len(task.truth.objects)):
        wrong += looks.beginning(i) or looks.presence(i)
    for spell in spells(task.truth, task.known):
        wrong += looks.identity(spell)
        wrong += looks.way_in(spell) if spell.back is None else looks.comeback(spell, spell.back, errors)
    wrong += looks.besides()
    return Verdict(0.0 if wrong else 1.0, wrong[0] if wrong else "", errors)


def broken(task: Task) -> Iterator[tuple[str, Frames]]:
    """The truth of a task, broken in each of the ways of `SEES`, where it hurts: while the object is hidden; if it
    stays hidden, as soon as it is no longer known, unless the break is that it shows."""
    spell = next(s for s in spells(task.truth, task.known) if _groups(task.truth, s) == task.groups)
    inside = (spell.first + spell.last + 1) // 2 if spell.back is not None else spell.first + LATE
    rests = _cover(task.truth.world, spell.by) == "passing box"  # it has no wrong side to come back on
    for name in SEES if not rests else (name for name in SEES if name != "wrong side"):
        at_once = name in ("freezes", "shuffled", "duplicated") or (
            spell.back is None and name in ("vanishes", "changes colour", "changes size", "changes shape")
        )
        yield name, BREAKS[name](task.truth, spell.subject, task.known if at_once else inside)


@dataclass(frozen=True)
class _Looks:
    """Truth and what was found, side by side; each method returns what is wrong, as sentences."""

    clip: Clip
    known: int
    truth: tuple[Track, ...]
    found: Tracks

    def beginning(self, i: int) -> list[str]:
        """Whether the object is where it was given."""
        true, made = self._both(i)
        given = self._shown(i)
        given[self.known :] = False
        if not given.any():
            return []
        off = np.where(made.seen, np.linalg.norm(made.centre - true.centre, axis=1) / self._radii(i), np.inf)
        if np.median(off[given]) <= PLACE:
            return []
        return [f"the {self._name(i)} is not where the known frames have it"]

    def presence(self, i: int) -> list[str]:
        """Whether it is seen when it should be, and only then."""
        true, made = self._both(i)
        missing = _steady(self._shown(i)) & (made.area < _THERE * true.area)
        if (run := _first_run(missing, LASTING - 1)) is not None:
            return [f"the {self._name(i)} is not seen from frame {run} on, where it should be"]
        peeping = np.flatnonzero(_steady(self._covered(i)) & (made.area > _PEEPING * self._usual(i)))
        if len(peeping) >= LASTING - 1:
            return [f"the {self._name(i)} is seen in frame {peeping[0]}, where it should be hidden"]
        return []

    def way_in(self, spell: Spell) -> list[str]:
        """Whether it is there until it is hidden."""
        true, made = (t.area[self.known : spell.first].sum() for t in self._both(spell.subject))
        if made >= _ON_ITS_WAY * true:
            return []
        return [f"the {self._name(spell.subject)} is gone before frame {spell.first}, in which it should be hidden"]

    def comeback(self, spell: Spell, back: int, errors: dict[str, float]) -> list[str]:
        """Where and when it comes back."""
        i = spell.subject
        true, made = self._both(i)
        frames = _clear_frames(self.clip, i, back) & made.seen
        if not frames.any():
            return [f"the {self._name(i)} does not come back; it should from frame {back} on"]
        off = float(np.median(np.linalg.norm(made.centre - true.centre, axis=1)[frames] / self._radii(i)[frames]))
        late = _late(true, made, frames, (spell.first + spell.last + 1) // 2)
        _keep_largest(errors, "place of return, radii", off)
        _keep_largest(errors, "time of return, seconds", abs(late) / self.clip.fps)
        if off > PLACE:
            return [f"the {self._name(i)} comes back {off:.1f} radii from where it should"]
        if abs(late) > LATE:
            word = "late" if late > 0 else "early"
            return [f"the {self._name(i)} comes back {abs(late)} frames too {word}, by frame {back + late}"]
        return []

    def identity(self, spell: Spell) -> list[str]:
        """Whether it is the same thing: after its return, or before it hides for good."""
        i = spell.subject
        true, made = self._both(i)
        frames = _clear_frames(self.clip, i, self.known if spell.back is None else spell.back) & made.seen
        if not frames.any():
            return []
        factor = float(np.median(np.sqrt(made.area[frames] / true.area[frames])))
        if not 1 / SIZE <= factor <= SIZE:
            return [f"the {self._name(i)} has {factor:.2f} times its size after frame {np.flatnonzero(frames)[0]}"]
        looks, likely = made.looks_like(frames)
        if likely[SHAPES.index(self.clip.objects[i].shape)] < UNLIKELY and self._can_tell(i, frames):
            return [f"the {self._name(i)} looks like a {looks} after frame {np.flatnonzero(frames)[0]}"]
        return []

    def besides(self) -> list[str]:
        """Whether there is something that should not be there."""
        run = _first_run(self.found.crowded(len(self.clip.rgb)), LASTING)
        if run is None:
            return []
        extra = next(e for e in self.found.extras if e.frame == run)
        x, y = extra.centre
        return [f"something {extra.colour} that should not be there shows from frame {run} on, at ({x:.0f}, {y:.0f})"]

    def _both(self, i: int) -> tuple[Track, Track]:
        return self.truth[i], self.found.objects[i]

    def _can_tell(self, i: int, frames: Bool[np.ndarray, " t"]) -> bool:
        """Whether the truth's own frames show its shape: what they do not show is not asked."""
        own = track(self.clip.rgb, self.clip.objects).objects[i]
        return own.looks_like(frames)[0] == self.clip.objects[i].shape

    def _shown(self, i: int) -> Bool[np.ndarray, " t"]:
        shown: Bool[np.ndarray, " t"] = (self.clip.states.visible[:, i] >= _SHOWN) & (self.truth[i].area >= _LEAST)
        return shown

    def _covered(self, i: int) -> Bool[np.ndarray, " t"]:
        """Hidden by something: not where it has left the picture."""
        covered = np.zeros(len(self.clip.rgb), bool)
        for event in self.clip.events:
            if isinstance(event, Hidden) and event.object == i:
                covered[event.frame_from : event.frame_to + 1] = True
        return covered & (self.truth[i].area < _COVERED)

    def _usual(self, i: int) -> float:
        return float(self.truth[i].area[: self.known].max())

    def _radii(self, i: int) -> Float[np.ndarray, " t"]:
        return radii(self.clip)[:, i]

    def _name(self, i: int) -> str:
        return self.clip.objects[i].name


def radii(clip: Clip) -> Float[np.ndarray, "t n"]:
    """Radii of the objects in pixels."""
    depth = project(clip.camera, clip.states.position)[..., 2]
    size: Float[np.ndarray, "t n"] = (
        np.array([thing.radius for thing in clip.world.things]) * clip.camera.intrinsics[:, :1, 0] / depth
    )
    return size


def _known(split: Split, then: str) -> int:
    """Frames that are given. Where there are two walls the first is reached early."""
    return min(KNOWN.values()) if split == "occluders" else KNOWN[then]


def spells(clip: Clip, known: int) -> tuple[Spell, ...]:
    """Hidings that a clip is about: determined by the known frames, with a clear return or none.

    Half of the object is seen in the last known frame, nothing touches it from then until it is back, and it comes
    back for long enough, and far enough from where it was last known, to be measured. What stays hidden is whole for
    `LATE` frames after the known ones, and hidden for long enough to come out again if it turned back. What a box
    slides over may come back where it was: it is hidden for long enough that to show it all the while does not pass.
    """
    found = (_spell(clip, event) for event in clip.events if isinstance(event, Hidden))
    return tuple(spell for spell in found if _is_told(clip, spell, known))


def _spell(clip: Clip, event: Hidden) -> Spell:
    seen = np.flatnonzero(clip.states.visible[event.frame_to + 1 :, event.object] >= _SHOWN)
    back = event.frame_to + 1 + int(seen[0]) if len(seen) else None
    return Spell(event.object, event.by, event.frame_from, event.frame_to, back)


def _is_told(clip: Clip, spell: Spell, known: int) -> bool:
    i, last = spell.subject, len(clip.rgb) - 1
    if spell.first < known or clip.states.visible[known - 1, i] < _SHOWN:
        return False
    until = last if spell.back is None else spell.back
    touched = [e for e in clip.events if isinstance(e, Contact) and i in (e.first, e.second) and e.second != GROUND]
    if any(known - 1 <= e.frame <= until for e in touched):
        return False
    if spell.back is None:
        entering = bool((clip.states.visible[known : known + LATE, i] >= _CLEAR).all())
        return spell.last == last and entering and last - spell.first >= _FOR_GOOD
    frames = _clear_frames(clip, i, spell.back)
    if frames.sum() < LASTING:
        return False
    if _cover(clip.world, spell.by) == "passing box":
        return spell.last - spell.first + 1 >= 2 * LATE + LASTING
    place, size = project(clip.camera, clip.states.position)[:, i, :2], radii(clip)[:, i]
    way = np.linalg.norm(place[frames] - place[known - 1], axis=1)
    return bool((way > _MOVED * size[frames]).all())


def _clear_frames(clip: Clip, i: int, start: int) -> Bool[np.ndarray, " t"]:
    """The first frames from `start` on that show an object whole."""
    height, width = clip.rgb.shape[1:3]
    place, reach = project(clip.camera, clip.states.position)[:, i, :2], radii(clip)[:, i]
    border = np.minimum(place, np.array([width, height]) - place).min(axis=1)
    clear: Bool[np.ndarray, " t"] = (clip.states.visible[:, i] >= _CLEAR) & (border >= reach)
    clear[:start] = False
    clear[np.flatnonzero(clear)[_AFTERWARDS:]] = False
    return clear


def _introduced(clip: Clip, known: int) -> bool:
    """Whether the known frames show every object."""
    area = np.stack([true.area for true in true_tracks(clip)], axis=1)
    shown = (clip.states.visible[:known] >= _CLEAR) & (area[:known] >= _LEAST)
    return bool(shown.any(axis=0).all())


def _kind(split: Split, number: int) -> tuple[str, str]:
    if split == "occluders":
        return OCCLUDERS[number % len(OCCLUDERS)]
    then, by = KINDS[number % len(KINDS)]
    if (split == "speed" and then == "stays") or (split != "in distribution" and by == "other object"):
        return "returns", ""
    return then, by


def _world(seed: int, split: Split, then: str, by: str, moves: bool) -> World | None:
    """The world of a seed in a split, if its plan is of that kind. More objects have another plan, but the same camera;
    in other splits the plan is that of the world that is varied."""
    if split == "occluders":
        world = varied(seed, split)
        return world if (world.move.kind != "static") == moves and _planned(world, then, by) else None
    plan = plain(seed, split)
    if (plan.move.kind != "static") != moves or (split != "count" and not _planned(plan, then, by)):
        return None
    world = varied(seed, split)
    return world if (world.move.kind != "static") == moves and _planned(world, then, by) else None


def _planned(world: World, then: str, by: str) -> bool:
    """Whether the plan may lead to that. To hide behind what is no cover is not planned: 1 % of worlds have it."""
    if by == "other object":
        return len(world.things) > 1
    if by == "passing box":
        return any(_passes(thing) for thing in world.things)
    motion = "behind" if then == "returns" else "stop behind"
    others = [thing.other for thing in world.things if thing.motion == motion]
    return any(by in ("", "wall" if other == -1 else "named box") for other in others)


def _may_hide(world: World, known: int) -> bool:
    """Whether a centre is behind something for two frames after the known ones: no picture is needed to tell."""
    if not world.props and len(world.things) < 2:
        return False
    path = trajectory(world, FRAMES, FPS)
    camera = camera_path(world.move, np.linspace(0, 1, FRAMES), SIDE, SIDE)
    centres = project(camera, path.position)
    left, right, top, bottom, depth = _outlines(world, path.position, camera)
    for i, thing in enumerate(world.things):
        x, y, far = (centres[:, i : i + 1, axis] for axis in range(3))
        others = np.arange(depth.shape[1]) != i
        covered = ((left < x) & (x < right) & (top < y) & (y < bottom) & (depth < far) & others).any(axis=1)
        if not thing.fixed and not covered[known - 1] and covered[known:].sum() >= 2:
            return True
    return False


def _outlines(world: World, position: Float[np.ndarray, "t n 3"], camera: Camera) -> tuple[np.ndarray, ...]:
    """Left, right, top, bottom and depth (t, geoms) of boxes around all geoms, objects first."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    boxes = [position[:, i, None] + corners * np.array(thing.bounds) for i, thing in enumerate(world.things)]
    for prop in world.props:
        around = np.array(prop.position) + (corners * prop.size) @ rotations(np.array(prop.quaternion)).T
        boxes.append(np.repeat(around[None], len(position), axis=0))
    seen = [project(camera, box) for box in boxes]
    low, high = (np.stack([pick(box, axis=1) for box in seen], axis=1) for pick in (np.min, np.max))
    return low[..., 0], high[..., 0], low[..., 1], high[..., 1], (low[..., 2] + high[..., 2]) / 2


def _groups(clip: Clip, spell: Spell) -> dict[str, str]:
    return {
        "hidden": _duration((spell.last - spell.first + 1) / clip.fps),
        "camera": "still" if clip.world.move.kind == "static" else "moving",
        "then": "stays" if spell.back is None else "returns",
        "by": _cover(clip.world, spell.by),
    }


def _duration(seconds: float) -> str:
    for low, high in zip((0.0, *DURATIONS), DURATIONS, strict=False):
        if seconds <= high:
            return f"{low:.1f} to {high:.1f} s"
    return f"over {DURATIONS[-1]:.1f} s"


def _cover(world: World, by: int) -> str:
    if by >= len(world.things):
        return world.props[by - len(world.things)].kind
    thing = world.things[by]
    return "named box" if thing.fixed else "passing box" if _passes(thing) else "other object"


def _passes(thing: Thing) -> bool:
    """Whether it is a cover that moves."""
    return thing.size == "tall" and not thing.fixed


def _steady(mask: Bool[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
    """Frames around which the mask holds for as long as one may be late or early."""
    inner: Bool[np.ndarray, " t"] = binary_erosion(mask, np.ones(2 * LATE + 1, bool), border_value=1)
    return inner


def _first_run(mask: Bool[np.ndarray, " t"], length: int) -> int | None:
    """Where the first `length` frames in a row begin."""
    runs = np.convolve(mask, np.ones(length, int), "valid") == length
    return int(runs.argmax()) if runs.any() else None


def _late(true: Track, made: Track, frames: Bool[np.ndarray, " t"], start: int) -> int:
    """Frames after the truth (before it, if negative) in which half of the object is seen again, after `start`.

    Half of what is seen of it in `frames`, where it is whole. What is seen of it is known to a tenth: while the truth
    shows between `HALF` of it, nothing is late or early.
    """
    begins, ends = (_from_share(true, frames, share, start) for share in HALF)
    back = _from_share(made, frames, 0.5, start)
    return max(0, back - ends) + min(0, back - begins)


def _from_share(track: Track, frames: Bool[np.ndarray, " t"], share: float, start: int) -> int:
    """First frame from `start` on with that share of the object's area; the clip's length if there is none."""
    shown = track.area[start:] >= share * np.median(track.area[frames])
    return start + int(shown.argmax()) if shown.any() else len(track.area)


def _keep_largest(errors: dict[str, float], key: str, value: float) -> None:
    errors[key] = max(value, errors.get(key, 0.0))
