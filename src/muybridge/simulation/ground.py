"""The ground and the backdrop, a row of pixels at a time: loops without branches, which the compiler vectorises.

First what the camera alone decides (depth, pattern, how far the ground has faded), then what the geoms take of sun and
sky where their shadows fall, then the light that comes back.
"""

# Kernels take what numba compiles them for; their types are the records of `render.py`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from muybridge.simulation.casting import Vector, dot, kernel, ray, vector, window
from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, MESH, SPHERE
from muybridge.simulation.shadows import AURA, body, occlusion, shadow, smoothstep
from muybridge.simulation.traced import dim_by_mesh

PLAIN, CHECKER, STRIPES, RINGS = 0, 1, 2, 3
PATTERNS = ("plain", "checker", "stripes", "rings")

_NEVER = 1e5  # metres: farther than any fade, near enough to reckon with
_UP = (0.0, 0.0, 1.0)


class Studio(NamedTuple):
    """The record of a Look in tuples."""

    sun: Vector
    spread: float  # tangent of the sun's radius
    sun_color: Vector
    sky: Vector
    bounce: Vector
    ground: tuple[Vector, Vector]
    pattern: int
    scale: float
    backdrop: tuple[Vector, Vector]
    fade_start: float
    fade_end: float


class Ground(NamedTuple):
    """Of each pixel's ground: float32, (h, w).

    share    of the pattern's second albedo
    veil     0 to 1: how far it has faded into the horizon; 1 to 2: how far up the backdrop is
    sun, sky part of them that the geoms leave; glow (3, h, w): the colour that they give instead of the sky
    taken    (w,) room for a row
    """

    share: Any
    veil: Any
    sun: Any
    sky: Any
    glow: Any
    taken: Any


@kernel
def studio_of(look):
    return Studio(
        vector(look.sun),
        look.spread,
        vector(look.sun_color),
        vector(look.sky),
        vector(look.bounce),
        (vector(look.ground[0]), vector(look.ground[1])),
        look.pattern,
        look.scale,
        (vector(look.backdrop[0]), vector(look.backdrop[1])),
        look.fade_start,
        look.fade_end,
    )


@kernel
def mix(a, b, s):
    return a + s * (b - a)


# --- what the camera decides ------------------------------------------------------------------------------------------


@kernel
def square_wave(x, width):
    """Mean over [x - width/2, x + width/2] of the wave of period 1 that is +1, then -1."""
    low, high = x - 0.5 * width, x + 0.5 * width
    low, high = abs(low - np.floor(low) - 0.5), abs(high - np.floor(high) - 0.5)
    return (low - high) / width


@kernel
def ground_depth(view, d):
    return -view.origin[2] / d[2] if d[2] < 0 else np.inf


@kernel
def pattern_share(pattern, scale, view, d):
    """Share of the ground's second albedo within the pixel of ray d, box-filtered over its footprint."""
    if pattern == PLAIN:
        return 0.0
    inverse = 1 / min(d[2], -1e-6)
    t, right, down = -view.origin[2] * inverse, view.right, view.down
    px, py = view.origin[0] + t * d[0], view.origin[1] + t * d[1]
    slide_x, slide_y = right[2] * inverse, down[2] * inverse
    ux, uy = t * (right[0] - slide_x * d[0]), t * (right[1] - slide_x * d[1])
    vx, vy = t * (down[0] - slide_y * d[0]), t * (down[1] - slide_y * d[1])
    if pattern == RINGS:
        r = math.sqrt(px * px + py * py) + 1e-9
        wide = scale * (abs(ux * px + uy * py) + abs(vx * px + vy * py)) / r + 1e-6
        return 0.5 - 0.5 * square_wave(r * scale, wide)
    wave = square_wave(px * scale, scale * (abs(ux) + abs(vx)) + 1e-6)
    if pattern == CHECKER:
        wave *= square_wave(py * scale, scale * (abs(uy) + abs(vy)) + 1e-6)
    return 0.5 - 0.5 * wave


@kernel
def veil_at(view, d, start, inverse_range):
    length = math.sqrt(dot(d, d))
    far = -view.origin[2] / min(d[2], -1e-6) * length
    return smoothstep((far - start) * inverse_range) + smoothstep(d[2] / length / 0.8)


@kernel
def _lay_pattern(pattern, scale, view, share):
    for y in range(share.shape[0]):
        row = share[y]
        for x in range(len(row)):
            row[x] = pattern_share(pattern, scale, view, ray(view, x, y))


@kernel
def lay(view, studio, depth, ground):
    """Depth of the bare ground, its pattern and its veil."""
    start, inverse_range = studio.fade_start, 1 / (studio.fade_end - studio.fade_start)
    for y in range(depth.shape[0]):
        far, veil = depth[y], ground.veil[y]
        for x in range(len(far)):
            d = ray(view, x, y)
            far[x] = ground_depth(view, d)
            veil[x] = veil_at(view, d, start, inverse_range)
    scale = 1 / studio.scale
    if studio.pattern == PLAIN:
        ground.share[:] = 0.0
    elif studio.pattern == CHECKER:
        _lay_pattern(CHECKER, scale, view, ground.share)
    elif studio.pattern == STRIPES:
        _lay_pattern(STRIPES, scale, view, ground.share)
    else:
        _lay_pattern(RINGS, scale, view, ground.share)


# --- what the geoms take ----------------------------------------------------------------------------------------------


@kernel
def _from(view, centre, x, y, depth):
    """From a geom's centre to the ground under pixel (x, y)."""
    d = ray(view, x, y)
    return view.origin[0] + depth * d[0] - centre[0], view.origin[1] + depth * d[1] - centre[1], -centre[2]


@kernel
def _dim(kind, geom, view, spread, area, depth, sun):
    for y in range(area[0], area[1]):
        far, row = depth[y, area[2] : area[3]], sun[y, area[2] : area[3]]
        for x in range(len(far)):
            t = min(np.float64(far[x]), _NEVER)
            row[x] *= 1 - shadow(kind, geom, _from(view, geom.centre, area[2] + x, y, t), spread, t * view.pixel)


@kernel
def _cover(kind, geom, view, area, albedo, depth, ground):
    for y in range(area[0], area[1]):
        far, taken = depth[y, area[2] : area[3]], ground.taken[area[2] : area[3]]
        for x in range(len(far)):
            t = min(np.float64(far[x]), _NEVER)
            taken[x] = occlusion(kind, geom, _from(view, geom.centre, area[2] + x, y, t), _UP)
        sky = ground.sky[y, area[2] : area[3]]
        for x in range(len(taken)):
            sky[x] *= 1 - taken[x]
        for c in range(3):
            glow = ground.glow[c, y, area[2] : area[3]]
            for x in range(len(taken)):
                glow[x] += taken[x] * albedo[c]


@kernel
def _shadow_area(geom, view, studio, height, width):
    """Window of the pixels on whose ground the geom's shadow may fall."""
    steep, c = max(studio.sun[2], 0.02), geom.centre
    away = c[2] / steep
    foot = (c[0] - away * studio.sun[0], c[1] - away * studio.sun[1], 0.0)
    radius = (geom.radius + studio.spread * (away + geom.radius / steep)) / steep
    top, bottom, left, right = window(view, foot, radius, height, width)
    return max(top - 2, 0), min(bottom + 2, height), max(left - 2, 0), min(right + 2, width)  # penumbra of a pixel


@kernel
def _cover_area(geom, view, height, width):
    """Window of the pixels from whose ground the geom may take sky."""
    c, reach = geom.centre, geom.radius + AURA * geom.reach
    square = reach * reach - c[2] * c[2]
    return window(view, (c[0], c[1], 0.0), math.sqrt(max(square, 0.0)), height, width) if square > 0 else (0, 0, 0, 0)


@kernel
def darken(scene, traced, view, studio, depth, ground):
    """Take sun and sky from the ground where geoms stand before them."""
    height, width = depth.shape
    ground.sun[:], ground.sky[:], ground.glow[:] = 1.0, 1.0, 0.0
    for i in range(len(scene)):
        geom, kind, albedo = body(scene[i]), scene[i].kind, vector(scene[i].albedo)
        shade = _shadow_area(geom, view, studio, height, width)
        area = _cover_area(geom, view, height, width)
        if kind == BOX:
            _dim(BOX, geom, view, studio.spread, shade, depth, ground.sun)
            _cover(BOX, geom, view, area, albedo, depth, ground)
        elif kind == SPHERE:
            _dim(SPHERE, geom, view, studio.spread, shade, depth, ground.sun)
            _cover(SPHERE, geom, view, area, albedo, depth, ground)
        elif kind == CYLINDER:
            _dim(CYLINDER, geom, view, studio.spread, shade, depth, ground.sun)
            _cover(CYLINDER, geom, view, area, albedo, depth, ground)
        elif kind == CAPSULE:
            _dim(CAPSULE, geom, view, studio.spread, shade, depth, ground.sun)
            _cover(CAPSULE, geom, view, area, albedo, depth, ground)
        if traced is not None and kind == MESH:
            dim_by_mesh(traced, i, scene[i], view, studio.spread, shade, area, depth, ground)


# --- the light that comes back ----------------------------------------------------------------------------------------


@kernel
def ground_light(studio, c, share, veil, sun, sky, glow):
    """Colour c of matte ground in sun and sky, with a little of the colour of what stands near, behind its veil."""
    albedo = mix(studio.ground[0][c], studio.ground[1][c], share)
    light = albedo * (sun * max(studio.sun[2], 0.0) * studio.sun_color[c] + studio.sky[c] * (sky + 0.4 * glow))
    backdrop = mix(studio.backdrop[0][c], studio.backdrop[1][c], max(veil - 1, 0.0))
    return mix(light, backdrop, min(veil, 1.0))


@kernel
def light_ground(studio, ground, light):
    for c in range(3):
        for y in range(light.shape[1]):
            share, veil, sun = ground.share[y], ground.veil[y], ground.sun[y]
            sky, glow, row = ground.sky[y], ground.glow[c, y], light[c, y]
            for x in range(len(row)):
                row[x] = ground_light(studio, c, share[x], veil[x], sun[x], sky[x], glow[x])
