"""The bodies of a world: named things, nameless props, and where they are expected to be.

Lengths in metres, times in seconds, angles in radians; quaternions are (w, x, y, z), local to world.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from jaxtyping import Float

from muybridge.simulation.scene import Mesh

GRAVITY = 9.81
AFTER: tuple[float, ...] = tuple(2.2 * k / 8 for k in range(9))
"""Seconds at which a plan foresees its object."""

SIZES: dict[str, float] = {"small": 0.18, "medium": 0.235, "large": 0.305}
"""Half extent in metres; at the default size and distance about 8.5, 11 and 15 pixels."""

Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
UPRIGHT: Quaternion = (1.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    """A named object at time 0.

    shape "ball", "box", "cylinder" or what a mesh is called; size "small", "medium", "large" or, of a fixed box, "tall"
    extents   MuJoCo's: (radius, -, -), half extents (of a mesh, too), or (radius, half length, -)
    motion    what it is meant to do; `other` is the index of the object it meets or hides behind, -1 for a prop
    rolling   MuJoCo's rolling friction, metres; restitution: share of the speed kept when it bounces off the ground
    mesh      its surface, if it is none of the three shapes; then `position` is its centre of mass
    """

    shape: str
    colour: str
    size: str
    extents: Vector
    position: Vector
    quaternion: Quaternion = UPRIGHT
    velocity: Vector = (0.0, 0.0, 0.0)
    spin: Vector = (0.0, 0.0, 0.0)
    motion: str = "rest"
    other: int | None = None
    friction: float = 0.5
    rolling: float = 0.0005
    restitution: float = 0.2
    fixed: bool = False
    mesh: Mesh | None = None

    @property
    def radius(self) -> float:
        """Half extent as it looks from afar."""
        return max(self.extents[:2]) if self.shape == "cylinder" else max(self.extents)

    @property
    def girth(self) -> float:
        """Radius of an upright cylinder around it."""
        if self.shape == "ball":
            return self.extents[0]
        if self.shape == "cylinder":
            return math.hypot(*self.extents[:2]) if self.motion != "rest" else self.extents[0]
        return math.hypot(*self.extents[:2])

    @property
    def bounds(self) -> Vector:
        """Half extents of a box around it."""
        if self.shape == "ball":
            return (self.extents[0],) * 3
        if self.shape == "cylinder":
            return (self.extents[0], self.extents[0], self.extents[1])
        return self.extents


@dataclass(frozen=True)
class Prop:
    """A fixed box that no word names by colour ("wall", "ramp"), or the body of a named tall box; `albedo` is sRGB."""

    kind: str
    size: Vector
    position: Vector
    quaternion: Quaternion
    albedo: str

    @property
    def girth(self) -> float:
        return math.hypot(*self.size[:2])

    @property
    def bounds(self) -> Vector:
        return self.size


@dataclass(frozen=True)
class Plan:
    """A thing and where it is expected to be at the times `AFTER`."""

    thing: Thing
    path: Float[np.ndarray, "t 3"]


def extents(shape: str, size: str) -> Vector:
    """MuJoCo's size triple of a shape in a named size."""
    half = SIZES[size]
    return {
        "ball": (half, 0.0, 0.0),
        "box": (0.92 * half,) * 3,
        "cylinder": (0.88 * half, 1.06 * half, 0.0),
    }[shape]


def standing_height(shape: str, size: str) -> float:
    """Height of the centre when it stands on the ground."""
    triple = extents(shape, size)
    return triple[1] if shape == "cylinder" else triple[0]


def about_z(angle: float) -> Quaternion:
    return (math.cos(angle / 2), 0.0, 0.0, math.sin(angle / 2))


def lying(heading: float) -> Quaternion:
    """A cylinder on its side, its axis across the heading: tipped about x by 90 degrees, then turned."""
    c, s, h = math.cos(heading / 2), math.sin(heading / 2), math.sqrt(0.5)
    return (c * h, c * h, s * h, s * h)


def tilted(yaw: float, tilt: float) -> Quaternion:
    c, s, ct, st = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(tilt / 2), math.sin(tilt / 2)
    return (c * ct, c * st, s * st, s * ct)


def moved(plan: Plan, shift: Float[np.ndarray, "3"]) -> Plan:
    """A plan somewhere else on the ground."""
    x, y, z = plan.thing.position
    return Plan(replace(plan.thing, position=(x + float(shift[0]), y + float(shift[1]), z)), plan.path + shift)


_Body = TypeVar("_Body", Thing, Prop)


def turned(body: _Body, angle: float) -> _Body:
    """A body after the stage has been turned about the vertical."""
    cos, sin = math.cos(angle), math.sin(angle)

    def turn(v: Vector) -> Vector:
        return (cos * v[0] - sin * v[1], sin * v[0] + cos * v[1], v[2])

    c, s = math.cos(angle / 2), math.sin(angle / 2)
    w, x, y, z = body.quaternion
    quaternion = (c * w - s * z, c * x - s * y, c * y + s * x, c * z + s * w)
    body = replace(body, position=turn(body.position), quaternion=quaternion)
    return replace(body, velocity=turn(body.velocity), spin=turn(body.spin)) if isinstance(body, Thing) else body
