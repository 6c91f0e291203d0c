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

import numpy as np
from jaxtyping import Bool, Float

from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.permanence import radii
from muybridge.evaluation.sight import LEAST, Sight, blocks, runs
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

_TELLS = 0.5  # probability of its shape in the truth, at all times: else the shape is not asked
_JUMP = 1.25  # radii that a step may be larger than twice its neighbours: a clip that stutters makes steps of one
_STILL = 2.0  # pixels of 128 within which nothing has moved
_MOVES = 1.5  # radii of a truth that moves
_MOSTLY = 0.5  # share of what the known frames show of a thing, from which on the truth is taken to show it
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


class _Watch(Sight):
    """A clip beside its task; faults are looked for one kind at a time."""

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
        return all(way <= _STILL * self.pixel for way in self.ways(*_second(self.clip, start)))

    def _is_true(self, frame: int) -> bool:
        """Whether everything that the truth shows in a frame is where it has it."""
        shown = [i for i, true in enumerate(self.truth) if true.area[frame] >= LEAST * self.pixel**2]
        gaps = [self.found.objects[i].centre[frame] - self.truth[i].centre[frame] for i in shown]
        return all(np.linalg.norm(gap) <= PLACE * self.radii[frame, i] for i, gap in zip(shown, gaps, strict=True))

    def _beginning(self, i: int) -> _Fault:
        true, made = self.truth[i], self.found.objects[i]
        given = (self.clip.states.visible[:, i] >= 0.5) & (true.area >= LEAST)
        given[self.task.known :] = False
        off = np.where(made.seen, np.linalg.norm(made.centre - true.centre, axis=1) / self.radii[:, i], np.inf)
        wrong = given.any() and np.median(off[given]) > PLACE
        return self._for_good(0 if wrong else None, f"{self._the(i)} is not where the known frames have it")

    def _absence(self, i: int) -> _Fault:
        """Not seen, with no reason; or seen again where nothing comes from."""
        made = self.found.objects[i]
        missing = np.zeros(len(self.frames), bool)
        lost = None
        for start, stop in runs(~made.seen):
            left = start > 0 and self.may_be_hidden(i, start - 1, start - 2)
            missing[start:stop] = not left
            if stop < len(self.frames) and start > 0 and not self.comes_from(i, start - 1, stop):
                lost = stop if lost is None else lost
        gone = self._lasting(missing, f"{self._the(i)} is not seen")
        again = self._for_good(lost, f"{self._the(i)} appears out of nothing")
        return gone if not again.frames.any() or (gone.frames.any() and gone.first <= again.first) else again

    def _leaving(self, i: int) -> _Fault:
        """Gone over the border, in frames in which the truth shows it."""
        made, true = self.found.objects[i], self.truth[i]
        missing = np.zeros(len(self.frames), bool)
        for start, stop in runs(~made.seen):
            missing[start:stop] = start > 0 and self.is_leaving(i, start - 1, start - 2)
        shown = true.area >= max(LEAST * self.pixel**2, _MOSTLY * true.area[: self.task.known].max())
        frames = self._after(missing & shown)
        return _Fault(frames, f"{self._the(i)} has left the picture, in frame {int(frames.argmax())}")

    def _jump(self, i: int) -> _Fault:
        """A step larger than anything can make, or out of proportion to those before and after."""
        made = self.found.objects[i]
        step = np.nan_to_num(made.step)
        padded = np.pad(step, 2)
        around = np.max([padded[:-4], padded[1:-3], padded[3:-1], padded[4:]], axis=0)
        jumps = (step > SPEED * self.pixel) | (step > 2 * around + _JUMP * self.unit(i))
        jumps[: self.task.known - 1] = False
        first = int(jumps.argmax()) + 1 if jumps.any() else None
        size = f"{step[first - 1]:.0f} pixels" if first is not None else ""
        return self._for_good(first, f"{self._the(i)} jumps by {size}")

    def _resized(self, i: int) -> _Fault:
        """Larger or smaller than the known frames and perspective have it; what is covered may look smaller."""
        made, factor, slack = self.found.objects[i], self.factor(i), SIZE[self.clip.objects[i].shape]
        wrong = made.seen & ((factor > slack) | ((factor < 1 / slack) & self.free(i)))
        return self._lasting(self._after(wrong), f"{self._the(i)} changes its size")

    def _reshaped(self, i: int) -> _Fault:
        wrong = self._after(self.unlike(i, self.found.objects[i]))
        if wrong.any():  # what the truth's own frames do not show at all times is not asked
            own = track(self.clip.rgb, self.clip.objects).objects[i]
            if self.likelihood(i, own)[own.seen].min() < _TELLS:
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
        off = np.abs(blocks(self.frames.astype(np.float32), self.block) - blocks(given[None], self.block)).max(axis=-1)
        bare = self.open & self.bare
        share = ((off > BACKGROUND) & bare).sum(axis=(1, 2)) / np.maximum(bare.sum(axis=(1, 2)), 1)
        return _Fault(self._after(share > CHANGED), f"up to {share.max():.0%} of the background is not as it was")

    # --- their frames ---

    def _nothing(self) -> _Fault:
        return _Fault(np.zeros(len(self.frames), bool), "")

    def _for_good(self, first: int | None, why: str) -> _Fault:
        frames = np.arange(len(self.frames)) >= (len(self.frames) if first is None else first)
        return _Fault(frames, f"{why}, from frame {first} on")

    def _lasting(self, wrong: Bool[np.ndarray, " t"], why: str) -> _Fault:
        """These frames, and all from where `LASTING` of them follow each other."""
        first = next((start for start, stop in runs(wrong) if stop - start >= LASTING), len(wrong))
        frames = wrong | (np.arange(len(wrong)) >= first)
        return _Fault(frames, f"{why}, first in frame {int(frames.argmax())}")

    def _after(self, wrong: Bool[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
        """Without the known frames."""
        return wrong & (np.arange(len(wrong)) >= self.task.known)

    def _the(self, i: int) -> str:
        return f"the {self.clip.objects[i].name}"


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
    introduced = ((visible[:KNOWN] >= 0.9) & (area[:KNOWN] >= LEAST)).any(axis=0).all()
    small = (visible >= 0.9) & (area > 0) & (area < LEAST)
    stays = (area[-1] >= LEAST).any()
    return bool(introduced and stays and not small.any() and _way(clip, truth, KNOWN).max() > _MOVES)
