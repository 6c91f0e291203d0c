"""Physics-IQ: where, when, how much and what moves, against what really happened.

Motamed et al. 2025, "Do generative video models understand physical principles?" (arXiv:2501.09038), section 3.4. The
details that the paper leaves open (thresholds, rounding, what an empty mask scores) are as in the authors' program, so
that figures compare; its detour over MP4 files of masks is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import binary_dilation, binary_erosion, convolve1d

from muybridge.evaluation.pisa import iou

Frames = UInt8[np.ndarray, "t h w 3"]
Masks = Bool[np.ndarray, "t h w"]

_BLUR = np.array([1, 4, 6, 4, 1]) / 16
_MEMORY = 0.3  # weight of a new frame in the running average
_LEVELS = 10  # a pixel that differs by more than this from the average moves
_SQUARE = np.ones((1, 5, 5), bool)


@dataclass(frozen=True)
class Terms:
    """The four terms of a clip.

    spatial         IoU of where anything moves at any time
    spatiotemporal  IoU of where it moves, frame by frame, mean
    weighted        Σ min / Σ max of the share of time in which it moves
    mse             mean squared error of the pixels, from 0 to 1
    """

    spatial: float
    spatiotemporal: float
    weighted: float
    mse: float


def terms(frames: Frames, truth: Frames, masks: Masks | None = None, true_masks: Masks | None = None) -> Terms:
    """A clip against the truth, at a quarter of their size; masks are of what moves, by default `moving(frames)`.

    With the two takes of an experiment as `frames` and `truth`, this is its physical variance: the best there is.
    ValueError if sizes or lengths differ, or a side is shorter than 4 pixels.
    """
    _check(frames, truth)
    a = _quarter(moving(frames) if masks is None else masks) >= 0.5
    b = _quarter(moving(truth) if true_masks is None else true_masks) >= 0.5
    if a.shape != b.shape or len(a) != len(frames):
        raise ValueError(f"masks have the shapes {a.shape} and {b.shape}: give one for each of {len(frames)} frames")
    return Terms(
        spatial=iou(np.logical_or.reduce(a), np.logical_or.reduce(b)),
        spatiotemporal=float(np.mean([iou(*pair) for pair in zip(a, b, strict=True)])),
        weighted=_overlap(a.mean(axis=0), b.mean(axis=0)),
        mse=float(((np.rint(_quarter(frames)) - np.rint(_quarter(truth))) ** 2).mean() / 255**2),
    )


def score(clips: Sequence[Terms], variance: Sequence[Terms]) -> float:
    """The benchmark's score, 0 to 100: means over clips first, then their ratios to those of the physical variance.

    100 clip[0, 1]{ (Σ over the three IoUs of term / variance) / 3 - (MSE - MSE of the variance) }
    """
    _check_pairs(clips, variance)
    made, real = (np.mean([astuple(one) for one in many], axis=0) for many in (clips, variance))
    if not real[:3].all():
        raise ValueError(f"the takes have nothing moving in common {tuple(real[:3])}: give two takes of one experiment")
    total = float((made[:3] / real[:3]).mean() - (made[3] - real[3]))
    return 100 * min(max(total, 0.0), 1.0)


def verified_score(clip: Terms, variance: Terms) -> float:
    """One clip's score in Physics-IQ Verified (arXiv:2606.18943), 0 to 100: the mean of four ratios, each at most 1.

    The ratio of the errors is the other way up, so that more is better; no error at all is as good as can be.
    """
    made, real = np.array(astuple(clip)), np.array(astuple(variance))
    tiny = 1e-8  # theirs: no ratio to nothing
    ratios = np.append(made[:3] / (real[:3] + tiny), (real[3] + tiny) / max(made[3], tiny))
    return 100 * float(ratios.clip(0, 1).mean())


def moving(frames: Frames) -> Masks:
    """Where a frame differs by more than 10 levels from the running average of the frames so far, itself included.

    Grey, blurred by 5x5; specks under 5x5 are taken out and gaps of as much closed. Nothing moves in the first frame.
    """
    grey = np.rint(frames @ np.array([0.299, 0.587, 0.114]))
    grey = np.rint(convolve1d(convolve1d(grey, _BLUR, axis=1, mode="mirror"), _BLUR, axis=2, mode="mirror"))
    average, differs = grey[0], np.zeros(grey.shape, bool)
    for t in range(1, len(grey)):
        average = (1 - _MEMORY) * average + _MEMORY * grey[t]
        differs[t] = np.abs(grey[t] - np.rint(average)) > _LEVELS
    return _without_specks(differs)


def _without_specks(masks: Masks) -> Masks:
    """Opened and closed by a 5x5 square; what lies outside the picture neither erodes nor grows."""
    opened = binary_dilation(binary_erosion(masks, _SQUARE, border_value=1), _SQUARE)
    closed: Masks = binary_erosion(binary_dilation(opened, _SQUARE), _SQUARE, border_value=1)
    return closed


def _quarter(frames: np.ndarray) -> Float[np.ndarray, "t h w *c"]:
    """Every 4x4 pixels as the mean of the four in their middle: linear interpolation, as the authors' program does."""
    height, width = (side // 4 * 4 for side in frames.shape[1:3])
    cut = frames[:, :height, :width].astype(float)
    rows = (cut[:, 1::4] + cut[:, 2::4]) / 2
    middle: Float[np.ndarray, "t h w *c"] = (rows[:, :, 1::4] + rows[:, :, 2::4]) / 2
    return middle


def _overlap(a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"]) -> float:
    union = float(np.maximum(a, b).sum())
    return float(np.minimum(a, b).sum()) / union if union else 1.0


def _check(frames: Frames, truth: Frames) -> None:
    if frames.shape != truth.shape or len(frames) == 0:
        raise ValueError(
            f"clips of {frames.shape} and {truth.shape} cannot be compared: bring both to one size and length"
        )
    if min(frames.shape[1:3]) < 4:
        raise ValueError(
            f"Physics-IQ looks at a quarter of the size, and frames are {frames.shape[1:3]}: give larger ones"
        )


def _check_pairs(clips: Sequence[Terms], variance: Sequence[Terms]) -> None:
    if not clips or len(clips) != len(variance):
        raise ValueError(
            f"{len(clips)} clips with {len(variance)} physical variances: give one for each, and one at least"
        )
