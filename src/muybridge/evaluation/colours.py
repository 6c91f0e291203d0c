"""Which pixels are coloured, and by which word: hue and saturation in OKLab, no learning.

Grounds, backdrops, walls and ramps of the simulated worlds are of low saturation; objects have one of eight hues.
OKLab (Ottosson 2020, "A perceptual color space for image processing") is homogeneous of degree 1/3 in linear light, so
hue and chroma / lightness of a surface hardly change as it turns from light into shade.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int32, UInt8

from muybridge.simulation.palette import COLOURS

_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    np.float32,
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ],
    np.float32,
)
_CODES = np.arange(256) / 255
_LINEAR = np.where(_CODES <= 0.04045, _CODES / 12.92, ((_CODES + 0.055) / 1.055) ** 2.4).astype(np.float32)

NEUTRAL_BELOW = 0.09
"""Chroma / lightness that no pixel of grounds and backdrops exceeds, but for one in a thousand."""
_SHARE_OF_PURE = 0.45  # an object's edge lies about where half of its saturation is left; shade takes a little more
_DARKEST = 0.2  # below this lightness a hue is noise


def oklab(rgb: UInt8[np.ndarray, "... 3"]) -> Float32[np.ndarray, "... 3"]:
    """Lightness, a (green to red) and b (blue to yellow) of sRGB pixels."""
    lab: Float32[np.ndarray, "... 3"] = np.cbrt(_LINEAR[rgb] @ _TO_CONES.T) @ _TO_LAB.T
    return lab


def colour_labels(lab: Float32[np.ndarray, "... 3"]) -> UInt8[np.ndarray, "..."]:
    """0 where a pixel has no colour to speak of, else 1 + the index of its word in `palette.COLOURS`.

    A pixel gets the word whose hue is nearest, if it keeps 45 % of that word's saturation and more than a ground has.
    """
    lightness = np.maximum(lab[..., 0], 1e-3)
    saturation = np.hypot(lab[..., 1], lab[..., 2]) / lightness
    nearest = _WORD_OF_DEGREE[_degrees(lab)]
    coloured = (saturation > _LEAST_SATURATION[nearest]) & (lightness > _DARKEST)
    return np.where(coloured, nearest + 1, 0).astype(np.uint8)


def _degrees(lab: Float32[np.ndarray, "... 3"]) -> Int32[np.ndarray, "..."]:
    """The hue, 0 to 359."""
    hue: Int32[np.ndarray, "..."] = np.degrees(np.arctan2(lab[..., 2], lab[..., 1])).astype(np.int32) % 360
    return hue


def _pure() -> Float32[np.ndarray, "8 3"]:
    codes = [[int(code[i : i + 2], 16) for i in (1, 3, 5)] for code in COLOURS.values()]
    return oklab(np.array(codes, np.uint8))


def _word_of_degree() -> UInt8[np.ndarray, "360"]:
    hues = _degrees(_pure())
    nearest: UInt8[np.ndarray, "360"] = np.cos(np.radians(np.arange(360)[:, None] - hues)).argmax(1).astype(np.uint8)
    return nearest


_WORD_OF_DEGREE = _word_of_degree()
_LEAST_SATURATION = np.maximum(NEUTRAL_BELOW, _SHARE_OF_PURE * np.hypot(_pure()[:, 1], _pure()[:, 2]) / _pure()[:, 0])
