"""What needs no model: clips that are made of the given frames alone, or of a clip that training may have had.

A model is worth something as far as it is above these. None of them sees the truth: they are given frames, and a number
of frames to make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from einops import reduce
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from scipy.ndimage import binary_dilation, distance_transform_edt

from muybridge.data.material import Material, Shape, Simulated
from muybridge.evaluation.segments import SIDE as SEARCHED
from muybridge.evaluation.segments import Segment, segments
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Task

SIDE = 128
"""Pixels of the first frames that are looked at."""

THUMBNAIL = 32
"""Side of the pictures in which the nearest training clip is looked for."""

_EDGE = 2  # pixels around a segment that still show something of it
_REACH = 20.0  # pixels a frame, of 128, that nothing exceeds: see coherence.SPEED


def static_copy(given: Frames, count: int) -> Frames:
    """The first frame, all the time."""
    return np.repeat(given[:1], count, axis=0)


def last_frame_repeat(given: Frames, count: int) -> Frames:
    """The given frames, then the last of them to the end."""
    return np.concatenate([given, np.repeat(given[-1:], count - len(given), axis=0)])


def constant_velocity(given: Frames, count: int) -> Frames:
    """The given frames, then their coloured things, going on as they went, in front of a background that stays.

    A thing is a segment of one colour in the last frame, its velocity the slope of a straight line through the centres
    of the nearest segments of that colour in the frames before. What reaches lowest in the picture is in front; where
    a thing was cut out, the background shows the nearest pixel that was not.
    """
    height, width = given.shape[1:3]
    found = [segments(frame) for frame in given]
    front_last = sorted(found[-1], key=lambda thing: thing.top + thing.inside.shape[0])
    cuts = [_cut(thing, height, width) for thing in front_last]
    ways = [_velocity(thing, found[:-1]) * min(height, width) / SEARCHED for thing in front_last]
    background = _filled(given[-1], np.logical_or.reduce([*cuts, np.zeros((height, width), bool)]))
    made = [background.copy() for _ in range(count - len(given))]
    for n, frame in enumerate(made, 1):
        for cut, way in zip(cuts, ways, strict=True):
            _paste(frame, given[-1], cut, np.rint(n * way).astype(int))
    return np.concatenate([given, np.stack(made)]) if made else given[:count]


PLAIN: dict[str, Callable[[Frames, int], Frames]] = {
    "static copy": static_copy,
    "last-frame repeat": last_frame_repeat,
    "constant velocity": constant_velocity,
}
"""Baselines by name that need nothing but the given frames."""


@dataclass(frozen=True)
class NearestClip:
    """The given frames, then those of the clip, among the numbered ones of a material, whose first frame is nearest.

    Nearest is the least mean squared error of pictures of 32 x 32. The clip is as training has it, of the task's
    length, size and speed. The number of a simulated clip is its seed.
    """

    seeds: Sequence[int] = range(1000)
    material: Material = field(default_factory=Simulated)

    def __post_init__(self) -> None:
        assert all(0 <= seed < HELD_OUT for seed in self.seeds), "clips of tests are no training clips"

    def __call__(self, task: Task) -> Frames:
        count, height, width = task.truth.rgb.shape[:3]
        seen = self.material.clip(self.nearest(task.given[0]), Shape(count, height, width, task.truth.fps))
        return np.concatenate([task.given, seen.rgb[task.known :]])

    def nearest(self, frame: UInt8[np.ndarray, "h w 3"]) -> int:
        """The number of the clip whose first frame is nearest."""
        away = reduce((self._thumbnails - _thumbnail(frame)) ** 2, "n y x c -> n", "mean")
        return self.seeds[int(away.argmin())]

    @cached_property
    def _thumbnails(self) -> Float[np.ndarray, "n y x 3"]:
        still = Shape(1, SIDE, SIDE, 15.0)
        return np.stack([_thumbnail(self.material.clip(seed, still).rgb[0]) for seed in self.seeds])


def _thumbnail(frame: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "y x 3"]:
    small = Image.fromarray(frame).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def _velocity(thing: Segment, before: Sequence[Sequence[Segment]]) -> Float[np.ndarray, "2"]:
    """Rows and columns a frame, of the picture that segments are looked for in; 0 where it is new."""
    place, times, places = np.array(thing.centre), [0.0], [np.array(thing.centre)]
    for back, picture in enumerate(reversed(before), 1):
        same = [np.array(other.centre) for other in picture if other.colour == thing.colour]
        nearest = min(same, key=lambda centre: float(np.linalg.norm(centre - place)), default=None)
        if nearest is None or np.linalg.norm(nearest - place) > _REACH:
            break
        place = nearest
        times.append(-float(back))
        places.append(place)
    if len(times) == 1:
        return np.zeros(2)
    slope: Float[np.ndarray, "2"] = np.polyfit(times, np.stack(places), 1)[0]
    return slope


def _cut(thing: Segment, height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """Where a thing is in a frame, with what is left of it around its edge."""
    scale = SEARCHED / min(height, width)
    small = thing.mask(round(height * scale), round(width * scale))
    whole = np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST))
    grown: Bool[np.ndarray, "h w"] = binary_dilation(whole, iterations=max(1, round(_EDGE / scale)))
    return grown


def _filled(picture: UInt8[np.ndarray, "h w 3"], holes: Bool[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w 3"]:
    """The nearest pixel outside, wherever there is a hole."""
    if not holes.any() or holes.all():
        return picture
    rows, columns = distance_transform_edt(holes, return_distances=False, return_indices=True)
    filled: UInt8[np.ndarray, "h w 3"] = picture[rows, columns]
    return filled


def _paste(
    onto: UInt8[np.ndarray, "h w 3"],
    picture: UInt8[np.ndarray, "h w 3"],
    cut: Bool[np.ndarray, "h w"],
    way: np.ndarray,
) -> None:
    """Lays what is cut out of a picture over another, shifted by whole pixels; what leaves it is gone."""
    rows, columns = np.nonzero(cut)
    to_rows, to_columns = rows + way[0], columns + way[1]
    inside = (to_rows >= 0) & (to_rows < len(onto)) & (to_columns >= 0) & (to_columns < onto.shape[1])
    onto[to_rows[inside], to_columns[inside]] = picture[rows[inside], columns[inside]]
