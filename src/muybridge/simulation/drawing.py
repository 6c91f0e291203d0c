"""Frames, one after the other: ground, geoms, edges, and what moves.

*Ground*: rows of pixels at a time. *Geoms*: each where its bounding sphere is seen. *Edges*: pixels whose neighbours
show another thing are the mean of several rays. The same input gives the same bytes.

The one kernel that numba keeps in its cache is here. That cache looks at the kernel's own file and closure: so the
closure holds the digest of the other files.
"""

# Kernels take what numba compiles them for; their types are the records of `render.py`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import functools
import math
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from muybridge.simulation.casting import (
    OPTIONS,
    cast,
    dot,
    hit,
    kernel,
    normal,
    procedure,
    ray,
    turn,
    vector,
    view,
    window,
)
from muybridge.simulation.ground import (
    Ground,
    darken,
    ground_depth,
    ground_light,
    lay,
    light_ground,
    pattern_share,
    studio_of,
    veil_at,
)
from muybridge.simulation.scene import MESH
from muybridge.simulation.shadows import AURA, body, occlusion, shadow
from muybridge.simulation.traced import (
    Spot,
    cast_meshes,
    mesh_normal,
    mesh_occlusion,
    mesh_shadow,
    met_by_edge_ray,
    own_shadow,
)

BRIGHTEST = 4.0  # light at the end of the tone curve's table

# What a pixel's centre ray meets: 8 (geom + 1) + face, or this; the backdrop is where the ground's depth is inf.
_GROUND = 0

# Where an edge pixel's rays pass: an eight-rooks pattern, pixels from the centre.
ROOKS = ((-7, -3), (-1, -5), (-5, 1), (1, 3), (-3, 7), (7, -1), (3, -7), (5, 5))

_SHINE = 0.045  # share of light that a surface mirrors: matte plastic

_INLINED = ("casting.py", "ground.py", "scene.py", "shadows.py", "traced.py")


class Film(NamedTuple):
    """The arrays of a `scene.Rendered`."""

    rgb: Any
    depth: Any
    flow: Any
    instance: Any
    normal: Any
    area: Any
    visible: Any


class Room(NamedTuple):
    """What passes from one step of a frame to the next.

    what     int32 (h, w): what each centre ray meets
    light    float32 (3, h, w), linear
    ground   its maps
    near     int64 (2, n + 1, n + 1): who may take sun or sky from each geom, then from the ground: count, then geoms
    windows  int64 (n, 4): where each geom may be seen
    spans    int64 (h, 2): columns of each row in which any may be seen
    codes    int32 (w,): a row's places in the tone curve
    """

    what: Any
    light: Any
    ground: Ground
    near: Any
    windows: Any
    spans: Any
    codes: Any


# --- light on geoms ---------------------------------------------------------------------------------------------------


@kernel
def _add(near, i):
    near[0] += 1
    near[near[0]] = i


@procedure
def _find_near(scene, studio, near):
    """List who may take the sun (near[0]) or the sky (near[1]) from the surface of each geom."""
    near[:, :, 0] = 0
    for j in range(len(scene)):
        _add(near[0, len(scene)], j)
        _add(near[1, len(scene)], j)
        for i in range(len(scene)):
            if i == j:
                continue
            this, other = scene[j], scene[i]
            to = (other.centre[0] - this.centre[0], other.centre[1] - this.centre[1], other.centre[2] - this.centre[2])
            square, ahead, both = dot(to, to), dot(to, studio.sun), this.radius + other.radius
            beam = both + studio.spread * (ahead + both) + 0.05 * both
            if ahead > -both and square - ahead * ahead < beam * beam:
                _add(near[0, j], i)
            if square < (both + AURA * other.reach) ** 2:
                _add(near[1, j], i)


@kernel
def _shadow(traced, i, geom, d, spread, blur):
    """`traced` is None where there are no meshes; numba leaves out what asks for it then."""
    if traced is not None and geom.kind == MESH:
        return mesh_shadow(traced, i, geom, d, spread, blur)
    return shadow(geom.kind, body(geom), d, spread, blur)


@kernel
def _occlusion(traced, i, geom, d, n):
    if traced is not None and geom.kind == MESH:
        return mesh_occlusion(traced, i, geom, d, n)
    return occlusion(geom.kind, body(geom), d, n)


@kernel
def _sunlight(scene, traced, studio, near, p, blur):
    """Part of the sun that the geoms listed leave to point p."""
    sun = 1.0
    for k in range(near[0]):
        geom = scene[near[k + 1]]
        c = geom.centre
        sun *= 1 - _shadow(traced, near[k + 1], geom, (p[0] - c[0], p[1] - c[1], p[2] - c[2]), studio.spread, blur)
        if sun <= 0:
            return 0.0
    return sun


@kernel
def _skylight(scene, traced, near, p, n):
    """Part of the sky that the geoms listed leave to point p, and the colour with which they replace it."""
    sky, red, green, blue = 1.0, 0.0, 0.0, 0.0
    for k in range(near[0]):
        geom = scene[near[k + 1]]
        c, albedo = geom.centre, geom.albedo
        taken = _occlusion(traced, near[k + 1], geom, (p[0] - c[0], p[1] - c[1], p[2] - c[2]), n)
        sky *= 1 - taken
        red, green, blue = red + taken * albedo[0], green + taken * albedo[1], blue + taken * albedo[2]
    return sky, (red, green, blue)


@procedure
def _shade_ground(scene, traced, studio, view, near, d, t):
    """Ground or backdrop along one ray."""
    veil = veil_at(view, d, studio.fade_start, 1 / (studio.fade_end - studio.fade_start))
    share, sun, sky, glow = 0.0, 1.0, 1.0, (0.0, 0.0, 0.0)
    if veil < 1:
        p = (view.origin[0] + t * d[0], view.origin[1] + t * d[1], 0.0)
        share = pattern_share(studio.pattern, 1 / studio.scale, view, d)
        sun = _sunlight(scene, traced, studio, near[0, len(scene)], p, t * view.pixel)
        sky, glow = _skylight(scene, traced, near[1, len(scene)], p, (0.0, 0.0, 1.0))
    return (
        ground_light(studio, 0, share, veil, sun, sky, glow[0]),
        ground_light(studio, 1, share, veil, sun, sky, glow[1]),
        ground_light(studio, 2, share, veil, sun, sky, glow[2]),
    )


@kernel
def _surface(geom, view, face, d, t):
    """Point and unit normal (world) where the ray meets a geom."""
    p = (view.origin[0] + t * d[0], view.origin[1] + t * d[1], view.origin[2] + t * d[2])
    c, axes = geom.centre, geom.axes
    q = turn(axes, (p[0] - c[0], p[1] - c[1], p[2] - c[2]))
    m = normal(geom.kind, geom.half, face, q)
    n = (
        axes[0, 0] * m[0] + axes[1, 0] * m[1] + axes[2, 0] * m[2],
        axes[0, 1] * m[0] + axes[1, 1] * m[1] + axes[2, 1] * m[2],
        axes[0, 2] * m[0] + axes[1, 2] * m[1] + axes[2, 2] * m[2],
    )
    return p, n


@procedure
def _shade_geom(scene, traced, studio, view, near, what, d, t, spot):
    """Matte plastic in sun, sky and bounce; and its normal. `spot` says which ray `d` is."""
    i = (what >> 3) - 1
    geom = scene[i]
    p, n = _surface(geom, view, what & 7, d, t)
    if traced is not None and geom.kind == MESH:
        n = mesh_normal(traced, i, spot)
    facing = dot(n, studio.sun)
    sun = _sunlight(scene, traced, studio, near[0, i], p, t * view.pixel) if facing > -studio.spread else 0.0
    if traced is not None and geom.kind == MESH:
        c = geom.centre
        own = (p[0] - c[0], p[1] - c[1], p[2] - c[2])
        sun *= 1 - own_shadow(traced, i, geom, own, n, studio.spread, t * view.pixel)
    sky, glow = _skylight(scene, traced, near[1, i], p, n)
    soft = max(studio.spread, 0.02)
    lambert = facing if facing >= soft else max(0.0, facing + soft) ** 2 / (4 * soft)
    # A highlight after Blinn and Phong (exponent 32) and a sheen at grazing angles.
    inverse = 1 / math.sqrt(dot(d, d))
    view = -dot(n, d) * inverse
    h = (studio.sun[0] - d[0] * inverse, studio.sun[1] - d[1] * inverse, studio.sun[2] - d[2] * inverse)
    gloss = max(0.0, dot(n, h)) ** 2 / dot(h, h)
    gloss = gloss * gloss
    gloss = gloss * gloss
    gloss = gloss * gloss
    shine = sun * _SHINE * 6.0 * gloss * gloss * min(1.0, max(0.0, facing) * 8)
    rim = (1 - max(0.0, view)) ** 2
    rim = _SHINE + 0.25 * rim * rim
    # Sky from above, bounce from below; there is little of that where the geom itself shades the ground.
    up = 0.5 + 0.5 * n[2]
    contact = max(p[2], 0.0) / (max(p[2], 0.0) + 0.35 * geom.reach)
    above, below = sky * up, (1 - up) * contact
    a, color = geom.albedo, studio.sun_color
    s, b = studio.sky, studio.bounce
    direct = sun * lambert
    red = a[0] * (direct * color[0] + s[0] * (above + 0.4 * up * glow[0]) + b[0] * below)
    green = a[1] * (direct * color[1] + s[1] * (above + 0.4 * up * glow[1]) + b[1] * below)
    blue = a[2] * (direct * color[2] + s[2] * (above + 0.4 * up * glow[2]) + b[2] * below)
    red += shine * color[0] + rim * (s[0] * above + b[0] * below)
    green += shine * color[1] + rim * (s[1] * above + b[1] * below)
    blue += shine * color[2] + rim * (s[2] * above + b[2] * below)
    return (red, green, blue), n


# --- a frame ----------------------------------------------------------------------------------------------------------


@kernel
def _find_windows(scene, view, windows, spans, size):
    """Where each geom may be seen: rows and columns, and the columns [first, last) of each row in which any may."""
    height, width = size
    spans[:, 0], spans[:, 1] = width, 0
    for i in range(len(scene)):
        top, bottom, left, right = window(view, vector(scene[i].centre), scene[i].radius, height, width)
        windows[i, 0], windows[i, 1], windows[i, 2], windows[i, 3] = top, bottom, left, right
        for y in range(top, bottom):
            spans[y, 0], spans[y, 1] = min(spans[y, 0], left), max(spans[y, 1], right)


@kernel
def _write_ground(depth, what, instance, normal):
    """Instance and normal where no geom is."""
    what[:], instance[:] = _GROUND, 0
    for y in range(depth.shape[0]):
        far, row = depth[y], normal[y]
        for x in range(len(far)):
            row[x, 0] = row[x, 1] = 0.0
            row[x, 2] = 1.0 if far[x] < np.inf else 0.0


@kernel
def _write_geoms(scene, traced, studio, view, room, depth, instance, normal, visible):
    """Light, instance and normal of the geoms' pixels."""
    what, light = room.what, room.light
    for y in range(len(room.spans)):
        for x in range(room.spans[y, 0], room.spans[y, 1]):
            here = what[y, x]
            if here == _GROUND:
                continue
            d, t = ray(view, x, y), np.float64(depth[y, x])
            color, n = _shade_geom(scene, traced, studio, view, room.near, here, d, t, Spot(x, y, -1))
            light[0, y, x], light[1, y, x], light[2, y, x] = color
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = n
            instance[y, x] = here >> 3
            visible[(here >> 3) - 1] += 1


@kernel
def _develop(light, curve, codes, rgb):
    scale = (len(curve) - 1) / BRIGHTEST
    for y in range(rgb.shape[0]):
        for c in range(3):
            row = light[c, y]
            for x in range(len(row)):
                codes[x] = int(min(max(row[x] * scale, 0.0), len(curve) - 1.0) + 0.5)
            for x in range(len(row)):
                rgb[y, x, c] = curve[codes[x]]


@kernel
def _on_edge(what, y, x):
    """Whether a neighbour shows another thing, or another face of it."""
    here, bottom, right = what[y, x], what.shape[0] - 1, what.shape[1] - 1
    return (
        (here != what[max(y - 1, 0), x])
        | (here != what[min(y + 1, bottom), x])
        | (here != what[y, max(x - 1, 0)])
        | (here != what[y, min(x + 1, right)])
    )


@kernel
def _meet(geom, traced, i, view, spot, shift_x, shift_y):
    """Where a ray beside a pixel's centre enters geom i, and by which face."""
    if traced is not None and geom.kind == MESH:
        straight, d = ray(view, spot.x, spot.y), ray(view, spot.x + shift_x, spot.y + shift_y)
        return met_by_edge_ray(traced, i, spot, straight, d)
    return hit(geom.kind, geom.half, geom.eye, ray(geom, spot.x + shift_x, spot.y + shift_y))


@kernel
def _cast_one(scene, traced, view, windows, spot, shift_x, shift_y):
    """Depth and what a ray beside the centre of pixel (x, y) meets."""
    x, y = spot.x, spot.y
    nearest, what = ground_depth(view, ray(view, x + shift_x, y + shift_y)), _GROUND
    for i in range(len(scene)):
        if windows[i, 0] <= y + 1 and y <= windows[i, 1] and windows[i, 2] <= x + 1 and x <= windows[i, 3]:
            geom = scene[i]
            t, face = _meet(geom, traced, i, view, spot, shift_x, shift_y)
            if t < nearest:
                nearest, what = t, 8 * (i + 1) + face
    return nearest, what


@procedure
def _smooth(scene, traced, studio, view, room, x, y):
    """Mean light over a pixel. A ray that meets what a centre ray next to it met takes the light of that."""
    what, light = room.what, room.light
    red, green, blue = 0.0, 0.0, 0.0
    for k in range(len(ROOKS)):
        shift_x, shift_y = ROOKS[k][0] / 16, ROOKS[k][1] / 16
        t, found = _cast_one(scene, traced, view, room.windows, Spot(x, y, k), shift_x, shift_y)
        u = min(max(x + (1 if shift_x > 0 else -1), 0), what.shape[1] - 1)
        v = min(max(y + (1 if shift_y > 0 else -1), 0), what.shape[0] - 1)
        if found == what[y, x]:
            u, v = x, y
        elif found == what[y, u]:
            v = y
        elif found == what[v, x]:
            u = x
        d = ray(view, x + shift_x, y + shift_y)
        if found == what[v, u]:
            color = (np.float64(light[0, v, u]), np.float64(light[1, v, u]), np.float64(light[2, v, u]))
        elif found == _GROUND:
            color = _shade_ground(scene, traced, studio, view, room.near, d, t)
        else:
            color, _ = _shade_geom(scene, traced, studio, view, room.near, found, d, t, Spot(x, y, k))
        red, green, blue = red + color[0], green + color[1], blue + color[2]
    return red / len(ROOKS), green / len(ROOKS), blue / len(ROOKS)


@kernel
def _smooth_edges(scene, traced, studio, view, room, curve, rgb):
    height, width = room.what.shape
    scale = (len(curve) - 1) / BRIGHTEST
    for y in range(height):
        above, below = room.spans[max(y - 1, 0)], room.spans[min(y + 1, height - 1)]
        first = min(room.spans[y, 0] - 1, min(above[0], below[0]))
        last = max(room.spans[y, 1] + 1, max(above[1], below[1]))
        for x in range(max(first, 0), min(last, width)):
            if _on_edge(room.what, y, x):
                color = _smooth(scene, traced, studio, view, room, x, y)
                for c in range(3):
                    rgb[y, x, c] = curve[int(min(max(color[c] * scale, 0.0), len(curve) - 1.0) + 0.5)]


@kernel
def _flow_ground(motion, view, flow):
    """Pixels that the ground moves to the next frame; the backdrop is moved by the camera's turning only."""
    a, b, c = vector(motion.to[0]), vector(motion.to[1]), vector(motion.to[2])
    shift, high = vector(motion.shift), 1 / view.origin[2]
    for y in range(flow.shape[0]):
        row = flow[y]
        for x in range(len(row)):
            near = max(0.0, -ray(view, x, y)[2] * high)
            ahead = c[0] * x + c[1] * y + c[2] + shift[2] * near
            inverse = 1 / ahead if ahead > 0 else np.nan
            row[x, 0] = (a[0] * x + a[1] * y + a[2] + shift[0] * near) * inverse - x - 0.5
            row[x, 1] = (b[0] * x + b[1] * y + b[2] + shift[1] * near) * inverse - y - 0.5


@kernel
def _flow_geoms(motions, spans, depth, instance, flow):
    for y in range(len(spans)):
        for x in range(spans[y, 0], spans[y, 1]):
            if instance[y, x] > 0:
                motion, near = motions[instance[y, x]], 1 / np.float64(depth[y, x])
                at, shift = turn(motion.to, (np.float64(x), np.float64(y), 1.0)), motion.shift
                ahead = at[2] + shift[2] * near
                inverse = 1 / ahead if ahead > 0 else np.nan
                flow[y, x, 0] = (at[0] + shift[0] * near) * inverse - x - 0.5
                flow[y, x, 1] = (at[1] + shift[1] * near) * inverse - y - 0.5


# --- all frames -------------------------------------------------------------------------------------------------------


@functools.cache
def film_kernel() -> Any:
    """The kernel that fills a `Film`: compiled once for each machine and version of the sources.

    `traced` is None where no geom is a mesh, else a `Traced`, and then there is one frame. That is two kernels: numba
    leaves out of the first all that asks for meshes.
    """
    digest = zlib.crc32(b"".join((Path(__file__).parent / name).read_bytes() for name in _INLINED))

    @njit(**OPTIONS, cache=True)
    def film(scenes, traced, rays, look, motions, curve, room, pictures):
        studio = studio_of(look)
        for t in range(len(scenes)):
            scene, eye = scenes[t], view(rays[t])
            depth, instance, normal = pictures.depth[t], pictures.instance[t], pictures.normal[t]
            _find_windows(scene, eye, room.windows, room.spans, depth.shape)
            _find_near(scene, studio, room.near)
            lay(eye, studio, depth, room.ground)
            darken(scene, traced, eye, studio, depth, room.ground)
            light_ground(studio, room.ground, room.light)
            _write_ground(depth, room.what, instance, normal)
            cast(scene, room.windows, room.what, depth, pictures.area[t])
            if traced is not None:
                cast_meshes(scene, traced, room.what, depth, pictures.area[t])
            _write_geoms(scene, traced, studio, eye, room, depth, instance, normal, pictures.visible[t])
            _develop(room.light, curve, room.codes, pictures.rgb[t])
            _smooth_edges(scene, traced, studio, eye, room, curve, pictures.rgb[t])
            if t < len(pictures.flow):
                _flow_ground(motions[t, 0], eye, pictures.flow[t])
                _flow_geoms(motions[t], room.spans, depth, instance, pictures.flow[t])
        return digest  # numba's cache asks for the same closure

    return film
