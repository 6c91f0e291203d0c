"""The falling suite: what it measures on closed forms, that truth passes as a file, and that broken clips do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.evaluation.falling import (
    KNOWN,
    LAWS,
    UNDER_GRAVITY,
    FallingObjects,
    PixelTrack,
    gravity,
    restitution,
    true_tracks,
    verdict,
)
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Suite, Task
from muybridge.simulation import World, film
from muybridge.simulation.things import GRAVITY, Thing
from muybridge.storage.video import read_mp4, write_mp4

SUITE = FallingObjects()
FEW = range(2 * len(LAWS))


@cache
def task(number: int) -> Task:
    return SUITE.task("in distribution", number)


def ordered(tracks: Sequence[PixelTrack], frames: np.ndarray) -> list[PixelTrack]:
    return [PixelTrack(t.seen[frames], t.centre[frames], t.area[frames]) for t in tracks]


def filmed(world: World) -> Sequence[PixelTrack]:
    return true_tracks(film(world, 33, 128, 128, 15.0))


def test_it_is_a_suite() -> None:
    assert isinstance(SUITE, Suite)
    with pytest.raises(ValueError, match="numbered from 0"):
        SUITE.task("in distribution", -1)


def test_tasks_are_numbered_held_out_and_about_their_law() -> None:
    for number in FEW:
        one = task(number)
        assert one.groups["law"] == LAWS[number % len(LAWS)]
        assert one.seed >= HELD_OUT
        assert one.truth.world.move.kind == "static"
        assert one.truth.rgb.shape == (33, 128, 128, 3)
        assert len(one.given) == KNOWN
    assert len({task(number).seed for number in FEW}) == len(FEW)
    assert SUITE.task("in distribution", 3).truth.rgb.tobytes() == task(3).truth.rgb.tobytes()


@pytest.mark.parametrize("split", [split for split in SUITE.splits if split != "in distribution"])
def test_the_truth_of_every_split_passes(split: str) -> None:
    one = SUITE.task(split, 1)  # type: ignore[arg-type]
    assert verdict(one, true_tracks(one.truth)).why == ""


def test_truth_passes_by_its_masks_and_as_a_file(tmp_path: Path) -> None:
    for number in FEW:
        one = task(number)
        assert verdict(one, true_tracks(one.truth)).errors["place, radii"] == 0
        write_mp4(tmp_path / "clip.mp4", one.truth.rgb, one.truth.fps)
        made = SUITE.judge(one, read_mp4(tmp_path / "clip.mp4").frames)
        assert made.why == ""
        assert made.score == 1
        assert made.errors["place, radii"] < 0.3


def test_half_gravity_and_falling_up_fail() -> None:
    for number in FEW:
        world = task(number).truth.world
        if task(number).groups["law"] in UNDER_GRAVITY:
            assert verdict(task(number), filmed(replace(world, gravity=GRAVITY / 2))).score == 0, number
            assert verdict(task(number), filmed(replace(world, gravity=-GRAVITY))).score == 0, number


def test_frozen_static_shuffled_and_empty_clips_fail() -> None:
    for number in FEW:
        tracks = true_tracks(task(number).truth)
        later = np.random.default_rng(number).permutation(33 - KNOWN)
        orders = (np.minimum(np.arange(33), KNOWN - 1), np.zeros(33, int), np.r_[:KNOWN, KNOWN + later])
        for order in orders:
            assert verdict(task(number), ordered(tracks, order)).score == 0, (number, order)
        assert SUITE.judge(task(number), np.zeros_like(task(number).truth.rgb)).score == 0


def test_a_verdict_says_which_object_and_by_how_much() -> None:
    one = task(1)
    made = verdict(one, ordered(true_tracks(one.truth), np.minimum(np.arange(33), KNOWN - 1)))
    assert any(known.name in made.why for known in one.truth.objects)
    assert "radii" in made.why
    assert "frame" in made.why


def test_what_is_never_found_counts_as_lost() -> None:
    one = task(1)
    tracks = [
        PixelTrack(np.arange(33) < KNOWN, np.where(np.arange(33)[:, None] < KNOWN, t.centre, np.nan), t.area)
        for t in true_tracks(one.truth)
    ]
    made = verdict(one, tracks)
    assert made.score == 0
    assert made.errors["place, radii"] == 5


@settings(max_examples=30, deadline=None)
@given(st.floats(0.5, 20), st.floats(-4, 4), st.floats(0, 2), st.integers(3, 12))
def test_gravity_of_a_parabola(g: float, speed: float, start: float, count: int) -> None:
    time = np.arange(count) / 15
    height = start + speed * time - 0.5 * g * time**2
    assert gravity(height, 15.0) == pytest.approx(g)


def test_gravity_leaves_out_what_is_unknown() -> None:
    height = 2 - 0.5 * 3 * (np.arange(9) / 15) ** 2
    height[[2, 5]] = np.nan
    assert gravity(height, 15.0) == pytest.approx(3)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.5, 0.9])
def test_restitution_of_a_bouncing_point(kept: float) -> None:
    fall = math.sqrt(2 * 0.8 / GRAVITY)
    time = np.arange(160) / 160 * (fall + max(2 * kept * fall, 0.2))
    after = time - fall
    height = np.where(
        after < 0, 0.8 - 0.5 * GRAVITY * time**2, kept * GRAVITY * fall * after - 0.5 * GRAVITY * after**2
    )
    landed = int((after < 0).sum())
    assert restitution(0.2 + np.maximum(height, 0), landed, 0.2) == pytest.approx(kept, abs=0.01)


def test_restitution_needs_both_sides_of_the_landing() -> None:
    assert restitution(np.full(9, np.nan), 4, 0.2) is None
    assert restitution(np.linspace(1, 0, 6), 4, 0.2) is None


def alike(world: World, rng: Random) -> World:
    """The same world as far as the known frames tell: what bounces, slips and tumbles otherwise looks the same."""
    return replace(world, things=tuple(_alike(thing, rng) for thing in world.things))


def _alike(thing: Thing, rng: Random) -> Thing:
    if thing.fixed or thing.motion == "rest":
        return thing
    x, y, z = thing.position
    factor, airborne = 1 + rng.uniform(-0.02, 0.02), thing.motion in ("drop", "throw")
    vx, vy, vz = (factor * v for v in thing.velocity)
    sx, sy, sz = (factor * v for v in thing.spin)
    thing = replace(thing, velocity=(vx, vy, vz), spin=(sx, sy, sz))
    thing = replace(thing, position=(x + rng.uniform(-0.005, 0.005), y + rng.uniform(-0.005, 0.005), z))
    if airborne:
        bounce = rng.uniform(0.45, 0.75) if thing.shape == "ball" else rng.uniform(0.1, 0.35)
        return replace(thing, restitution=bounce, friction=rng.uniform(0.4, 0.7))
    if thing.motion == "ramp" and thing.shape != "ball":
        return replace(thing, friction=rng.uniform(0.1, 0.16))
    if thing.motion == "slide":
        return replace(thing, friction=rng.uniform(1.2, 1.9) / GRAVITY)
    return replace(thing, rolling=thing.rolling * rng.uniform(0.7, 1.3))


def agreeing(numbers: range) -> float:
    made = [verdict(task(n), filmed(alike(task(n).truth.world, Random(f"{n} {k}")))) for n in numbers for k in range(2)]
    return float(np.mean([one.score for one in made]))


def test_worlds_that_look_alike_pass() -> None:
    """What the tolerances are for: nobody can tell these futures apart by the known frames."""
    assert agreeing(range(len(LAWS))) >= 0.8


@pytest.mark.slow
def test_two_hundred_scenes(tmp_path: Path) -> None:
    numbers = range(200)
    passed, halved, stopped, told = [], [], [], []
    for number in numbers:
        one = SUITE.task("in distribution", number)
        write_mp4(tmp_path / "clip.mp4", one.truth.rgb, one.truth.fps)
        passed.append(SUITE.judge(one, read_mp4(tmp_path / "clip.mp4").frames).score)
        stopped.append(SUITE.judge(one, one.truth.rgb[np.minimum(np.arange(33), KNOWN - 1)]).score)
        if one.groups["law"] in UNDER_GRAVITY:
            other = film(replace(one.truth.world, gravity=GRAVITY / 2), 33, 128, 128, 15.0)
            halved.append(SUITE.judge(one, other.rgb).score)
        told.append(one.seed)
    assert np.mean(passed) >= 0.99
    assert np.mean(halved) <= 0.05
    assert np.mean(stopped) <= 0.05
    assert len(set(told)) == len(told)
    assert agreeing(numbers) >= 0.9
