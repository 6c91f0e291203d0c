"""Where rays meet spheres, boxes, cylinders and capsules.

`kernel` and `procedure` compile what the one entry, `drawing.film_kernel`, calls.
"""

# Kernels take what numba compiles them for; their types are the records of `render.py`.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, SPHERE

Vector = tuple[float, float, float]

# Not nnan, ninf: the backdrop's depth is inf. No reference counting (`_nrt`): kernels allocate nothing, and counting
# took a third of the time.
OPTIONS: dict[str, Any] = {
    "_nrt": False,
    "no_cfunc_wrapper": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "arcp", "contract", "reassoc", "afn"},
}
_njit: Any = njit  # numba's own types leave some options out

# Without entries from Python, which took a third of the time to compile. Loops become vectors where all that they call
# is inlined; what a `procedure` calls for single pixels is too large for that.
kernel: Any = _njit(**OPTIONS, no_cpython_wrapper=True, forceinline=True)
procedure: Any = _njit(**OPTIONS, no_cpython_wrapper=True)


class View(NamedTuple):
    """A record of rays in tuples: kernels keep it in registers. The ray of pixel (x, y) has depth 1."""

    origin: Vector
    corner: Vector
    right: Vector
    down: Vector
    pixel: float


@kernel
def vector(v):
    return v[0], v[1], v[2]


@kernel
def view(rays):
    return View(vector(rays.origin), vector(rays.corner), vector(rays.right), vector(rays.down), rays.pixel)


@kernel
def dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@kernel
def turn(m, v):
    return dot(m[0], v), dot(m[1], v), dot(m[2], v)


@kernel
def ray(view, x, y):
    corner, right, down = view.corner, view.right, view.down
    return (
        corner[0] + x * right[0] + y * down[0],
        corner[1] + x * right[1] + y * down[1],
        corner[2] + x * right[2] + y * down[2],
    )


@kernel
def hit(kind, half, o, d):
    """Where the ray o + t d (local) enters a geom, and by which face; t is inf where it does not."""
    if kind == BOX:
        return _hit_box(half, o, d)
    if kind == SPHERE:
        return _hit_ball(half[0], o, d), 0
    if kind == CYLINDER:
        return _hit_cylinder(half, o, d)
    return _hit_capsule(half, o, d), 0


@kernel
def _hit_ball(r, o, d):
    a, b, c = dot(d, d), dot(o, d), dot(o, o) - r * r
    square = b * b - a * c
    if square < 0 or c < 0 or b >= 0:
        return np.inf
    return (-b - math.sqrt(square)) / a


@kernel
def _hit_box(half, o, d):
    enter, leave, face = -np.inf, np.inf, 0
    for k in range(3):
        inverse = 1.0 / d[k]
        middle, reach = -o[k] * inverse, half[k] * abs(inverse)
        leave = min(leave, middle + reach)
        if middle - reach > enter:
            enter, face = middle - reach, 2 * k + (1 if d[k] < 0 else 0)
    if enter <= 0 or enter > leave:
        return np.inf, 0
    return enter, face


@kernel
def _hit_cylinder(half, o, d):
    """Faces: 0 the round side, 1 the bottom, 2 the top."""
    r, h = half[0], half[1]
    a, b, c = d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - r * r
    square = b * b - a * c
    if square < 0:
        return np.inf, 0
    root, inverse = math.sqrt(square), 1.0 / d[2]
    side, cap = (-b - root) / a, (-o[2] - math.copysign(h, d[2])) * inverse
    enter = max(side, cap)
    if enter <= 0 or enter > min((-b + root) / a, (-o[2] + math.copysign(h, d[2])) * inverse):
        return np.inf, 0
    if side >= cap:
        return side, 0
    return cap, 2 if d[2] < 0 else 1


@kernel
def _hit_capsule(half, o, d):
    r, h = half[0], half[1]
    a, b, c = d[0] * d[0] + d[1] * d[1], o[0] * d[0] + o[1] * d[1], o[0] * o[0] + o[1] * o[1] - r * r
    square = b * b - a * c
    if square < 0:
        return np.inf
    side = (-b - math.sqrt(square)) / a
    z = o[2] + side * d[2]
    if abs(z) <= h:
        return side if side > 0 else np.inf
    return _hit_ball(r, (o[0], o[1], o[2] - math.copysign(h, z)), d)


@kernel
def normal(kind, half, face, q):
    """Outward unit normal (local) at q on the surface."""
    if kind == BOX:
        sign = 1.0 if face & 1 else -1.0
        axis = face >> 1
        return (sign if axis == 0 else 0.0), (sign if axis == 1 else 0.0), (sign if axis == 2 else 0.0)
    if kind == CYLINDER and face > 0:
        return 0.0, 0.0, (1.0 if face == 2 else -1.0)
    inverse = 1.0 / half[0]
    if kind == SPHERE:
        return q[0] * inverse, q[1] * inverse, q[2] * inverse
    z = 0.0 if kind == CYLINDER else q[2] - max(-half[1], min(half[1], q[2]))
    return q[0] * inverse, q[1] * inverse, z * inverse


@kernel
def _span(x, z, r, corner, step, count):
    """Pixels [first, last) between the tangents to a circle at (x, z), where pixel i looks at slope corner + i step."""
    if z <= r:
        return 0, (count if z > -r else 0)
    root = r * math.sqrt(x * x + z * z - r * r)
    low, high = (x * z - root) / (z * z - r * r), (x * z + root) / (z * z - r * r)
    first, last = math.ceil((low - corner) / step), math.floor((high - corner) / step) + 1
    return max(0, min(count, int(max(first, -1.0)))), max(0, min(count, int(min(last, count + 1.0))))


@kernel
def window(view, c, radius, height, width):
    """First and last (excluded) row, then column, of the pixels whose centre rays may meet the sphere around c."""
    to = (c[0] - view.origin[0], c[1] - view.origin[1], c[2] - view.origin[2])
    step_x, step_y = math.sqrt(dot(view.right, view.right)), math.sqrt(dot(view.down, view.down))
    x, y = dot(view.right, to) / step_x, dot(view.down, to) / step_y
    forward_x, forward_y = dot(view.corner, view.right) / step_x, dot(view.corner, view.down) / step_y
    z = dot(view.corner, to) - forward_x * x - forward_y * y
    left, right = _span(x, z, radius, forward_x, step_x, width)
    top, bottom = _span(y, z, radius, forward_y, step_y, height)
    return top, bottom, left, right


@kernel
def _cast_window(kind, geom, tag, window, what, depth):
    covered = 0
    half, eye, right = vector(geom.half), vector(geom.eye), vector(geom.right)
    for y in range(window[0], window[1]):
        row = ray(geom, 0, y)
        for x in range(window[2], window[3]):
            t, face = hit(kind, half, eye, (row[0] + x * right[0], row[1] + x * right[1], row[2] + x * right[2]))
            if t < np.inf:
                covered += 1
                if t < depth[y, x]:
                    depth[y, x] = t
                    what[y, x] = tag + face
    return covered


@kernel
def cast(scene, windows, what, depth, area):
    """Depth and what each centre ray meets (8 (geom + 1) + face); `area`: the pixels each geom would have alone.

    Meshes are not cast here.
    """
    for i in range(len(scene)):
        geom, tag = scene[i], 8 * (i + 1)
        if geom.kind == BOX:
            area[i] = _cast_window(BOX, geom, tag, windows[i], what, depth)
        elif geom.kind == SPHERE:
            area[i] = _cast_window(SPHERE, geom, tag, windows[i], what, depth)
        elif geom.kind == CYLINDER:
            area[i] = _cast_window(CYLINDER, geom, tag, windows[i], what, depth)
        elif geom.kind == CAPSULE:
            area[i] = _cast_window(CAPSULE, geom, tag, windows[i], what, depth)
