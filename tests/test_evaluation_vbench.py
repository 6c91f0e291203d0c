"""VBench's dimensions that need no weights."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.metric import Metric, Sample
from muybridge.evaluation.vbench import (
    dynamic_degree,
    dynamic_degree_whole,
    motion_smoothness,
    motion_smoothness_whole,
    temporal_flickering,
    temporal_flickering_whole,
)

CLOUDS = gaussian_filter(np.random.default_rng(0).normal(size=(64, 128)), 3)
CLOUDS = np.rint(128 + 100 * CLOUDS / np.abs(CLOUDS).max()).astype(np.uint8)


def passing(speed: int, frames: int = 8) -> np.ndarray:
    """Clouds that go to the left by so many pixels a frame."""
    return np.stack([CLOUDS[:, speed * t : speed * t + 64, None].repeat(3, -1) for t in range(frames)])


def test_flickering_by_hand() -> None:
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    frames[1, :2] = 51  # half the pixels go up by a fifth, and down again
    assert temporal_flickering(frames) == pytest.approx(1 - 0.1)
    assert temporal_flickering(frames[[0, 0, 0]]) == 1


def test_smooth_motion_is_foreseen_and_jumps_are_not() -> None:
    smooth = passing(2)
    assert motion_smoothness(smooth[[0, 0, 0]]) == 1
    assert motion_smoothness(smooth) > 0.99
    jumping = smooth.copy()
    jumping[1::2] = 255 - jumping[1::2]
    assert motion_smoothness(jumping) < 0.9


@pytest.mark.parametrize(("speed", "degree"), [(0, 0.0), (1, 0.0), (4, 1.0)])
def test_what_moves_by_more_than_6_pixels_in_256_is_dynamic(speed: int, degree: float) -> None:
    # 64 pixels wide: the threshold is 1.5 pixels
    assert dynamic_degree(passing(speed), fps=8) == degree


def test_dynamic_degree_looks_at_eight_frames_a_second() -> None:
    slow = passing(1, 33)  # 4 pixels in an eighth of a second
    assert dynamic_degree(slow, fps=32) == 1
    assert dynamic_degree(slow, fps=8) == 0


def test_as_metrics() -> None:
    for make in (temporal_flickering_whole, motion_smoothness_whole, lambda: dynamic_degree_whole(8.0)):
        metric: Metric = make()
        metric.update(Sample(passing(4)))
        assert metric.needs == ()
        assert metric.range[0] <= metric.compute().value <= metric.range[1]


def test_clips_without_motion_to_look_at_are_refused() -> None:
    for measure in (temporal_flickering, motion_smoothness, lambda frames: dynamic_degree(frames, 8)):
        with pytest.raises(ValueError, match="at least"):
            measure(passing(0, 1))
    with pytest.raises(ValueError, match="too short"):
        dynamic_degree(passing(0, 2), 60)
