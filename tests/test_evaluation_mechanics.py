"""Mechanics: what is fitted agrees with closed forms, and what is read off true clips with their simulator."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.falling import KNOWN, LAWS, FallingObjects
from muybridge.evaluation.mechanics import GRAVITY as TOLERANCE
from muybridge.evaluation.mechanics import RAMP, gravity, measures, restitution, tells_gravity
from muybridge.evaluation.suite import Task
from muybridge.evaluation.tracking import Track, track, true_tracks
from muybridge.evaluation.variations import is_on_table
from muybridge.simulation.things import GRAVITY


@cache
def task(law: str) -> Task:
    return FallingObjects().task("in distribution", 100 * len(LAWS) + LAWS.index(law))


def subject(law: str) -> int:
    """The first object that is meant to obey the law."""
    things = task(law).truth.world.things
    return next(i for i, t in enumerate(things) if t.motion == law or (law == "edge" and is_on_table(t)))


def measured(law: str, found: Track) -> dict[str, float]:
    made = measures(task(law).truth, subject(law), found, KNOWN)
    return {measure.name: measure.value for measure in made if measure.value is not None}


@pytest.mark.parametrize(("law", "name"), [("edge", "gravity, share off"), ("ramp", "acceleration, share off")])
def test_truth_agrees_with_the_simulator_and_half_the_gravity_does_not(law: str, name: str) -> None:
    clip, i = task(law).truth, subject(law)
    assert measured(law, true_tracks(clip)[i])[name] < 0.1
    halved = track(BREAKS["half gravity"](clip, i, KNOWN), clip.objects).objects[i]
    assert measured(law, halved)[name] > (TOLERANCE if law == "edge" else RAMP)


def test_gravity_cannot_be_told_of_what_is_not_seen() -> None:
    clip, i = task("edge").truth, subject("edge")
    true = true_tracks(clip)[i]
    assert tells_gravity(clip, i, true, KNOWN)
    unseen = np.zeros_like(true.seen)
    gone = Track(unseen, np.full_like(true.centre, np.nan), 0 * true.area, true.box, true.shape, true.size)
    assert not tells_gravity(clip, i, gone, KNOWN)
    assert measured("edge", gone) == {}


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
