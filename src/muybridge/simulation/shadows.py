"""How much of the sun and of the sky a geom takes from a point: closed forms, so there is no noise.

Seen along the direction of the sun every primitive is a flat silhouette: disc, stadium, cylinder's outline, hexagon.
How much of the round sun it hides at a point follows from the signed distance to that outline over the width of the
penumbra there, which grows with the distance to the edge that casts it: shadows are sharp at a contact and soften away
from it.
"""

# Kernels take what numba compiles them for; their types are the records of `render.py`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from typing import Any, NamedTuple

from muybridge.simulation.casting import Vector, dot, kernel, turn, vector
from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, SPHERE

AURA = 1.6  # a geom takes sky within this many times its reach of its bounding sphere


class Body(NamedTuple):
    """What of a geom's record decides its shadow, in tuples: a loop over pixels keeps them in registers."""

    half: Vector
    radius: float
    reach: float
    centre: Vector
    axes: Any  # rows, as the following
    light: Any
    tilted: Any
    outline: Any


@kernel
def body(geom):
    return Body(
        vector(geom.half),
        geom.radius,
        geom.reach,
        vector(geom.centre),
        _rows(geom.axes),
        _rows(geom.light),
        _rows(geom.tilted),
        _edges(geom.outline),
    )


@kernel
def _rows(m):
    return (m[0, 0], m[0, 1], m[0, 2]), (m[1, 0], m[1, 1], m[1, 2]), (m[2, 0], m[2, 1], m[2, 2])


@kernel
def _edges(m):
    return (
        (m[0, 0], m[0, 1], m[0, 2], m[0, 3], m[0, 4], m[0, 5]),
        (m[1, 0], m[1, 1], m[1, 2], m[1, 3], m[1, 4], m[1, 5]),
        (m[2, 0], m[2, 1], m[2, 2], m[2, 3], m[2, 4], m[2, 5]),
    )


@kernel
def hidden_by_edge(q):
    """Part of a unit disc behind a straight edge at signed distance q from its centre (a cubic fit)."""
    q = max(-1.0, min(1.0, q))
    return 0.5 - q * (3 - q * q) / 4


@kernel
def shadow(kind, geom, d, spread, blur):
    """Part of the sun that a geom hides from the point at d from its centre; no penumbra is narrower than `blur`."""
    z = dot(geom.light[2], d)
    if z >= geom.radius:
        return 0.0
    x, y = dot(geom.light[0], d), dot(geom.light[1], d)
    margin = geom.radius + spread * (geom.radius - z) + blur
    if x * x + y * y >= margin * margin:
        return 0.0
    if kind == BOX:
        return _shadow_box(geom, d, (x, y, z), spread, blur)
    if kind == SPHERE:
        if z >= 0:
            return 0.0
        width, r = max(-z * spread, blur), geom.half[0]
        return hidden_by_edge((math.sqrt(x * x + y * y) - r) / width) * min(1.0, (r / width) ** 2)
    return _shadow_round(kind, geom.half, geom.tilted[2][1], geom.tilted[2][2], (x, y, z), spread, blur)


@kernel
def _shadow_box(geom, d, at, spread, blur):
    hidden, inside, beyond = 1.0, True, False
    for k in range(3):
        outline, tilted, half = geom.outline[k], geom.tilted[k], geom.half[k]
        flat = tilted[0] * tilted[0] + tilted[1] * tilted[1]
        beside = outline[0] * at[0] + outline[1] * at[1]
        sign = math.copysign(1.0, beside)
        u = (at[0] - sign * outline[3]) * tilted[0] + (at[1] - sign * outline[4]) * tilted[1]
        u = max(-half, min(half, u / max(flat, 1e-12)))
        ahead = sign * outline[5] + u * tilted[2] - at[2]
        near, far = abs(beside) - outline[2], abs(beside) + outline[2]
        inverse = 1 / max(ahead * spread, blur)
        part = hidden_by_edge(near * inverse) - hidden_by_edge(far * inverse)
        part = 0.0 if (near > 0) & (ahead <= 0) else part
        hidden *= 1.0 if flat < 1e-12 else part
        inside = inside & ((near <= 0) | (flat < 1e-12))
        beyond = beyond | (dot(geom.axes[k], d) * math.copysign(1.0, tilted[2]) >= half)
    # On the sunny side of a sunny face nothing is hidden.
    return 0.0 if inside & beyond else max(hidden, 0.0)


@kernel
def _shadow_round(kind, half, axis_y, axis_z, at, spread, blur):
    """Capsule and cylinder: their axis lies along (0, axis_y, axis_z) in light space."""
    r, h = half[0], half[1]
    u = max(-h, min(h, at[1] / math.copysign(max(abs(axis_y), 1e-9), axis_y)))
    ahead = u * axis_z - at[2]
    x, y = abs(at[0]), abs(at[1]) - abs(axis_y) * h
    if kind == CYLINDER:
        return _shadow_cylinder(r, h, axis_y, axis_z, at, x, y, ahead, spread, blur)
    if ahead <= 0:
        return 0.0
    width = max(ahead * spread, blur)
    return hidden_by_edge(((x if y <= 0 else math.sqrt(x * x + y * y)) - r) / width) * min(1.0, r / width)


@kernel
def _shadow_cylinder(r, h, axis_y, axis_z, at, x, y, ahead, spread, blur):
    """Straight sides |x| = r that end, from y = 0, in half an ellipse: a cap as the sun sees it."""
    b = max(r * abs(axis_z), 1e-6)
    cap = y - b
    if y > 0:
        p, q = x / r, y / b
        scaled = math.sqrt(p * p + q * q)
        apart = scaled * (scaled - 1) / math.sqrt((p / r) ** 2 + (q / b) ** 2)
        cap = apart if scaled > 1 else max(cap, apart)
        # The rim is not as deep as the end of the axis.
        rim = axis_y * math.sqrt(max(r * r - x * x, 0.0))
        ahead -= math.copysign(1.0, at[1]) * math.copysign(1.0, axis_z) * rim
    if ahead <= 0 if x > r or cap > 0 else _leaves_cylinder(r, h, axis_y, axis_z, at):
        return 0.0
    width = max(ahead * spread, blur)
    side = hidden_by_edge((x - r) / width) - hidden_by_edge((x + r) / width)
    if y > 0:  # a flat cap makes corners with the sides, a round one goes on from them
        side += min(1.0, b / width) * (1 - side)
    return side * hidden_by_edge(cap / width)


@kernel
def _leaves_cylinder(r, h, axis_y, axis_z, at):
    """Whether a point is beyond a sunny face, so that the way to the sun leads off the cylinder."""
    s = at[1] * axis_y + at[2] * axis_z
    if s * math.copysign(1.0, axis_z) >= h:
        return True
    y, z = at[1] - s * axis_y, at[2] - s * axis_z
    return z > 0 and at[0] * at[0] + y * y + z * z >= r * r


@kernel
def _distance(kind, half, x, y, z):
    """Signed distance from a local point to a geom."""
    if kind == SPHERE:
        return math.sqrt(x * x + y * y + z * z) - half[0]
    if kind == BOX:
        x, y, z = abs(x) - half[0], abs(y) - half[1], abs(z) - half[2]
        outside = math.sqrt(max(x, 0.0) ** 2 + max(y, 0.0) ** 2 + max(z, 0.0) ** 2)
        return outside + min(max(x, max(y, z)), 0.0)
    if kind == CAPSULE:
        z -= max(-half[1], min(half[1], z))
        return math.sqrt(x * x + y * y + z * z) - half[0]
    x, z = math.sqrt(x * x + y * y) - half[0], abs(z) - half[1]
    return math.sqrt(max(x, 0.0) ** 2 + max(z, 0.0) ** 2) + min(max(x, z), 0.0)


@kernel
def occlusion(kind, geom, d, n):
    """Part of the hemisphere around n that a geom takes from the point at d from its centre.

    Estimated from the free distance around three points above it: a wall beside it takes half, a roof on it everything.
    """
    margin = geom.radius + AURA * geom.reach
    if dot(d, d) >= margin * margin:
        return 0.0
    q, m = turn(geom.axes, d), turn(geom.axes, n)
    low = _taken(kind, geom.half, q, m, 0.12 * geom.reach)
    middle = _taken(kind, geom.half, q, m, 0.35 * geom.reach)
    return (low + middle + _taken(kind, geom.half, q, m, 0.8 * geom.reach)) / 3


@kernel
def _taken(kind, half, q, m, step):
    free = _distance(kind, half, q[0] + step * m[0], q[1] + step * m[1], q[2] + step * m[2])
    return smoothstep(0.5 - 0.5 * free / step)


@kernel
def smoothstep(x):
    x = max(0.0, min(1.0, x))
    return x * x * (3 - 2 * x)
