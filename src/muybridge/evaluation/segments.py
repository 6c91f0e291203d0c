"""From a picture to its coloured segments: connected regions of one colour word, and normalised crops of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

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

Place: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class Segment:
    """A region of one colour in one picture.

    top, left   where the box around it begins; `inside` is the segment within that box
    crop      lightness around the segment's mean, the segment, other coloured segments, what lies outside the picture
    measures  log height, log width, log square root of the area, and the lowest row, all relative to the picture's
              shorter side; share of the box's outline that lies on the picture's border
    """

    colour: str
    top: int
    left: int
    inside: Bool[np.ndarray, "box_h box_w"]
    crop: Float32[np.ndarray, "4 32 32"]
    measures: Float32[np.ndarray, "5"]

    @property
    def area(self) -> int:
        return int(self.inside.sum())

    @property
    def centre(self) -> tuple[float, float]:
        """Mean row and column."""
        rows, columns = np.nonzero(self.inside)
        return self.top + float(rows.mean()), self.left + float(columns.mean())

    def mask(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """The segment in a picture of this size."""
        whole = np.zeros((height, width), bool)
        rows, columns = self.inside.shape
        whole[self.top : self.top + rows, self.left : self.left + columns] = self.inside
        return whole


def segments(picture: UInt8[np.ndarray, "h w 3"]) -> list[Segment]:
    """The coloured segments of a picture, which is first scaled to 128 pixels on its shorter side.

    Strips of two pixels or less (fringes between touching objects, noise) do not count; holes without colour
    (highlights) belong to the segment around them.
    """
    lab = oklab(_scaled(picture))
    labels = colour_labels(lab)
    found = []
    for word, area in enumerate(ndimage.find_objects(labels, len(_COLOURS)), 1):
        if area is None:
            continue
        solid = ndimage.binary_opening(np.pad(labels[area] == word, 1), np.ones((3, 3)))[1:-1, 1:-1]
        parts, _ = ndimage.label(solid)
        for part, box in enumerate(ndimage.find_objects(parts), 1):
            mask = parts[box] == part
            if mask.sum() >= LEAST_AREA:
                place = _within(area, box)
                mask = ndimage.binary_fill_holes(mask) & ((labels[place] == 0) | mask)
                found.append(_described(word, place, mask, lab, labels))
    return found


def _within(area: Place, box: Place) -> Place:
    """A box of a part of the picture, in the picture."""
    rows, columns = (slice(a.start + b.start, a.start + b.stop) for a, b in zip(area, box, strict=True))
    return rows, columns


def _scaled(picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "rows columns 3"]:
    height, width = picture.shape[:2]
    if min(height, width) == SIDE:
        return picture
    scale = SIDE / min(height, width)
    size = (round(width * scale), round(height * scale))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC))


def _described(
    word: int,
    place: Place,
    inside: Bool[np.ndarray, "box_h box_w"],
    lab: Float32[np.ndarray, "h w 3"],
    labels: UInt8[np.ndarray, "h w"],
) -> Segment:
    top, left = place[0].start, place[1].start
    height, width = inside.shape
    mask = np.zeros(labels.shape, bool)
    mask[place] = inside
    lightness = lab[..., 0] - lab[place][inside, 0].mean()
    others = (labels > 0) & (labels != word)
    layers = np.stack([4 * lightness, mask, others, np.ones(mask.shape)]).astype(np.float32)
    down = _sampling(labels.shape[0], top + height / 2, _MARGIN * max(height, width))
    across = _sampling(labels.shape[1], left + width / 2, _MARGIN * max(height, width))
    crop = down @ layers @ across.T
    crop[3] = 1 - crop[3]
    touching = mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum()
    lengths = np.log(np.array([height, width, np.sqrt(inside.sum())]) / SIDE)
    measures = np.array([*lengths, (top + height) / SIDE, touching / (2 * (height + width))], np.float32)
    return Segment(_COLOURS[word - 1], top, left, inside, crop, measures)


def _sampling(length: int, centre: float, side: float) -> Float32[np.ndarray, "32 n"]:
    """Weights by which a line of pixels makes a line of the crop: a triangle filter, 0 outside the picture."""
    step = side / CROP
    at = centre + (np.arange(CROP) - (CROP - 1) / 2) * step
    reach = max(1.0, step)
    weights = np.maximum(0, 1 - np.abs(at[:, None] - (np.arange(length) + 0.5)) / reach)
    return (weights / reach).astype(np.float32)
