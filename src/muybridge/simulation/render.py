"""Pictures of Geoms on a ground plane, and the truth about their pixels: a ray caster of primitives and meshes.

This file is its door: numpy turns geoms, cameras and look into records, all frames at once, and `drawing.py` makes the
frames of them, with `ground.py`, `shadows.py` and `casting.py`. MuJoCo's rays find where meshes are (`tracing.py`).
There is no noise anywhere: shadows and ambient occlusion are closed forms, so pictures are smooth, and the same input
gives the same bytes.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from muybridge.simulation.drawing import BRIGHTEST, Film, Room, film_kernel
from muybridge.simulation.ground import PATTERNS, Ground
from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, MESH, SPHERE, Camera, Geoms, Look, Rendered
from muybridge.simulation.tracing import Tracer

_HALF_PIXEL = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
_LEVELS = 16384  # of the tone curve's table

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

    The ground is seen from above only, a primitive from outside only, a mesh from both sides. Flow is nan where the
    point lies beside or behind the camera of the next frame. Raises ValueError where the arrays disagree about frames
    or geoms, a name or kind is unknown, a camera is not above the ground or its intrinsics have skew.
    """
    _check(geoms, camera, look, height, width)
    frames, count = geoms.position.shape[:2]
    rays = _rays(camera)
    pictures = Film(
        rgb=np.empty((frames, height, width, 3), np.uint8),
        depth=np.empty((frames, height, width), np.float32),
        flow=np.empty((max(frames - 1, 0), height, width, 2), np.float32),
        instance=np.empty((frames, height, width), np.uint8),
        normal=np.empty((frames, height, width, 3), np.float32),
        area=np.zeros((frames, count), np.int32),
        visible=np.zeros((frames, count), np.int32),
    )
    scene, motions, room = _scene(geoms, look, rays), _motions(geoms, camera), _room(count, height, width)
    film, studio = film_kernel(), _studio(look)[0]
    if MESH not in geoms.kind:
        film(scene, None, rays, studio, motions, _TONE_CURVE, room, pictures)
        return Rendered(**pictures._asdict())
    tracer = Tracer(geoms)
    for t in range(frames):  # one after the other: what the rays of all frames meet would fill the memory
        one, frame = slice(t, t + 1), Film(*(array[t : t + 1] for array in pictures))
        traced = tracer.trace(scene[t], height, width)
        film(scene[one], traced, rays[one], studio, motions[one], _TONE_CURVE, room, frame)
    return Rendered(**pictures._asdict())


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
    unknown = sorted(set(geoms.kind.tolist()) - {SPHERE, CAPSULE, CYLINDER, BOX, MESH})
    if unknown:
        raise ValueError(f"geom kinds {unknown} cannot be rendered: use sphere, capsule, cylinder, box or mesh")
    given = [mesh is not None for mesh in geoms.meshes or [None] * count]
    if given != (geoms.kind == MESH).tolist():
        raise ValueError("the geoms' meshes do not go with their kinds: give a MESH its mesh, every other geom None")
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
    for i, mesh in enumerate(geoms.meshes):
        if mesh is not None:
            scene["radius"][:, i], scene["reach"][:, i] = mesh.radius, np.mean(mesh.extents)
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


def _room(count: int, height: int, width: int) -> Room:
    ground = np.empty((7, height, width), np.float32)
    return Room(
        what=np.empty((height, width), np.int32),
        light=np.empty((3, height, width), np.float32),
        ground=Ground(ground[0], ground[1], ground[2], ground[3], ground[4:], np.empty(width, np.float32)),
        near=np.empty((2, count + 1, count + 1), np.int64),
        windows=np.empty((count, 4), np.int64),
        spans=np.empty((height, 2), np.int64),
        codes=np.empty(width, np.int32),
    )


def _tone_curve() -> np.ndarray:
    """Linear light, evenly spaced from 0 to BRIGHTEST, in sRGB (IEC 61966-2-1); above 0.6 a soft shoulder."""
    light = np.linspace(0.0, BRIGHTEST, _LEVELS)
    knee = 0.6
    rolled = np.where(light < knee, light, 1 - (1 - knee) * np.exp(-(light - knee) / (1 - knee)))
    coded = np.where(rolled <= 0.0031308, 12.92 * rolled, 1.055 * np.maximum(rolled, 1e-9) ** (1 / 2.4) - 0.055)
    return (255 * coded + 0.5).astype(np.uint8)


_TONE_CURVE = _tone_curve()
