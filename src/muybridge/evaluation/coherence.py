"""The coherence suite: for ten seconds everything stays what it is.

A task is a held-out world filmed for 153 frames by a camera that stands still, so that the background has to stay, too;
its objects are all seen in the known frames, one of them moves on, and one of them at least is seen at the end. How the
objects move is free: that is other suites' business. The score is the share of the generated frames in which

- every object is seen with its colour, its shape and about its size, unless it is behind something, and comes back from
  there, or has left over the picture's border, as it does in the truth by then;
- no object jumps;
- nothing else appears;
- the background flickers no more than `FLICKER` levels, and is the one that was given.

What goes wrong with an object for `LASTING` frames in a row is for good: the thing is not the same any more, or there
is one more of it, so all frames from there on are broken. So are all of them if the clip does not begin as it was
given, or from where it stops dead: it has gone the truth's way so far, the truth moves on in the next second, and the
clip does not. What has left the picture while the truth shows it costs the frames that it is missing in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from einops import rearrange, reduce
from jaxtyping import Bool, Float
from scipy.ndimage import distance_transform_edt, uniform_filter1d

from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.permanence import UNLIKELY, radii
from muybridge.evaluation.shapes import SHAPES
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.evaluation.tracking import Track, Tracks, retimed, track, true_tracks
from muybridge.evaluation.variations import varied
from muybridge.simulation import Clip, film, sample_world

FRAMES, SIDE, FPS, KNOWN = 153, 128, 15.0, 9

SEES = tuple(name for name in BREAKS if name not in ("wrong side", "falls up", "half gravity"))
"""Breaks that this suite is meant to see, when they begin right after the known frames."""

LASTING = 3
"""Frames in a row from which on a fault is for good; a thing's ghost in an autoencoder's clip lasts one or two."""

PLACE = 1.0
"""Radii off that pass in the known frames."""

SPEED = 20.0
"""Pixels a frame, of 128, that nothing exceeds: 6 m/s, as if fallen from 1.9 m."""

SIZE = {"ball": 1.25, "box": 1.38, "cylinder": 1.38}
"""Factor of the square root of the area, up or down, that passes beside what perspective does where it is: boxes and
cylinders look up to 1.3 times as large from another side."""

FLICKER = 2.0
"""Levels of luma between frames, in the quieter three quarters of the background's blocks; H.264 leaves 0.1 or less."""

BACKGROUND = 14.0
"""Levels by which a block of the background may be off."""

CHANGED = 0.2
"""Share of the background's blocks that may be off by more than that: shadows move."""

_BLOCK = 8  # pixels of 128
_SMOOTH = 9  # frames over which an object's shape is looked at
_TELLS = 0.5  # probability of its shape in the truth, at all times: else the shape is not asked
_JUMP = 1.25  # radii that a step may be larger than twice its neighbours: a clip that stutters makes steps of one
_FULL = 0.95  # factor of the length above which a thing beside something else is not behind it
_ENTERING = 0.6  # share of its recent area below which a thing is partly behind something, or partly out
_RECENT = 10  # frames
_FAST = 1.5  # radii a frame with which a thing may be hidden from one frame to the next
_WANDERS = 0.4  # radii a frame that an unseen thing may go
_STILL = 2.0  # pixels of 128 within which nothing has moved
_MOVES = 1.5  # radii of a truth that moves
_WHOLE = 0.95  # share of an object's outline that the truth shows where its size is taken
_MOSTLY = 0.5  # share of what the known frames show of a thing, from which on the truth is taken to show it
_LEAST = 60.0  # pixels in the truth of what can be followed
_FIRST_SEED = HELD_OUT + 500_000_000
_CANDIDATES = 1000


@dataclass(frozen=True)
class Coherence:
    """The Suite of this module."""

    name: str = "coherence"
    splits: tuple[Split, ...] = ("in distribution", "speed", "size", "gravity", "count", "combination")

    def task(self, split: Split, number: int) -> Task:
        """ValueError for a negative number."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        first = _FIRST_SEED + number * _CANDIDATES
        for seed in range(first, first + _CANDIDATES):
            if sample_world(seed).move.kind != "static":  # a variation keeps the camera
                continue
            world = varied(seed, split)
            if world.move.kind != "static":  # another world took its place
                continue
            clip = film(world, FRAMES, SIDE, SIDE, FPS)
            if _suits(clip):
                name = f"coherence-{split.replace(' ', '-')}-{number:04d}"
                return Task(name, seed, split, clip.captions[-1], KNOWN, clip, {"objects": str(len(clip.objects))})
        raise AssertionError(f"nothing to watch for ten seconds in {split} among {_CANDIDATES} seeds from {first}")

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        assert frames.shape == task.truth.rgb.shape, (frames.shape, task.truth.rgb.shape)
        return verdict(task, frames, retimed(track(frames, task.truth.objects), times, task.truth.fps))


def broken(task: Task) -> Iterator[tuple[str, Frames]]:
    """The truth of a task, broken in each of the ways of `SEES` right after the known frames."""
    subject = int(np.argmax(_way(task.truth, true_tracks(task.truth), task.known)))
    for name in SEES:
        yield name, BREAKS[name](task.truth, subject, task.known)


def verdict(task: Task, frames: Frames, found: Tracks) -> Verdict:
    """What is made of a clip in which these tracks are found."""
    watch = _Watch(task, frames, found)
    faults = sorted((fault for fault in watch.faults() if fault.frames.any()), key=lambda fault: fault.first)
    wrong = np.zeros(len(frames), bool)
    for fault in faults:
        wrong |= fault.frames
    made, fps = wrong[task.known :], task.truth.fps
    until = int(made.argmax()) if made.any() else len(made)
    errors = {
        "until first break, seconds": until / fps,
        "flicker, levels": float(watch.flicker[task.known - 1 :].mean()),
    }
    return Verdict(float(1 - made.mean()), faults[0].why if faults else "", errors)


@dataclass(frozen=True)
class _Fault:
    frames: Bool[np.ndarray, " t"]
    why: str

    @property
    def first(self) -> int:
        return int(self.frames.argmax())


@dataclass
class _Watch:
    """A clip beside its task; faults are looked for one kind at a time."""

    task: Task
    frames: Frames
    found: Tracks

    def faults(self) -> Iterator[_Fault]:
        yield self._stops()
        for i in range(len(self.clip.objects)):
            yield self._beginning(i)
            yield self._absence(i)
            yield self._leaving(i)
            yield self._jump(i)
            yield self._resized(i)
            yield self._reshaped(i)
        yield self._besides()
        yield self._flickering()
        yield self._background()

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
        blocks = _blocks(np.abs(np.diff(luma, axis=0)), self._block)
        return _quartile(np.where(self._open[1:] & self._open[:-1], blocks, np.nan))

    # --- faults ---

    def _stops(self) -> _Fault:
        """Nothing moves for a second, though it has gone the truth's way so far and the truth moves on."""
        starts = range(self.task.known, len(self.frames) - round(self.clip.fps))
        dead = (n for n in starts if self._stands(n) and (n == self.task.known or self._is_true(n)))
        return self._for_good(next(dead, None), "everything stops")

    def _stands(self, start: int) -> bool:
        """Whether nothing moves in a second in which the truth does."""
        if _way(self.clip, self.truth, start).max() <= _MOVES:
            return False
        return all(way <= _STILL * self._pixel for way in self._ways(*_second(self.clip, start)))

    def _is_true(self, frame: int) -> bool:
        """Whether everything that the truth shows in a frame is where it has it."""
        shown = [i for i, true in enumerate(self.truth) if true.area[frame] >= _LEAST * self._pixel**2]
        gaps = [self.found.objects[i].centre[frame] - self.truth[i].centre[frame] for i in shown]
        return all(np.linalg.norm(gap) <= PLACE * self._radii[frame, i] for i, gap in zip(shown, gaps, strict=True))

    def _beginning(self, i: int) -> _Fault:
        true, made = self.truth[i], self.found.objects[i]
        given = (self.clip.states.visible[:, i] >= 0.5) & (true.area >= _LEAST)
        given[self.task.known :] = False
        off = np.where(made.seen, np.linalg.norm(made.centre - true.centre, axis=1) / self._radii[:, i], np.inf)
        wrong = given.any() and np.median(off[given]) > PLACE
        return self._for_good(0 if wrong else None, f"{self._the(i)} is not where the known frames have it")

    def _absence(self, i: int) -> _Fault:
        """Not seen, with no reason; or seen again where nothing comes from."""
        made = self.found.objects[i]
        missing = np.zeros(len(self.frames), bool)
        lost = None
        for start, stop in _runs(~made.seen):
            left = start > 0 and self._may_be_hidden(i, start - 1, start - 2)
            missing[start:stop] = not left
            if stop < len(self.frames) and start > 0 and not self._comes_from(i, start - 1, stop):
                lost = stop if lost is None else lost
        gone = self._lasting(missing, f"{self._the(i)} is not seen")
        again = self._for_good(lost, f"{self._the(i)} appears out of nothing")
        return gone if not again.frames.any() or (gone.frames.any() and gone.first <= again.first) else again

    def _leaving(self, i: int) -> _Fault:
        """Gone over the border, in frames in which the truth shows it."""
        made, true = self.found.objects[i], self.truth[i]
        missing = np.zeros(len(self.frames), bool)
        for start, stop in _runs(~made.seen):
            missing[start:stop] = start > 0 and self._is_leaving(i, start - 1, start - 2)
        shown = true.area >= max(_LEAST * self._pixel**2, _MOSTLY * true.area[: self.task.known].max())
        frames = self._after(missing & shown)
        return _Fault(frames, f"{self._the(i)} has left the picture, in frame {int(frames.argmax())}")

    def _jump(self, i: int) -> _Fault:
        """A step larger than anything can make, or out of proportion to those before and after."""
        made = self.found.objects[i]
        step = np.nan_to_num(made.step)
        padded = np.pad(step, 2)
        around = np.max([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]], axis=0)
        jumps = (step > SPEED * self._pixel) | (step > 2 * around + _JUMP * self._unit(i))
        jumps[: self.task.known - 1] = False
        first = int(jumps.argmax()) + 1 if jumps.any() else None
        size = f"{step[first - 1]:.0f} pixels" if first is not None else ""
        return self._for_good(first, f"{self._the(i)} jumps by {size}")

    def _resized(self, i: int) -> _Fault:
        """Larger or smaller than the known frames and perspective have it; what is covered may look smaller."""
        made, factor, slack = self.found.objects[i], self._factor(i), SIZE[self.clip.objects[i].shape]
        wrong = made.seen & ((factor > slack) | ((factor < 1 / slack) & self._free(i)))
        return self._lasting(self._after(wrong), f"{self._the(i)} changes its size")

    def _reshaped(self, i: int) -> _Fault:
        wrong = self._after(self._unlike(i, self.found.objects[i]))
        if wrong.any():  # what the truth's own frames do not show at all times is not asked
            own = track(self.clip.rgb, self.clip.objects).objects[i]
            if self._likelihood(i, own)[own.seen].min() < _TELLS:
                return self._nothing()
        return self._lasting(wrong, f"{self._the(i)} changes its shape")

    def _besides(self) -> _Fault:
        crowded = self.found.crowded(len(self.frames))
        if not crowded.any():
            return self._nothing()
        extra = self.found.extras[0]
        x, y = extra.centre
        return self._lasting(crowded, f"something {extra.colour} that should not be there shows at ({x:.0f}, {y:.0f})")

    def _flickering(self) -> _Fault:
        wrong = np.append(False, self.flicker > FLICKER)
        worst = float(self.flicker.max())
        return _Fault(self._after(wrong), f"the background flickers, by up to {worst:.1f} levels")

    def _background(self) -> _Fault:
        """Blocks that are not as in the known frames, but for what moves and its shadow."""
        given = np.median(self.task.given, axis=0)
        off = np.abs(_blocks(self.frames.astype(np.float32), self._block) - _blocks(given[None], self._block)).max(
            axis=-1
        )
        bare = self._open & self._bare
        share = ((off > BACKGROUND) & bare).sum(axis=(1, 2)) / np.maximum(bare.sum(axis=(1, 2)), 1)
        return _Fault(self._after(share > CHANGED), f"up to {share.max():.0%} of the background is not as it was")

    # --- what they are made of ---

    def _nothing(self) -> _Fault:
        return _Fault(np.zeros(len(self.frames), bool), "")

    def _for_good(self, first: int | None, why: str) -> _Fault:
        frames = np.arange(len(self.frames)) >= (len(self.frames) if first is None else first)
        return _Fault(frames, f"{why}, from frame {first} on")

    def _lasting(self, wrong: Bool[np.ndarray, " t"], why: str) -> _Fault:
        """These frames, and all from where `LASTING` of them follow each other."""
        first = next((start for start, stop in _runs(wrong) if stop - start >= LASTING), len(wrong))
        frames = wrong | (np.arange(len(wrong)) >= first)
        return _Fault(frames, f"{why}, first in frame {int(frames.argmax())}")

    def _after(self, wrong: Bool[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
        """Without the known frames."""
        return wrong & (np.arange(len(wrong)) >= self.task.known)

    def _the(self, i: int) -> str:
        return f"the {self.clip.objects[i].name}"

    @property
    def _pixel(self) -> float:
        """A pixel of a picture of 128."""
        pixel: float = min(self.frames.shape[1:3]) / 128
        return pixel

    @property
    def _block(self) -> int:
        return max(1, round(_BLOCK * self._pixel))

    @cached_property
    def _radii(self) -> Float[np.ndarray, "t n"]:
        return radii(self.clip)

    def _unit(self, i: int) -> float:
        """Radius in the known frames, pixels."""
        return float(np.median(self._radii[: self.task.known, i]))

    def _ways(self, start: int, stop: int) -> Iterator[float]:
        """Pixels that each object goes from one frame to another; inf for one that is gone by then."""
        for made in self.found.objects:
            if made.seen[start]:
                yield float(np.linalg.norm(made.centre[stop] - made.centre[start])) if made.seen[stop] else np.inf

    def _radii_here(self, i: int) -> Float[np.ndarray, " t"]:
        """Radius in pixels where the object is found: that of the truth when it is nearest to there."""
        true, made = self.truth[i], self.found.objects[i]
        been = np.flatnonzero(true.seen)
        way = np.linalg.norm(made.centre[:, None] - true.centre[None, been], axis=-1)
        nearest = been[np.argmin(np.nan_to_num(way), axis=1)]
        here: Float[np.ndarray, " t"] = self._radii[nearest, i]
        return here

    def _factor(self, i: int) -> Float[np.ndarray, " t"]:
        """Size over that of the known frames, but for perspective; 1 where they do not show the whole of it."""
        made = self.found.objects[i]
        known = made.seen & (self.clip.states.visible[:, i] >= _WHOLE) & (self._from_border(i) > 2 * self._pixel)
        known[self.task.known :] = False
        size = np.sqrt(made.area) / self._radii_here(i)
        usual = float(np.median(size[known])) if known.any() else 0.0
        factor: Float[np.ndarray, " t"] = size / usual if usual else np.ones_like(size)
        return factor

    def _whole(self, i: int) -> Bool[np.ndarray, " t"]:
        """Whether all of it shows: it is free, or away from the border and no smaller than it has to be."""
        full = (self._from_border(i) > 2 * self._pixel) & (self._factor(i) > _FULL)
        whole: Bool[np.ndarray, " t"] = self._free(i) | full
        return whole

    def _unlike(self, i: int, made: Track) -> Bool[np.ndarray, " t"]:
        unlike: Bool[np.ndarray, " t"] = self._whole(i) & made.seen & (self._likelihood(i, made) < UNLIKELY)
        return unlike

    def _likelihood(self, i: int, made: Track) -> Float[np.ndarray, " t"]:
        """Of the object's own shape, mean of nine frames; 1 where it is not whole."""
        own = np.where(made.seen & self._whole(i), made.shape[:, SHAPES.index(self.clip.objects[i].shape)], 1.0)
        smooth: Float[np.ndarray, " t"] = uniform_filter1d(own, _SMOOTH, mode="nearest")
        return smooth

    @cached_property
    def _from_cover(self) -> Float[np.ndarray, "n t"]:
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

    def _from_border(self, i: int) -> Float[np.ndarray, " t"]:
        height, width = self.frames.shape[1:3]
        left, top, right, bottom = self.found.objects[i].box.T
        margin: Float[np.ndarray, " t"] = np.min([left, top, width - right, height - bottom], axis=0)
        return margin

    def _free(self, i: int) -> Bool[np.ndarray, " t"]:
        """Whether nothing that could hide it is near, nor the border; False where it is not seen."""
        margin = np.minimum(self._from_border(i), self._from_cover[i])
        free: Bool[np.ndarray, " t"] = margin > 2 * self._pixel
        return free

    def _may_be_hidden(self, i: int, frame: int, beside: int) -> bool:
        """Whether it may be out of sight next to `frame`, its motion being that between `frame` and `beside`."""
        if self._is_leaving(i, frame, beside):
            return True
        made, step = self.found.objects[i], self._step(i, frame, beside)
        way = slice(frame, frame + _RECENT) if beside > frame else slice(max(0, frame - _RECENT), frame + 1)
        entering = made.area[frame] < _ENTERING * made.area[way].max() or step > _FAST * self._unit(i)
        return bool(entering and self._from_cover[i, frame] <= step + 3 * self._pixel)

    def _is_leaving(self, i: int, frame: int, beside: int) -> bool:
        """Whether it may be over the border next to `frame`, or too far away to be seen."""
        small = self.found.objects[i].area[frame] < _LEAST * self._pixel**2
        return bool(small or self._from_border(i)[frame] <= self._step(i, frame, beside) + 3 * self._pixel)

    def _step(self, i: int, frame: int, beside: int) -> float:
        """Pixels between two frames; 0 where it is not seen in the second."""
        made = self.found.objects[i]
        if not (0 <= beside < len(self.frames) and made.seen[beside]):
            return 0.0
        return float(np.linalg.norm(made.centre[frame] - made.centre[beside]))

    def _comes_from(self, i: int, before: int, after: int) -> bool:
        """Whether what was last seen in frame `before` may be seen again in `after`: from the border, from behind
        something, or where it was."""
        made = self.found.objects[i]
        way = float(np.linalg.norm(made.centre[after] - made.centre[before]))
        near = way <= self._unit(i) * (1 + _WANDERS * (after - before))
        return near or self._may_be_hidden(i, after, after + 1)

    @cached_property
    def _open(self) -> Bool[np.ndarray, "t rows columns"]:
        """Blocks that no object's box touches."""
        count, height, width = self.frames.shape[:3]
        covered = np.zeros((count, height, width), np.float32)
        margin = 2 * self._pixel
        for made in self.found.objects:
            for t in np.flatnonzero(made.seen):
                left, top, right, bottom = made.box[t]
                rows = slice(max(0, int(top - margin)), int(np.ceil(bottom + margin)))
                covered[t, rows, max(0, int(left - margin)) : int(np.ceil(right + margin))] = 1
        free: Bool[np.ndarray, "t rows columns"] = _blocks(covered, self._block) == 0
        return free

    @cached_property
    def _bare(self) -> Bool[np.ndarray, "1 rows columns"]:
        """Blocks that no object covers in the known frames."""
        objects = np.isin(self.clip.instance[: self.task.known], np.arange(len(self.clip.objects)) + 1)
        bare: Bool[np.ndarray, "1 rows columns"] = (
            _blocks(np.any(objects, axis=0, keepdims=True).astype(np.float32), self._block) == 0
        )
        return bare


def _blocks(pictures: Float[np.ndarray, "t h w *c"], side: int) -> Float[np.ndarray, "t rows columns *c"]:
    """Means of squares; what is left over at the right and at the bottom is cut off."""
    rows, columns = pictures.shape[1] // side, pictures.shape[2] // side
    cut = pictures[:, : rows * side, : columns * side]
    return reduce(cut, "t (r y) (c x) ... -> t r c ...", "mean", y=side, x=side)


def _quartile(blocks: Float[np.ndarray, "t rows columns"]) -> Float[np.ndarray, " t"]:
    """Third quartile of the blocks that are numbers; 0 where there are none."""
    flat = rearrange(blocks, "t r c -> t (r c)")
    some = np.isfinite(flat).any(axis=1)
    quartile = np.zeros(len(flat))
    quartile[some] = np.nanquantile(flat[some], 0.75, axis=1)
    return quartile


def _runs(mask: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """Runs of True as (first, one past the last)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _second(clip: Clip, start: int) -> tuple[int, int]:
    """Frames between which something has to move on after `start` if it does so in the truth."""
    return start + LASTING, min(start + round(clip.fps), len(clip.rgb) - 1)


def _way(clip: Clip, truth: Sequence[Track], start: int) -> Float[np.ndarray, " n"]:
    """Radii that each object moves in the picture in the second after a frame; 0 if it is not seen."""
    frames = list(_second(clip, start))
    seen = (clip.states.visible[frames] > 0.5).all(axis=0)
    way = [np.linalg.norm(np.diff(true.centre[frames], axis=0)) for true in truth]
    return np.where(seen, np.array(way) / radii(clip)[frames[0]], 0.0)


def _suits(clip: Clip) -> bool:
    """Whether the known frames show everything, something moves on, one thing at least is seen at the end, and none
    gets too small to be followed."""
    truth = true_tracks(clip)
    area = np.stack([true.area for true in truth], axis=1)
    visible = clip.states.visible
    introduced = ((visible[:KNOWN] >= 0.9) & (area[:KNOWN] >= _LEAST)).any(axis=0).all()
    small = (visible >= 0.9) & (area > 0) & (area < _LEAST)
    stays = (area[-1] >= _LEAST).any()
    return bool(introduced and stays and not small.any() and _way(clip, truth, KNOWN).max() > _MOVES)
