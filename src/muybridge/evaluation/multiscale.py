"""How near one picture is to another at several scales: MS-SSIM."""

from __future__ import annotations

import numpy as np
from einops import reduce
from jaxtyping import Float, UInt8
from scipy.ndimage import gaussian_filter

from muybridge.evaluation.metric import ClipMean, Sample

WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales from fine to coarse, as in the paper; for fewer scales, the first ones over their sum."""
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
_WINDOW = 11


def ms_ssim(
    frames: UInt8[np.ndarray, "t h w 3"], reference: UInt8[np.ndarray, "t h w 3"], scales: int = len(WEIGHTS)
) -> float:
    """Multi-scale structural similarity of the luma (BT.601), mean over frames.

    Wang, Simoncelli and Bovik 2003, "Multi-scale structural similarity for image quality assessment", eq. 7: contrast
    and structure at every scale, luminance at the coarsest; each scale halves the one before by means of 2x2 pixels.
    The window is that of `pictures.ssim`. A negative term, which has no root, counts as 0.

    Raises ValueError if the shapes differ, `scales` is not 1 to 5, or the coarsest scale is smaller than the window:
    five need sides of 176 pixels, four 88.
    """
    _check(frames, reference, scales)
    x, y = (pixels @ np.array([0.299, 0.587, 0.114]) for pixels in (frames, reference))
    exponents = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    product = np.ones(len(x))
    for scale, exponent in enumerate(exponents):
        luminance, structure = _terms(x, y)
        term = luminance * structure if scale == scales - 1 else structure
        product *= term.mean(axis=(1, 2)).clip(min=0) ** exponent
        x, y = _halved(x), _halved(y)
    return float(product.mean())


def ms_ssim_whole(scales: int = 4) -> ClipMean:
    """MS-SSIM of the luma as a metric; four scales, as many as fit into 128 pixels, unless asked otherwise."""

    def of_sample(sample: Sample) -> float:
        assert sample.reference is not None, "update checks what a metric needs"
        return ms_ssim(sample.frames, sample.reference, scales)

    return ClipMean(f"ms_ssim_{scales}", ("reference",), of_sample, (0.0, 1.0))


def _terms(
    x: Float[np.ndarray, "t h w"], y: Float[np.ndarray, "t h w"]
) -> tuple[Float[np.ndarray, "t a b"], Float[np.ndarray, "t a b"]]:
    """Luminance, and contrast with structure, wherever the window fits."""
    mean_x, mean_y = _smooth(x), _smooth(y)
    variance = _smooth(x * x) - mean_x**2 + _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variance + _C2)


def _smooth(values: Float[np.ndarray, "t h w"]) -> Float[np.ndarray, "t a b"]:
    inner: Float[np.ndarray, "t a b"] = gaussian_filter(values, (0, 1.5, 1.5), radius=_WINDOW // 2)[:, 5:-5, 5:-5]
    return inner


def _halved(values: Float[np.ndarray, "t h w"]) -> Float[np.ndarray, "t a b"]:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    even = values[:, : values.shape[1] // 2 * 2, : values.shape[2] // 2 * 2]
    return reduce(even, "t (h y) (w x) -> t h w", "mean", y=2, x=2)


def _check(frames: np.ndarray, reference: np.ndarray, scales: int) -> None:
    if frames.shape != reference.shape:
        raise ValueError(
            f"clips of {frames.shape} and {reference.shape} cannot be compared: scale or cut one to the other"
        )
    if not 1 <= scales <= len(WEIGHTS):
        raise ValueError(f"MS-SSIM has 1 to {len(WEIGHTS)} scales, not {scales}")
    side = min(frames.shape[1:3])
    if side >> (scales - 1) < _WINDOW:
        fit = sum(side >> scale >= _WINDOW for scale in range(len(WEIGHTS)))
        mend = f"take {fit} scales or larger frames" if fit else "give larger ones"
        raise ValueError(
            f"{scales} scales need sides of {_WINDOW << (scales - 1)} pixels, and frames have {side}: {mend}"
        )
