"""How near one picture is to another: PSNR and SSIM of uint8 frames."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, UInt8
from skimage.metrics import structural_similarity

BEST_PSNR = 100.0
"""What equal frames score, in dB, so that means stay finite: one level off in one of 40,000 values."""


def psnr(
    frames: UInt8[np.ndarray, "t h w 3"],
    reference: UInt8[np.ndarray, "t h w 3"],
    mask: Bool[np.ndarray, "t h w"] | None = None,
) -> float:
    """Peak signal-to-noise ratio in dB: 10 log10(255² / MSE), the squared error pooled over the whole clip.

    With a mask, over its pixels alone: NaN where it is empty. ValueError if the shapes differ.
    """
    _check(frames, reference)
    squared = (frames.astype(np.float32) - reference) ** 2
    if mask is not None:
        squared = squared[mask]
    if squared.size == 0:
        return math.nan
    error = float(squared.mean(dtype=np.float64))
    return min(BEST_PSNR, 10 * math.log10(255**2 / error)) if error > 0 else BEST_PSNR


def ssim(frames: UInt8[np.ndarray, "t h w 3"], reference: UInt8[np.ndarray, "t h w 3"]) -> float:
    """Structural similarity of the luma (BT.601), averaged over all frames and places.

    Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13: a Gaussian
    window of σ = 1.5 over 11 pixels, K1 = 0.01, K2 = 0.03; the 5 pixels at the border, where it does not fit, are out.
    ValueError if the shapes differ or a side is shorter than 11 pixels.
    """
    _check(frames, reference)
    if min(frames.shape[1:3]) < 11:
        raise ValueError(f"SSIM looks at 11x11 pixels, and the frames have {frames.shape[1:3]}: give larger ones")
    x, y = (pixels @ np.array([0.299, 0.587, 0.114]) for pixels in (frames, reference))
    as_published = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    return float(np.mean([structural_similarity(*pair, **as_published) for pair in zip(x, y, strict=True)]))


def _check(frames: np.ndarray, reference: np.ndarray) -> None:
    if frames.shape != reference.shape or frames.dtype != np.uint8 or reference.dtype != np.uint8:
        found = f"{frames.dtype} {frames.shape} and {reference.dtype} {reference.shape}"
        raise ValueError(f"only uint8 clips of one shape can be compared, not {found}: scale or cut one to the other")
