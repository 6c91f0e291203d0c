"""Colours: eight that objects can be named by, and the curated light and surroundings they are shown in."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from jaxtyping import Float

from muybridge.simulation.scene import Look

COLOURS: dict[str, str] = {
    "red": "#dc2f38",
    "orange": "#f5831f",
    "yellow": "#f8cf3a",
    "green": "#41aa46",
    "teal": "#15b5ac",
    "blue": "#2d60d8",
    "purple": "#8541bd",
    "pink": "#f279b7",
}
"""sRGB of the named colours: hues 27 to 55 degrees apart, so that shading leaves them distinguishable."""


def linear(code: str) -> Float[np.ndarray, "3"]:
    """Linear RGB of an sRGB colour written `#rrggbb` (IEC 61966-2-1)."""
    encoded = np.array([int(code[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


# ground pair, pattern, its period in metres, backdrop at horizon and zenith, sun, sky, bounce. All of low saturation:
# what is colourful in a clip is an object.
_LOOKS: tuple[tuple[str, str, str, float, str, str, str, str, str], ...] = (
    ("#d9d2c7", "#cec6ba", "checker", 1.1, "#e6e0d8", "#b9c3cc", "#fff1dc", "#b4c0cc", "#a39a8e"),  # linen
    ("#c9bda9", "#bdb09b", "rings", 0.9, "#ddd3c3", "#a9b4bb", "#ffe9c9", "#b3bcc2", "#9c8f7c"),  # sand
    ("#aeb4ba", "#a2a9b0", "plain", 1.0, "#ccd2d8", "#8d9aa8", "#fff8ee", "#aab6c4", "#8a8f95"),  # studio grey
    ("#8b939c", "#7f8791", "stripes", 0.8, "#b3bcc5", "#6f7d8c", "#fff3e2", "#9fb0c2", "#70767d"),  # slate
    ("#cdd5da", "#c0c9d0", "plain", 1.0, "#e4eaee", "#a7bccb", "#fffaf2", "#b9c9d8", "#a3a9ad"),  # pale blue
    ("#dcd5d0", "#d1c8c3", "stripes", 1.2, "#ece5e1", "#c3bcc4", "#fff0e4", "#bfbcc8", "#a89f9b"),  # blush
    ("#b9b5a6", "#adaa9b", "checker", 0.9, "#d3d0c4", "#98a19c", "#fff4d8", "#acb6b2", "#918d7f"),  # lichen
    ("#b0a79e", "#a59b92", "plain", 1.0, "#cfc6bd", "#9a9ca4", "#ffe4c2", "#a9aeb9", "#8d837a"),  # evening stone
    ("#e0ddd8", "#d5d1cb", "rings", 1.3, "#efece8", "#c9d0d4", "#fff6ea", "#c2cad1", "#b0aba4"),  # porcelain
    ("#9a9692", "#8f8b87", "checker", 1.4, "#bdb8b3", "#787d86", "#ffecd2", "#9ba4b0", "#7a7570"),  # concrete
    ("#c3cbc6", "#b7c0bb", "rings", 1.1, "#dae1dd", "#9fb1b3", "#fff7e6", "#b1c1c3", "#989f9a"),  # sage mist
    ("#d3c6b6", "#c8baa9", "stripes", 1.0, "#e5dacb", "#b3b5b6", "#ffebd0", "#b8bcc0", "#a69987"),  # oat
)

NEUTRALS: tuple[str, ...] = ("#c2b8aa", "#a9aeb3", "#cdc6bc", "#9ba3ab", "#b8aca3")
"""sRGB of walls and ramps that no word names by colour."""


def sample_look(rng: Random, towards_camera: float) -> Look:
    """One of the curated looks. The sun stands 32 to 58 degrees high, 20 to 75 degrees to one side of the camera.

    `towards_camera` is the direction from the middle to the camera in radians: what faces the camera is lit.
    """
    first, second, pattern, period, horizon, zenith, sun, sky, bounce = rng.choice(_LOOKS)
    azimuth = towards_camera + math.radians(rng.uniform(20, 75)) * rng.choice((-1, 1))
    elevation = math.radians(rng.uniform(32, 58))
    direction = (
        math.cos(elevation) * math.cos(azimuth),
        math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    )
    return Look(
        sun=np.array(direction),
        sun_radius=rng.uniform(0.04, 0.12),
        sun_color=linear(sun) * rng.uniform(0.85, 1.0),
        sky_color=linear(sky) * 0.8,
        bounce_color=linear(bounce) * 0.6,
        ground=np.stack([linear(first), linear(second)]),
        pattern=pattern,
        pattern_scale=period,
        backdrop=np.stack([linear(horizon), linear(zenith)]),
        fade_start=3.2,
        fade_end=8.0,
    )
