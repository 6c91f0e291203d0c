"""What MuJoCo's rays see of meshes, frame by frame: from the camera, and from the sun.

Each mesh is looked at alone and in its own axes: it stays where it is and the rays are turned, so one model of each is
enough. Who stands in front of whom is for the kernel to say (`drawing.py`).
"""

from __future__ import annotations

import functools
import math

import mujoco
import numpy as np
from jaxtyping import Bool, Float, Shaped

from muybridge.simulation.drawing import ROOKS
from muybridge.simulation.meshes import compiled
from muybridge.simulation.scene import MESH, Geoms, Mesh
from muybridge.simulation.traced import Traced

_GRID = 48  # points across the table of an outline
_HALVINGS = 4  # of a cell of it, towards the outline
_FAR = 1000.0  # radii from a mesh to where the sun's rays begin: they are parallel to a thousandth of a radius
_SUN_DIGITS = 4  # of the sun's direction: a mesh that lies still keeps its table


class Tracer:
    """The meshes among some geoms, and their rays."""

    def __init__(self, geoms: Geoms) -> None:
        self.geoms = np.flatnonzero(geoms.kind == MESH).tolist()
        meshes = [geoms.meshes[i] for i in self.geoms]
        self.meshes = [_Target(mesh) for mesh in meshes if mesh is not None]
        self.slot = np.full(len(geoms.kind), -1, np.int64)
        self.slot[self.geoms] = np.arange(len(self.geoms))
        self.rounded = np.array([rounded_box(target.mesh) for target in self.meshes])

    def trace(self, scene: np.ndarray, height: int, width: int) -> Traced:
        """One frame; `scene` holds `render.py`'s records of the geoms."""
        count = len(self.meshes)
        depth, face = np.full((count, height, width), np.inf, np.float32), np.zeros((count, height, width), np.int32)
        normal, extra = np.zeros((count, height, width, 3), np.float32), np.full((count, height, width), -1, np.int32)
        rows, beside = 0, []
        for m, (i, target) in enumerate(zip(self.geoms, self.meshes, strict=True)):
            geom = scene[i]
            top, bottom, left, right = _window(target.mesh, geom, height, width)
            if top >= bottom or left >= right:
                continue
            part = (m, slice(top, bottom), slice(left, right))
            x, y = np.meshgrid(np.arange(left, right), np.arange(top, bottom))
            depth[part], face[part], normal[part] = target.look(geom, x, y)
            edge = _edges(np.where(np.isinf(depth[part]), -1, face[part]))
            x, y = x[edge][:, None] + _SHIFTS[:, 0], y[edge][:, None] + _SHIFTS[:, 1]
            extra[part][edge] = rows + np.arange(len(x))
            rows += len(x)
            beside.append(target.look(geom, x, y))
        nothing = np.zeros((0, len(ROOKS)), np.float32), np.zeros((0, len(ROOKS)), np.int32)
        beside.append((*nothing, np.zeros((0, len(ROOKS), 3), np.float32)))
        outlines = [target.outline(scene[i]) for i, target in zip(self.geoms, self.meshes, strict=True)]
        return Traced(
            self.slot,
            depth,
            face,
            normal,
            extra,
            extra_depth=np.concatenate([far for far, _, _ in beside]),
            extra_face=np.concatenate([number for _, number, _ in beside]),
            extra_normal=np.concatenate([n for _, _, n in beside]),
            outline=np.stack([table for table, _ in outlines]),
            reach=np.array([reach for _, reach in outlines]),
            rounded=self.rounded,
        )


_SHIFTS = np.array(ROOKS) / 16


class _Target:
    """One mesh and what its rays need."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh, self.model = mesh, compiled(mesh)
        self.data = mujoco.MjData(self.model)
        mujoco.mj_forward(self.model, self.data)
        self.outline_at = functools.lru_cache(maxsize=4)(self._outline_at)

    def hits(
        self, origin: Float[np.ndarray, "3"], rays: Float[np.ndarray, "k 3"]
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, "k 3"]]:
        """How many times its length each ray goes before it meets the mesh (inf: never), and the normal there."""
        length = np.linalg.norm(rays, axis=1)
        met, distance, normal = np.zeros(len(rays), np.int32), np.zeros(len(rays)), np.zeros(rays.size)
        if len(rays):
            directions = (rays / length[:, None]).ravel()
            mujoco.mj_multiRay(
                self.model, self.data, origin, directions, None, True, -1, met, distance, normal, len(rays), 1e10
            )
        return np.where(met >= 0, distance / length, np.inf), normal.reshape(-1, 3)

    def look(
        self, geom: np.void, x: Shaped[np.ndarray, "*k"], y: Shaped[np.ndarray, "*k"]
    ) -> tuple[Float[np.ndarray, "*k"], Shaped[np.ndarray, "*k"], Float[np.ndarray, "*k 3"]]:
        """Depth, face and normal (world, towards the camera) at the pixels x, y, which need not be whole."""
        rays = geom["corner"] + x[..., None] * geom["right"] + y[..., None] * geom["down"]
        flat = rays.reshape(-1, 3)
        depth, normal = self.hits(np.ascontiguousarray(geom["eye"]), flat)
        normal = np.where(((normal * flat).sum(axis=1) > 0)[:, None], -normal, normal)
        axis = np.abs(normal).argmax(axis=1)
        face = 2 * axis + (np.take_along_axis(normal, axis[:, None], axis=1)[:, 0] > 0)
        depth = np.where((normal * flat).sum(axis=1) < 0, depth, np.inf)  # grazed exactly: no normal to speak of
        world = normal @ geom["axes"]
        shape = x.shape
        return (
            depth.reshape(shape).astype(np.float32),
            face.reshape(shape).astype(np.int32),
            world.reshape(*shape, 3).astype(np.float32),
        )

    def outline(self, geom: np.void) -> tuple[Float[np.ndarray, "3 g g"], tuple[float, float]]:
        """The table of the mesh's outline as the sun sees it, and its reach; see `Traced`."""
        light = np.round(geom["light"] @ geom["axes"].T, _SUN_DIGITS) + 0.0
        table, reach = self.outline_at(tuple(light.ravel().tolist()))
        return table, reach

    def _outline_at(self, light: tuple[float, ...]) -> tuple[Float[np.ndarray, "3 g g"], tuple[float, float]]:
        """`light`: the axes of light space (rows), in those of the mesh."""
        across, along, sun = np.array(light).reshape(3, 3)
        wide = 1.02 * self.mesh.radius
        start = _FAR * self.mesh.radius * sun

        def height(places: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, " k"]:
            rays = places[:, :1] * across + places[:, 1:] * along - start
            met, _ = self.hits(start, rays)
            found: Float[np.ndarray, " k"] = np.where(np.isinf(met), -np.inf, (start @ sun) * (1 - met))
            return found

        ticks = np.linspace(-wide, wide, _GRID)
        places = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
        top = height(places)
        inside = np.isfinite(top)
        number = np.arange(_GRID * _GRID).reshape(_GRID, _GRID)
        links = np.concatenate(
            [
                np.stack([number[:, :-1], number[:, 1:]], axis=-1).reshape(-1, 2),
                np.stack([number[:-1], number[1:]], axis=-1).reshape(-1, 2),
            ]
        )
        links = links[inside[links[:, 0]] != inside[links[:, 1]]]
        if not len(links):  # too thin for the table: no shadow
            return np.stack([np.full((_GRID, _GRID), v, np.float32) for v in (wide, -np.inf, -np.inf)]), (wide, wide)
        within = np.where(inside[links[:, 0]], links[:, 0], links[:, 1])
        beyond = places[links.sum(axis=1) - within]
        within, edge = places[within], top[within]
        for _ in range(_HALVINGS):
            middle = 0.5 * (within + beyond)
            found = height(middle)
            hit = np.isfinite(found)
            within, edge = np.where(hit[:, None], middle, within), np.where(hit, found, edge)
            beyond = np.where(hit[:, None], beyond, middle)
        outline = 0.5 * (within + beyond)
        square = (places[:, :1] - outline[:, 0]) ** 2 + (places[:, 1:] - outline[:, 1]) ** 2
        nearest = square.argmin(axis=1)
        apart = np.sqrt(square[np.arange(len(places)), nearest])
        edge = edge[nearest]
        table = np.stack([np.where(inside, -apart, apart), edge, np.where(inside, top, edge)])
        return table.reshape(3, _GRID, _GRID).astype(np.float32), (wide, float(apart[inside].max()))


def _window(mesh: Mesh, geom: np.void, height: int, width: int) -> tuple[int, int, int, int]:
    """First and last (excluded) row, then column, of the pixels that may show the mesh, with one to spare."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    corners = mesh.middle + signs * mesh.extents
    axes = np.stack([geom["right"], geom["down"], geom["corner"]], axis=1)
    x, y, ahead = np.linalg.solve(axes, (corners - geom["eye"]).T)
    if ahead.max() <= 0:
        return 0, 0, 0, 0
    if ahead.min() <= 1e-6:  # beside the camera, or around it
        return 0, height, 0, width
    x, y = x / ahead, y / ahead
    limits = ((y.min(), y.max(), height), (x.min(), x.max(), width))
    (top, bottom), (left, right) = (
        (int(np.clip(math.floor(low) - 1, 0, most)), int(np.clip(math.ceil(high) + 2, 0, most)))
        for low, high, most in limits
    )
    return top, bottom, left, right


def _edges(face: Shaped[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Where a neighbour shows another face, or none."""
    edge = np.zeros(face.shape, bool)
    for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
        other = face[here] != face[there]
        edge[here] |= other
        edge[there] |= other
    return edge


def rounded_box(mesh: Mesh) -> tuple[float, ...]:
    """Middle, half extents without the rounding, and the rounding of the box with the mesh's extents and volume.

    Of a box that is itself, of a ball too.
    """
    half = np.array(mesh.extents)
    low, high = 0.0, float(half.min())
    for _ in range(40):
        rounding = 0.5 * (low + high)
        x, y, z = half - rounding
        volume = 8 * x * y * z + 8 * rounding * (x * y + y * z + z * x)
        volume += 2 * math.pi * rounding**2 * (x + y + z) + 4 / 3 * math.pi * rounding**3
        low, high = (rounding, high) if volume > mesh.volume else (low, rounding)
    return (*mesh.middle.tolist(), *(half - low).tolist(), low)
