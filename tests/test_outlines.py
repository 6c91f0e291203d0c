"""Outlines: where things are in the picture, against the pixels that show them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from muybridge.data.material import KINDS, Shape, Simulated, tracks_of
from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.simulation import Clip, mesh_of, sample_world, simulate, unseen
from muybridge.simulation.outlines import outlines
from muybridge.simulation.physics import geoms, trajectory
from muybridge.simulation.render import render
from muybridge.simulation.standins import with_meshes
from muybridge.types import of_latents

SHAPE = Shape(17, 96, 128, 15.0)


def found(clip: Clip) -> np.ndarray:
    height, width = clip.rgb.shape[1:3]
    return outlines(clip.world, clip.states.position, clip.states.quaternion, clip.camera, height, width)


@pytest.mark.parametrize("seed", range(6))
def test_a_rectangle_holds_what_is_seen_and_no_more(seed: int) -> None:
    clip = simulate(seed, 17, 192, 256)
    around = found(clip) * np.array([256, 192, 256, 192, 1.0])
    scene = render(geoms(clip.world, trajectory(clip.world, 17, 15.0)), clip.camera, clip.world.look, 192, 256)
    compared = 0
    for n in range(around.shape[1]):
        for t in range(17):
            rows, columns = np.nonzero(clip.instance[t] == n + 1)
            x, y, a, b, _ = around[t, n]
            whole = scene.visible[t, n] == scene.area[t, n] > 0
            inside = x - a > 1 and x + a < 255 and y - b > 1 and y + b < 191
            if whole and inside:
                edges = np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1])
                np.testing.assert_allclose(edges, [x - a, x + a, y - b, y + b], atol=1.6)
                compared += 1
    assert compared > 10


def test_depth_is_that_of_the_middle() -> None:
    clip = simulate(3)
    distance = np.linalg.norm(clip.states.position - clip.camera.pose[:, None, :3, 3], axis=-1)
    assert (found(clip)[:, : len(clip.objects), 4] <= distance + 1e-9).all()


def test_what_is_behind_the_camera_has_a_place_too() -> None:
    clip = simulate(3)
    behind = replace(clip.world.things[0], position=(0.0, 0.0, 50.0))
    world = replace(clip.world, things=(behind, *clip.world.things[1:]))
    position = clip.states.position.copy()
    position[:, 0] = clip.camera.pose[:, :3, 3] - 2 * clip.camera.pose[:, :3, 2]
    around = outlines(world, position, clip.states.quaternion, clip.camera, 128, 128)
    assert np.isfinite(around).all()
    assert (around[..., 4] > 0).all()


def test_the_hull_of_a_mesh_is_a_box_where_it_is_one() -> None:
    world = sample_world(8)
    corners = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    sides = "013 032 467 475 045 051 237 276 026 064 157 173"
    faces = np.array([[int(corner) for corner in side] for side in sides.split()])
    stood = with_meshes(world, (mesh_of("cube", corners, faces),))
    if not any(thing.mesh is not None for thing in stood.things):
        pytest.fail("the world of this seed has no loose box: take another")
    path = trajectory(stood, 5, 15.0)
    camera = simulate(8, 5).camera
    around = outlines(stood, path.position, path.quaternion, camera, 128, 128)
    assert around.shape == (5, len(stood.things) + len(stood.props), 5)
    assert (around[..., 2:4] > 0).all()


@pytest.mark.parametrize("seed", [0, 7])
def test_nobody_need_render_a_clip_to_know_where_things_go(seed: int) -> None:
    clip, dark = simulate(seed, 17, 96, 128, 15.0, HELD_OUT_PAIRS), unseen(seed, 17, 96, 128, 15.0, HELD_OUT_PAIRS)
    seen = Simulated().clip(seed, SHAPE)
    place, kind = tracks_of(dark.world, dark.position, dark.quaternion, dark.camera, SHAPE)
    assert seen.place is not None
    assert seen.kind is not None
    np.testing.assert_array_equal(place, seen.place)
    np.testing.assert_array_equal(kind, seen.kind)
    assert dark.captions[0]
    assert clip.world.things == dark.world.things


def test_kinds_are_numbers_of_colours_and_shapes() -> None:
    for number in range(12):
        _, kind = tracks_of(
            (dark := unseen(number, 5)).world, dark.position, dark.quaternion, dark.camera, Shape(5, 128, 128, 15.0)
        )
        assert (kind[:, 0] >= 0).sum() == len(dark.world.things) + len(dark.world.props)
        assert all(colour in (-1, place) for place, colour in enumerate(kind[:, 0]))
        assert (kind < np.array(KINDS)).all()


def test_a_latent_frame_is_told_of_its_four_pixel_frames() -> None:
    place = np.arange(9 * 2 * 5, dtype=np.float32).reshape(9, 2, 5)
    told = of_latents(place, 4)
    assert told.shape == (3, 4, 2, 5)
    assert (told[0] == place[0]).all()
    np.testing.assert_array_equal(told[2], place[5:])
