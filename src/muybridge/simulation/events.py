"""What happened in a clip, read off its trajectory and masks: contacts, landings, spells out of sight."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from muybridge.simulation.cameras import project
from muybridge.simulation.captions import Happening, intended
from muybridge.simulation.physics import GROUND, Contact, Trajectory, rotations
from muybridge.simulation.scene import Camera, Rendered
from muybridge.simulation.worlds import World

HIDDEN_BELOW = 0.1
"""An object is hidden while less than this share of its outline is seen."""

_WORTH_A_LOOK = 8  # pixels of its outline in the picture

MOVED = 0.15
"""Metres from which on a change of place is worth a word."""


@dataclass(frozen=True)
class Landed:
    """`object` meets the ground between this frame and the next, having been in the air."""

    frame: int
    object: int


@dataclass(frozen=True)
class Hidden:
    """`object` is hidden from `frame_from` to `frame_to`, both included, by geom `by` (objects first, then props)."""

    frame_from: int
    frame_to: int
    object: int
    by: int


Event = Contact | Landed | Hidden


def events(world: World, path: Trajectory, camera: Camera, seen: Rendered) -> tuple[Event, ...]:
    """All events of a clip in the order of their frames: contacts among objects and props, landings, hidings."""
    found: list[Event] = []
    for contact in path.contacts:
        if contact.second != GROUND:
            found.append(contact)
        elif world.things[contact.first].motion in ("drop", "throw"):
            found.append(Landed(contact.frame, contact.first))
    found += hidings(len(world.things), path, camera, seen)
    return tuple(sorted(found, key=lambda e: (e.frame_from if isinstance(e, Hidden) else e.frame, repr(e))))


def visible_share(seen: Rendered, count: int) -> Float[np.ndarray, "t n"]:
    """Share of each object's outline that is seen; 0 where it is out of the picture."""
    share: Float[np.ndarray, "t n"] = seen.visible[:, :count] / np.maximum(seen.area[:, :count], 1)
    return share


def hidings(count: int, path: Trajectory, camera: Camera, seen: Rendered) -> list[Hidden]:
    """Spells in which an object in the picture is covered, of two frames at least (one in a still)."""
    place = project(camera, path.position)
    found = []
    for i in range(count):
        area = seen.area[:, i]
        for start, stop in _spells((area >= _WORTH_A_LOOK) & (seen.visible[:, i] < HIDDEN_BELOW * area)):
            if stop - start >= min(2, len(place)):
                middle = (start + stop - 1) // 2
                by = _cover(seen, middle, place[middle, i, :2], int(area[middle]), i)
                found.append(Hidden(start, stop - 1, i, by))
    return found


def observed(world: World, path: Trajectory, seen: Rendered, found: tuple[Event, ...]) -> tuple[Happening, ...]:
    """What each object did, as far as states and masks bear the plan out; what they do not stays unsaid ("there")."""
    return tuple(_observed(world, path, seen, found, plan) for plan in intended(world))


def _observed(world: World, path: Trajectory, seen: Rendered, found: tuple[Event, ...], plan: Happening) -> Happening:
    i, thing = plan.subject, world.things[plan.subject]
    if thing.mesh is not None and _turns_over(path, i):
        plan = replace(plan, kind=plan.kind.replace("slide", "roll"))
    nothing = Happening(i, "there")
    if thing.fixed:
        return plan if len(path.position) > 1 else nothing
    way = path.position[:, i] - path.position[0, i]
    moved = bool(np.linalg.norm(way, axis=-1).max() > MOVED)
    if not moved:
        return Happening(i, "rest") if len(path.position) > 1 and thing.motion in ("rest", "struck") else nothing
    met = [e for e in found if isinstance(e, Contact) and i in (e.first, e.second)]
    if thing.motion in ("rest", "struck"):
        return Happening(i, "pushed") if met else nothing
    if thing.motion == "drop":
        return Happening(i, _fall(path, found, i)) if way[:, 2].min() < -MOVED else nothing
    if thing.motion == "ramp":
        return plan if way[:, 2].min() < -0.5 * MOVED else nothing
    verb = plan.verb
    moving = _moving(world, way, i, "throw" if thing.motion == "throw" else verb)
    if plan.kind in ("meet", f"{verb} hit"):
        return plan if any({e.first, e.second} == {i, plan.other} for e in met) else moving
    if thing.motion in ("behind", "stop behind", "emerge"):
        return _behind(world, seen, found, plan, moving)
    return moving


def _turns_over(path: Trajectory, i: int) -> bool:
    """Whether its upright axis ever leans by more than 60 degrees from where it began: it rolls, if it moves along."""
    up = rotations(path.quaternion[:, i])[..., 2]
    return bool((up @ up[0]).min() < 0.5)


def _fall(path: Trajectory, found: tuple[Event, ...], i: int) -> str:
    """ "fall" (it has not arrived), "bounce" (it comes up again by 8 cm or more) or "drop"."""
    landed = next((e.frame for e in found if isinstance(e, Landed) and e.object == i), None)
    if landed is None:
        return "fall"
    height = path.position[landed + 1 :, i, 2]
    rise = (height - np.minimum.accumulate(height)).max()
    return "bounce" if rise > 0.08 else "drop"


def _moving(world: World, way: Float[np.ndarray, "t 3"], i: int, verb: str) -> Happening:
    """Rolling, sliding or flying: where to, as seen from the camera's first place."""
    cos, sin = np.cos(world.move.azimuth), np.sin(world.move.azimuth)
    far = way[np.linalg.norm(way[:, :2], axis=-1).argmax()]
    across, away = far[0] * cos + far[1] * sin, far[1] * cos - far[0] * sin
    if verb == "throw" or abs(across) >= abs(away):
        return Happening(i, verb, side="right" if across > 0 else "left")
    return Happening(i, f"{verb} {'far' if away > 0 else 'near'}")


def _behind(world: World, seen: Rendered, found: tuple[Event, ...], plan: Happening, otherwise: Happening) -> Happening:
    """Whether it came out again, stayed, or was only half covered."""
    i, last = plan.subject, len(seen.area) - 1
    by = plan.other if plan.other is not None and plan.other >= 0 else len(world.things)
    share = visible_share(seen, i + 1)[:, i]
    hidden = [e for e in found if isinstance(e, Hidden) and e.object == i and e.by == by]
    out = share[-1] > 0.5
    if plan.kind == "emerge":
        return plan if hidden and hidden[0].frame_from == 0 and out else otherwise
    if hidden and hidden[0].frame_from == 0:
        return otherwise
    if hidden and hidden[-1].frame_to == last:
        return Happening(i, f"{plan.verb} hide", plan.other)
    if hidden and out:
        return Happening(i, f"{plan.verb} through", plan.other)
    half_covered = (share < 0.5) & (seen.area[:, i] > 0)
    return Happening(i, f"{plan.verb} behind", plan.other) if hidden or half_covered.any() else otherwise


def _spells(mask: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """Runs of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _cover(seen: Rendered, frame: int, centre: Float[np.ndarray, "2"], area: int, i: int) -> int:
    """The geom that stands where most of object i would be seen."""
    reach = max(1, round(0.35 * area**0.5))
    height, width = seen.instance.shape[1:]
    x, y = (int(np.clip(value, 0, limit - 1)) for value, limit in zip(centre, (width, height), strict=True))
    while reach < 2 * (height + width):
        window = seen.instance[frame, max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1]
        counts = Counter(window[(window > 0) & (window != i + 1)].tolist())
        if counts:
            return int(counts.most_common(1)[0][0]) - 1
        reach *= 2  # at the border of the picture: look farther
    raise AssertionError(f"object {i} is hidden in frame {frame} by nothing at {centre}")
