"""The warping error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muybridge.evaluation.breaking import is_shuffled
from muybridge.evaluation.metric import Metric, Sample
from muybridge.evaluation.optical_flow import true_flow
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.warping import estimated_warping_error, warping, warping_error
from muybridge.simulation.clip import simulate

CLIP = simulate(HELD_OUT + 4, frames=9, fps=7.5)


def test_by_hand() -> None:
    frames = np.zeros((3, 2, 4, 3), np.uint8)
    frames[0, :, 0], frames[1, :, 1], frames[2, :, 2] = 255, 255, 204  # a column goes right and gets darker by a fifth
    flow, seen = np.zeros((2, 2, 4, 2)), np.zeros((2, 2, 4), bool)
    flow[..., 0] = 1
    seen[:, :, :2] = True
    # first pair: no error; second: 0.2² at one of the two columns
    assert warping_error(frames, flow, seen) == pytest.approx((0 + 0.04 / 2) / 2)
    assert warping_error(frames, flow, seen & (np.arange(2) == 1)[:, None, None]) == pytest.approx(0.02)
    assert math.isnan(warping_error(frames, flow, seen & False))


def test_true_clips_agree_with_their_flow_and_flickering_or_shuffled_ones_do_not() -> None:
    flow, seen = true_flow(CLIP)
    truth = warping_error(CLIP.rgb, flow, seen)
    noise = np.random.default_rng(0).normal(0, 8, CLIP.rgb.shape)
    noisy = (CLIP.rgb + noise).round().clip(0, 255).astype(np.uint8)
    assert truth < 0.001
    # the noise of two frames, one of them softened between pixels: more than one variance, less than two
    assert (8 / 255) ** 2 < warping_error(noisy, flow, seen) - truth < 2 * (8 / 255) ** 2
    assert warping_error(is_shuffled(CLIP, 0, 1), flow, seen) > 3 * truth


def test_by_the_clip_s_own_flow() -> None:
    noise = np.random.default_rng(0).normal(0, 25, CLIP.rgb.shape)
    noisy = (CLIP.rgb + noise).round().clip(0, 255).astype(np.uint8)
    assert estimated_warping_error(CLIP.rgb[[0, 0, 0]]) == 0
    assert estimated_warping_error(CLIP.rgb) < 0.001 < estimated_warping_error(noisy)
    metric: Metric = warping()
    metric.update(Sample(CLIP.rgb))
    assert metric.needs == ()
    assert metric.compute().value == pytest.approx(estimated_warping_error(CLIP.rgb))


def test_one_flow_for_each_pair() -> None:
    flow, seen = true_flow(CLIP)
    with pytest.raises(ValueError, match="from each frame to the next"):
        warping_error(CLIP.rgb[:-1], flow, seen)
