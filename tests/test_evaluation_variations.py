"""Varied worlds: out of the range of training in the one thing they vary, plausible in all others."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Split
from muybridge.evaluation.variations import (
    GRAVITIES,
    SIZE_LIMITS,
    STRIDE,
    TABLE_HEIGHTS,
    on_a_table,
    plain,
    varied,
)
from muybridge.simulation import World, film, has_pair, sample_world, simulate
from muybridge.simulation.palette import COLOURS
from muybridge.simulation.physics import trajectory
from muybridge.simulation.things import GRAVITY, SIZES, Thing, extents

SPLITS: tuple[Split, ...] = ("in distribution", "speed", "size", "gravity", "count", "combination", "occluders")
SEEDS = range(HELD_OUT + 7000, HELD_OUT + 7008)


@pytest.mark.parametrize("split", SPLITS)
def test_same_seed_same_world(split: Split) -> None:
    for seed in SEEDS:
        world = varied(seed, split)
        assert pickle.dumps(world) == pickle.dumps(varied(seed, split))
        assert world.seed >= HELD_OUT
        assert (world.seed - seed) % STRIDE == 0


def test_in_distribution_is_what_training_samples() -> None:
    for seed in SEEDS:
        assert pickle.dumps(varied(seed, "in distribution")) == pickle.dumps(sample_world(seed, without=HELD_OUT_PAIRS))


@pytest.mark.parametrize("split", SPLITS)
def test_unseen_pairs_are_in_their_own_split_alone(split: Split) -> None:
    assert {has_pair(varied(seed, split).things, HELD_OUT_PAIRS) for seed in SEEDS} == {split == "combination"}


def pairs(split: Split) -> list[tuple[Thing, Thing]]:
    """Movable things of varied worlds, each beside what it was."""
    worlds = [varied(seed, split) for seed in SEEDS]
    return [
        (new, old)
        for world in worlds
        for new, old in zip(world.things, plain(world.seed, split).things, strict=True)
        if not new.fixed
    ]


def test_speed_is_out_of_the_range_of_rolling() -> None:
    rolled = [new for new, _ in pairs("speed") if new.motion == "roll"]
    assert rolled
    for thing in rolled:
        assert not 0.75 <= math.hypot(*thing.velocity) <= 1.15
        assert math.hypot(*thing.velocity) == pytest.approx(math.hypot(*thing.spin) * thing.extents[0])


def test_every_world_of_another_speed_has_a_thing_that_moves_otherwise() -> None:
    for seed in SEEDS:
        world = varied(seed, "speed")
        old = plain(world.seed, "speed")
        changed = [a.velocity != b.velocity for a, b in zip(world.things, old.things, strict=True)]
        assert any(changed)
        assert [replace(t, velocity=(0.0,) * 3, spin=(0.0,) * 3) for t in world.things] == [
            replace(t, velocity=(0.0,) * 3, spin=(0.0,) * 3) for t in old.things
        ]


def test_sizes_are_smaller_or_larger_than_any_and_nothing_sinks_in() -> None:
    halves = list(SIZES.values())
    for new, old in pairs("size"):
        half = SIZE_LIMITS[new.size]
        assert not min(halves) <= half <= max(halves)
        np.testing.assert_allclose(
            np.array(new.extents), np.array(extents(new.shape, old.size)) * half / SIZES[old.size]
        )
        assert new.position[2] >= min(new.bounds) - 1e-6
        if new.motion == "roll":
            assert math.hypot(*new.velocity) == pytest.approx(math.hypot(*new.spin) * new.extents[0])


@pytest.mark.parametrize("split", ["speed", "size", "gravity"])
def test_a_variation_starts_at_rest_with_itself(split: Split) -> None:
    """No body is thrown out of another in the first tenth of a second: nobody gains speed beyond what gravity gives."""
    for seed in SEEDS:
        world = varied(seed, split)
        speed = np.linalg.norm(trajectory(world, 2, 10).velocity, axis=-1)
        allowed = np.linalg.norm(trajectory(world, 1, 10).velocity, axis=-1).max() + world.gravity * 0.1 + 0.1
        assert speed.max() <= allowed


def test_gravity_counts_and_pairs() -> None:
    assert {varied(seed, "gravity").gravity for seed in SEEDS} == set(GRAVITIES)
    assert {len(varied(seed, "count").things) for seed in SEEDS} == {5, 6}
    assert {colour for colour, _ in HELD_OUT_PAIRS} <= set(COLOURS)
    assert {shape for _, shape in HELD_OUT_PAIRS} == {"ball", "box", "cylinder"}


def test_free_fall_in_every_gravity() -> None:
    ball = Thing("ball", "red", "small", extents("ball", "small"), (0.0, 0.0, 1.6), motion="drop")
    for gravity in (GRAVITY, *GRAVITIES):
        world = replace(sample_world(0), things=(ball,), props=(), gravity=gravity)
        time = np.arange(6) / 30
        fallen = 1.6 - trajectory(world, 6, 30.0).position[:, 0, 2]
        np.testing.assert_allclose(fallen, 0.5 * gravity * time**2, atol=1e-6)


def test_on_a_table_it_moves_as_on_the_ground_and_then_falls() -> None:
    raised = [(world, on_a_table(world)) for world in map(sample_world, range(HELD_OUT + 7000, HELD_OUT + 7060))]
    tables = [(old, new) for old, new in raised if new is not None]
    assert tables
    for old, new in tables:
        (subject,) = (
            i for i, thing in enumerate(new.things) if thing.other == -1 and thing.motion in ("roll", "slide")
        )
        height = 2 * new.props[-1].size[2]
        assert TABLE_HEIGHTS[0] <= height <= TABLE_HEIGHTS[1]
        level, path = (trajectory(world, 33, 15.0).position[:, subject] for world in (old, new))
        np.testing.assert_allclose(path[:5], level[:5] + np.array([0, 0, height]), atol=0.01)
        assert path[-1, 2] < height


def test_nothing_is_put_on_a_table_where_nothing_rolls() -> None:
    world = sample_world(SEEDS[0])
    things = tuple(replace(thing, motion="rest") for thing in world.things)
    assert on_a_table(replace(world, things=things)) is None


def test_many_objects_are_filmed_and_named() -> None:
    clip = film(varied(SEEDS[0], "count"), frames=5, height=64, width=64)
    assert len(clip.objects) in (5, 6)
    assert len({o.colour for o in clip.objects}) == len(clip.objects)
    assert len(clip.captions) == 5


def test_film_is_what_simulate_does() -> None:
    seed = SEEDS[1]
    one, other = simulate(seed, 5, 48, 48), film(sample_world(seed), 5, 48, 48)
    assert one.rgb.tobytes() == other.rgb.tobytes()
    assert one.captions == other.captions
    with pytest.raises(ValueError, match="take 5 or 9"):
        film(sample_world(seed), 7)


@pytest.mark.parametrize("objects", [0, 9])
def test_an_impossible_number_of_objects_is_refused(objects: int) -> None:
    with pytest.raises(ValueError, match="1 to 8 objects"):
        sample_world(0, objects)


def test_a_number_of_objects_is_kept() -> None:
    worlds: list[World] = [sample_world(seed, count) for seed in SEEDS for count in (1, 4, 5)]
    assert [len(world.things) for world in worlds] == [1, 4, 5] * len(SEEDS)
