"""MS-SSIM."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.metric import Metric, Sample
from muybridge.evaluation.multiscale import WEIGHTS, ms_ssim, ms_ssim_whole
from muybridge.evaluation.pictures import ssim
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.clip import simulate

CLIP = simulate(HELD_OUT + 5100, frames=5).rgb


def test_one_scale_is_ssim() -> None:
    other = np.random.default_rng(0).integers(0, 255, CLIP.shape, np.uint8)
    mixed = (CLIP // 2 + other // 2).astype(np.uint8)
    frames = [ssim(mixed[t : t + 1], CLIP[t : t + 1]) for t in range(5)]
    assert ms_ssim(mixed, CLIP, 1) == pytest.approx(np.mean(frames))


@pytest.mark.parametrize("scales", [1, 2, 3, 4])
def test_flat_pictures_differ_in_luminance_alone(scales: int) -> None:
    dark, light = np.full((1, 96, 96, 3), 100, np.uint8), np.full((1, 96, 96, 3), 150, np.uint8)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 150 + c1) / (100**2 + 150**2 + c1)
    exponent = WEIGHTS[scales - 1] / sum(WEIGHTS[:scales])
    assert ms_ssim(dark, light, scales) == pytest.approx(luminance**exponent)


def test_the_more_is_lost_the_less_it_is() -> None:
    blurred = [gaussian_filter(CLIP.astype(float), (0, s, s, 0)).round().astype(np.uint8) for s in (0.7, 1.5, 3)]
    values = [ms_ssim(one, CLIP, 4) for one in (CLIP, *blurred)]
    assert values[0] == pytest.approx(1)
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.97


def test_the_opposite_is_worth_nothing() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 96, 96, 1), np.uint8).repeat(3, axis=3)
    assert ms_ssim(noise, 255 - noise, 3) == 0


def test_as_a_metric() -> None:
    metric: Metric = ms_ssim_whole()
    metric.update(Sample(CLIP, CLIP))
    assert metric.name == "ms_ssim_4"
    assert metric.compute().value == pytest.approx(1)
    with pytest.raises(ValueError, match="needs the reference"):
        metric.update(Sample(CLIP))


def test_what_does_not_fit_is_refused_with_the_mend() -> None:
    with pytest.raises(ValueError, match="176 pixels, and frames have 128: take 4 scales"):
        ms_ssim(CLIP, CLIP)
    with pytest.raises(ValueError, match="give larger ones"):
        ms_ssim(CLIP[:, :10], CLIP[:, :10], 1)
    with pytest.raises(ValueError, match="1 to 5 scales"):
        ms_ssim(CLIP, CLIP, 6)
    with pytest.raises(ValueError, match="cannot be compared"):
        ms_ssim(CLIP[:2], CLIP)
