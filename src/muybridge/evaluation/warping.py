"""How far a clip agrees with itself along its motion: the warping error."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, UInt8

from muybridge.evaluation.metric import ClipMean, Sample
from muybridge.evaluation.optical_flow import Flow, consistent, estimated_flow, moved


def warping_error(frames: UInt8[np.ndarray, "n h w 3"], flow: Flow, seen: Bool[np.ndarray, "t h w"]) -> float:
    """Mean over pairs of frames of the mean squared difference, from 0 to 1, of a pixel and what it flows to.

    Lai et al. 2018, "Learning blind video temporal consistency" (arXiv:1808.00449), eq. 5 and 6, over pixels and
    channels. `seen` leaves out what is hidden in the next frame; a pair of which nothing is left does not count, and
    the error is NaN if no pair does. ValueError if there is not one flow for each pair.
    """
    if len(flow) != len(frames) - 1 or flow.shape[:3] != seen.shape or flow.shape[1:3] != frames.shape[1:3]:
        found = f"{len(frames)} frames of {frames.shape[1:3]}, flow {flow.shape}, seen {seen.shape}"
        raise ValueError(f"a flow is needed from each frame to the next, of their size, not {found}")
    errors = []
    for t in range(len(flow)):
        if seen[t].any():
            after = moved(frames[t + 1] / 255, flow[t])
            errors.append(float(((frames[t] / 255 - after) ** 2)[seen[t]].mean()))
    return float(np.mean(errors)) if errors else math.nan


def estimated_warping_error(frames: UInt8[np.ndarray, "n h w 3"]) -> float:
    """The warping error by the clip's own flow, as it is estimated from the pixels: for clips without truth."""
    there = estimated_flow(frames)
    return warping_error(frames, there, consistent(there, estimated_flow(frames, backwards=True)))


def warping() -> ClipMean:
    """The warping error as a metric, by each clip's own flow."""

    def of_sample(sample: Sample) -> float:
        return estimated_warping_error(sample.frames)

    return ClipMean("warping_error", (), of_sample, (0.0, 1.0), "lower")
