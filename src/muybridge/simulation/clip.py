"""From a seed to a Clip: pictures, and everything that is true of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from muybridge.simulation.cameras import camera_path
from muybridge.simulation.captions import captions, intended
from muybridge.simulation.events import Event, events, observed, visible_share
from muybridge.simulation.physics import geoms, trajectory
from muybridge.simulation.render import render
from muybridge.simulation.scene import Camera, Mesh
from muybridge.simulation.standins import with_meshes
from muybridge.simulation.worlds import Pairs, World, sample_world


@dataclass(frozen=True)
class ObjectInfo:
    """A named object: its words, and its measures in metres. `extents` are MuJoCo's."""

    name: str
    shape: str
    colour: str
    size: str
    extents: tuple[float, float, float]
    fixed: bool


@dataclass(frozen=True)
class States:
    """Pose and motion of the objects at each frame: metres, seconds, radians, world axes; quaternions (w, x, y, z)."""

    position: Float[np.ndarray, "t n 3"]
    quaternion: Float[np.ndarray, "t n 4"]
    velocity: Float[np.ndarray, "t n 3"]
    spin: Float[np.ndarray, "t n 3"]
    visible: Float[np.ndarray, "t n"]


@dataclass(frozen=True)
class Clip:
    """Moving pictures with their truth. Arrays as in `scene.Rendered`; instance i + 1 is object i, props come after."""

    seed: int
    fps: float
    rgb: UInt8[np.ndarray, "t h w 3"]
    depth: Float32[np.ndarray, "t h w"]
    flow: Float32[np.ndarray, "t-1 h w 2"]
    instance: UInt8[np.ndarray, "t h w"]
    normal: Float32[np.ndarray, "t h w 3"]
    camera: Camera
    objects: tuple[ObjectInfo, ...]
    states: States
    events: tuple[Event, ...]
    captions: tuple[str, ...]
    world: World


def simulate(
    seed: int,
    frames: int = 33,
    height: int = 128,
    width: int = 128,
    fps: float = 15.0,
    without: Pairs = frozenset(),
    meshes: tuple[Mesh, ...] = (),
) -> Clip:
    """The clip of a seed: the same bytes in every process.

    The world depends on the seed alone: a still (`frames=1`) is the first frame of every longer clip of that seed and
    size. `without` as in `sample_world`; of `meshes`, if any, one stands in for each loose box (`with_meshes`).

    Raises ValueError for lengths that are not 1 + 4k, sizes below 16 or above 2048 pixels, rates outside 1 to 120.
    """
    return film(with_meshes(sample_world(seed, without=without), meshes), frames, height, width, fps)


def film(world: World, frames: int = 33, height: int = 128, width: int = 128, fps: float = 15.0) -> Clip:
    """The clip of a world, which need not be one that `sample_world` gives: as long and large as `simulate` has it.

    Raises ValueError as `simulate` does.
    """
    _check(frames, height, width, fps)
    path = trajectory(world, frames, fps)
    camera = camera_path(world.move, np.linspace(0, 1, frames) if frames > 1 else np.zeros(1), height, width)
    seen = render(geoms(world, path), camera, world.look, height, width)
    found = events(world, path, camera, seen)
    count = len(world.things)
    return Clip(
        seed=world.seed,
        fps=fps,
        rgb=seen.rgb,
        depth=seen.depth,
        flow=seen.flow,
        instance=seen.instance,
        normal=seen.normal,
        camera=camera,
        objects=tuple(
            ObjectInfo(f"{t.size} {t.colour} {t.shape}", t.shape, t.colour, t.size, t.extents, t.fixed)
            for t in world.things
        ),
        states=States(path.position, path.quaternion, path.velocity, path.spin, visible_share(seen, count)),
        events=found,
        captions=captions(world, observed(world, path, seen, found), frames),
        world=world,
    )


@dataclass(frozen=True)
class Unseen:
    """A clip that nobody renders: the world, where its things are, who would film them, and what is said of it."""

    world: World
    position: Float[np.ndarray, "t n 3"]
    quaternion: Float[np.ndarray, "t n 4"]
    camera: Camera
    captions: tuple[str, ...]


def unseen(
    seed: int,
    frames: int = 33,
    height: int = 128,
    width: int = 128,
    fps: float = 15.0,
    without: Pairs = frozenset(),
) -> Unseen:
    """What `simulate` films, without the pictures, at a quarter of the cost. Captions tell what is meant to happen.

    Raises ValueError as `simulate` does.
    """
    _check(frames, height, width, fps)
    world = sample_world(seed, without=without)
    path = trajectory(world, frames, fps)
    camera = camera_path(world.move, np.linspace(0, 1, frames) if frames > 1 else np.zeros(1), height, width)
    return Unseen(world, path.position, path.quaternion, camera, captions(world, intended(world), frames))


def _check(frames: int, height: int, width: int, fps: float) -> None:
    if frames < 1 or (frames - 1) % 4:
        low = max(1, frames - (frames - 1) % 4)
        raise ValueError(f"a clip has 1 + 4k frames, not {frames}: take {low} or {low + 4}")
    for name, value in (("height", height), ("width", width)):
        if not 16 <= value <= 2048:
            raise ValueError(f"a clip's {name} is 16 to 2048 pixels, not {value}")
    if not 1 <= fps <= 120:
        raise ValueError(f"a clip plays at 1 to 120 frames a second, not {fps}")
