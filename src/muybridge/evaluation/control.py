"""Control: does a clip do what its words ask of the camera, and of the way that things take?

A task is a held-out world of which one still is given. Even numbers ask for a move of the camera (number n for move
n/2 of the thirteen there are, "static" among them) and watch what is at rest; odd ones keep the camera still and watch
something that rolls, slides or is thrown to the left or right.

camera  what the move makes of everything at rest: by how much its middle shifts in the picture, as shares of the
        picture's side, and the logarithm of how much it grows, from the still to the end. The clip passes if this is
        within `TOLERANCE` of what the true camera makes of it, and `SLACK` besides.
way     how far the thing's middle goes across. It passes if that is the true way within the same tolerance, or on the
        right side and longer: words say where to, not how fast.

What cannot be found in the end has failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.evaluation.tracking import Track, retimed, track, true_tracks
from muybridge.evaluation.variations import plain
from muybridge.simulation import Clip, film
from muybridge.simulation.cameras import MOVES

FRAMES, SIDE, FPS = 33, 128, 15.0

GOING = ("roll", "slide", "throw")
"""Ways of moving that may go to the left or right."""

TOLERANCE = 0.5
"""Share of the true move by which a clip's may be another: words do not say how far."""

SLACK = 0.03
"""Picture sides (4 pixels of 128): what a tracker and a codec make of nothing."""

_LAST = 3  # frames whose mean is the end
_STILL = 0.02  # metres that what is at rest may move
_ACROSS = 0.12  # picture sides that the way of a thing is long at least, or what a move makes of one at rest
_WHOLE = 0.97  # share of an object that has to be shown first and last
_FIRST_SEED = HELD_OUT + 600_000_000
_CANDIDATES = 10_000


@dataclass(frozen=True)
class Control:
    """The Suite of this module."""

    name: str = "control"
    splits: tuple[Split, ...] = ("in distribution",)

    def task(self, split: Split, number: int) -> Task:
        """ValueError for a negative number."""
        if number < 0:
            raise ValueError(f"tasks are numbered from 0, not {number}")
        move = "way" if number % 2 else MOVES[number // 2 % len(MOVES)]
        first = _FIRST_SEED + number * _CANDIDATES
        for seed in range(first, first + _CANDIDATES):
            world = plain(seed, "in distribution")
            if world.move.kind != ("static" if move == "way" else move):
                continue
            if not any(thing.motion in (GOING if move == "way" else ("rest",)) for thing in world.things):
                continue
            clip = film(world, FRAMES, SIDE, SIDE, FPS)
            if _tells(clip, move):
                name = f"control-in-distribution-{number:04d}"
                return Task(name, seed, split, clip.captions[-1], 1, clip, {"asked": move})
        raise AssertionError(f"no world for {move} among {_CANDIDATES} seeds from {first}")

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        assert frames.shape == task.truth.rgb.shape, (frames.shape, task.truth.rgb.shape)
        clip = task.truth
        tracks = retimed(track(frames, clip.objects), times, clip.fps).objects
        if task.groups["asked"] == "way":
            return _ways(clip, tracks)
        return _camera(clip, tracks)


def _tells(clip: Clip, move: str) -> bool:
    """Whether there is something to watch, which a clip that stands still would not show."""
    if move == "way":
        return bool(going(clip).any())
    picked, true = np.flatnonzero(resting(clip)).tolist(), true_tracks(clip)
    sizes = [float(np.linalg.norm(_change(true[i], clip))) for i in picked]
    return bool(picked) and (move == "static" or max(sizes) >= _ACROSS)


def resting(clip: Clip) -> Bool[np.ndarray, " n"]:
    """What stays where it is and is seen whole in the beginning and the end."""
    way = np.linalg.norm(clip.states.position - clip.states.position[0], axis=-1).max(axis=0)
    still: Bool[np.ndarray, " n"] = (way < _STILL) & _shown(clip)
    return still


def going(clip: Clip) -> Bool[np.ndarray, " n"]:
    """What rolls, slides or is thrown to the left or right and is seen whole in the beginning and the end."""
    meant = np.array([thing.motion in GOING for thing in clip.world.things])
    angle, way = clip.world.move.azimuth, clip.states.position[-1] - clip.states.position[0]
    across, away = way[:, :2] @ (np.cos(angle), np.sin(angle)), way[:, :2] @ (-np.sin(angle), np.cos(angle))
    shift = np.array([abs(_change(true, clip)[0]) for true in true_tracks(clip)])
    far = (np.abs(across) > np.abs(away)) & (np.nan_to_num(shift) >= _ACROSS)
    found: Bool[np.ndarray, " n"] = meant & far & _shown(clip)
    return found


def broken(task: Task) -> Iterator[tuple[str, Frames]]:
    """The truth of a task with what is asked for the other way round, and standing still."""
    clip, move, asked = task.truth, task.truth.world.move, task.groups["asked"]
    if asked == "way":
        yield "the other way", clip.rgb[:, :, ::-1]
    elif move.kind == "static":
        pan = replace(move, kind="pan left", amount=0.25)
        yield "camera moves", film(replace(clip.world, move=pan), FRAMES, SIDE, SIDE, FPS).rgb
    else:
        verb, direction = move.kind.split()
        other = replace(move, kind=f"{verb} {_OPPOSITE[direction]}")
        yield "the other way", film(replace(clip.world, move=other), FRAMES, SIDE, SIDE, FPS).rgb
    if asked != "static":
        yield "stands still", np.repeat(clip.rgb[:1], len(clip.rgb), axis=0)


_OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up", "in": "out", "out": "in"}


def _shown(clip: Clip) -> Bool[np.ndarray, " n"]:
    """What is whole, and does not touch the picture's border, in the first frame and the last ones."""
    ends = [0, *range(-_LAST, 0)]
    inner = clip.instance[ends][:, 1:-1, 1:-1]
    number = np.arange(1, len(clip.objects) + 1)[:, None, None, None]
    inside, all_of_it = (inner == number).sum(axis=(2, 3)), (clip.instance[ends] == number).sum(axis=(2, 3))
    whole: Bool[np.ndarray, " n"] = (
        (inside == all_of_it).all(axis=1)
        & (all_of_it > 0).all(axis=1)
        & (clip.states.visible[ends] >= _WHOLE).all(axis=0)
    )
    return whole


def _camera(clip: Clip, tracks: Sequence[Track]) -> Verdict:
    """Whether what is at rest moves in the picture as the camera's move wants it."""
    picked = np.flatnonzero(resting(clip)).tolist()
    true, made = true_tracks(clip), [_change(tracks[i], clip) for i in picked]
    lost = [clip.objects[i].name for i, change in zip(picked, made, strict=True) if np.isnan(change).any()]
    if lost:
        return Verdict(0.0, f"the {lost[0]} is not found in the beginning or the end")
    wanted = np.array([_change(true[i], clip) for i in picked])
    off = float(np.linalg.norm(np.array(made) - wanted, axis=1).max())
    size = float(np.linalg.norm(wanted, axis=1).max())
    errors = {"camera, picture sides": off}
    if off > TOLERANCE * size + SLACK:
        return Verdict(0.0, f"what rests moves {off:.2f} picture sides otherwise than {size:.2f} asked for", errors)
    return Verdict(1.0, "", errors)


def _ways(clip: Clip, tracks: Sequence[Track]) -> Verdict:
    """Whether what goes across goes where it is said to."""
    true, wrong, errors = true_tracks(clip), "", []
    for i in np.flatnonzero(going(clip)).tolist():
        wanted, made = float(_change(true[i], clip)[0]), float(_change(tracks[i], clip)[0])
        if np.isnan(made):
            wrong = wrong or f"the {clip.objects[i].name} is not found in the beginning or the end"
            continue
        errors.append(abs(made - wanted))
        if np.sign(wanted) * made < (1 - TOLERANCE) * abs(wanted) - SLACK:
            wrong = wrong or f"the {clip.objects[i].name} goes {made:+.2f} picture sides across, not {wanted:+.2f}"
    return Verdict(0.0 if wrong else 1.0, wrong, {"way, picture sides": max(errors)} if errors else {})


def _change(one: Track, clip: Clip) -> Float[np.ndarray, "3"]:
    """From the first frame to the last ones: right and down in picture sides, and the log of its growth; or NaN."""
    side = min(clip.rgb.shape[1:3])
    end = one.seen[-_LAST:]
    if not one.seen[0] or not end.any():
        return np.full(3, np.nan)
    shift = (one.centre[-_LAST:][end].mean(axis=0) - one.centre[0]) / side
    growth = 0.5 * np.log(one.area[-_LAST:][end].mean() / one.area[0])
    return np.array([*shift, growth])
