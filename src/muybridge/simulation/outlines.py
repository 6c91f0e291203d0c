"""Where bodies are in the picture, hidden or not: the rectangle around each, and how far away it is."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from muybridge.simulation.cameras import project
from muybridge.simulation.physics import Trajectory, geoms
from muybridge.simulation.scene import CYLINDER, MESH, SPHERE, Camera, Geoms
from muybridge.simulation.worlds import World

_NEAR = 0.1
"""Metres: what is nearer to the camera's plane, or behind it, is projected as from there."""

_AROUND = np.linspace(0, 2 * np.pi, 16, endpoint=False)


def outlines(
    world: World,
    position: Float[np.ndarray, "t n 3"],
    quaternion: Float[np.ndarray, "t n 4"],
    camera: Camera,
    height: int,
    width: int,
) -> Float[np.ndarray, "t n 5"]:
    """Of the objects of a world, then of its props, at each frame: x and y of the middle, half the width, half the
    height, as shares of the picture, and metres from the camera. What is out of the picture has its place there, too.
    """
    still = np.zeros_like(position)
    bodies = geoms(world, Trajectory(position, quaternion, still, still, ()))
    found = [_outline(bodies, n, camera) for n in range(len(bodies.kind))]
    shares: Float[np.ndarray, "t n 5"] = np.stack(found, axis=1) / np.array([width, height, width, height, 1.0])
    return shares


def _outline(bodies: Geoms, n: int, camera: Camera) -> Float[np.ndarray, "t 5"]:
    centre = bodies.position[:, n]
    middle = _seen(camera, centre[:, None])[:, 0]
    if bodies.kind[n] == SPHERE:
        low, high = _tangents(camera, middle, bodies.size[n, 0])
    else:
        surface = np.einsum("tij,pj->tpi", bodies.rotation[:, n], _surface(bodies, n)) + centre[:, None]
        seen = _seen(camera, surface)[..., :2]
        low, high = seen.min(axis=1), seen.max(axis=1)
    return np.concatenate([(low + high) / 2, (high - low) / 2, middle[:, 2:]], axis=-1)


def _tangents(
    camera: Camera, middle: Float[np.ndarray, "t 3"], radius: float
) -> tuple[Float[np.ndarray, "t 2"], Float[np.ndarray, "t 2"]]:
    """Pixels (x, y) between which a sphere is seen: where planes through the eye touch it."""
    focal, centre = camera.intrinsics[:, [0, 1], [0, 1]], camera.intrinsics[:, :2, 2]
    depth = np.maximum(middle[:, 2:], 1.01 * radius)  # from nearer on it fills the picture
    side = (middle[:, :2] - centre) / focal * depth
    root = radius * np.sqrt(side**2 + depth**2 - radius**2)
    ends = [(side * depth + sign * root) / (depth**2 - radius**2) * focal + centre for sign in (-1, 1)]
    return ends[0], ends[1]


def _seen(camera: Camera, points: Float[np.ndarray, "t p 3"]) -> Float[np.ndarray, "t p 3"]:
    """Pixels and depth of points, which are pulled before the camera."""
    forward, eye = camera.pose[:, None, :3, 2], camera.pose[:, None, :3, 3]
    depth = ((points - eye) * forward).sum(axis=-1, keepdims=True)
    return project(camera, points + np.maximum(_NEAR - depth, 0) * forward)


def _surface(bodies: Geoms, n: int) -> Float[np.ndarray, "p 3"]:
    """Points of a body, in its own axes, whose hull it is, or nearly so."""
    size = bodies.size[n]
    if bodies.kind[n] == CYLINDER:
        rim = np.stack([size[0] * np.cos(_AROUND), size[0] * np.sin(_AROUND)], axis=-1)
        return np.concatenate([np.insert(rim, 2, end, axis=1) for end in (-size[1], size[1])])
    mesh = bodies.meshes[n] if bodies.kind[n] == MESH else None
    if mesh is not None:
        return mesh.vertices
    corners: Float[np.ndarray, "p 3"] = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size
    return corners
