"""Changes in time that should not be there: flicker against a reference."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt8

from muybridge.evaluation.metric import ClipMean, Sample


def flicker(frames: UInt8[np.ndarray, "t h w 3"], reference: UInt8[np.ndarray, "t h w 3"]) -> float:
    """Root mean square, in levels of 255, of how a clip's change from frame to frame differs from the truth's.

    The dtSSD of Erofeev et al. 2015, "Perceptually motivated benchmark for video matting", over RGB: an error that
    stays as it is costs nothing. ValueError if the shapes differ or there are fewer than two frames.
    """
    if frames.shape != reference.shape or len(frames) < 2:
        found = f"{frames.shape} and {reference.shape}"
        raise ValueError(
            f"flicker compares clips of one shape, of two frames at least, not {found}: cut one to the other"
        )
    error = frames.astype(np.float32) - reference
    return float(np.sqrt((np.diff(error, axis=0) ** 2).mean(dtype=np.float64)))


def flicker_whole() -> ClipMean:
    """Flicker against the reference as a metric."""

    def of_sample(sample: Sample) -> float:
        assert sample.reference is not None, "update checks what a metric needs"
        return flicker(sample.frames, sample.reference)

    return ClipMean("flicker", ("reference",), of_sample, (0.0, 510.0), "lower")
