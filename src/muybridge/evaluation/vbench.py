"""VBench's dimensions that need nobody's weights, by their published formulas: Huang et al. 2024 (arXiv:2311.17982).

`temporal_flickering` is the benchmark's own figure. `motion_smoothness` and `dynamic_degree` follow its formulas with
the flow of `optical_flow.py`, where it takes the networks AMT-S and RAFT: compare them with each other only. Left out,
for they are those networks' features: subject consistency (DINO), background consistency (CLIP), aesthetic quality
(LAION), imaging quality (MUSIQ), and all that asks a detector or a language model whether the prompt was followed.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from muybridge.evaluation.metric import ClipMean
from muybridge.evaluation.optical_flow import consistent, estimated_flow, moved

Frames = UInt8[np.ndarray, "t h w 3"]


def temporal_flickering(frames: Frames) -> float:
    """1 - mean |frame - next frame| / 255: 1 for a still picture. Meant for clips in which nothing should move.

    ValueError for fewer than two frames.
    """
    _check(frames, 2)
    return 1 - float(np.abs(np.diff(frames.astype(np.float32), axis=0)).mean(dtype=np.float64)) / 255


def motion_smoothness(frames: Frames) -> float:
    """1 - mean |left-out frame - what its neighbours say| / 255, every second frame being left out.

    The neighbours are taken half way along the flow between them, and their mean is what they say. ValueError for
    fewer than three frames.
    """
    _check(frames, 3)
    kept = frames[::2]
    between = frames[1 : 2 * len(kept) - 1 : 2].astype(float)
    there, back = estimated_flow(kept), estimated_flow(kept, backwards=True)
    errors = []
    for t, true in enumerate(between):
        early, late = moved(kept[t].astype(float), back[t] / 2), moved(kept[t + 1].astype(float), there[t] / 2)
        errors.append(np.abs((early + late) / 2 - true).mean())
    return 1 - float(np.mean(errors)) / 255


def dynamic_degree(frames: Frames, fps: float) -> float:
    """1 if the clip moves, else 0, at about 8 frames a second.

    A pair of frames moves if the mean of its fastest 5 % pixels is over 6 pixels for each 256 of the shorter side; a
    clip does if 4 pairs in 16 frames do. Where the flow there and back disagree, it is not believed. ValueError for
    fewer than two frames.
    """
    _check(frames, 2)
    picked = frames[:: max(1, round(fps / 8))]
    if len(picked) < 2:
        raise ValueError(f"{len(frames)} frames at {fps:g} a second last too short to move: give a quarter of a second")
    there, back = estimated_flow(picked), estimated_flow(picked, backwards=True)
    speeds = np.where(consistent(there, back), np.linalg.norm(there, axis=-1), 0)
    return float(is_dynamic(speeds))


def is_dynamic(speeds: Float[np.ndarray, "t h w"]) -> bool:
    """Whether a clip moves, by the pixels a frame of every place: see `dynamic_degree`."""
    ranked = np.sort(speeds.reshape(len(speeds), -1), axis=1)
    fastest = ranked[:, -max(1, int(0.05 * ranked.shape[1])) :].mean(axis=1)
    moving = (fastest > 6 * min(speeds.shape[1:]) / 256).sum()
    return bool(moving >= round(4 * (len(speeds) + 1) / 16))


def temporal_flickering_whole() -> ClipMean:
    """`temporal_flickering` as a metric."""
    return ClipMean("vbench_temporal_flickering", (), lambda s: temporal_flickering(s.frames), (0.0, 1.0))


def motion_smoothness_whole() -> ClipMean:
    """`motion_smoothness` as a metric."""
    return ClipMean("motion_smoothness", (), lambda s: motion_smoothness(s.frames), (0.0, 1.0))


def dynamic_degree_whole(fps: float) -> ClipMean:
    """`dynamic_degree` of clips of `fps` frames a second as a metric."""
    return ClipMean("dynamic_degree", (), lambda s: dynamic_degree(s.frames, fps), (0.0, 1.0))


def _check(frames: Frames, least: int) -> None:
    if len(frames) < least:
        raise ValueError(f"{len(frames)} frames say nothing about motion: give {least} at least")
