"""True clips broken on purpose: what a suite has to see.

Objects are removed, doubled, painted, scaled and put elsewhere in the world, which is then filmed again; the frames
from `start` on are taken from that film. So shadows, reflections and what is behind are right, and the break alone is
wrong. Laws of motion are broken by simulating on under other ones from the state of the last frame that is true.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from muybridge.evaluation.suite import Frames
from muybridge.simulation import Clip
from muybridge.simulation.cameras import project
from muybridge.simulation.palette import COLOURS, linear
from muybridge.simulation.physics import Trajectory, geoms, trajectory
from muybridge.simulation.render import render
from muybridge.simulation.scene import BOX, SPHERE, Geoms
from muybridge.simulation.things import Thing

Break: TypeAlias = Callable[[Clip, int, int], Frames]
"""(clip, subject, start) -> the clip's frames, of which those from `start` on are broken, by the object `subject`."""

GROWS = 1.7
"""Factor by which an object changes its size: what was small is as large as a large one."""

FAR = 3.5
"""Radii between an object and its double, or the place it is teleported to."""


def vanishes(clip: Clip, subject: int, start: int) -> Frames:
    return _filmed_again(clip, start, lambda g: _keep(g, np.arange(len(g.kind)) != subject))


def changes_colour(clip: Clip, subject: int, start: int) -> Frames:
    """It turns to a colour that no object of the clip has, or to another object's if all are taken."""
    taken = {thing.colour for thing in clip.objects}
    free = [colour for colour in COLOURS if colour not in taken]
    other = (free or [colour for colour in COLOURS if colour != clip.objects[subject].colour])[0]

    def painted(g: Geoms) -> Geoms:
        albedo = g.albedo.copy()
        albedo[subject] = linear(COLOURS[other])
        return replace(g, albedo=albedo)

    return _filmed_again(clip, start, painted)


def changes_size(clip: Clip, subject: int, start: int) -> Frames:
    """It grows, on the spot on which it stands."""

    def grown(g: Geoms) -> Geoms:
        size, position = g.size.copy(), g.position.copy()
        size[subject] *= GROWS
        position[:, subject, 2] += (GROWS - 1) * clip.world.things[subject].bounds[2]
        return replace(g, size=size, position=position)

    return _filmed_again(clip, start, grown)


def changes_shape(clip: Clip, subject: int, start: int) -> Frames:
    """A ball becomes a box, what is none becomes one, as large as the same size's; so its outline changes, too.

    A rolling box for a cylinder is left out: few pixels tell them apart while a corner points at the camera.
    """
    thing = clip.world.things[subject]
    kind, side = (BOX, 0.92) if thing.shape == "ball" else (SPHERE, 1.0)
    size = (side * thing.radius,) * 3

    def reshaped(g: Geoms) -> Geoms:
        kinds, sizes = g.kind.copy(), g.size.copy()
        kinds[subject], sizes[subject] = kind, size
        return replace(g, kind=kinds, size=sizes)

    return _filmed_again(clip, start, reshaped)


def teleports(clip: Clip, subject: int, start: int) -> Frames:
    """From `start` on it is 3.5 radii to the side of where it should be."""
    shift = _aside(clip, subject, start)

    def shifted(g: Geoms) -> Geoms:
        position = g.position.copy()
        position[:, subject] += shift
        return replace(g, position=position)

    return _filmed_again(clip, start, shifted)


def duplicates(clip: Clip, subject: int, start: int) -> Frames:
    """From `start` on there are two of it, side by side."""
    shift = _aside(clip, subject, start)

    def doubled(g: Geoms) -> Geoms:
        both = _keep(g, np.append(np.arange(len(g.kind)), subject))
        both.position[:, -1] += shift
        return both

    return _filmed_again(clip, start, doubled)


def turns_back(clip: Clip, subject: int, start: int) -> Frames:
    """From `start` on it goes back the way it came: what was hidden then comes back on the wrong side."""
    back = np.arange(len(clip.rgb))
    back[start:] = np.maximum(2 * start - back[start:], 0)

    def reversed_(g: Geoms) -> Geoms:
        position, rotation = g.position.copy(), g.rotation.copy()
        position[:, subject], rotation[:, subject] = position[back, subject], rotation[back, subject]
        return replace(g, position=position, rotation=rotation)

    return _filmed_again(clip, start, reversed_)


def falls_up(clip: Clip, subject: int, start: int) -> Frames:
    """Gravity of everything turns round."""
    return _other_gravity(clip, start, -clip.world.gravity)


def half_gravity(clip: Clip, subject: int, start: int) -> Frames:
    return _other_gravity(clip, start, 0.5 * clip.world.gravity)


def freezes(clip: Clip, subject: int, start: int) -> Frames:
    """Frame `start` is shown to the end."""
    return clip.rgb[np.minimum(np.arange(len(clip.rgb)), start)]


def is_shuffled(clip: Clip, subject: int, start: int) -> Frames:
    """The frames from `start` on in a random order, the same each time."""
    order = np.arange(len(clip.rgb))
    np.random.default_rng(clip.seed).shuffle(order[start:])
    return clip.rgb[order]


def is_black(clip: Clip, subject: int, start: int) -> Frames:
    return np.zeros_like(clip.rgb)


def is_static(clip: Clip, subject: int, start: int) -> Frames:
    """The first frame, all the time."""
    return clip.rgb[np.zeros(len(clip.rgb), int)]


BREAKS: Mapping[str, Break] = {
    "vanishes": vanishes,
    "changes colour": changes_colour,
    "changes size": changes_size,
    "changes shape": changes_shape,
    "teleports": teleports,
    "wrong side": turns_back,
    "falls up": falls_up,
    "half gravity": half_gravity,
    "freezes": freezes,
    "shuffled": is_shuffled,
    "duplicated": duplicates,
    "black": is_black,
    "static copy": is_static,
}


def _filmed_again(clip: Clip, start: int, change: Callable[[Geoms], Geoms]) -> Frames:
    """The clip's frames up to `start`, then those of its world after a change."""
    s = clip.states
    path = Trajectory(s.position, s.quaternion, s.velocity, s.spin, ())
    return _spliced(clip, start, change(geoms(clip.world, path)))


def _spliced(clip: Clip, start: int, scene: Geoms) -> Frames:
    height, width = clip.rgb.shape[1:3]
    again = render(scene, clip.camera, clip.world.look, height, width).rgb
    return np.concatenate([clip.rgb[:start], again[start:]])


def _keep(g: Geoms, which: np.ndarray) -> Geoms:
    """The geoms of a mask or of indices, as copies."""
    return Geoms(g.kind[which], g.size[which], g.albedo[which], g.position[:, which], g.rotation[:, which])


def _other_gravity(clip: Clip, start: int, gravity: float) -> Frames:
    """True frames before `start`; then what follows from the last of them under another gravity."""
    assert start >= 1, start
    now, s = start - 1, clip.states
    things = tuple(_as_in(clip, i, now) for i in range(len(clip.objects)))
    world = replace(clip.world, things=things, gravity=gravity)
    after = trajectory(world, len(clip.rgb) - now, clip.fps)
    path = Trajectory(
        np.concatenate([s.position[:now], after.position]),
        np.concatenate([s.quaternion[:now], after.quaternion]),
        np.concatenate([s.velocity[:now], after.velocity]),
        np.concatenate([s.spin[:now], after.spin]),
        (),
    )
    return _spliced(clip, start, geoms(world, path))


def _as_in(clip: Clip, i: int, frame: int) -> Thing:
    """A thing in the state that it has in a frame."""
    s = clip.states
    x, y, z = s.position[frame, i].tolist()
    a, b, c, d = s.quaternion[frame, i].tolist()
    u, v, w = s.velocity[frame, i].tolist()
    p, q, r = s.spin[frame, i].tolist()
    thing = clip.world.things[i]
    return replace(thing, position=(x, y, z), quaternion=(a, b, c, d), velocity=(u, v, w), spin=(p, q, r))


def _aside(clip: Clip, subject: int, start: int) -> Float[np.ndarray, "3"]:
    """A way of 3.5 radii across the picture, to the side on which it is in view and away from all else for longer."""
    right = clip.camera.pose[start, :3, 0] * FAR * clip.world.things[subject].radius
    return max((right, -right), key=lambda way: _alone(clip, subject, start, way))


def _alone(clip: Clip, subject: int, start: int, way: Float[np.ndarray, "3"]) -> int:
    """Frames after `start` in which an object moved by `way` would be in the picture, and apart from other things."""
    fixed = np.array([prop.position for prop in clip.world.props]).reshape(-1, 3)
    others = np.delete(clip.states.position, subject, axis=1)
    others = np.concatenate([others, np.repeat(fixed[None], len(others), axis=0)], axis=1)
    bodies = np.concatenate([clip.states.position[:, [subject]] + way, others], axis=1)
    girths = [t.girth for i, t in enumerate(clip.world.things) if i != subject] + [p.girth for p in clip.world.props]
    seen = project(clip.camera, bodies)
    place, pixels = seen[:, 0, :2], clip.camera.intrinsics[:, :1, 0] / seen[..., 2]
    inside = ((place > 0) & (place < np.array(clip.rgb.shape[2:0:-1]))).all(axis=1)
    gaps = np.linalg.norm(seen[:, 1:, :2] - place[:, None], axis=-1)
    reach = (clip.world.things[subject].girth + np.array(girths)) * pixels[:, 1:]
    return int((inside & (gaps > reach).all(axis=1))[start:].sum())
