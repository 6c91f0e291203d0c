"""Where each expected object is in every frame of a clip, and what is there besides: the basis of the physics suites.

A frame is cut into coloured segments (`segments.py`), which are told apart by their shapes (`shapes.py`). All objects
of a world differ in colour, so a segment of an object's colour is the object, a part of it, or a second one:

1. of the segments of its colour that are not much smaller than the largest, the one nearest to where the object was
   last seen is its body;
2. what is left joins the body as long as all of it together is no larger than the object was so far: something in
   front may cut it in two;
3. the others are extras if they are a good part of the object's size; so is any segment of a colour that no object has.

What is too small for a segment (24 pixels of a picture of 128, strips of two pixels) is not seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from muybridge.evaluation.segments import SIDE, Segment, segments
from muybridge.evaluation.shapes import SHAPES, SIZES, ShapeNet, load_shapes
from muybridge.simulation import Clip, ObjectInfo

GOOD_PART = 0.25
"""Share of an object's largest area so far from which on a segment is a thing of its own, not a fringe or a smudge."""

_RIVAL = 0.5  # share of the largest segment's area from which on another may be the body
_WHOLE = 1.25  # longer side of an object's parts together, over the longest side of its body so far
_LEAST_EXTRA = 40.0  # pixels of a picture of 128: a quarter of the smallest objects
_UNCLEAR = SHAPES.index("unclear")


@dataclass(frozen=True)
class Track:
    """One object through a clip. What is not seen has centre and box NaN, area 0 and no probabilities (0).

    seen    whether it is found in the frame
    centre  mean x and y of its pixels; a pixel's centre lies at +0.5
    area    pixels
    box     left, top, right, bottom of all its pixels
    shape   probabilities of `shapes.SHAPES`; size: of `shapes.SIZES`
    """

    seen: Bool[np.ndarray, " t"]
    centre: Float[np.ndarray, "t 2"]
    area: Float[np.ndarray, " t"]
    box: Float[np.ndarray, "t 4"]
    shape: Float32[np.ndarray, "t 4"]
    size: Float32[np.ndarray, "t 4"]

    @property
    def step(self) -> Float[np.ndarray, " t-1"]:
        """Pixels from each frame to the next; NaN where it is not seen in both."""
        way: Float[np.ndarray, " t-1"] = np.linalg.norm(np.diff(self.centre, axis=0), axis=1)
        return way

    def looks_like(self, frames: Bool[np.ndarray, " t"]) -> tuple[str, Float[np.ndarray, "3"]]:
        """Its likeliest shape in these frames, "" if it is never seen, and the probabilities of ball, box and cylinder.

        Frames that show it clearly weigh more.
        """
        clear = self.shape[frames & self.seen][:, :_UNCLEAR].sum(axis=0).astype(float)
        if clear.max(initial=0.0) <= 0:
            return "", np.zeros(_UNCLEAR)
        return SHAPES[int(clear.argmax())], clear / clear.sum()


@dataclass(frozen=True)
class Extra:
    """Something that is no part of an expected object: a colour that none has, or a second one of an object's."""

    frame: int
    colour: str
    centre: tuple[float, float]
    area: float


@dataclass(frozen=True)
class Tracks:
    """The expected objects in their order, and what is seen besides, in the order of the frames."""

    objects: tuple[Track, ...]
    extras: tuple[Extra, ...]

    def crowded(self, count: int) -> Bool[np.ndarray, " t"]:
        """In which of `count` frames there is an extra."""
        frames = np.zeros(count, bool)
        frames[[extra.frame for extra in self.extras]] = True
        return frames


def track(frames: UInt8[np.ndarray, "t h w 3"], objects: Sequence[ObjectInfo]) -> Tracks:
    """Follow the objects, whose colours have to differ, through a clip. Deterministic; about 0.1 s for 33 frames.

    Raises ValueError for frames that are not uint8 (t, h, w, 3) and for objects that share a colour.
    """
    _check(frames, objects)
    height, width = frames.shape[1:3]
    found = [segments(frame) for frame in frames]
    followers = [_Follower(thing.colour) for thing in objects]
    besides: list[tuple[int, Segment]] = []
    for number, picture in enumerate(found):
        left = picture
        for follower in followers:
            left = follower.take(left)
        least = max(_LEAST_EXTRA, GOOD_PART * min((f.largest for f in followers if f.largest), default=0.0))
        besides += [(number, segment) for segment in left if segment.area >= least]
    scale = min(height, width) / SIDE
    extras = (Extra(n, s.colour, _scaled(s.centre, scale), scale**2 * s.area) for n, s in besides)
    return Tracks(tuple(follower.track(scale) for follower in followers), tuple(extras))


def true_tracks(clip: Clip) -> tuple[Track, ...]:
    """The tracks that the masks of a simulated clip give; the shapes and sizes are certain."""
    return tuple(_masked(clip, i) for i in range(len(clip.objects)))


def retimed(found: Tracks, times: Float[np.ndarray, " t"] | None, fps: float) -> Tracks:
    """The tracks at the moments n / fps, of frames that were shown at `times`, seconds; None: at these.

    Centres move evenly between frames that follow each other. A clip of another speed has frames near the moments
    only, and half a frame beside them is worth a radius of what falls.
    """
    moments = np.arange(len(found.objects[0].seen)) / fps if found.objects else np.zeros(0)
    if times is None or np.allclose(times, moments, atol=1e-6):
        return found
    return replace(found, objects=tuple(replace(one, centre=_between(one, times, moments)) for one in found.objects))


def _between(one: Track, times: Float[np.ndarray, " t"], moments: Float[np.ndarray, " t"]) -> Float[np.ndarray, "t 2"]:
    """Its centres at `moments`; where it comes into sight or goes out of it, those of the frame itself."""
    centre, seen = one.centre.copy(), np.flatnonzero(one.seen)
    for run in np.split(seen, np.flatnonzero(np.diff(seen) > 1) + 1):
        shown, first = np.unique(times[run], return_index=True)  # a slower clip shows a frame more than once
        for axis in range(2 * (len(run) > 0)):
            centre[run, axis] = np.interp(moments[run], shown, one.centre[run[first], axis])
    return centre


class _Follower:
    """What is known of one object while the frames pass by."""

    def __init__(self, colour: str) -> None:
        self.colour = colour
        self.parts: list[list[Segment]] = []
        self.last: tuple[float, float] | None = None
        self.largest = 0.0
        self.longest = 0.0

    def take(self, picture: list[Segment]) -> list[Segment]:
        """Pick the object's parts out of a frame's segments, the body first; what may be extras is handed back."""
        own = [segment for segment in picture if segment.colour == self.colour]
        others = [segment for segment in picture if segment.colour != self.colour]
        if not own:
            self.parts.append([])
            return others
        body = self._body(own)
        self.longest = max(self.longest, _side([body]))
        parts = [body]
        for segment in sorted((s for s in own if s is not body), key=lambda s: -s.area):
            if _side([*parts, segment]) <= _WHOLE * self.longest:
                parts.append(segment)
            elif segment.area >= GOOD_PART * self.largest:
                others.append(segment)
        self.parts.append(parts)
        self.last = _centre(parts)
        self.largest = max(self.largest, float(sum(part.area for part in parts)))
        return others

    def _body(self, own: list[Segment]) -> Segment:
        large = max(segment.area for segment in own)
        rivals = [segment for segment in own if segment.area >= _RIVAL * large]
        if self.last is None:
            return max(rivals, key=lambda s: s.area)
        y, x = self.last
        return min(rivals, key=lambda s: np.hypot(s.centre[0] - y, s.centre[1] - x))

    def track(self, scale: float) -> Track:
        seen = np.array([bool(parts) for parts in self.parts])
        guess = _classifier().guess([parts[0] for parts in self.parts if parts])
        shape, size = (np.zeros((len(seen), len(names)), np.float32) for names in (SHAPES, SIZES))
        shape[seen], size[seen] = guess.shape, guess.size
        centre, box = np.full((len(seen), 2), np.nan), np.full((len(seen), 4), np.nan)
        for n in np.flatnonzero(seen):
            centre[n] = _scaled(_centre(self.parts[n]), scale)
            box[n] = scale * np.array(_box(self.parts[n]))
        area = scale**2 * np.array([float(sum(part.area for part in parts)) for parts in self.parts])
        return Track(seen, centre, area, box, shape, size)


@cache
def _classifier() -> ShapeNet:
    return load_shapes()


def _centre(parts: list[Segment]) -> tuple[float, float]:
    """Mean row and column of all parts."""
    weights = np.array([part.area for part in parts], float)
    row, column = weights @ np.array([part.centre for part in parts]) / weights.sum()
    return float(row), float(column)


def _box(parts: list[Segment]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom."""
    return (
        min(part.left for part in parts),
        min(part.top for part in parts),
        max(part.left + part.inside.shape[1] for part in parts),
        max(part.top + part.inside.shape[0] for part in parts),
    )


def _side(parts: list[Segment]) -> float:
    left, top, right, bottom = _box(parts)
    return float(max(right - left, bottom - top))


def _scaled(centre: tuple[float, float], scale: float) -> tuple[float, float]:
    """Row and column of a picture of 128 as x and y in the clip's own pixels."""
    return scale * (centre[1] + 0.5), scale * (centre[0] + 0.5)


def _masked(clip: Clip, i: int) -> Track:
    mask = clip.instance == i + 1
    seen = mask.any(axis=(1, 2))
    centre, box = np.full((len(seen), 2), np.nan), np.full((len(seen), 4), np.nan)
    for n in np.flatnonzero(seen):
        rows, columns = np.nonzero(mask[n])
        centre[n] = columns.mean() + 0.5, rows.mean() + 0.5
        box[n] = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    thing = clip.objects[i]
    sizes = [thing.size == name for name in SIZES]
    shapes = [thing.shape == name for name in SHAPES]
    certain = seen[:, None].astype(np.float32)
    return Track(
        seen,
        centre,
        mask.sum(axis=(1, 2)).astype(float),
        box,
        certain * np.array(shapes, np.float32),
        certain * np.array(sizes, np.float32),
    )


def _check(frames: np.ndarray, objects: Sequence[ObjectInfo]) -> None:
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or 0 in frames.shape:
        raise ValueError(
            f"a clip to look for objects in is uint8 of shape (t, h, w, 3), not {frames.dtype} {frames.shape}"
        )
    colours = [thing.colour for thing in objects]
    if len(set(colours)) < len(colours):
        raise ValueError(f"objects are told apart by their colours, and these share some: {', '.join(colours)}")
