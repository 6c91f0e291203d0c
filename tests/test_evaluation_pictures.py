"""PSNR and SSIM: closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest

from muybridge.evaluation.pictures import BEST_PSNR, psnr, ssim

RNG = np.random.default_rng(0)
CLIP = RNG.integers(20, 236, (3, 24, 32, 3), np.uint8)


def test_psnr_of_a_constant_error() -> None:
    assert psnr(CLIP + np.uint8(5), CLIP) == pytest.approx(20 * math.log10(255 / 5))


def test_equal_clips_score_best() -> None:
    assert psnr(CLIP, CLIP) == BEST_PSNR
    assert ssim(CLIP, CLIP) == pytest.approx(1)


def test_psnr_pools_the_squared_error_over_the_frames() -> None:
    made = CLIP.copy()
    made[0] += 9
    assert psnr(made, CLIP) == pytest.approx(20 * math.log10(255 / 9) + 10 * math.log10(3))


def test_psnr_looks_inside_the_mask_alone() -> None:
    made, mask = CLIP.copy(), np.zeros(CLIP.shape[:3], bool)
    mask[:, 4:9, 4:9] = True
    made[~mask] = 0
    made[mask] += 2
    assert psnr(made, CLIP, mask) == pytest.approx(20 * math.log10(255 / 2))
    assert math.isnan(psnr(made, CLIP, np.zeros_like(mask)))


def test_ssim_of_flat_frames_is_the_luminance_term() -> None:
    """Wang et al. 2004, eq. 6, the other terms being 1."""
    dark, light = np.full((1, 16, 16, 3), 60, np.uint8), np.full((1, 16, 16, 3), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert ssim(dark, light) == pytest.approx((2 * 60 * 120 + c1) / (60**2 + 120**2 + c1), abs=1e-6)


def test_ssim_is_symmetric_and_falls_with_noise() -> None:
    smooth = np.broadcast_to(np.linspace(20, 230, 32)[:, None], (1, 24, 32, 3)).astype(np.uint8)
    noisy = [(smooth + RNG.normal(0, s, smooth.shape)).clip(0, 255).astype(np.uint8) for s in (4, 12, 30)]
    scores = [ssim(n, smooth) for n in noisy]
    assert scores == sorted(scores, reverse=True)
    assert ssim(smooth, noisy[1]) == pytest.approx(scores[1])


def test_unlike_clips_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        psnr(CLIP[:2], CLIP)
    with pytest.raises(ValueError, match="uint8"):
        psnr(CLIP.astype(np.float32), CLIP)
    with pytest.raises(ValueError, match="11x11"):
        ssim(CLIP[:, :8], CLIP[:, :8])
