"""Broken clips: true up to where they break, and broken in the way that they say."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from muybridge.evaluation.breaking import BREAKS, GROWS
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.tracking import Track, track, true_tracks
from muybridge.simulation import Clip, simulate

START = 9


@cache
def falling() -> tuple[Clip, int]:
    """A clip with a still camera and a ball that is in the air at frame 5, alone, and its number."""
    for seed in range(HELD_OUT + 610_000_000, HELD_OUT + 610_001_000):
        clip = simulate(seed, 1, 16, 16)
        things = clip.world.things
        if clip.world.move.kind == "static" and [(t.motion, t.shape) for t in things] == [("throw", "ball")]:
            return simulate(seed), 0
    raise AssertionError("no ball is thrown")


def broken(name: str, start: int = START) -> Track:
    clip, subject = falling()
    return track(BREAKS[name](clip, subject, start), clip.objects).objects[subject]


@pytest.mark.parametrize("name", sorted(set(BREAKS) - {"black", "static copy"}))
def test_a_clip_is_true_until_it_breaks_and_not_after(name: str) -> None:
    clip, subject = falling()
    frames = BREAKS[name](clip, subject, START)
    assert frames.shape == clip.rgb.shape
    assert (frames[:START] == clip.rgb[:START]).all()
    assert (frames[START:] != clip.rgb[START:]).any()


def test_what_vanishes_is_gone_and_what_changes_colour_is_another() -> None:
    clip, subject = falling()
    assert not broken("vanishes").seen[START:].any()
    found = track(BREAKS["changes colour"](clip, subject, START), clip.objects)
    assert not found.objects[subject].seen[START:].any()
    assert {extra.frame for extra in found.extras} == set(range(START, len(clip.rgb)))


def test_sizes_places_and_numbers_change_as_stated() -> None:
    clip, subject = falling()
    true = true_tracks(clip)[subject]
    large = broken("changes size")
    assert np.sqrt(large.area[START] / true.area[START]) == pytest.approx(GROWS, rel=0.1)
    gap = np.linalg.norm(broken("teleports").centre[START] - true.centre[START])
    assert gap > 1.5 * np.sqrt(true.area[START])  # 3.5 radii are 2.0 roots of a disc's area
    found = track(BREAKS["duplicated"](clip, subject, START), clip.objects)
    assert found.crowded(len(clip.rgb))[START : START + 5].all()


def test_a_ball_turns_into_a_box() -> None:
    clip, _ = falling()
    frames = np.arange(len(clip.rgb)) >= START
    made = broken("changes shape")
    assert made.looks_like(~frames)[0] == "ball"
    assert made.looks_like(frames)[0] != "ball"


def test_it_goes_back_the_way_it_came() -> None:
    clip, subject = falling()
    true, back = true_tracks(clip)[subject], broken("wrong side", 12)
    np.testing.assert_allclose(back.centre[12:21], true.centre[12:3:-1], atol=1)


def test_gravity_is_what_it_is_said_to_be() -> None:
    """Over n frames after the break the paths part by g n² / 4 (half gravity) and g n² (upwards) in fps² metres."""
    clip, subject = falling()
    true = true_tracks(clip)[subject].centre[:, 1]
    half, up = (broken(name, 2).centre[:, 1] for name in ("half gravity", "falls up"))
    later = 4  # frame 1 is the last true state; everything is in the air, and in the picture, until here
    focal, depth = clip.camera.intrinsics[0, 1, 1], np.linalg.norm(clip.camera.pose[0, :3, 3])
    drop = 0.5 * 9.81 * ((later - 1) / clip.fps) ** 2 * focal / depth
    assert true[later] - half[later] == pytest.approx(drop / 2, rel=0.25)
    assert true[later] - up[later] == pytest.approx(2 * drop, rel=0.25)


def test_frozen_shuffled_black_and_static() -> None:
    clip, subject = falling()
    made = {name: BREAKS[name](clip, subject, START) for name in ("freezes", "shuffled", "black", "static copy")}
    assert (made["freezes"][START:] == clip.rgb[START]).all()
    assert sorted(f.tobytes() for f in made["shuffled"]) == sorted(f.tobytes() for f in clip.rgb)
    assert not made["black"].any()
    assert (made["static copy"] == clip.rgb[0]).all()
