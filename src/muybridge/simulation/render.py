"""Pictures of Geoms on a ground plane, and the truth about their pixels: a ray caster of convex primitives.

Three passes a frame. *Cast*: the ground for every pixel, then each geom where its bounding sphere is seen. *Shade*: the
centre ray of every pixel. *Smooth*: pixels on an edge are the mean of several rays. There is no noise anywhere: shadows
and ambient occlusion are closed forms, so pictures are smooth, and the same input gives the same bytes.

Seen along the direction of the sun every primitive is a flat silhouette: disc, stadium, cylinder's outline, hexagon.
How much of the round sun it hides at a point follows from the signed distance to that outline over the width of the
penumbra there, which grows with the distance to the edge that casts it: shadows are sharp at a contact and soften away
from it.

All kernels stand in this one file because numba's cache looks at the file of the function it compiles only.
"""

# Kernels take what numba compiles them for; their types are the records below.
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator"

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numba import njit

from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, SPHERE, Camera, Geoms, Look, Rendered

PATTERNS = ("plain", "checker", "stripes", "rings")

# Not nnan, ninf: the backdrop's depth is inf. _nrt=False: no reference counting (kernels allocate nothing), which took
# a third of the time.
_kernel: Any = njit(  # type: ignore[call-overload]
    cache=True, _nrt=False, error_model="numpy", fastmath={"nsz", "arcp", "contract", "reassoc", "afn"}
)

# What a pixel's centre ray meets: 8 (geom + 1) + face, or this; the backdrop is where the ground's depth is inf.
_GROUND = 0

# Where an edge pixel's rays pass: an eight-rooks pattern, pixels from the centre.
_ROOKS = (np.array([[1, 5], [7, 3], [3, 9], [9, 11], [5, 15], [15, 7], [11, 1], [13, 13]]) - 8) / 16.0

_HALF_PIXEL = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_TILE = 8
_AURA = 1.6  # a geom takes sky within this many times its reach of its bounding sphere
_SHINE = 0.045  # share of light that a surface mirrors: matte plastic
_LEVELS, _BRIGHTEST = 16384, 4.0  # of the tone curve's table

# Records, because numba reads their fields through a bare pointer; views of arrays would be counted in every loop.
_VECTOR, _MATRIX = (np.float64, 3), (np.float64, (3, 3))
_GEOM = np.dtype(
    [
        ("kind", np.int64),
        ("half", *_VECTOR),  # the sizes
        ("albedo", *_VECTOR),
        ("reach", np.float64),  # metres over which it darkens what is near
        ("radius", np.float64),  # of the bounding sphere
        ("centre", *_VECTOR),
        ("axes", *_MATRIX),  # world to local
        ("light", *_MATRIX),  # world to light space: x across the geom's axis, z towards the sun
        ("tilted", *_MATRIX),  # the geom's axes (rows) in light space
        ("eye", *_VECTOR),  # the camera, local
        ("corner", *_VECTOR),  # rays, local: corner + x * right + y * down
        ("right", *_VECTOR),
        ("down", *_VECTOR),
        (
            "outline",
            np.float64,
            (3, 6),
        ),  # boxes: of the edge along each axis, outward (x, y), its offset, an edge's centre
    ]
)
# Pinhole rays: from `origin` along corner + x * right + y * down, which has depth 1.
_RAYS = np.dtype(
    [("origin", *_VECTOR), ("corner", *_VECTOR), ("right", *_VECTOR), ("down", *_VECTOR), ("pixel", np.float64)]
)
# Pixel (x, y) at depth z is seen at (to @ (z x, z y, z) + shift) of the next frame, homogeneous.
_MOTION = np.dtype([("to", *_MATRIX), ("shift", *_VECTOR)])
_STUDIO = np.dtype(
    [
        ("sun", *_VECTOR),
        ("spread", np.float64),  # tangent of the sun's radius
        ("sun_color", *_VECTOR),
        ("sky", *_VECTOR),
        ("bounce", *_VECTOR),
        ("ground", np.float64, (2, 3)),
        ("pattern", np.int64),
        ("scale", np.float64),
        ("backdrop", np.float64, (2, 3)),
        ("fade_start", np.float64),
        ("fade_end", np.float64),
    ]
)


def render(geoms: Geoms, camera: Camera, look: Look, height: int, width: int) -> Rendered:
    """Frames of `height` x `width` pixels as the camera sees them, with depth, flow, instances and normals.

    The ground is seen from above only; a geom that holds the camera inside is not seen. Flow is nan where the point
    lies beside or behind the camera of the next frame. Raises ValueError where the arrays disagree about frames or
    geoms, a name or kind is unknown, a camera is not above the ground or its intrinsics have skew.
    """
    _check(geoms, camera, look, height, width)
    frames, count = geoms.position.shape[:2]
    rays = _rays(camera)
    scene, studio = _scene(geoms, look, rays), _studio(look)
    rgb = np.empty((frames, height, width, 3), np.uint8)
    depth = np.empty((frames, height, width), np.float32)
    flow = np.empty((max(frames - 1, 0), height, width, 2), np.float32)
    instance = np.empty((frames, height, width), np.uint8)
    normal = np.empty((frames, height, width, 3), np.float32)
    area = np.zeros((frames, count), np.int32)
    visible = np.zeros((frames, count), np.int32)
    _render(
        scene,
        rays,
        studio,
        _tone_curve(),
        _ROOKS,
        *_buffers(count, height, width),
        rgb,
        depth,
        instance,
        normal,
        area,
        visible,
    )
    _flow(_motions(geoms, camera), depth, instance, flow)
    return Rendered(rgb, depth, flow, instance, normal, area, visible)


# --- preparation: numpy, all frames at once ---------------------------------------------------------------------------


def _check(geoms: Geoms, camera: Camera, look: Look, height: int, width: int) -> None:
    frames, count = geoms.position.shape[:2]
    if height < 1 or width < 1:
        raise ValueError(f"a picture of {height} x {width} pixels has nothing to show: ask for at least 1 x 1")
    if count > 254:
        raise ValueError(f"the scene has {count} geoms, instances are 8 bits wide: keep to 254")
    if not len(geoms.kind) == len(geoms.size) == len(geoms.albedo) == geoms.rotation.shape[1] == count:
        raise ValueError(
            f"the geoms' arrays disagree about how many there are ({len(geoms.kind)} kinds, {count} positions)"
        )
    if not len(geoms.rotation) == len(camera.pose) == len(camera.intrinsics) == frames:
        raise ValueError(f"geoms have {frames} frames, the camera {len(camera.pose)}: give as many poses as positions")
    unknown = sorted(set(geoms.kind.tolist()) - {SPHERE, CAPSULE, CYLINDER, BOX})
    if unknown:
        raise ValueError(f"geom kinds {unknown} cannot be rendered: use sphere, capsule, cylinder or box")
    if look.pattern not in PATTERNS:
        raise ValueError(f"ground pattern {look.pattern!r} is unknown: use one of {', '.join(PATTERNS)}")
    if abs(np.linalg.norm(look.sun) - 1) > 1e-3:
        raise ValueError(f"the look's sun has length {np.linalg.norm(look.sun):.3f}: make it a unit vector")
    if frames and camera.pose[:, 2, 3].min() <= 0:
        raise ValueError("a camera is on or under the ground (z <= 0): lift it")
    if np.any(camera.intrinsics[:, 0, 1]):
        raise ValueError("the camera's intrinsics have skew: set entry (0, 1) to 0")


def _bounds(kind: np.ndarray, size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Radius of the bounding sphere and mean half extent of each geom."""
    r, h = size[:, 0], size[:, 1]
    box, cylinder, capsule = kind == BOX, kind == CYLINDER, kind == CAPSULE
    radius = np.select([box, cylinder, capsule], [np.linalg.norm(size, axis=1), np.hypot(r, h), r + h], r)
    reach = np.select([box, cylinder, capsule], [size.mean(axis=1), (2 * r + h) / 3, (3 * r + h) / 3], r)
    return radius, reach


def _scene(geoms: Geoms, look: Look, rays: np.ndarray) -> np.ndarray:
    """Records of geoms, (t, n)."""
    size = geoms.size.astype(np.float64)
    scene = np.zeros(geoms.position.shape[:2], _GEOM)
    scene["kind"], scene["half"], scene["albedo"] = geoms.kind, size, geoms.albedo
    scene["radius"], scene["reach"] = _bounds(geoms.kind, size)
    scene["centre"] = geoms.position
    scene["axes"] = np.swapaxes(geoms.rotation, -1, -2)
    scene["eye"] = np.einsum("tnij,tnj->tni", scene["axes"], rays["origin"][:, None] - scene["centre"])
    for name in ("corner", "right", "down"):
        scene[name] = np.einsum("tnij,tj->tni", scene["axes"], rays[name])
    scene["light"] = _light_space(scene["axes"][:, :, 2], np.asarray(look.sun, np.float64))
    scene["tilted"] = np.einsum("tnkc,tnlc->tnkl", scene["axes"], scene["light"])
    scene["outline"] = _outline(scene["tilted"], size)
    return scene


def _light_space(axis: Float[np.ndarray, "t n 3"], sun: Float[np.ndarray, "3"]) -> Float[np.ndarray, "t n 3 3"]:
    """Rows: across `axis` and the sun, along `axis` as the sun sees it, towards the sun."""
    across = np.cross(axis, sun)
    length = np.linalg.norm(across, axis=-1, keepdims=True)
    spare = np.cross(sun, np.eye(3)[np.argmin(np.abs(sun))])
    across = np.where(length > 1e-9, across / np.maximum(length, 1e-9), spare / np.linalg.norm(spare))
    towards = np.broadcast_to(sun, across.shape)
    return np.ascontiguousarray(np.stack([across, np.cross(towards, across), towards], axis=-2))


def _outline(tilted: Float[np.ndarray, "t n 3 3"], half: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "t n 3 6"]:
    """The hexagon that a box is to the sun: a pair of opposite edges along each of its axes."""
    x, y = tilted[..., 0], tilted[..., 1]
    length = np.maximum(np.hypot(x, y), 1e-9)
    outward = np.stack([-y / length, x / length], axis=-1)
    side = np.einsum("tnkc,tnjc->tnkj", outward, tilted[..., :2]) * (1 - np.eye(3))
    offset = np.einsum("tnkj,nj->tnk", np.abs(side), half)
    offset = np.where(np.hypot(x, y) < 1e-6, 1e9, offset)
    corner = np.einsum("tnkj,nj,tnjc->tnkc", np.sign(side), half, tilted)
    return np.ascontiguousarray(np.concatenate([outward, offset[..., None], corner], axis=-1))


def _rays(camera: Camera) -> np.ndarray:
    """Records of rays, (t,)."""
    rotation = camera.pose[:, :3, :3].astype(np.float64)
    focal = np.stack([camera.intrinsics[:, 0, 0], camera.intrinsics[:, 1, 1]], axis=-1).astype(np.float64)
    first = (0.5 - camera.intrinsics[:, :2, 2]) / focal
    rays = np.zeros(len(rotation), _RAYS)
    rays["origin"] = camera.pose[:, :3, 3]
    rays["corner"] = np.einsum("tij,tj->ti", rotation, np.concatenate([first, np.ones((len(first), 1))], axis=-1))
    rays["right"], rays["down"] = rotation[:, :, 0] / focal[:, :1], rotation[:, :, 1] / focal[:, 1:]
    rays["pixel"] = 1 / focal.min(axis=-1)
    return rays


def _studio(look: Look) -> np.ndarray:
    """One record of a Look, (1,)."""
    studio = np.zeros(1, _STUDIO)
    studio["sun"], studio["spread"], studio["sun_color"] = look.sun, math.tan(look.sun_radius), look.sun_color
    studio["sky"], studio["bounce"], studio["ground"] = look.sky_color, look.bounce_color, look.ground
    studio["pattern"], studio["scale"] = PATTERNS.index(look.pattern), look.pattern_scale
    studio["backdrop"], studio["fade_start"], studio["fade_end"] = look.backdrop, look.fade_start, look.fade_end
    return studio


def _motions(geoms: Geoms, camera: Camera) -> np.ndarray:
    """Records of the ground's motion (first) and each geom's, (t - 1, n + 1)."""
    pose, intrinsics = camera.pose.astype(np.float64), camera.intrinsics.astype(np.float64)
    now, then = geoms.rotation[:-1], geoms.rotation[1:]
    turn = np.einsum("tnij,tnkj->tnik", then, now)
    moves = np.zeros((len(turn), 1 + turn.shape[1], 4, 4))
    moves[:] = np.eye(4)
    moves[:, 1:, :3, :3] = turn
    moves[:, 1:, :3, 3] = geoms.position[1:] - np.einsum("tnij,tnj->tni", turn, geoms.position[:-1])
    seen = (intrinsics[1:] @ np.linalg.inv(pose[1:])[:, :3])[:, None] @ moves @ pose[:-1, None]
    motions = np.zeros(moves.shape[:2], _MOTION)
    motions["to"] = seen[..., :3] @ (np.linalg.inv(intrinsics[:-1]) @ _HALF_PIXEL)[:, None]
    motions["shift"] = seen[..., 3]
    return motions


def _buffers(count: int, height: int, width: int) -> tuple[Any, ...]:
    """Room for what the kernels pass on: what, z, light, near, windows."""
    patches = -(-height // _TILE) * -(-width // _TILE) + count
    near = np.zeros((2, patches, 1 + count), np.int64)
    what, z = np.zeros((height, width), np.int32), np.zeros((height, width))
    return what, z, np.zeros((height, width, 3), np.float32), near, np.zeros((count, 4), np.int64)


def _tone_curve() -> np.ndarray:
    """Linear light, evenly spaced from 0 to _BRIGHTEST, in sRGB (IEC 61966-2-1); above 0.6 a soft shoulder."""
    light = np.linspace(0.0, _BRIGHTEST, _LEVELS)
    knee = 0.6
    rolled = np.where(light < knee, light, 1 - (1 - knee) * np.exp(-(light - knee) / (1 - knee)))
    coded = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * np.maximum(rolled, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * coded + 0.5).astype(np.uint8)


# --- casting ----------------------------------------------------------------------------------------------------------


@_kernel
def _dot(a, b):
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@_kernel
def _turn(m, v):
    return (
        m[0, 0] * v[0] + m[0, 1] * v[1] + m[0, 2] * v[2],
        m[1, 0] * v[0] + m[1, 1] * v[1] + m[1, 2] * v[2],
        m[2, 0] * v[0] + m[2, 1] * v[1] + m[2, 2] * v[2],
    )


@_kernel
def _ray(rays, x, y):
    return (
        rays.corner[0] + x * rays.right[0] + y * rays.down[0],
        rays.corner[1] + x * rays.right[1] + y * rays.down[1],
        rays.corner[2] + x * rays.right[2] + y * rays.down[2],
    )


@_kernel
def _hit(kind, half, o, d):
    """Where the ray o + t d (local) enters a geom, and by which face; t is inf where it does not."""
    if kind == BOX:
        return _hit_box(half, o, d)
    if kind == SPHERE:
        return _hit_ball(half[0], o, d), 0
    if kind == CYLINDER:
        return _hit_cylinder(half, o, d)
    return _hit_capsule(half, o, d), 0


@_kernel
def _hit_ball(r, o, d):
    a, b, c = _dot(d, d), _dot(o, d), _dot(o, o) - r * r
    square = b * b - a * c
    if square < 0 or c < 0 or b >= 0:
        return np.inf
    return (-b - math.sqrt(square)) / a


@_kernel
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


@_kernel
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


@_kernel
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


@_kernel
def _normal(kind, half, face, q):
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


@_kernel
def _span(x, z, r, corner, step, count):
    """Pixels [first, last) between the tangents to a circle at (x, z), where pixel i looks at slope corner + i step."""
    if z <= r:
        return 0, (count if z > -r else 0)
    root = r * math.sqrt(x * x + z * z - r * r)
    low, high = (x * z - root) / (z * z - r * r), (x * z + root) / (z * z - r * r)
    first, last = math.ceil((low - corner) / step), math.floor((high - corner) / step) + 1
    return max(0, min(count, int(max(first, -1.0)))), max(0, min(count, int(min(last, count + 1.0))))


@_kernel
def _window(rays, c, radius, height, width):
    """First and last (excluded) row, then column, of the pixels whose centre rays may meet the sphere around c."""
    to = (c[0] - rays.origin[0], c[1] - rays.origin[1], c[2] - rays.origin[2])
    step_x, step_y = math.sqrt(_dot(rays.right, rays.right)), math.sqrt(_dot(rays.down, rays.down))
    x, y = _dot(rays.right, to) / step_x, _dot(rays.down, to) / step_y
    forward_x, forward_y = _dot(rays.corner, rays.right) / step_x, _dot(rays.corner, rays.down) / step_y
    z = _dot(rays.corner, to) - forward_x * x - forward_y * y
    left, right = _span(x, z, radius, forward_x, step_x, width)
    top, bottom = _span(y, z, radius, forward_y, step_y, height)
    return top, bottom, left, right


@_kernel
def _cast(scene, rays, windows, what, depth, area):
    """Depth and what each centre ray meets; `area` counts the pixels each geom would have alone."""
    height, width = depth.shape
    for y in range(height):
        for x in range(width):
            dz = rays.corner[2] + x * rays.right[2] + y * rays.down[2]
            what[y, x] = _GROUND
            depth[y, x] = -rays.origin[2] / dz if dz < 0 else np.inf
    for i in range(len(scene)):
        geom = scene[i]
        kind, half, eye, right = geom.kind, geom.half, geom.eye, geom.right
        covered = 0
        for y in range(windows[i, 0], windows[i, 1]):
            row = _ray(geom, 0, y)
            for x in range(windows[i, 2], windows[i, 3]):
                t, face = _hit(kind, half, eye, (row[0] + x * right[0], row[1] + x * right[1], row[2] + x * right[2]))
                if t < np.inf:
                    covered += 1
                    if t < depth[y, x]:
                        depth[y, x] = t
                        what[y, x] = 8 * (i + 1) + face
        area[i] = covered


@_kernel
def _cast_one(scene, rays, windows, x, y, shift_x, shift_y):
    """Depth and what a ray beside the centre of pixel (x, y) meets."""
    dz = rays.corner[2] + (x + shift_x) * rays.right[2] + (y + shift_y) * rays.down[2]
    nearest, what = (-rays.origin[2] / dz if dz < 0 else np.inf), _GROUND
    for i in range(len(scene)):
        if windows[i, 0] <= y + 1 and y <= windows[i, 1] and windows[i, 2] <= x + 1 and x <= windows[i, 3]:
            geom = scene[i]
            t, face = _hit(geom.kind, geom.half, geom.eye, _ray(geom, x + shift_x, y + shift_y))
            if t < nearest:
                nearest, what = t, 8 * (i + 1) + face
    return nearest, what


# --- light ------------------------------------------------------------------------------------------------------------


@_kernel
def _hidden(q):
    """Part of a unit disc behind a straight edge at signed distance q from its centre (a cubic fit)."""
    if q <= -1:
        return 1.0
    if q >= 1:
        return 0.0
    return 0.5 - q * (3 - q * q) / 4


@_kernel
def _shadow(geom, d, spread, blur):
    """Part of the sun that a geom hides from the point at d from its centre; no penumbra is narrower than `blur`."""
    light = geom.light
    z = _dot(light[2], d)
    radius = geom.radius
    if z >= radius:
        return 0.0
    x, y = _dot(light[0], d), _dot(light[1], d)
    margin = radius + spread * (radius - z) + blur
    if x * x + y * y >= margin * margin:
        return 0.0
    kind = geom.kind
    if kind == BOX:
        return _shadow_box(geom, d, (x, y, z), spread, blur)
    if kind == SPHERE:
        if z >= 0:
            return 0.0
        width, r = max(-z * spread, blur), geom.half[0]
        return _hidden((math.sqrt(x * x + y * y) - r) / width) * min(1.0, (r / width) ** 2)
    return _shadow_round(kind, geom.half, geom.tilted[2, 1], geom.tilted[2, 2], (x, y, z), spread, blur)


@_kernel
def _shadow_box(geom, d, at, spread, blur):
    half, outline, tilted = geom.half, geom.outline, geom.tilted
    hidden, inside = 1.0, True
    for k in range(3):
        flat = tilted[k, 0] * tilted[k, 0] + tilted[k, 1] * tilted[k, 1]
        if flat < 1e-12:
            continue
        beside = outline[k, 0] * at[0] + outline[k, 1] * at[1]
        sign = math.copysign(1.0, beside)
        u = (at[0] - sign * outline[k, 3]) * tilted[k, 0] + (at[1] - sign * outline[k, 4]) * tilted[k, 1]
        u = max(-half[k], min(half[k], u / flat))
        ahead = sign * outline[k, 5] + u * tilted[k, 2] - at[2]
        near, far = abs(beside) - outline[k, 2], abs(beside) + outline[k, 2]
        if near > 0 and ahead <= 0:
            return 0.0
        inverse = 1 / max(ahead * spread, blur)
        hidden *= _hidden(near * inverse) - _hidden(far * inverse)
        if hidden <= 0:
            return 0.0
        inside = inside and near <= 0
    if inside:
        for k in range(3):
            along = geom.axes[k, 0] * d[0] + geom.axes[k, 1] * d[1] + geom.axes[k, 2] * d[2]
            if along * math.copysign(1.0, tilted[k, 2]) >= half[k]:
                return 0.0  # on the sunny side of a sunny face
    return hidden


@_kernel
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
    return _hidden(((x if y <= 0 else math.sqrt(x * x + y * y)) - r) / width) * min(1.0, r / width)


@_kernel
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
    side = _hidden((x - r) / width) - _hidden((x + r) / width)
    if y > 0:  # a flat cap makes corners with the sides, a round one goes on from them
        side += min(1.0, b / width) * (1 - side)
    return side * _hidden(cap / width)


@_kernel
def _leaves_cylinder(r, h, axis_y, axis_z, at):
    """Whether a point is beyond a sunny face, so that the way to the sun leads off the cylinder."""
    s = at[1] * axis_y + at[2] * axis_z
    if s * math.copysign(1.0, axis_z) >= h:
        return True
    y, z = at[1] - s * axis_y, at[2] - s * axis_z
    return z > 0 and at[0] * at[0] + y * y + z * z >= r * r


@_kernel
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


@_kernel
def _occlusion(geom, d, n):
    """Part of the hemisphere around n that a geom takes from the point at d from its centre.

    Estimated from the free distance around three points above it: a wall beside it takes half, a roof on it everything.
    """
    reach = geom.reach
    margin = geom.radius + _AURA * reach
    if _dot(d, d) >= margin * margin:
        return 0.0
    q, m = _turn(geom.axes, d), _turn(geom.axes, n)
    total = 0.0
    for k in range(3):
        step = reach * (0.12 if k == 0 else 0.35 if k == 1 else 0.8)
        free = _distance(geom.kind, geom.half, q[0] + step * m[0], q[1] + step * m[1], q[2] + step * m[2])
        s = max(0.0, min(1.0, 0.5 - 0.5 * free / step))
        total += s * s * (3 - 2 * s)
    return total / 3


@_kernel
def _add(near, i):
    near[0] += 1
    near[near[0]] = i


@_kernel
def _add_tiles(near, window, columns, i):
    """Add geom i to the tiles that a window of pixels touches, with half a tile to spare."""
    half, rows = _TILE // 2, len(near) // columns
    for v in range(max(0, window[0] - half) // _TILE, min(rows, (window[1] + half) // _TILE + 1)):
        for u in range(max(0, window[2] - half) // _TILE, min(columns, (window[3] + half) // _TILE + 1)):
            _add(near[v * columns + u], i)


@_kernel
def _near_ground(scene, rays, studio, height, width, near):
    """Lists for each tile of ground who may take the sun (near[0]) or the sky (near[1]) from it: count, then geoms."""
    steep, columns = max(studio.sun[2], 0.02), -(-width // _TILE)
    tiles = columns * -(-height // _TILE)
    for i in range(len(scene)):
        geom = scene[i]
        c, away = geom.centre, geom.centre[2] / steep
        foot = (c[0] - away * studio.sun[0], c[1] - away * studio.sun[1], 0.0)
        radius = (geom.radius + studio.spread * (away + geom.radius / steep)) / steep
        _add_tiles(near[0, :tiles], _window(rays, foot, radius, height, width), columns, i)
        square = (geom.radius + _AURA * geom.reach) ** 2 - c[2] * c[2]
        if square > 0:
            _add_tiles(near[1, :tiles], _window(rays, (c[0], c[1], 0.0), math.sqrt(square), height, width), columns, i)


@_kernel
def _near_geoms(scene, studio, near):
    """The same for the surface of each geom, in the rows after the tiles'."""
    first = near.shape[1] - len(scene)
    for j in range(len(scene)):
        for i in range(len(scene)):
            if i == j:
                continue
            this, other = scene[j], scene[i]
            to = (other.centre[0] - this.centre[0], other.centre[1] - this.centre[1], other.centre[2] - this.centre[2])
            square, ahead, both = _dot(to, to), _dot(to, studio.sun), this.radius + other.radius
            beam = both + studio.spread * (ahead + both) + 0.05 * both
            if ahead > -both and square - ahead * ahead < beam * beam:
                _add(near[0, first + j], i)
            if square < (both + _AURA * other.reach) ** 2:
                _add(near[1, first + j], i)


@_kernel
def _sunlight(scene, studio, near, patch, p, blur):
    """Part of the sun that the geoms near a patch (tile of ground or geom) leave to its point p."""
    sun = 1.0
    for k in range(near[0, patch, 0]):
        geom = scene[near[0, patch, k + 1]]
        c = geom.centre
        sun *= 1 - _shadow(geom, (p[0] - c[0], p[1] - c[1], p[2] - c[2]), studio.spread, blur)
        if sun <= 0:
            return 0.0
    return sun


@_kernel
def _skylight(scene, near, patch, p, n):
    """Part of the sky that the geoms near a patch leave to its point p, and the colour with which they replace it."""
    sky, red, green, blue = 1.0, 0.0, 0.0, 0.0
    for k in range(near[1, patch, 0]):
        geom = scene[near[1, patch, k + 1]]
        c, albedo = geom.centre, geom.albedo
        taken = _occlusion(geom, (p[0] - c[0], p[1] - c[1], p[2] - c[2]), n)
        sky *= 1 - taken
        red, green, blue = red + taken * albedo[0], green + taken * albedo[1], blue + taken * albedo[2]
    return sky, (red, green, blue)


@_kernel
def _smoothstep(x):
    x = max(0.0, min(1.0, x))
    return x * x * (3 - 2 * x)


@_kernel
def _square_wave(x, width):
    """Mean over [x - width/2, x + width/2] of the wave of period 1 that is +1, then -1."""
    low, high = x - 0.5 * width, x + 0.5 * width
    low, high = abs(low - np.floor(low) - 0.5), abs(high - np.floor(high) - 0.5)
    return (low - high) / width


@_kernel
def _pattern(studio, rays, p, d):
    """Share of the ground's second albedo within the pixel, box-filtered over its footprint."""
    if studio.pattern == 0:
        return 0.0
    t, scale = -rays.origin[2] / d[2], 1 / studio.scale
    slide_x, slide_y = rays.right[2] / d[2], rays.down[2] / d[2]
    ux, uy = t * (rays.right[0] - slide_x * d[0]), t * (rays.right[1] - slide_x * d[1])
    vx, vy = t * (rays.down[0] - slide_y * d[0]), t * (rays.down[1] - slide_y * d[1])
    wide_x, wide_y = scale * (abs(ux) + abs(vx)) + 1e-6, scale * (abs(uy) + abs(vy)) + 1e-6
    if studio.pattern == 1:
        return 0.5 - 0.5 * _square_wave(p[0] * scale, wide_x) * _square_wave(p[1] * scale, wide_y)
    if studio.pattern == 2:
        return 0.5 - 0.5 * _square_wave(p[0] * scale, wide_x)
    r = math.sqrt(p[0] * p[0] + p[1] * p[1]) + 1e-9
    wide = scale * (abs(ux * p[0] + uy * p[1]) + abs(vx * p[0] + vy * p[1])) / r + 1e-6
    return 0.5 - 0.5 * _square_wave(r * scale, wide)


@_kernel
def _backdrop(studio, d):
    s = _smoothstep(d[2] / math.sqrt(_dot(d, d)) / 0.8)
    low, high = studio.backdrop[0], studio.backdrop[1]
    return low[0] + s * (high[0] - low[0]), low[1] + s * (high[1] - low[1]), low[2] + s * (high[2] - low[2])


@_kernel
def _shade_ground(scene, studio, rays, near, patch, d, t):
    """Matte ground in sun and sky, with a little of the colour of what stands near, that fades into the horizon."""
    low = studio.backdrop[0]
    far, fade = t * t * _dot(d, d), 0.0
    if far > studio.fade_start * studio.fade_start:
        fade = _smoothstep((math.sqrt(far) - studio.fade_start) / (studio.fade_end - studio.fade_start))
    if fade >= 1:
        return low[0], low[1], low[2]
    p = (rays.origin[0] + t * d[0], rays.origin[1] + t * d[1], 0.0)
    share = _pattern(studio, rays, p, d)
    sun = _sunlight(scene, studio, near, patch, p, t * rays.pixel)
    sky, glow = _skylight(scene, near, patch, p, (0.0, 0.0, 1.0))
    sun *= max(0.0, studio.sun[2])
    ground, color, ambient = studio.ground, studio.sun_color, studio.sky
    red = _mix(ground[0, 0], ground[1, 0], share) * (sun * color[0] + ambient[0] * (sky + 0.4 * glow[0]))
    green = _mix(ground[0, 1], ground[1, 1], share) * (sun * color[1] + ambient[1] * (sky + 0.4 * glow[1]))
    blue = _mix(ground[0, 2], ground[1, 2], share) * (sun * color[2] + ambient[2] * (sky + 0.4 * glow[2]))
    return _mix(red, low[0], fade), _mix(green, low[1], fade), _mix(blue, low[2], fade)


@_kernel
def _mix(a, b, s):
    return a + s * (b - a)


@_kernel
def _surface(geom, rays, face, d, t):
    """Point and unit normal (world) where the ray meets a geom."""
    p = (rays.origin[0] + t * d[0], rays.origin[1] + t * d[1], rays.origin[2] + t * d[2])
    c, axes = geom.centre, geom.axes
    q = _turn(axes, (p[0] - c[0], p[1] - c[1], p[2] - c[2]))
    m = _normal(geom.kind, geom.half, face, q)
    n = (
        axes[0, 0] * m[0] + axes[1, 0] * m[1] + axes[2, 0] * m[2],
        axes[0, 1] * m[0] + axes[1, 1] * m[1] + axes[2, 1] * m[2],
        axes[0, 2] * m[0] + axes[1, 2] * m[1] + axes[2, 2] * m[2],
    )
    return p, n


@_kernel
def _shade_geom(scene, studio, rays, near, patch, i, p, n, d, t):
    """Matte plastic in sun, sky and bounce."""
    geom = scene[i]
    facing = _dot(n, studio.sun)
    sun = _sunlight(scene, studio, near, patch, p, t * rays.pixel) if facing > -studio.spread else 0.0
    sky, glow = _skylight(scene, near, patch, p, n)
    soft = max(studio.spread, 0.02)
    lambert = facing if facing >= soft else max(0.0, facing + soft) ** 2 / (4 * soft)
    # A highlight after Blinn and Phong (exponent 32) and a sheen at grazing angles.
    inverse = 1 / math.sqrt(_dot(d, d))
    view = -_dot(n, d) * inverse
    h = (studio.sun[0] - d[0] * inverse, studio.sun[1] - d[1] * inverse, studio.sun[2] - d[2] * inverse)
    gloss = max(0.0, _dot(n, h)) ** 2 / _dot(h, h)
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
    return (
        red + shine * color[0] + rim * (s[0] * above + b[0] * below),
        green + shine * color[1] + rim * (s[1] * above + b[1] * below),
        blue + shine * color[2] + rim * (s[2] * above + b[2] * below),
    )


@_kernel
def _shade(scene, studio, rays, near, tile, what, d, t):
    """Linear light that comes back along ray d from what it meets, and the normal there."""
    if what == _GROUND:
        if t == np.inf:
            return _backdrop(studio, d), (0.0, 0.0, 0.0)
        return _shade_ground(scene, studio, rays, near, tile, d, t), (0.0, 0.0, 1.0)
    i = (what >> 3) - 1
    p, n = _surface(scene[i], rays, what & 7, d, t)
    return _shade_geom(scene, studio, rays, near, near.shape[1] - len(scene) + i, i, p, n, d, t), n


# --- frames -----------------------------------------------------------------------------------------------------------


@_kernel
def _on_edge(what, y, x):
    """Whether a neighbour shows another thing, or another face of it."""
    here, bottom, right = what[y, x], what.shape[0] - 1, what.shape[1] - 1
    return (
        (here != what[max(y - 1, 0), x])
        | (here != what[min(y + 1, bottom), x])
        | (here != what[y, max(x - 1, 0)])
        | (here != what[y, min(x + 1, right)])
    )


@_kernel
def _store(rgb, y, x, red, green, blue, curve):
    scale = (len(curve) - 1) / _BRIGHTEST
    rgb[y, x, 0] = curve[int(min(max(red, 0.0), _BRIGHTEST) * scale + 0.5)]
    rgb[y, x, 1] = curve[int(min(max(green, 0.0), _BRIGHTEST) * scale + 0.5)]
    rgb[y, x, 2] = curve[int(min(max(blue, 0.0), _BRIGHTEST) * scale + 0.5)]


@_kernel
def _tile(what, y, x):
    return (y // _TILE) * -(-what.shape[1] // _TILE) + x // _TILE


@_kernel
def _smooth(scene, studio, rays, windows, near, rooks, what, light, x, y):
    """Mean light over a pixel. A ray that meets what a centre ray next to it met takes the light of that."""
    red, green, blue = 0.0, 0.0, 0.0
    for k in range(len(rooks)):
        shift_x, shift_y = rooks[k, 0], rooks[k, 1]
        t, found = _cast_one(scene, rays, windows, x, y, shift_x, shift_y)
        u = min(max(x + (1 if shift_x > 0 else -1), 0), what.shape[1] - 1)
        v = min(max(y + (1 if shift_y > 0 else -1), 0), what.shape[0] - 1)
        if found == what[y, x]:
            u, v = x, y
        elif found == what[y, u]:
            v = y
        elif found == what[v, x]:
            u = x
        if found == what[v, u]:
            color = (light[v, u, 0], light[v, u, 1], light[v, u, 2])
        else:
            d = _ray(rays, x + shift_x, y + shift_y)
            color, _ = _shade(scene, studio, rays, near, _tile(what, y, x), found, d, t)
        red, green, blue = red + color[0], green + color[1], blue + color[2]
    return red / len(rooks), green / len(rooks), blue / len(rooks)


@_kernel
def _shade_all(scene, rays, studio, near, what, z, light, depth, instance, normal, visible):
    for y in range(depth.shape[0]):
        for x in range(depth.shape[1]):
            here, t = what[y, x], z[y, x]
            color, n = _shade(scene, studio, rays, near, _tile(what, y, x), here, _ray(rays, x, y), t)
            light[y, x, 0], light[y, x, 1], light[y, x, 2] = color
            normal[y, x, 0], normal[y, x, 1], normal[y, x, 2] = n
            depth[y, x] = t
            instance[y, x] = here >> 3
            if here > _GROUND:
                visible[(here >> 3) - 1] += 1


@_kernel
def _develop(scene, rays, studio, windows, near, rooks, what, light, curve, rgb):
    for y in range(rgb.shape[0]):
        for x in range(rgb.shape[1]):
            if _on_edge(what, y, x):
                red, green, blue = _smooth(scene, studio, rays, windows, near, rooks, what, light, x, y)
                _store(rgb, y, x, red, green, blue, curve)
            else:
                _store(rgb, y, x, light[y, x, 0], light[y, x, 1], light[y, x, 2], curve)


@_kernel
def _render(
    scenes, rays, studio, curve, rooks, what, z, light, near, windows, rgb, depth, instance, normal, area, visible
):
    frames, height, width = depth.shape
    count = scenes.shape[1]
    for t in range(frames):
        scene, eye = scenes[t], rays[t]
        for i in range(count):
            windows[i] = _window(eye, scene[i].centre, scene[i].radius, height, width)
        _cast(scene, eye, windows, what, z, area[t])
        near[:, :, 0] = 0
        _near_ground(scene, eye, studio[0], height, width, near)
        _near_geoms(scene, studio[0], near)
        _shade_all(scene, eye, studio[0], near, what, z, light, depth[t], instance[t], normal[t], visible[t])
        _develop(scene, eye, studio[0], windows, near, rooks, what, light, curve, rgb[t])


@_kernel
def _flow(motions, depth, instance, flow):
    for t in range(len(flow)):
        for y in range(depth.shape[1]):
            for x in range(depth.shape[2]):
                motion = motions[t, instance[t, y, x]]
                # A point at infinity is moved by the camera's turning only.
                near = 1.0 / depth[t, y, x]
                to, shift = motion.to, motion.shift
                ahead = to[2, 0] * x + to[2, 1] * y + to[2, 2] + shift[2] * near
                if ahead <= 0:
                    flow[t, y, x, 0] = flow[t, y, x, 1] = np.nan
                    continue
                inverse = 1.0 / ahead
                flow[t, y, x, 0] = (to[0, 0] * x + to[0, 1] * y + to[0, 2] + shift[0] * near) * inverse - x - 0.5
                flow[t, y, x, 1] = (to[1, 0] * x + to[1, 1] * y + to[1, 2] + shift[1] * near) * inverse - y - 0.5
