"""What a clip shows of its task's objects: where each is whole, free, leaving or hidden, and what is background."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, uniform_filter1d

from muybridge.evaluation.permanence import UNLIKELY, radii
from muybridge.evaluation.shapes import SHAPES
from muybridge.evaluation.suite import Frames, Task
from muybridge.evaluation.tracking import Track, Tracks, true_tracks
from muybridge.simulation import Clip

LEAST = 60.0
"""Pixels in the truth of what can be followed."""

_BLOCK = 8  # pixels of 128
_SMOOTH = 9  # frames over which an object's shape is looked at
_FULL = 0.95  # factor of the length above which a thing beside something else is not behind it
_ENTERING = 0.6  # share of its recent area below which a thing is partly behind something, or partly out
_RECENT = 10  # frames
_FAST = 1.5  # radii a frame with which a thing may be hidden from one frame to the next
_WANDERS = 0.4  # radii a frame that an unseen thing may go
_WHOLE = 0.95  # share of an object's outline that the truth shows where its size is taken


@dataclass
class Sight:
    """A clip beside its task, and the tracks found in it; objects have the numbers of the truth. Lengths are in pixels
    of the clip, `unit` and radii too."""

    task: Task
    frames: Frames
    found: Tracks

    @property
    def clip(self) -> Clip:
        return self.task.truth

    @cached_property
    def truth(self) -> tuple[Track, ...]:
        return true_tracks(self.clip)

    @cached_property
    def flicker(self) -> Float[np.ndarray, " t-1"]:
        """Levels of luma between neighbouring frames: the third quartile of the background's blocks; 0 if none is."""
        luma = self.frames @ np.array([0.299, 0.587, 0.114], np.float32)
        change = blocks(np.abs(np.diff(luma, axis=0)), self.block)
        return third_quartile(np.where(self.open[1:] & self.open[:-1], change, np.nan))

    @property
    def pixel(self) -> float:
        """A pixel of a picture of 128."""
        pixel: float = min(self.frames.shape[1:3]) / 128
        return pixel

    @property
    def block(self) -> int:
        """Side of the squares by which the background is looked at."""
        return max(1, round(_BLOCK * self.pixel))

    @cached_property
    def radii(self) -> Float[np.ndarray, "t n"]:
        """Of each object where the truth has it."""
        return radii(self.clip)

    def unit(self, i: int) -> float:
        """Radius in the known frames, pixels."""
        return float(np.median(self.radii[: self.task.known, i]))

    def ways(self, start: int, stop: int) -> Iterator[float]:
        """Pixels that each object goes from one frame to another; inf for one that is gone by then."""
        for made in self.found.objects:
            if made.seen[start]:
                yield float(np.linalg.norm(made.centre[stop] - made.centre[start])) if made.seen[stop] else np.inf

    def radii_here(self, i: int) -> Float[np.ndarray, " t"]:
        """Radius in pixels where the object is found: that of the truth when it is nearest to there."""
        true, made = self.truth[i], self.found.objects[i]
        been = np.flatnonzero(true.seen)
        way = np.linalg.norm(made.centre[:, None] - true.centre[None, been], axis=-1)
        nearest = been[np.argmin(np.nan_to_num(way), axis=1)]
        here: Float[np.ndarray, " t"] = self.radii[nearest, i]
        return here

    def factor(self, i: int) -> Float[np.ndarray, " t"]:
        """Size over that of the known frames, but for perspective; 1 where they do not show the whole of it."""
        made = self.found.objects[i]
        known = made.seen & (self.clip.states.visible[:, i] >= _WHOLE) & (self.from_border(i) > 2 * self.pixel)
        known[self.task.known :] = False
        size = np.sqrt(made.area) / self.radii_here(i)
        usual = float(np.median(size[known])) if known.any() else 0.0
        factor: Float[np.ndarray, " t"] = size / usual if usual else np.ones_like(size)
        return factor

    def whole(self, i: int) -> Bool[np.ndarray, " t"]:
        """Whether all of it shows: it is free, or away from the border and no smaller than it has to be."""
        full = (self.from_border(i) > 2 * self.pixel) & (self.factor(i) > _FULL)
        whole: Bool[np.ndarray, " t"] = self.free(i) | full
        return whole

    def unlike(self, i: int, made: Track) -> Bool[np.ndarray, " t"]:
        """Whether it shows as a whole, and in another shape."""
        unlike: Bool[np.ndarray, " t"] = self.whole(i) & made.seen & (self.likelihood(i, made) < UNLIKELY)
        return unlike

    def likelihood(self, i: int, made: Track) -> Float[np.ndarray, " t"]:
        """Of the object's own shape, mean of nine frames; 1 where it is not whole."""
        own = np.where(made.seen & self.whole(i), made.shape[:, SHAPES.index(self.clip.objects[i].shape)], 1.0)
        smooth: Float[np.ndarray, " t"] = uniform_filter1d(own, _SMOOTH, mode="nearest")
        return smooth

    @cached_property
    def from_cover(self) -> Float[np.ndarray, "n t"]:
        """Pixels from each object's box to the nearest wall, ramp or other object's box; inf if there is none."""
        walls = self.clip.instance[0] > len(self.clip.objects)
        to_wall = distance_transform_edt(~walls) if walls.any() else np.full(walls.shape, np.inf)
        boxes = np.stack([made.box for made in self.found.objects])
        distance = np.full(boxes.shape[:2], np.inf)
        for i, t in np.argwhere(np.isfinite(boxes[..., 0])):
            left, top, right, bottom = boxes[i, t].round().astype(int)
            distance[i, t] = to_wall[top:bottom, left:right].min(initial=np.inf)
            others = np.delete(boxes[:, t], i, axis=0)
            gaps = np.stack([others[:, :2] - boxes[i, t, 2:], boxes[i, t, :2] - others[:, 2:]]).max(axis=(0, 2))
            distance[i, t] = np.nanmin(np.append(np.maximum(gaps, 0), distance[i, t]))
        return distance

    def from_border(self, i: int) -> Float[np.ndarray, " t"]:
        """Pixels from its box to the picture's border."""
        height, width = self.frames.shape[1:3]
        left, top, right, bottom = self.found.objects[i].box.T
        margin: Float[np.ndarray, " t"] = np.min([left, top, width - right, height - bottom], axis=0)
        return margin

    def free(self, i: int) -> Bool[np.ndarray, " t"]:
        """Whether nothing that could hide it is near, nor the border; False where it is not seen."""
        margin = np.minimum(self.from_border(i), self.from_cover[i])
        free: Bool[np.ndarray, " t"] = margin > 2 * self.pixel
        return free

    def may_be_hidden(self, i: int, frame: int, beside: int) -> bool:
        """Whether it may be out of sight next to `frame`, its motion being that between `frame` and `beside`."""
        if self.is_leaving(i, frame, beside):
            return True
        made, step = self.found.objects[i], self.step(i, frame, beside)
        way = slice(frame, frame + _RECENT) if beside > frame else slice(max(0, frame - _RECENT), frame + 1)
        entering = made.area[frame] < _ENTERING * made.area[way].max() or step > _FAST * self.unit(i)
        return bool(entering and self.from_cover[i, frame] <= step + 3 * self.pixel)

    def is_leaving(self, i: int, frame: int, beside: int) -> bool:
        """Whether it may be over the border next to `frame`, or too far away to be seen."""
        small = self.found.objects[i].area[frame] < LEAST * self.pixel**2
        return bool(small or self.from_border(i)[frame] <= self.step(i, frame, beside) + 3 * self.pixel)

    def step(self, i: int, frame: int, beside: int) -> float:
        """Pixels between two frames; 0 where it is not seen in the second."""
        made = self.found.objects[i]
        if not (0 <= beside < len(self.frames) and made.seen[beside]):
            return 0.0
        return float(np.linalg.norm(made.centre[frame] - made.centre[beside]))

    def comes_from(self, i: int, before: int, after: int) -> bool:
        """Whether what was last seen in frame `before` may be seen again in `after`: from the border, from behind
        something, or where it was."""
        made = self.found.objects[i]
        way = float(np.linalg.norm(made.centre[after] - made.centre[before]))
        near = way <= self.unit(i) * (1 + _WANDERS * (after - before))
        return near or self.may_be_hidden(i, after, after + 1)

    @cached_property
    def open(self) -> Bool[np.ndarray, "t rows columns"]:
        """Blocks that no object's box touches."""
        count, height, width = self.frames.shape[:3]
        covered = np.zeros((count, height, width), np.float32)
        margin = 2 * self.pixel
        for made in self.found.objects:
            for t in np.flatnonzero(made.seen):
                left, top, right, bottom = made.box[t]
                rows = slice(max(0, int(top - margin)), int(np.ceil(bottom + margin)))
                covered[t, rows, max(0, int(left - margin)) : int(np.ceil(right + margin))] = 1
        free: Bool[np.ndarray, "t rows columns"] = blocks(covered, self.block) == 0
        return free

    @cached_property
    def bare(self) -> Bool[np.ndarray, "1 rows columns"]:
        """Blocks that no object covers in the known frames."""
        objects = np.isin(self.clip.instance[: self.task.known], np.arange(len(self.clip.objects)) + 1)
        bare: Bool[np.ndarray, "1 rows columns"] = (
            blocks(np.any(objects, axis=0, keepdims=True).astype(np.float32), self.block) == 0
        )
        return bare


def blocks(pictures: Float[np.ndarray, "t h w *c"], side: int) -> Float[np.ndarray, "t rows columns *c"]:
    """Means of squares; what is left over at the right and at the bottom is cut off."""
    rows, columns = pictures.shape[1] // side, pictures.shape[2] // side
    cut = pictures[:, : rows * side, : columns * side]
    return reduce(cut, "t (r y) (c x) ... -> t r c ...", "mean", y=side, x=side)


def third_quartile(blocks: Float[np.ndarray, "t rows columns"]) -> Float[np.ndarray, " t"]:
    """Third quartile of the blocks that are numbers; 0 where there are none."""
    flat = rearrange(blocks, "t r c -> t (r c)")
    some = np.isfinite(flat).any(axis=1)
    quartile = np.zeros(len(flat))
    quartile[some] = np.nanquantile(flat[some], 0.75, axis=1)
    return quartile


def runs(mask: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """Runs of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]
