"""The camera: where it starts, how it moves, and the poses and intrinsics that come of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

import numpy as np
from jaxtyping import Float

from muybridge.simulation.scene import Camera

FIELD_OF_VIEW = math.radians(45)
"""Angle that the shorter side of a frame spans before any zoom."""

MOVES: tuple[str, ...] = (
    "static",
    "pan left",
    "pan right",
    "tilt up",
    "tilt down",
    "dolly in",
    "dolly out",
    "truck left",
    "truck right",
    "orbit left",
    "orbit right",
    "zoom in",
    "zoom out",
)


@dataclass(frozen=True)
class CameraMove:
    """A camera at `distance` metres from `target`, `elevation` above the ground and `azimuth` around it (radians).

    Azimuth 0 looks along +y. `amount` is the whole extent of the move: radians of a pan, tilt or orbit, metres of a
    truck, the ratio of distances or focal lengths of a dolly or zoom. A turning or trucking camera starts half of it
    to one side, so that the middle of the clip looks at the target.
    """

    kind: str
    amount: float
    azimuth: float
    elevation: float
    distance: float
    target: tuple[float, float, float]


def sample_move(rng: Random) -> CameraMove:
    """A static camera in 45 % of cases, else any move, all equally likely; amounts are moderate."""
    kind = "static" if rng.random() < 0.45 else rng.choice(MOVES[1:])
    low, high = _AMOUNTS[kind.split()[0]]
    return CameraMove(
        kind=kind,
        amount=rng.uniform(low, high),
        azimuth=rng.uniform(-math.pi, math.pi),
        elevation=math.radians(rng.uniform(8, 30)),
        distance=rng.uniform(3.1, 3.3),
        target=(0.0, 0.0, rng.uniform(0.35, 0.5)),
    )


_AMOUNTS = {
    "static": (0.0, 0.0),
    "pan": (math.radians(9), math.radians(16)),
    "tilt": (math.radians(7), math.radians(11)),
    "dolly": (1.18, 1.32),
    "truck": (0.4, 0.7),
    "orbit": (math.radians(18), math.radians(34)),
    "zoom": (1.2, 1.4),
}


def camera_path(move: CameraMove, progress: Float[np.ndarray, " t"], height: int, width: int) -> Camera:
    """Poses and intrinsics at each `progress` through the move (0 = start, 1 = end)."""
    eased = progress * progress * (3 - 2 * progress) * 0.6 + progress * 0.4  # smooth, yet moving from the first frame
    verb, _, direction = move.kind.partition(" ")
    sign = -1.0 if direction in ("left", "down", "out") else 1.0
    centred = sign * move.amount * (eased - 0.5)
    zero = np.zeros_like(eased)
    azimuth = move.azimuth + (centred if verb == "orbit" else zero)
    distance, zoom = zero + move.distance, zero + 1.0
    if verb == "dolly":  # rather nearer than the others, so that nothing gets small
        distance = 0.9 * move.distance * move.amount ** (-sign * (eased - 0.5))
    if verb == "zoom":
        zoom = move.amount ** (eased if sign > 0 else 1 - eased)
    right, forward, up = _frame(azimuth, move.elevation)
    eye = np.array(move.target) - distance[:, None] * forward
    if verb == "truck":
        eye = eye + centred[:, None] * right
    if verb == "pan":
        forward, right = _turn(forward, right, centred)
    if verb == "tilt":
        forward, up = _turn(forward, up, centred)
    pose = np.zeros((len(eased), 4, 4))
    pose[:, :3, 0], pose[:, :3, 1], pose[:, :3, 2], pose[:, :3, 3] = right, -up, forward, eye
    pose[:, 3, 3] = 1
    intrinsics = np.zeros((len(eased), 3, 3))
    intrinsics[:, 0, 0] = intrinsics[:, 1, 1] = zoom * 0.5 * min(height, width) / math.tan(FIELD_OF_VIEW / 2)
    intrinsics[:, 0, 2], intrinsics[:, 1, 2], intrinsics[:, 2, 2] = width / 2, height / 2, 1
    return Camera(pose, intrinsics)


def project(camera: Camera, points: Float[np.ndarray, "t n 3"]) -> Float[np.ndarray, "t n 3"]:
    """Pixel x, pixel y and depth in metres of world `points`, frame by frame."""
    local = np.einsum("tji,tnj->tni", camera.pose[:, :3, :3], points - camera.pose[:, None, :3, 3])
    image = np.einsum("tij,tnj->tni", camera.intrinsics, local)
    return np.concatenate([image[..., :2] / image[..., 2:], local[..., 2:]], axis=-1)


def _frame(azimuth: Float[np.ndarray, " t"], elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Right, forward and up of a camera on a sphere. Azimuth grows as the camera moves to its right."""
    sin, cos, zero = np.sin(azimuth), np.cos(azimuth), np.zeros_like(azimuth)
    right = np.stack([cos, sin, zero], axis=-1)
    level = np.stack([-sin, cos, zero], axis=-1)
    vertical = np.array([0.0, 0.0, 1.0])
    forward = math.cos(elevation) * level - math.sin(elevation) * vertical
    up = math.sin(elevation) * level + math.cos(elevation) * vertical
    return right, forward, up


def _turn(a: np.ndarray, b: np.ndarray, angle: Float[np.ndarray, " t"]) -> tuple[np.ndarray, np.ndarray]:
    """Rotate the orthonormal pair a, b so that a turns towards b."""
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return cos * a + sin * b, cos * b - sin * a
