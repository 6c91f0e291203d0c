"""PISA's three measures of how a dropped object moves, over its masks in a clip and in what should have happened.

Li et al. 2025, "PISA experiments: exploring physics post-training for video diffusion models by watching stuff drop"
(arXiv:2503.09595), section 3; the scales are those of the authors' code. One thing is ours: there, a clip whose object
vanishes cannot be measured and leaves the average. Here a mask that is empty where the other is not counts as one pixel
in the corner of the picture that is farthest from the other's centre: nothing that is shown scores worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import cKDTree

Masks = Bool[np.ndarray, "t h w"]


@dataclass(frozen=True)
class Pisa:
    """Means over frames.

    l2        mean over both axes of |difference of centres| / (√2 side): 0 is best. Not a Euclidean distance, for all
              its name: the authors' code takes the root of each square
    chamfer   mean distance of a pixel to the nearest of the other mask, both ways added, / (√2 side): 0 is best
    iou       intersection over union, 1 where both are empty
    vanished  share of the frames in which the object should be seen and is not
    """

    l2: float
    chamfer: float
    iou: float
    vanished: float


def pisa(masks: Masks, truth: Masks) -> Pisa:
    """The measures of one object. ValueError if the shapes differ, are not square, or hold no frame."""
    _check(masks, truth)
    side, frames = truth.shape[1], range(len(truth))
    pairs = [_both_shown(masks[t], truth[t]) for t in frames]
    missing = [not masks[t].any() for t in frames if truth[t].any()]
    return Pisa(
        l2=float(np.mean([_centres_apart(*pair) for pair in pairs])) / (math.sqrt(2) * side),
        chamfer=float(np.mean([_chamfer(*pair) for pair in pairs])) / (math.sqrt(2) * side),
        iou=float(np.mean([iou(masks[t], truth[t]) for t in frames])),
        vanished=float(np.mean(missing)) if missing else 0.0,
    )


def iou(a: Bool[np.ndarray, "..."], b: Bool[np.ndarray, "..."]) -> float:
    """Intersection over union of two masks, 1 if both are empty."""
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0


Points = Float[np.ndarray, "n 2"]


def _both_shown(mask: Bool[np.ndarray, "h w"], truth: Bool[np.ndarray, "h w"]) -> tuple[Points, Points]:
    """Rows and columns of both masks' pixels; an empty one is replaced as this module's docstring says."""
    points, true = np.argwhere(mask).astype(float), np.argwhere(truth).astype(float)
    if len(points) == len(true) == 0:
        return np.zeros((1, 2)), np.zeros((1, 2))
    if len(points) == 0:
        points = _farthest_corner(true, len(mask))
    if len(true) == 0:
        true = _farthest_corner(points, len(mask))
    return points, true


def _farthest_corner(points: Points, side: int) -> Points:
    last = side - 1
    return np.where(points.mean(axis=0) < last / 2, last, 0).astype(float)[None]


def _centres_apart(points: Points, true: Points) -> float:
    return float(np.abs(points.mean(axis=0) - true.mean(axis=0)).mean())


def _chamfer(points: Points, true: Points) -> float:
    there, _ = cKDTree(true).query(points)
    back, _ = cKDTree(points).query(true)
    return float(there.mean() + back.mean())


def _check(masks: Masks, truth: Masks) -> None:
    if masks.shape != truth.shape:
        raise ValueError(
            f"masks of {masks.shape} and {truth.shape} cannot be compared: bring both to one size and length"
        )
    if len(truth) == 0:
        raise ValueError("the masks have no frame: give one at least")
    if truth.shape[1] != truth.shape[2]:
        raise ValueError(f"PISA measures in sides of a square, and the masks are {truth.shape[1:]}: crop them first")
