"""Meshes in the kernel: where MuJoCo's rays met them, and what they take of the sun and of the sky.

A mesh's shadow is that of its outline as the sun sees it, like every primitive's, with the outline read from a table.
Of the sky it takes what a box with rounded edges would take, which has its extents and its volume.
"""

# Kernels take what numba compiles them for; their types are the records of `render.py`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from muybridge.simulation.casting import dot, kernel, procedure, turn
from muybridge.simulation.scene import MESH
from muybridge.simulation.shadows import AURA, hidden_by_edge, smoothstep

_APART = 1.5  # cells of the outline's table from a surface to where its own shadow is looked up


class Spot(NamedTuple):
    """A ray: pixel (x, y) and which of an edge's rays, -1 for the one through its centre."""

    x: int
    y: int
    ray: int


class Traced(NamedTuple):
    """What is known of m meshes in one frame of h x w pixels. Normals are the world's, towards the camera.

    slot     int64 (n,): which of the m a geom is
    depth    float32 (m, h, w): of each alone, inf where it is not; face, int32: the axis its normal points along most
    normal   float32 (m, h, w, 3)
    extra    int32 (m, h, w): where the rays of edge pixels begin in the following, -1 where there are none
    extra_*  (k, 8): the same of those rays
    outline  float32 (m, 3, g, g), seen from the sun: signed distance to the outline, the height towards the sun of
             the outline's nearest point, that of the surface
    reach    float64 (m, 2): half the width of that table, and how deep the outline's inside is
    rounded  float64 (m, 7): of the rounded box its middle, half extents without the rounding, and the rounding
    """

    slot: Any
    depth: Any
    face: Any
    normal: Any
    extra: Any
    extra_depth: Any
    extra_face: Any
    extra_normal: Any
    outline: Any
    reach: Any
    rounded: Any


# --- where rays met them ----------------------------------------------------------------------------------------------


@kernel
def cast_meshes(scene, traced, what, depth, area):
    """As `casting.cast`, for the geoms that are meshes."""
    for i in range(len(scene)):
        if scene[i].kind == MESH:
            far, face, covered = traced.depth[traced.slot[i]], traced.face[traced.slot[i]], 0
            for y in range(depth.shape[0]):
                for x in range(depth.shape[1]):
                    if far[y, x] < np.inf:
                        covered += 1
                        if far[y, x] < depth[y, x]:
                            depth[y, x] = far[y, x]
                            what[y, x] = 8 * (i + 1) + face[y, x]
            area[i] = covered


@procedure
def met_by_edge_ray(traced, i, spot, straight, d):
    """Depth and face where ray `d`, beside the centre ray `straight`, meets mesh i.

    Within a face it meets the plane that the centre ray meets.
    """
    m = traced.slot[i]
    row = traced.extra[m, spot.y, spot.x]
    if row >= 0:
        return np.float64(traced.extra_depth[row, spot.ray]), np.int64(traced.extra_face[row, spot.ray])
    far, face = np.float64(traced.depth[m, spot.y, spot.x]), np.int64(traced.face[m, spot.y, spot.x])
    if far < np.inf:
        n = mesh_normal(traced, i, Spot(spot.x, spot.y, -1))
        far *= min(max(dot(n, straight) / min(dot(n, d), -1e-9), 0.5), 2.0)
    return far, face


@kernel
def mesh_normal(traced, i, spot):
    """Unit normal (world) where a ray meets mesh i."""
    m = traced.slot[i]
    row = traced.extra[m, spot.y, spot.x]
    if (spot.ray >= 0) & (row >= 0):
        n = traced.extra_normal[row, spot.ray]
        return np.float64(n[0]), np.float64(n[1]), np.float64(n[2])
    n = traced.normal[m, spot.y, spot.x]
    return np.float64(n[0]), np.float64(n[1]), np.float64(n[2])


# --- sun and sky ------------------------------------------------------------------------------------------------------


@procedure
def mesh_shadow(traced, i, geom, d, spread, blur):
    """Part of the sun that mesh i hides from the point at d from its centre; no penumbra is narrower than `blur`."""
    z = dot(geom.light[2], d)
    if z >= geom.radius:
        return 0.0
    x, y = dot(geom.light[0], d), dot(geom.light[1], d)
    margin = geom.radius + spread * (geom.radius - z) + blur
    if x * x + y * y >= margin * margin:
        return 0.0
    m = traced.slot[i]
    table, wide = traced.outline[m], traced.reach[m, 0]
    scale = 0.5 * (table.shape[1] - 1) / wide
    near_x, near_y = min(max(x, -wide), wide), min(max(y, -wide), wide)
    u, v = (near_x + wide) * scale, (near_y + wide) * scale
    column, row = min(int(u), table.shape[2] - 2), min(int(v), table.shape[1] - 2)
    u, v = u - column, v - row
    apart, edge, behind = 0.0, 0.0, 0.0
    for k in range(4):
        a, b = column + (k & 1), row + (k >> 1)
        weight = (u if k & 1 else 1 - u) * (v if k >> 1 else 1 - v)
        apart += weight * table[0, b, a]
        edge += weight * table[1, b, a]
        behind += weight if table[2, b, a] > z else 0.0
    if behind <= 0:
        return 0.0
    apart += math.sqrt((x - near_x) ** 2 + (y - near_y) ** 2)
    width = max((edge - z) * spread, blur)
    return behind * hidden_by_edge(apart / width) * min(1.0, traced.reach[m, 1] / width)


@procedure
def own_shadow(traced, i, geom, d, n, spread, blur):
    """Part of the sun that mesh i hides from the point at d of its own surface, where the normal is n."""
    m = traced.slot[i]
    step = _APART * 2 * traced.reach[m, 0] / (traced.outline.shape[2] - 1)
    return mesh_shadow(traced, i, geom, (d[0] + step * n[0], d[1] + step * n[1], d[2] + step * n[2]), spread, blur)


@procedure
def mesh_occlusion(traced, i, geom, d, n):
    """Part of the hemisphere around n that mesh i takes from the point at d from its centre: `shadows.occlusion`."""
    margin = geom.radius + AURA * geom.reach
    if dot(d, d) >= margin * margin:
        return 0.0
    box = traced.rounded[traced.slot[i]]
    q, m = turn(geom.axes, d), turn(geom.axes, n)
    q = (q[0] - box[0], q[1] - box[1], q[2] - box[2])
    low = _taken(box, q, m, 0.12 * geom.reach)
    middle = _taken(box, q, m, 0.35 * geom.reach)
    return (low + middle + _taken(box, q, m, 0.8 * geom.reach)) / 3


@kernel
def _taken(box, q, m, step):
    x = abs(q[0] + step * m[0]) - box[3]
    y = abs(q[1] + step * m[1]) - box[4]
    z = abs(q[2] + step * m[2]) - box[5]
    outside = math.sqrt(max(x, 0.0) ** 2 + max(y, 0.0) ** 2 + max(z, 0.0) ** 2)
    free = outside + min(max(x, max(y, z)), 0.0) - box[6]
    return smoothstep(0.5 - 0.5 * free / step)


@procedure
def dim_by_mesh(traced, i, geom, view, spread, shade, cover, depth, ground):
    """Take sun and sky from the ground in the windows `shade` and `cover` where mesh i stands before them."""
    for y in range(shade[0], shade[1]):
        for x in range(shade[2], shade[3]):
            t = np.float64(depth[y, x])
            if t < np.inf:
                ground.sun[y, x] *= 1 - mesh_shadow(
                    traced, i, geom, _ground(view, geom, x, y, t), spread, t * view.pixel
                )
    for y in range(cover[0], cover[1]):
        for x in range(cover[2], cover[3]):
            t = np.float64(depth[y, x])
            if t < np.inf:
                taken = mesh_occlusion(traced, i, geom, _ground(view, geom, x, y, t), (0.0, 0.0, 1.0))
                ground.sky[y, x] *= 1 - taken
                for c in range(3):
                    ground.glow[c, y, x] += taken * geom.albedo[c]


@kernel
def _ground(view, geom, x, y, t):
    """From a geom's centre to the ground under pixel (x, y)."""
    dx = view.corner[0] + x * view.right[0] + y * view.down[0]
    dy = view.corner[1] + x * view.right[1] + y * view.down[1]
    return view.origin[0] + t * dx - geom.centre[0], view.origin[1] + t * dy - geom.centre[1], -geom.centre[2]
