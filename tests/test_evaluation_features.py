"""The network of features: its examples, its training, its shipped weights, and what a distance in it tells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from muybridge.evaluation.feature_card import accuracy, distances, held_out
from muybridge.evaluation.feature_training import CLIPS, FIRST_SEED, sample_windows, train
from muybridge.evaluation.features import (
    MOTIONS,
    SHAPES,
    SIDE,
    WEIGHTS,
    WIDTH,
    FeatureNet,
    clip_features,
    frame_features,
    load_features,
    subjects,
    windows,
)
from muybridge.evaluation.shape_training import CLIPS as SHAPE_CLIPS
from muybridge.evaluation.shape_training import FIRST_SEED as FIRST_SHAPE
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.cameras import MOVES
from muybridge.simulation.clip import simulate
from muybridge.simulation.palette import COLOURS

CLIP = simulate(HELD_OUT + 5200, height=SIDE, width=SIDE)


def test_labels_say_what_is_true() -> None:
    frames, labels = sample_windows([CLIP.seed])
    np.testing.assert_array_equal(frames, np.stack([CLIP.rgb[:16], CLIP.rgb[17:]]))
    about = {list(COLOURS).index(o.colour) * 3 + SHAPES.index(o.shape) for o in CLIP.objects}
    for row in range(2):
        seen = set(labels["thing"][row].nonzero().flatten().tolist())
        assert int(labels["subject"][row]) in seen <= about
        assert int(labels["count"][row]) == len(seen) - 1
        assert MOVES[int(labels["camera"][row])] == CLIP.world.move.kind
        doing = {MOTIONS[i] for i in labels["motion"][row].nonzero().flatten().tolist()}
        assert doing <= {thing.motion for thing in CLIP.world.things}


def test_training_learns_and_is_repeatable() -> None:
    found = sample_windows(range(FIRST_SEED, FIRST_SEED + 4))
    first, second = (train(*found, epochs=40, batch=4) for _ in range(2))
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other)
    torch.manual_seed(0)
    untrained = FeatureNet().eval()
    assert accuracy(first, *found)["subject"] > accuracy(untrained, *found)["subject"]


def test_training_seeds_are_nobody_else_s() -> None:
    assert FIRST_SEED + CLIPS <= FIRST_SHAPE
    assert FIRST_SHAPE + SHAPE_CLIPS <= HELD_OUT


def test_a_still_is_a_clip_in_which_nothing_happens() -> None:
    still = frame_features(every=16)(CLIP.rgb)
    static = [clip_features()(CLIP.rgb[[t] * 16])[0] for t in (0, 16, 32)]
    assert still.shape == (3, WIDTH)
    np.testing.assert_allclose(still, static, rtol=1e-4, atol=1e-5)


def test_windows_spread_over_the_clip() -> None:
    assert windows(33) == [slice(0, 16), slice(8, 24), slice(17, 33)]
    assert windows(28) == [slice(0, 16), slice(12, 28)]
    assert windows(32) == [slice(0, 16), slice(16, 32)]
    assert windows(16) == [slice(0, 16)]
    assert windows(5) == [slice(0, 16)]
    assert np.arange(5)[windows(5)[0]].tolist() == [0, 1, 2, 3, 4]
    assert len(windows(150)) == 10


def test_larger_clips_are_seen_alike() -> None:
    large = CLIP.rgb.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(clip_features()(large), clip_features()(CLIP.rgb), rtol=1e-4, atol=1e-5)


def test_subjects_are_probabilities() -> None:
    rows = subjects()(CLIP.rgb)
    assert rows.shape == (3, 24)
    np.testing.assert_allclose(rows.sum(axis=1), 1, rtol=1e-5)


def test_the_shipped_network_is_small_and_knows_held_out_clips() -> None:
    assert WEIGHTS.stat().st_size < 3e6
    found = accuracy(load_features(), *sample_windows(range(HELD_OUT + 5300, HELD_OUT + 5340)))
    assert found["subject"] > 3 / 24
    assert found["count"] > 0.5


@pytest.mark.slow
def test_the_more_is_broken_the_farther_it_is() -> None:
    found = distances(clip_features(), held_out(5400, 60), held_out(5460, 60))
    for way, (true, little, much) in found.items():
        assert true < much, way
        if "frozen" not in way:  # a clip that stands still in part is not told from a true one, see the card
            assert true < little < much, way


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="feature_training"):
        load_features(tmp_path / "none.safetensors")
