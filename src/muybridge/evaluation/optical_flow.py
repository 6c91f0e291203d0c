"""Where every pixel of a frame goes in the next: the simulator's truth, or an estimate from the pictures alone."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.ndimage import gaussian_filter, map_coordinates, zoom

from muybridge.simulation import Clip

Flow = Float[np.ndarray, "t h w 2"]
"""Pixels to the right and down, for each pair of frames that follow each other."""

_WINDOW = 3.0  # σ of the neighbourhood that moves as one, pixels
_ROUNDS = 6
_NOISE = 0.5  # levels that say nothing
_COARSEST = 16  # pixels of the shorter side
_RIDGE = 10.0  # keeps the flow where there is nothing to see: levels² per pixel²


def estimated_flow(frames: UInt8[np.ndarray, "n h w 3"], backwards: bool = False) -> Flow:
    """Flow of the luma from each frame to the next; `backwards`, from each but the first to the one before.

    Lucas and Kanade 1981, iterated at every pixel and from coarse to fine (Bouguet 2001). ValueError for fewer than two
    frames or sides under 16 pixels.
    """
    if len(frames) < 2 or min(frames.shape[1:3]) < _COARSEST:
        raise ValueError(f"flow needs two frames of 16x16 pixels at least, not {frames.shape[:3]}: give a longer clip")
    luma = frames @ np.array([0.299, 0.587, 0.114], np.float32)
    first, second = (luma[1:], luma[:-1]) if backwards else (luma[:-1], luma[1:])
    return np.stack([_flow(a, b) for a, b in zip(first, second, strict=True)])


def true_flow(clip: Clip) -> tuple[Flow, Bool[np.ndarray, "t h w"]]:
    """The simulator's flow, and where it can be seen in the next frame: the four pixels around show the same body.

    A body that hides a part of itself by turning is not told from one that does not.
    """
    flow = np.where(np.isfinite(clip.flow), clip.flow, 1e6)
    _, height, width, _ = flow.shape
    rows, columns = np.indices((height, width))
    across, down = columns + flow[..., 0], rows + flow[..., 1]
    left, top = np.floor(across).astype(int), np.floor(down).astype(int)
    seen = (left >= 0) & (top >= 0) & (left < width - 1) & (top < height - 1)
    left, top = np.where(seen, left, 0), np.where(seen, top, 0)
    pair = np.arange(len(flow))[:, None, None] + 1
    for y in (top, top + 1):
        for x in (left, left + 1):
            seen &= clip.instance[pair, y, x] == clip.instance[:-1]
    return np.where(seen[..., None], flow, 0.0), seen


def consistent(there: Flow, back: Flow) -> Bool[np.ndarray, "t h w"]:
    """Where the flow there and the flow back undo each other, so that the point is seen in both frames.

    Sundaram, Brox and Keutzer 2010, "Dense point trajectories by GPU-accelerated large displacement optical flow",
    eq. 5: |w + w'|² < 0.01 (|w|² + |w'|²) + 0.5, with w' the flow back at the point's new place.
    """
    returned = np.stack([moved(one_back, one) for one_back, one in zip(back, there, strict=True)])
    lengths = (there**2).sum(axis=-1) + (returned**2).sum(axis=-1)
    height, width = there.shape[1:3]
    rows, columns = np.indices((height, width))
    across, down = columns + there[..., 0], rows + there[..., 1]
    inside = (across >= 0) & (down >= 0) & (across <= width - 1) & (down <= height - 1)
    undone: Bool[np.ndarray, "t h w"] = ((there + returned) ** 2).sum(axis=-1) < 0.01 * lengths + 0.5
    both: Bool[np.ndarray, "t h w"] = undone & inside
    return both


def moved(picture: Float[np.ndarray, "h w *c"], flow: Float[np.ndarray, "h w 2"]) -> Float[np.ndarray, "h w *c"]:
    """What `picture` shows at the end of each pixel's flow, between pixels by linear interpolation."""
    rows, columns = np.indices(flow.shape[:2])
    places = np.stack([rows + flow[..., 1], columns + flow[..., 0]])
    if picture.ndim == 2:
        out: Float[np.ndarray, "h w *c"] = map_coordinates(picture, places, order=1, mode="nearest")
        return out
    return np.stack(
        [map_coordinates(picture[..., c], places, order=1, mode="nearest") for c in range(picture.shape[2])], -1
    )


def _flow(a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "h w 2"]:
    """From the coarsest scale, at which the flow starts as none, to the finest."""
    scales = [(a, b)]
    while min(scales[-1][0].shape) >= 2 * _COARSEST:
        scales.append(tuple(gaussian_filter(one, 1.0)[::2, ::2] for one in scales[-1]))
    flow = np.zeros((*scales[-1][0].shape, 2))
    for one, other in reversed(scales):
        if flow.shape[:2] != one.shape:
            flow = 2 * _enlarged(flow, one.shape)
        flow = _refined(one, other, flow)
    return flow


def _refined(
    a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"], flow: Float[np.ndarray, "h w 2"]
) -> Float[np.ndarray, "h w 2"]:
    """Steps of Gauss and Newton towards the flow under which each neighbourhood of `b` looks like that of `a`."""
    down, across = np.gradient(a)
    xx, xy, yy = (gaussian_filter(product, _WINDOW) for product in (across * across, across * down, down * down))
    xx, yy = xx + _RIDGE, yy + _RIDGE
    determinant = xx * yy - xy * xy
    for _ in range(_ROUNDS):
        missing = a - moved(b, flow)
        x, y = gaussian_filter(across * missing, _WINDOW), gaussian_filter(down * missing, _WINDOW)
        step = np.stack([(yy * x - xy * y) / determinant, (xx * y - xy * x) / determinant], axis=-1)
        flow = flow + step.clip(-1, 1)
    return np.where(_gains(a, b, flow)[..., None], flow, 0.0)


def _gains(
    a: Float[np.ndarray, "h w"], b: Float[np.ndarray, "h w"], flow: Float[np.ndarray, "h w 2"]
) -> Bool[np.ndarray, "h w"]:
    """Where a neighbourhood looks less the same if it stands still: flat ground does not go along with what passes."""
    still, went = (gaussian_filter(np.abs(a - other), _WINDOW / 2) for other in (b, moved(b, flow)))
    gains: Bool[np.ndarray, "h w"] = still > went + _NOISE
    return gains


def _enlarged(flow: Float[np.ndarray, "h w 2"], shape: tuple[int, ...]) -> Float[np.ndarray, "y x 2"]:
    factors = (shape[0] / flow.shape[0], shape[1] / flow.shape[1], 1)
    larger: Float[np.ndarray, "y x 2"] = zoom(flow, factors, order=1, mode="nearest", grid_mode=True)
    return larger
