"""What the simulator hands to the renderer, and what the renderer gives back.

Axes: t frames, n geoms, h rows, w columns. World: SI units, z up, the ground is the plane z = 0.
Cameras: OpenCV (x right, y down, z forward), camera-to-world 4x4, intrinsics in pixels (a pixel's centre lies at +0.5).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Int8, UInt8

# MuJoCo's own numbers for its geom types (mjtGeom), so that a model's arrays pass unchanged.
SPHERE, CAPSULE, CYLINDER, BOX, MESH = 2, 3, 5, 6, 7


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface of triangles in its own axes, metres; `meshes.py` makes them from files and arrays.

    name      what captions call it
    vertices  about the centre of mass of its convex hull
    faces     indices of vertices, three a triangle
    volume    of its convex hull, cubic metres
    """

    name: str
    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]
    volume: float

    @property
    def middle(self) -> Float[np.ndarray, "3"]:
        """Centre of the upright box around it."""
        middle: Float[np.ndarray, "3"] = 0.5 * (self.vertices.min(axis=0) + self.vertices.max(axis=0))
        return middle

    @property
    def extents(self) -> tuple[float, float, float]:
        """Half extents of the upright box around it."""
        x, y, z = (0.5 * np.ptp(self.vertices, axis=0)).tolist()
        return x, y, z

    @property
    def radius(self) -> float:
        """Of the sphere about its centre of mass that holds it."""
        return float(np.linalg.norm(self.vertices, axis=1).max())


@dataclass(frozen=True)
class Geoms:
    """The things in a scene, the ground apart.

    kind      SPHERE, CAPSULE, CYLINDER, BOX or MESH
    size      MuJoCo's: sphere (radius, -, -), capsule and cylinder (radius, half length along z, -), box half extents;
              a mesh has its own
    albedo    linear RGB in [0, 1]
    position  centre, metres; rotation: local-to-world
    meshes    one a geom, None where its kind is another; may be left out where there are none
    """

    kind: Int8[np.ndarray, " n"]
    size: Float[np.ndarray, "n 3"]
    albedo: Float[np.ndarray, "n 3"]
    position: Float[np.ndarray, "t n 3"]
    rotation: Float[np.ndarray, "t n 3 3"]
    meshes: tuple[Mesh | None, ...] = ()


@dataclass(frozen=True)
class Camera:
    """Where the frames are taken from: camera-to-world `pose` and `intrinsics`, one a frame."""

    pose: Float[np.ndarray, "t 4 4"]
    intrinsics: Float[np.ndarray, "t 3 3"]


@dataclass(frozen=True)
class Look:
    """Light and surroundings of a scene. Colours are linear RGB.

    sun          unit vector towards the light; `sun_radius` is its angular radius in radians (soft shadows)
    sun_color, sky_color, bounce_color   key light, ambient from above, ambient from below
    ground       the two albedos of the ground's pattern; `pattern` is "plain", "checker", "stripes" or "rings",
                 `pattern_scale` its period in metres
    backdrop     colour at the horizon and at the zenith
    fade_start, fade_end  metres between which the ground fades into the horizon's colour
    """

    sun: Float[np.ndarray, "3"]
    sun_radius: float
    sun_color: Float[np.ndarray, "3"]
    sky_color: Float[np.ndarray, "3"]
    bounce_color: Float[np.ndarray, "3"]
    ground: Float[np.ndarray, "2 3"]
    pattern: str
    pattern_scale: float
    backdrop: Float[np.ndarray, "2 3"]
    fade_start: float
    fade_end: float


@dataclass(frozen=True)
class Rendered:
    """Pictures of a scene and everything that is true of their pixels.

    rgb       sRGB
    depth     metres along the camera's z axis; inf on the backdrop
    flow      pixels to where the surface point seen at (t, y, x) projects in frame t + 1 (x, then y), hidden or not;
              one frame fewer than rgb
    instance  0 ground and backdrop, i + 1 geom i
    normal    world frame, unit; 0 on the backdrop
    area      pixels that geom n would cover were nothing in front of it
    visible   pixels that it does cover
    """

    rgb: UInt8[np.ndarray, "t h w 3"]
    depth: Float32[np.ndarray, "t h w"]
    flow: Float32[np.ndarray, "t-1 h w 2"]
    instance: UInt8[np.ndarray, "t h w"]
    normal: Float32[np.ndarray, "t h w 3"]
    area: np.ndarray  # int32 (t, n)
    visible: np.ndarray  # int32 (t, n)
