"""From a World to its trajectory: rigid bodies under gravity, by MuJoCo. What a mesh touches, its convex hull touches.

MuJoCo's contacts are damped springs. With `solref = (-k, -b)` the gap r between two bodies obeys r'' = -k r - b r',
whatever their masses, so k sets how long a bounce takes and b / sqrt(k) alone sets the restitution (`damping`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mujoco
import numpy as np
from jaxtyping import Float

from muybridge.simulation.meshes import points
from muybridge.simulation.palette import COLOURS, linear
from muybridge.simulation.scene import BOX, CYLINDER, MESH, SPHERE, Geoms
from muybridge.simulation.things import Thing
from muybridge.simulation.worlds import World

STEPS_A_SECOND = 300
"""At least so many steps of integration."""

SPRING = 150.0
"""Angular frequency of a contact, rad/s: a bounce takes about pi / SPRING = 21 ms."""

_LOOKS_A_FRAME = 4  # for contacts: at 15 frames a second every 17 ms, which no bounce escapes

_FINER = (1, 3, 9)
_NAMES = {"ball": "sphere", "box": "box", "cylinder": "cylinder"}
_KINDS = {"ball": SPHERE, "box": BOX, "cylinder": CYLINDER}
_STATES = ("position", "quaternion", "velocity", "spin")

GROUND = -1
"""Index of the ground where objects are counted from 0; props follow the objects."""


@dataclass(frozen=True)
class Contact:
    """`first` touches `second` for the first time between this frame and the next.

    Both are indices of geoms, objects first, and `second` may be GROUND.
    """

    frame: int
    first: int
    second: int


@dataclass(frozen=True)
class Trajectory:
    """States of all objects at each frame, world coordinates. Quaternions are (w, x, y, z); spin is in rad/s."""

    position: Float[np.ndarray, "t n 3"]
    quaternion: Float[np.ndarray, "t n 4"]
    velocity: Float[np.ndarray, "t n 3"]
    spin: Float[np.ndarray, "t n 3"]
    contacts: tuple[Contact, ...]


def trajectory(world: World, frames: int, fps: float) -> Trajectory:
    """What happens in a world. The first frame is its initial state.

    Steps are semi-implicit Euler with velocities taken half a step before positions (leapfrog): free fall is exact.
    """
    first = _initial(world)
    if frames == 1 or all(thing.fixed for thing in world.things):
        position, quaternion, velocity, spin = (np.repeat(getattr(first, name), frames, axis=0) for name in _STATES)
        return Trajectory(position, quaternion, velocity, spin, ())
    for finer in _FINER:  # a solver may fail at an awkward contact: then shorter steps
        step = 1 / (fps * substeps(fps) * finer)
        model = mujoco.MjModel.from_xml_string(mjcf(world, step))
        data = mujoco.MjData(model)
        _set_velocities(world, data, step)
        places, moments, touches = _run(model, data, frames, finer * substeps(fps) // _LOOKS_A_FRAME)
        if _loses_energy(model, world.gravity, places, moments):
            break
    free = [i for i, thing in enumerate(world.things) if not thing.fixed]
    turns = rotations(places[..., 3:])
    position, quaternion, velocity, spin = (np.repeat(getattr(first, name), frames, axis=0) for name in _STATES)
    position[1:, free], quaternion[1:, free] = places[..., :3], places[..., 3:]
    velocity[1:, free], spin[1:, free] = moments[..., :3], np.einsum("tnij,tnj->tni", turns, moments[..., 3:])
    return Trajectory(position, quaternion, velocity, spin, touches)


def _loses_energy(
    model: mujoco.MjModel, gravity: float, places: Float[np.ndarray, "t n 7"], moments: Float[np.ndarray, "t n 6"]
) -> bool:
    """Whether no frame has more mechanical energy than one of the three before, up to 1 % of the first.

    Frames before matter because a frame may fall into a bounce, while the contact's spring holds the energy.
    """
    bodies = model.body_dofnum > 0
    mass, inertia = model.body_mass[bodies], model.body_inertia[bodies]
    velocity = moments[..., :3]
    spin = np.einsum("tni,nij->tnj", moments[..., 3:], rotations(model.body_iquat[bodies]))
    kinetic = 0.5 * (mass[:, None] * velocity**2 + inertia * spin**2).sum(axis=(1, 2))
    energy = kinetic + gravity * (mass * places[..., 2]).sum(axis=1)
    recent = np.maximum.reduce([energy[2:-1], energy[1:-2], energy[:-3]]) if len(energy) > 3 else energy[:0]
    slack = 0.01 * energy[0]
    return bool((energy[3:] <= recent + slack).all() and energy.max() <= energy[0] + slack)


def _set_velocities(world: World, data: mujoco.MjData, step: float) -> None:
    """Those of half a step before the start, when gravity had not yet acted on what is in the air. Spins are local."""
    for k, thing in enumerate(thing for thing in world.things if not thing.fixed):
        airborne = thing.motion in ("drop", "throw")
        data.qvel[6 * k : 6 * k + 3] = thing.velocity
        data.qvel[6 * k + 2] += 0.5 * step * world.gravity if airborne else 0.0
        data.qvel[6 * k + 3 : 6 * k + 6] = rotations(np.array(thing.quaternion)).T @ np.array(thing.spin)


def _run(
    model: mujoco.MjModel, data: mujoco.MjData, frames: int, steps: int
) -> tuple[Float[np.ndarray, "t n 7"], Float[np.ndarray, "t n 6"], tuple[Contact, ...]]:
    """Step through all frames after the first: poses, velocities (spins local) and the first contact of every pair."""
    places, speeds, gains = (
        np.empty((frames - 1, model.nq)),
        np.empty((frames - 1, model.nv)),
        np.empty((frames - 1, model.nv)),
    )
    touches: dict[tuple[int, int], int] = {}
    known = b""
    for frame in range(frames - 1):
        for _ in range(_LOOKS_A_FRAME):
            mujoco.mj_step(model, data, steps)
            pairs = data.contact.geom
            if (now := pairs.tobytes()) != known:
                known = now
                for a, b in pairs.tolist():
                    touches.setdefault((max(a, b) - 1, min(a, b) - 1), frame)
        places[frame], speeds[frame], gains[frame] = data.qpos, data.qvel, data.qacc
    moments = speeds + 0.5 * model.opt.timestep * gains  # from half a step ago to now
    contacts = tuple(Contact(frame, a, b) for (a, b), frame in touches.items())
    return places.reshape(frames - 1, -1, 7), moments.reshape(frames - 1, -1, 6), contacts


def substeps(fps: float) -> int:
    """Steps of integration a frame, a multiple of `_LOOKS_A_FRAME`."""
    return _LOOKS_A_FRAME * math.ceil(STEPS_A_SECOND / fps / _LOOKS_A_FRAME)


def geoms(world: World, path: Trajectory) -> Geoms:
    """What the renderer draws: the objects in their order, then the props."""
    frames, things = len(path.position), world.things
    props = np.array([prop.position for prop in world.props]).reshape(-1, 3)
    turns = rotations(np.array([prop.quaternion for prop in world.props]).reshape(-1, 4))
    kinds = [_KINDS[thing.shape] if thing.mesh is None else MESH for thing in things]
    meshes = tuple(thing.mesh for thing in things) + (None,) * len(props)
    return Geoms(
        kind=np.array(kinds + [BOX] * len(props), dtype=np.int8),
        size=np.array([thing.extents for thing in things] + [prop.size for prop in world.props]),
        albedo=np.stack(
            [linear(COLOURS[thing.colour]) for thing in things] + [linear(prop.albedo) for prop in world.props]
        ),
        position=np.concatenate([path.position, np.repeat(props[None], frames, 0)], axis=1),
        rotation=np.concatenate([rotations(path.quaternion), np.repeat(turns[None], frames, 0)], axis=1),
        meshes=meshes if any(meshes) else (),
    )


def rotations(quaternion: Float[np.ndarray, "*n 4"]) -> Float[np.ndarray, "*n 3 3"]:
    """Matrices (local to world) of unit quaternions (w, x, y, z)."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    matrix = np.empty((*w.shape, 3, 3))
    matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2] = (
        1 - 2 * (y * y + z * z),
        2 * (x * y - w * z),
        2 * (x * z + w * y),
    )
    matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2] = (
        2 * (x * y + w * z),
        1 - 2 * (x * x + z * z),
        2 * (y * z - w * x),
    )
    matrix[..., 2, 0], matrix[..., 2, 1], matrix[..., 2, 2] = (
        2 * (x * z - w * y),
        2 * (y * z + w * x),
        1 - 2 * (x * x + y * y),
    )
    return matrix


def mjcf(world: World, step: float) -> str:
    """The world as MuJoCo's XML: geom 0 is the ground, geom i + 1 object i, then the props."""
    spring = SPRING**2
    lines = [
        f'<mujoco><option timestep="{step!r}" gravity="0 0 {-world.gravity}" cone="elliptic"/>',
        f'<default><geom solimp="0.99 0.99 0.001" solref="{-spring} 0" density="500"/></default>',
        f"{_assets(world)}<worldbody>",
        '<geom type="plane" size="0 0 1" friction="0 0 0"/>',
    ]
    lines += [_body(thing, i) for i, thing in enumerate(world.things)]
    lines += [
        f'<body pos="{_text(prop.position)}" quat="{_text(prop.quaternion)}">'
        f'<geom type="box" size="{_text(prop.size)}" friction="0 0 0"/></body>'
        for prop in world.props
    ]
    return "".join(lines) + "</worldbody></mujoco>"


def damping(restitution: float) -> float:
    """Ratio b / (2 sqrt(k)) of a contact that keeps this share of the speed.

    A contact does not pull, so it ends when the force is zero, not the gap: Schwager & Pöschel 2007, eq. 15.
    """
    ratios = np.linspace(1e-3, 0.7, 200)
    swing = np.sqrt(1 - ratios**2)
    phase = np.pi - np.arctan2(2 * ratios * swing, swing**2 - ratios**2)
    kept = np.exp(-ratios / swing * phase)
    return float(np.interp(-restitution, -kept, ratios))


def _assets(world: World) -> str:
    """The meshes, as far as contacts and inertia know them: their convex hulls."""
    hulls = [
        f'<mesh name="{i}" inertia="convex" {points(thing.mesh)}/>'
        for i, thing in enumerate(world.things)
        if thing.mesh is not None
    ]
    return f"<asset>{''.join(hulls)}</asset>" if hulls else ""


def _body(thing: Thing, index: int) -> str:
    shape = (
        f'type="{_NAMES[thing.shape]}" size="{_text(thing.extents)}"'
        if thing.mesh is None
        else f'type="mesh" mesh="{index}"'
    )
    pose = f'pos="{_text(thing.position)}" quat="{_text(thing.quaternion)}"'
    if thing.fixed:
        return f'<body {pose}><geom {shape} friction="0 0 0"/></body>'
    rolls = thing.rolling > 0.001
    return (
        f'<body {pose}><freejoint/><geom {shape} condim="{6 if rolls else 3}" '
        f'friction="{_text((thing.friction, 0.001, thing.rolling if rolls else 0.0))}" '
        f'solref="{-(SPRING**2)} {-2 * damping(thing.restitution) * SPRING}"/></body>'
    )


def _text(values: tuple[float, ...]) -> str:
    return " ".join(repr(float(value)) for value in values)


def _initial(world: World) -> Trajectory:
    def stack(field: str) -> np.ndarray:
        return np.array([[getattr(thing, field) for thing in world.things]])

    return Trajectory(stack("position"), stack("quaternion"), stack("velocity"), stack("spin"), ())
