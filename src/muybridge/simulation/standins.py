"""Meshes on the tabletop: each stands in for a box that a seed has drawn.

A box slides, falls and stands, and so does a mesh that fits into it. What was foreseen of the box (that it is in view,
in nobody's way) then holds for the mesh, too.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np

from muybridge.simulation.meshes import scaled
from muybridge.simulation.physics import rotations
from muybridge.simulation.scene import Mesh
from muybridge.simulation.things import Thing
from muybridge.simulation.worlds import World


def with_meshes(world: World, meshes: tuple[Mesh, ...]) -> World:
    """The world with a mesh, drawn by its seed, in place of each box that may move; as it is without `meshes`.

    A mesh is as large as the box lets it be, and stands where the box stands, its z axis up.
    """
    if not meshes:
        return world
    rng = Random(f"meshes {world.seed}")
    things = tuple(
        _instead(thing, rng.choice(meshes)) if thing.shape == "box" and not thing.fixed else thing
        for thing in world.things
    )
    return replace(world, things=things)


def _instead(box: Thing, mesh: Mesh) -> Thing:
    mesh = scaled(mesh, min(room / half for room, half in zip(box.extents, mesh.extents, strict=True)))
    lift = (-mesh.middle[0], -mesh.middle[1], mesh.extents[2] - mesh.middle[2] - box.extents[2])
    x, y, z = (np.array(box.position) + rotations(np.array(box.quaternion)) @ lift).tolist()
    return replace(box, shape=mesh.name, extents=mesh.extents, position=(x, y, z), mesh=mesh)
