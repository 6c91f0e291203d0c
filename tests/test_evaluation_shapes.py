"""The classifier of shapes: its examples, its training, its shipped weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from muybridge.evaluation.shape_training import FIRST_SEED, degraded, examples, sample_examples, smudges, train
from muybridge.evaluation.shapes import SHAPES, SIZES, WEIGHTS, ShapeNet, load_shapes
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.clip import simulate

CLIP = simulate(FIRST_SEED, frames=5)


def test_examples_say_what_is_true() -> None:
    found = [e for e in examples(CLIP, CLIP.rgb) if e.shape not in (-100, SHAPES.index("unclear"))]
    assert found
    about = {o.colour: (SHAPES.index(o.shape), SIZES.index(o.size)) for o in CLIP.objects}
    assert {(e.segment.colour, (e.shape, e.size)) for e in found} <= set(about.items())


def test_degraded_clips_are_the_same_for_the_same_generator() -> None:
    first, second = (degraded(CLIP.rgb, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.shape == CLIP.rgb.shape
    assert 1 < np.abs(first.astype(int) - CLIP.rgb).mean() < 30


def test_smudges_are_nothing() -> None:
    found = list(smudges(CLIP.rgb[0], np.random.default_rng(1)))
    assert {(SHAPES[e.shape], e.size) for e in found} <= {("unclear", -100)}


def test_training_learns_and_is_repeatable() -> None:
    found = sample_examples(range(FIRST_SEED, FIRST_SEED + 6), np.random.default_rng(0))
    first, second = (train(found, epochs=100, batch=16) for _ in range(2))
    for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    known = [e for e in found if e.shape >= 0]
    said = first.guess([e.segment for e in known]).shape.argmax(1)
    assert (said == [e.shape for e in known]).mean() > 0.9


def test_shipped_weights_know_held_out_shapes() -> None:
    net = load_shapes()
    clips = [simulate(HELD_OUT + 8000 + i, frames=9) for i in range(4)]
    found = [e for clip in clips for e in examples(clip, clip.rgb) if e.shape >= 0]
    guess = net.guess([e.segment for e in found])
    np.testing.assert_allclose(guess.shape.sum(1), 1, rtol=1e-5)
    assert (guess.shape.argmax(1) == [e.shape for e in found]).mean() > 0.9


def test_no_segments_no_guesses() -> None:
    assert ShapeNet().guess([]).shape.shape == (0, len(SHAPES))


def test_weights_are_small_and_missing_ones_are_named(tmp_path: Path) -> None:
    assert WEIGHTS.stat().st_size < 1_000_000
    with pytest.raises(ValueError, match="shape_training"):
        load_shapes(tmp_path / "none.safetensors")
