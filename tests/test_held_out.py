"""What tests ask for is never trained on: neither seeds, nor scenes, nor the colours in shapes that are kept apart."""

from __future__ import annotations

import hashlib
import itertools

import pytest
import torch

from muybridge.commands.bench import SUITES
from muybridge.commands.bench_fidelity import Continued
from muybridge.data.material import Shape, Simulated
from muybridge.data.naming import COLOURS, SHAPES
from muybridge.data.sentences import Sentences
from muybridge.data.source import clip_seeds
from muybridge.data.worlds import HELD_OUT, HELD_OUT_PAIRS
from muybridge.evaluation import feature_training, shape_training, statistics
from muybridge.evaluation.baselines import NearestClip
from muybridge.evaluation.suite import Suite
from muybridge.evaluation.variations import varied
from muybridge.recipes import RECIPES
from muybridge.simulation import World, has_pair, sample_world, simulate

TABLETOP: tuple[Suite, ...] = (
    *(SUITES[name] for name in ("permanence", "falling", "coherence", "control")),
    Continued(),
)


def plan(world: World) -> str:
    """A digest of what is where, how it moves and how it is filmed, whatever its number is."""
    return hashlib.sha256(repr((world.things, world.props, world.move, world.gravity)).encode()).hexdigest()


@pytest.fixture(scope="module")
def trained() -> list[World]:
    """Two thousand worlds as training samples them."""
    return [sample_world(seed, without=HELD_OUT_PAIRS) for seed in range(2000)]


def test_no_training_world_has_a_pair_that_is_held_out(trained: list[World]) -> None:
    """Plans only. A third of the worlds would have had one; all others are as they would have been."""
    assert not [world.seed for world in trained if has_pair(world.things, HELD_OUT_PAIRS)]
    for world in trained[:300]:
        whole = sample_world(world.seed)
        assert (world.move, len(world.things)) == (whole.move, len(whole.things))
        if not has_pair(whole.things, HELD_OUT_PAIRS):
            assert plan(world) == plan(whole)


def test_every_colour_and_every_shape_is_trained_on(trained: list[World]) -> None:
    seen = {(thing.colour, thing.shape) for world in trained for thing in world.things}
    assert seen == {*itertools.product(COLOURS, SHAPES)} - HELD_OUT_PAIRS


def test_a_seed_that_would_have_a_pair_is_trained_on_without() -> None:
    """Through every door by which worlds get into training."""
    seed = next(seed for seed in range(1000) if has_pair(sample_world(seed).things, HELD_OUT_PAIRS))
    world = sample_world(seed, without=HELD_OUT_PAIRS)
    kinds = {1 + COLOURS.index(t.colour) * len(SHAPES) + SHAPES.index(t.shape) for t in world.things}
    seen = Simulated().clip(seed, Shape(1, 64, 64, 15.0))
    assert seen.classes is not None
    assert {*seen.classes.ravel().tolist()} <= kinds | {0}
    task = TABLETOP[-1].task("in distribution", 0)
    clip = simulate(seed, len(task.truth.rgb), without=HELD_OUT_PAIRS)
    assert (NearestClip([seed])(task)[task.known :] == clip.rgb[task.known :]).all()
    named = Sentences(64, lambda caption: [1]).batch(0).named
    assert named is not None
    held_out = {(COLOURS.index(colour), SHAPES.index(shape)) for colour, shape in HELD_OUT_PAIRS}
    assert not held_out & {(colour, shape) for colour, shape, _ in named.flatten(0, 1).tolist()}


def test_training_takes_its_seeds_from_below_the_limit_and_tests_from_above() -> None:
    """The ranges, as the code has them."""
    assert HELD_OUT == statistics.HELD_OUT
    drawn = torch.cat([clip_seeds(0, step, range(64)) for step in range(64)])
    assert int((drawn % HELD_OUT).max()) < HELD_OUT <= int(drawn.max()), "sources fold what they draw"
    for recipe in RECIPES.values():
        numbers = [recipe.learn_autoencoder.files * recipe.learn_autoencoder.clips_a_file]
        assert (
            max(numbers + [portion.clips for stage in recipe.flow for portion in stage.portions])
            < feature_training.FIRST_SEED
        )
    assert feature_training.FIRST_SEED + feature_training.CLIPS <= shape_training.FIRST_SEED
    assert shape_training.FIRST_SEED + shape_training.CLIPS <= HELD_OUT
    with pytest.raises(AssertionError):
        Simulated().clip(HELD_OUT, Shape(1, 16, 16, 15.0))


@pytest.mark.parametrize("suite", TABLETOP, ids=lambda suite: suite.name)
def test_tasks_have_seeds_of_their_own(suite: Suite) -> None:
    tasks = [suite.task(suite.splits[0], number) for number in range(2)]
    assert all(task.seed >= HELD_OUT and task.truth.world.seed >= HELD_OUT for task in tasks)
    assert not any(has_pair(task.truth.world.things, HELD_OUT_PAIRS) for task in tasks)


def test_no_scene_of_a_test_is_one_of_training(trained: list[World]) -> None:
    """Digests of plans: of two thousand worlds that are trained on, of what tests' seeds give when folded, of tests."""
    starts = [HELD_OUT + n * 100_000_000 for n in (3, 4, 5, 6, 7)]
    seeds = [seed for start in starts for seed in range(start, start + 20)]
    tested = [plan(varied(seed, "in distribution")) for seed in seeds]
    folded = [sample_world(seed % HELD_OUT, without=HELD_OUT_PAIRS) for seed in seeds]
    own = [plan(world) for world in [*trained, *folded]]
    assert len({*tested}) == len(tested)
    assert len({*own}) == len(own)
    assert not {*own} & {*tested}
