"""Trajectories: closed forms of flight, bounce, sliding and rolling; conservation; repeatability."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muybridge.simulation.events import MOVED
from muybridge.simulation.motions import moving
from muybridge.simulation.physics import GROUND, Trajectory, damping, rotations, substeps, trajectory
from muybridge.simulation.things import GRAVITY, Thing, extents
from muybridge.simulation.worlds import World, sample_world

FEW = settings(max_examples=12, deadline=None)


def stage(*things: Thing) -> World:
    return replace(sample_world(0), things=things, props=())


def body(shape: str = "ball", size: str = "medium", **state: object) -> Thing:
    return replace(Thing(shape, "red", size, extents(shape, size), (0.0, 0.0, 1.2)), **state)  # type: ignore[arg-type]


def inertia(thing: Thing) -> tuple[float, np.ndarray]:
    """Mass over density and principal moments over density of a solid body."""
    a, b, c = thing.extents
    if thing.shape == "ball":
        mass = 4 / 3 * math.pi * a**3
        return mass, np.full(3, 0.4 * mass * a**2)
    if thing.shape == "box":
        mass = 8 * a * b * c
        return mass, mass / 3 * np.array([b**2 + c**2, a**2 + c**2, a**2 + b**2])
    mass = 2 * math.pi * a**2 * b
    across = mass * (a**2 / 4 + b**2 / 3)
    return mass, np.array([across, across, mass * a**2 / 2])


def energy(world: World, path: Trajectory) -> np.ndarray:
    """Kinetic and potential energy of all free bodies at each frame, joules per density."""
    total = np.zeros(len(path.position))
    for i, thing in enumerate(world.things):
        if thing.fixed:
            continue
        mass, moments = inertia(thing)
        local = np.einsum("tji,tj->ti", rotations(path.quaternion[:, i]), path.spin[:, i])
        total += 0.5 * mass * (path.velocity[:, i] ** 2).sum(-1) + 0.5 * (moments * local**2).sum(-1)
        total += mass * GRAVITY * path.position[:, i, 2]
    return total


@FEW
@given(
    st.floats(-1, 1),
    st.floats(-1, 3),
    st.sampled_from(("ball", "box", "cylinder")),
    st.sampled_from((15.0, 24.0, 60.0)),
)
def test_flight_is_a_parabola(across: float, up: float, shape: str, fps: float) -> None:
    thing = body(shape, velocity=(across, 0.2, up), motion="throw")
    path = trajectory(stage(thing), 33, fps)
    time = np.arange(33) / fps
    expected = np.array(thing.position) + np.outer(time, thing.velocity) - np.outer(time**2, [0, 0, GRAVITY / 2])
    flying = np.minimum.accumulate(expected[:, 2]) > 0.4
    assert flying.sum() >= 4
    np.testing.assert_allclose(path.position[flying, 0], expected[flying], atol=1e-3)
    np.testing.assert_allclose(
        path.velocity[flying, 0], np.array(thing.velocity) - np.outer(time, [0, 0, GRAVITY])[flying], atol=1e-3
    )


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.75])
def test_a_ball_bounces_to_its_restitution(kept: float) -> None:
    measured = []
    for start in np.linspace(0.8, 1.4, 7):  # which part of a step the impact falls into matters a little
        thing = body(position=(0.0, 0.0, float(start)), restitution=kept, motion="drop")
        path = trajectory(stage(thing), 81, 60.0)
        height = path.position[:, 0, 2] - thing.extents[0]
        landed = int((height < 0.03).argmax())
        measured.append(math.sqrt(height[landed:].max() / height[0]))
        assert height.min() > -0.035
        assert [(c.first, c.second) for c in path.contacts] == [(0, GROUND)]
        assert abs(path.contacts[0].frame / 60 - math.sqrt(2 * height[0] / GRAVITY)) < 2 / 60
    assert np.mean(measured) == pytest.approx(kept, abs=0.08)
    assert np.abs(np.array(measured) - kept).max() < 0.13


def test_damping_follows_restitution() -> None:
    ratios = [damping(kept) for kept in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert ratios == sorted(ratios, reverse=True)
    assert damping(0.9) == pytest.approx(-math.log(0.9) / math.pi, abs=0.005)  # the limit of light damping


def test_sliding_stops_after_the_way_that_friction_allows() -> None:
    plan = moving("box", "red", "medium", (-0.9, 0.0), 0.0, 1.6, 1.4, slides=True)
    path = trajectory(stage(plan.thing), 33, 15.0)
    assert path.position[-1, 0, 0] == pytest.approx(-0.9 + 1.6**2 / (2 * 1.4), abs=0.04)
    assert np.abs(path.position[:, 0, 1:] - path.position[0, 0, 1:]).max() < 0.01


@pytest.mark.parametrize("shape", ["ball", "cylinder"])
def test_rolling_keeps_no_slip_and_slows_as_foreseen(shape: str) -> None:
    plan = moving(shape, "red", "medium", (-0.9, 0.0), 0.0, 0.9, 0.15, slides=False)
    path = trajectory(stage(plan.thing), 33, 15.0)
    np.testing.assert_allclose(path.velocity[:, 0, 0], path.spin[:, 0, 1] * plan.thing.extents[0], atol=0.05)
    assert path.position[-1, 0, 0] == pytest.approx(plan.path[-1, 0], abs=0.12)


def test_momentum_survives_a_collision_in_the_air() -> None:
    left = body(position=(-0.5, 0.0, 3.0), velocity=(1.5, 0.1, 0.0), motion="throw", size="large", friction=0.0)
    left = replace(left, extents=extents("ball", "large"))
    right = body(position=(0.5, 0.03, 3.0), velocity=(-1.0, 0.0, 0.0), motion="throw", friction=0.0)
    world = stage(left, right)
    path = trajectory(world, 9, 15.0)
    assert (1, 0) in [(c.first, c.second) for c in path.contacts]
    masses = np.array([inertia(thing)[0] for thing in world.things])
    momentum = np.einsum("n,tni->ti", masses, path.velocity) / masses.sum()
    falling = np.outer(np.arange(9) / 15, [0, 0, GRAVITY])
    np.testing.assert_allclose(momentum + falling, np.broadcast_to(momentum[0], (9, 3)), atol=2e-3)
    assert abs(path.velocity[-1, 0, 0] - path.velocity[0, 0, 0]) > 0.3


@FEW
@given(st.integers(0, 10_000))
def test_energy_never_grows(seed: int) -> None:
    world = sample_world(seed)
    total = energy(world, trajectory(world, 33, 15.0))
    slack = 0.01 * total[0]
    # a frame may fall into a bounce, while the contact's spring holds the energy
    assert (total[3:] <= np.maximum.reduce([total[2:-1], total[1:-2], total[:-3]]) + slack).all()
    assert total.max() <= total[0] + slack


@FEW
@given(st.integers(0, 10_000))
def test_states_are_sane_and_repeatable(seed: int) -> None:
    world = sample_world(seed)
    path, again = trajectory(world, 33, 15.0), trajectory(world, 33, 15.0)
    for name in ("position", "quaternion", "velocity", "spin"):
        values = getattr(path, name)
        assert np.isfinite(values).all()
        assert values.tobytes() == getattr(again, name).tobytes()
    assert path.contacts == again.contacts
    np.testing.assert_allclose(np.linalg.norm(path.quaternion, axis=-1), 1, atol=1e-9)
    assert path.position[..., 2].min() > 0.08
    assert np.linalg.norm(path.velocity, axis=-1).max() < 7
    still = trajectory(world, 1, 15.0)
    for name in ("position", "quaternion", "velocity", "spin"):
        np.testing.assert_array_equal(getattr(still, name)[0], getattr(path, name)[0])


def test_what_rests_stays() -> None:
    for seed in range(60):
        world = sample_world(seed)
        alone = [thing for thing in world.things if thing.motion == "rest"]
        if alone:
            path = trajectory(replace(world, things=tuple(alone), props=()), 33, 15.0)
            assert np.linalg.norm(path.position - path.position[:1], axis=-1).max() < 0.01 < MOVED


@FEW
@given(st.floats(1, 120))
def test_steps_are_small_and_divide_a_frame(fps: float) -> None:
    assert substeps(fps) % 4 == 0
    assert substeps(fps) * fps >= 300 - 1e-6


def test_rotations_turn_as_quaternions_do() -> None:
    half = math.sqrt(0.5)
    np.testing.assert_allclose(rotations(np.array([half, 0, 0, half])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(rotations(np.array([half, half, 0, 0])) @ [0, 1, 0], [0, 0, 1], atol=1e-12)
