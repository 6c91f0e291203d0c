"""What is in a clip, judged from its pixels alone, and whether that is what a text asked for.

1. 17 pictures of the clip, evenly spaced, are cut into coloured segments (`segments.py`), and each segment is called
   a ball, a box, a cylinder or unclear (`shapes.py`). A segment is a *sighting* if unclear is not the likeliest.
2. A colour has as many objects as it has sightings at once in at least `PRESENT` of the pictures (2 of 17). Sightings
   are linked to them by nearness. (A colour that never has two at once is one object, wherever it shows.)
3. The object's shape is the one with the highest probability, averaged over its sightings; so is its size. A sighting
   weighs as much as it is clear, times the square of its area (over the largest), for what is half hidden looks like
   something else. An object to which no shape is likelier than all others together has none ("").

So what is hidden for long still counts, a colour that flashes up does not, and a thing that changes its colour is two.
Two objects of one colour that always touch are taken for one, and one of which more than half is hidden or out of the
picture in all pictures but one is missed. Walls and ramps have no colour, so they are no objects.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from scipy.optimize import linear_sum_assignment

from muybridge.evaluation.segments import Segment, segments
from muybridge.evaluation.shapes import SHAPES, SIZES, ShapeNet, load_shapes
from muybridge.simulation.captions import Fact

PICTURES = 17
PRESENT = 0.1
"""Share of the pictures, rounded to whole ones, in which an object has to be seen; it has to be in one at least."""
_UNCLEAR = SHAPES.index("unclear")


@dataclass(frozen=True)
class Seen:
    """An object found in a clip: its words ("" for a shape that cannot be told), and the share of pictures with it."""

    colour: str
    shape: str
    size: str
    share: float


@dataclass(frozen=True)
class Verdict:
    """What was asked for, what was seen; `found` tells for each fact whether an object of its own shows it."""

    facts: tuple[Fact, ...]
    seen: tuple[Seen, ...]
    found: tuple[bool, ...]
    sized: tuple[bool | None, ...]

    @property
    def objects_right(self) -> bool:
        """Whether every named object is there with its colour and shape."""
        return all(self.found)

    @property
    def count_right(self) -> bool:
        """Whether there are as many objects as were named, whatever they are."""
        return len(self.seen) == len(self.facts)

    @property
    def right(self) -> bool:
        return self.objects_right and self.count_right


@dataclass(frozen=True)
class _Sighting:
    picture: int
    segment: Segment
    shape: Float32[np.ndarray, "4"]
    size: Float32[np.ndarray, "4"]


class Judge:
    """Looks at clips. Deterministic; about 0.1 s a clip on a CPU."""

    def __init__(self, shapes: ShapeNet | None = None) -> None:
        self.shapes = shapes or load_shapes()

    def see(self, frames: UInt8[np.ndarray, "t h w 3"]) -> tuple[Seen, ...]:
        """The objects of a clip, in the order of the palette. ValueError unless `frames` is uint8 (t, h, w, 3)."""
        _check(frames)
        pictures = frames[np.unique(np.linspace(0, len(frames) - 1, PICTURES).round().astype(int))]
        of_colour: dict[str, list[_Sighting]] = defaultdict(list)
        for sighting in self._sightings(pictures):
            of_colour[sighting.segment.colour].append(sighting)
        return tuple(
            _named(colour, of_one, len(pictures))
            for colour, sightings in of_colour.items()
            for of_one in _objects(sightings, len(pictures))
        )

    def judge(self, frames: UInt8[np.ndarray, "t h w 3"], facts: Sequence[Fact]) -> Verdict:
        """Whether the clip shows the facts, one object for each."""
        return compare(self.see(frames), facts)

    def _sightings(self, pictures: UInt8[np.ndarray, "t h w 3"]) -> list[_Sighting]:
        found = [(i, segment) for i, picture in enumerate(pictures) for segment in segments(picture)]
        guess = self.shapes.guess([segment for _, segment in found])
        rows = zip(found, guess.shape, guess.size, strict=True)
        return [_Sighting(i, s, shape, size) for (i, s), shape, size in rows if shape.argmax() != _UNCLEAR]


def compare(seen: Sequence[Seen], facts: Sequence[Fact]) -> Verdict:
    """Assign objects to facts, each to one at most, so that as many facts as possible are met.

    Colour and shape decide; among objects that meet a fact, one of the right size is preferred. `sized` tells whether
    the size is right too: None where the fact names none or is not met.
    """
    meets = np.array([[_meets(s, fact) for s in seen] for fact in facts], bool).reshape(len(facts), len(seen))
    fits = np.array([[s.size == fact.size for s in seen] for fact in facts], bool).reshape(meets.shape)
    rows, columns = linear_sum_assignment(meets + 0.1 * (meets & fits), maximize=True)
    found: list[bool] = [False] * len(facts)
    sized: list[bool | None] = [None] * len(facts)
    for i, k in zip(rows.tolist(), columns.tolist(), strict=True):
        found[i] = bool(meets[i, k])
        sized[i] = bool(fits[i, k]) if found[i] and facts[i].size is not None else None
    return Verdict(tuple(facts), tuple(seen), tuple(found), tuple(sized))


def _meets(seen: Seen, fact: Fact) -> bool:
    return fact.colour in (None, seen.colour) and fact.shape in (None, seen.shape)


def _objects(sightings: list[_Sighting], pictures: int) -> list[list[_Sighting]]:
    """The sightings of one colour, object by object; none if they are too rare."""
    at: dict[int, list[_Sighting]] = defaultdict(list)
    for sighting in sightings:
        at[sighting.picture].append(sighting)
    counts = sorted((len(together) for together in at.values()), reverse=True)
    needed = max(1, round(PRESENT * pictures))
    count = counts[needed - 1] if len(counts) >= needed else 0
    if count <= 1:
        return [[max(together, key=lambda s: s.segment.area) for together in at.values()]] * count
    return _linked(at, count)


def _linked(at: dict[int, list[_Sighting]], count: int) -> list[list[_Sighting]]:
    """Follow `count` objects from the first picture with all of them, forwards and back, by the nearest centre."""
    start = next(i for i, together in sorted(at.items()) if len(together) >= count)
    seeds = sorted(at[start], key=lambda s: s.segment.area)[-count:]
    tracks = [[seed] for seed in seeds]
    for direction in (1, -1):
        last = [seed.segment.centre for seed in seeds]
        for i in sorted((i for i in at if direction * (i - start) > 0), key=lambda i: direction * i):
            centres = np.array([s.segment.centre for s in at[i]])
            gaps = np.linalg.norm(np.array(last)[:, None] - centres[None], axis=-1)
            for track, k in zip(*linear_sum_assignment(gaps), strict=True):
                tracks[track].append(at[i][k])
                last[track] = at[i][k].segment.centre
    return tracks


def _named(colour: str, sightings: list[_Sighting], pictures: int) -> Seen:
    areas = np.array([s.segment.area for s in sightings])
    weights = (areas / areas.max()) ** 2 * [1 - s.shape[_UNCLEAR] for s in sightings]
    shape = weights @ [s.shape[:_UNCLEAR] / s.shape[:_UNCLEAR].sum() for s in sightings] / weights.sum()
    size = weights @ [s.size for s in sightings]
    best = int(np.argmax(shape))
    return Seen(
        colour,
        SHAPES[best] if shape[best] >= 0.5 else "",
        SIZES[int(np.argmax(size))],
        len(sightings) / pictures,
    )


def _check(frames: np.ndarray) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(f"a clip to judge is uint8 of shape (t, h, w, 3), not {frames.dtype} {frames.shape}")
