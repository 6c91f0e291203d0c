"""From a picture to its coloured segments: connected regions of one colour word, and normalised crops of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image
from scipy import ndimage

from muybridge.evaluation.colours import colour_labels, oklab
from muybridge.simulation.palette import COLOURS

SIDE = 128
"""Rows or columns, whichever are fewer, of the pictures that segments are looked for in."""
CROP = 32
"""Rows and columns of a crop."""
LEAST_AREA = 24
"""Pixels of the smallest segment: the smallest objects cover about 150."""
_MARGIN = 1.3  # side of a crop over the longer side of the segment's box
_COLOURS = tuple(COLOURS)


@dataclass(frozen=True)
class Segment:
    """A region of one colour in one picture.

    crop      lightness around the segment's mean, the segment, other coloured segments, what lies outside the picture
    measures  log height, log width, log square root of the area, and the lowest row, all relative to the picture's
              shorter side; share of the box's outline that lies on the picture's border
    """

    colour: str
    mask: Bool[np.ndarray, "h w"]
    crop: Float32[np.ndarray, "4 32 32"]
    measures: Float32[np.ndarray, "5"]

    @property
    def area(self) -> int:
        return int(self.mask.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """Mean row and column."""
        rows, columns = np.nonzero(self.mask)
        return float(rows.mean()), float(columns.mean())


def segments(picture: UInt8[np.ndarray, "h w 3"]) -> list[Segment]:
    """The coloured segments of a picture, which is first scaled to 128 pixels on its shorter side.

    Strips of two pixels or less (fringes between touching objects, noise) do not count; holes without colour
    (highlights) belong to the segment around them.
    """
    lab = oklab(_scaled(picture))
    labels = colour_labels(lab)
    found = []
    for word in np.unique(labels[labels > 0]):
        solid = ndimage.binary_opening(labels == word, np.ones((3, 3)))
        parts, count = ndimage.label(solid)
        for part in range(1, count + 1):
            mask = parts == part
            if mask.sum() >= LEAST_AREA:
                mask = ndimage.binary_fill_holes(mask) & ((labels == 0) | mask)
                found.append(_described(_COLOURS[word - 1], mask, lab, labels))
    return found


def _scaled(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    height, width = picture.shape[:2]
    if min(height, width) == SIDE:
        return picture
    scale = SIDE / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _described(
    colour: str, mask: Bool[np.ndarray, "h w"], lab: Float32[np.ndarray, "h w 3"], labels: UInt8[np.ndarray, "h w"]
) -> Segment:
    rows, columns = np.nonzero(mask)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    side = _MARGIN * max(bottom - top, right - left)
    down = _sampling(mask.shape[0], (top + bottom) / 2, side)
    across = _sampling(mask.shape[1], (left + right) / 2, side)
    lightness = lab[..., 0] - lab[..., 0][mask].mean()
    others = (labels > 0) & (labels != labels[rows[0], columns[0]])
    layers = np.stack([4 * lightness, mask, others, np.ones(mask.shape)]).astype(np.float32)
    crop = down @ layers @ across.T
    crop[3] = 1 - crop[3]
    touching = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    height, width = bottom - top, right - left
    lengths = np.log(np.array([height, width, np.sqrt(len(rows))]) / SIDE)
    measures = np.array([*lengths, bottom / SIDE, touching / (2 * (height + width))], np.float32)
    return Segment(colour, mask, crop, measures)


def _sampling(length: int, centre: float, side: float) -> Float32[np.ndarray, "32 n"]:
    """Weights by which a line of pixels makes a line of the crop: a triangle filter, 0 outside the picture."""
    step = side / CROP
    at = centre + (np.arange(CROP) - (CROP - 1) / 2) * step
    reach = max(1.0, step)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - (np.arange(length) + 0.5)) / reach)
    return (weights / reach).astype(np.float32)
