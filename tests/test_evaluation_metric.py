"""The contract of metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muybridge.evaluation.metric import Metric, Sample, count_right, objects_right, psnr_objects, psnr_whole, ssim_whole
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.captions import facts
from muybridge.simulation.clip import simulate

ALL = (psnr_whole, psnr_objects, ssim_whole, objects_right, count_right)
CLIP = simulate(HELD_OUT + 5000, frames=17, fps=7.5)
TRUE = Sample(CLIP.rgb, CLIP.rgb, CLIP.instance > 0, facts(CLIP.world))


@pytest.mark.parametrize("make", ALL)
def test_the_truth_scores_best_and_metrics_keep_to_their_range(make: type) -> None:
    metric: Metric = make()
    metric.update(TRUE)
    grey = Sample(np.full_like(CLIP.rgb, 90), TRUE.reference, TRUE.objects, TRUE.facts)
    best = metric.compute()
    assert best.value == pytest.approx(metric.range[metric.direction == "higher"])
    metric.update(grey)
    worse = metric.compute()
    assert worse.n == 2
    assert metric.range[0] <= worse.value < best.value


@pytest.mark.parametrize("make", ALL)
def test_what_a_metric_needs_has_to_be_there(make: type) -> None:
    metric: Metric = make()
    with pytest.raises(ValueError, match=f"{metric.name} needs the {metric.needs[0]}"):
        metric.update(Sample(CLIP.rgb))


def test_clips_without_objects_do_not_count() -> None:
    metric = psnr_objects()
    metric.update(Sample(CLIP.rgb, CLIP.rgb, np.zeros(CLIP.rgb.shape[:3], bool)))
    with pytest.raises(ValueError, match="one clip at least"):
        metric.compute()
    assert math.isfinite(metric.range[1])
