"""Meshes: drawn as the primitives they are meshes of, moved as MuJoCo moves their hulls, refused where they are bad."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np
import pytest
from scipy.spatial import ConvexHull
from test_render import a_camera, a_look, a_pose, points_of, project, rays_of, some_geoms

from muybridge.cli import obey
from muybridge.simulation import Hidden, Landed, Mesh, film, mesh_of, read_mesh, sample_world, scaled
from muybridge.simulation.cameras import CameraMove
from muybridge.simulation.physics import GROUND, trajectory
from muybridge.simulation.render import render
from muybridge.simulation.scene import BOX, MESH, SPHERE, Camera, Geoms, Rendered
from muybridge.simulation.standins import with_meshes
from muybridge.simulation.things import Thing, extents
from muybridge.simulation.tracing import rounded_box
from muybridge.simulation.worlds import World

HALF = (0.3, 0.2, 0.25)
CORNERS = np.array([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
SIDES = [[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4]]
SIDES += [[1, 5, 7], [1, 7, 3]]


def a_box(half: tuple[float, float, float] = HALF, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    return mesh_of("box", CORNERS * half + at, np.array(SIDES))


def a_ball(radius: float = 0.3, count: int = 3000) -> Mesh:
    """Points spread evenly over a sphere, and their convex hull."""
    k = np.arange(count) + 0.5
    polar, around = np.arccos(1 - 2 * k / count), math.pi * (1 + 5**0.5) * k
    points = np.stack([np.cos(around) * np.sin(polar), np.sin(around) * np.sin(polar), np.cos(polar)], axis=1)
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, i]] for i in range(3))
    inward = (np.cross(b - a, c - a) * a).sum(axis=1) < 0
    faces[inward] = faces[inward][:, ::-1]
    return mesh_of("pebble", radius * points, faces)


def a_ring() -> Mesh:
    """A torus that lies flat: radius 0.3, thickness 0.1."""
    u, v = np.meshgrid(2 * math.pi * np.arange(48) / 48, 2 * math.pi * np.arange(24) / 24, indexing="ij")
    across = 0.3 + 0.1 * np.cos(v)
    points = np.stack([across * np.cos(u), across * np.sin(u), 0.1 * np.sin(v)], axis=-1).reshape(-1, 3)
    number = np.arange(48 * 24).reshape(48, 24)
    a, b = number, np.roll(number, -1, axis=0)
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    return mesh_of("ring", points, np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3))


def scene_with(kind: int, size: tuple[float, float, float], mesh: Mesh) -> tuple[Geoms, Geoms, Camera]:
    """A primitive among others, the same with a mesh in its place, and a camera that moves."""
    others = some_geoms(np.random.default_rng(5), 4, frames=2)
    position = others.position.copy()
    position[:, 0] = [(0, -0.3, 0.5), (0.03, -0.3, 0.52)]
    kinds = np.array([kind, *others.kind[1:]], np.int8)
    geoms = replace(others, kind=kinds, size=np.concatenate([[size], others.size[1:]]), position=position)
    meshed = replace(geoms, kind=np.array([MESH, *kinds[1:]], np.int8), meshes=(mesh, None, None, None))
    poses = a_pose((0.3, -3, 1.2), (0, 0, 0.4)), a_pose((0.4, -2.9, 1.2), (0, 0, 0.4))
    return geoms, meshed, a_camera(*poses, height=128, width=128)


@pytest.fixture(scope="module")
def boxes() -> tuple[Rendered, Rendered]:
    geoms, meshed, camera = scene_with(BOX, HALF, a_box())
    return render(geoms, camera, a_look(), 128, 128), render(meshed, camera, a_look(), 128, 128)


def test_a_mesh_of_a_box_is_the_box(boxes: tuple[Rendered, Rendered]) -> None:
    box, mesh = boxes
    assert 0.5 < box.visible[0, 0] / box.area[0, 0] <= 1
    assert (box.instance == 1).sum() > 1000
    same = box.instance == mesh.instance
    assert (~same).sum() <= 2  # rays that graze an edge
    assert np.abs(box.area - mesh.area).max() <= 2
    assert np.abs(box.visible - mesh.visible).max() <= 2
    np.testing.assert_allclose(mesh.depth[same], box.depth[same], rtol=1e-5)
    turned = np.abs(mesh.normal - box.normal).max(axis=-1) > 1e-4
    assert (turned & same).sum() <= 2
    np.testing.assert_allclose(mesh.flow[same[:1]], box.flow[same[:1]], atol=1e-3)


def test_light_and_shadow_of_a_mesh_of_a_box_are_the_boxs(boxes: tuple[Rendered, Rendered]) -> None:
    apart = np.abs(boxes[0].rgb.astype(int) - boxes[1].rgb).max(axis=-1)
    assert apart[boxes[0].instance == 1].mean() < 0.5  # the others' shadows fall on it
    assert apart.mean() < 0.2
    assert apart.max() < 30  # in the penumbra, whose width is that of the outline's nearest point


def test_a_fine_mesh_of_a_ball_is_nearly_the_ball() -> None:
    geoms, meshed, camera = scene_with(SPHERE, (0.3, 0, 0), a_ball())
    ball, mesh = render(geoms, camera, a_look(), 128, 128), render(meshed, camera, a_look(), 128, 128)
    same = ball.instance == mesh.instance
    assert (~same).sum() < 10
    seen = same & (ball.instance == 1)
    for k in range(2):  # every point seen lies on the sphere, or as deep below it as a flat face does
        reach = np.linalg.norm(points_of(camera, mesh, k)[seen[k]] - meshed.position[k, 0], axis=1)
        assert 0.3 - 5e-4 < reach.min() < reach.max() < 0.3 + 1e-5
    assert np.abs(ball.normal - mesh.normal)[seen].max() < 0.06
    assert np.abs(ball.rgb.astype(int) - mesh.rgb)[ball.instance != 1].mean() < 0.1  # its shadow


def ring_scene(frames: int = 1) -> tuple[Geoms, Camera]:
    """A ring that leans, with a ball seen through it; from frame to frame it turns and the camera moves."""
    some = some_geoms(np.random.default_rng(3), 3, frames=frames)
    position = some.position.copy()
    position[:, 0], position[:, 1] = (0.1, -0.4, 0.6), (0.1, 0.5, 0.6)
    kinds = np.array([MESH, SPHERE, some.kind[2]], np.int8)
    size = np.concatenate([[[0, 0, 0], [0.2, 0, 0]], some.size[2:]])
    geoms = replace(some, kind=kinds, size=size, position=position, meshes=(a_ring(), None, None))
    poses = [a_pose((0.1 * t, -3.0 + 0.1 * t, 1.2), (0, 0.05 * t, 0.5)) for t in range(frames)]
    return geoms, a_camera(*poses, height=96, width=128)


def test_a_mesh_is_where_mujocos_rays_meet_it() -> None:
    """The model is MuJoCo's own, with the mesh moved and not the rays."""
    geoms, camera = ring_scene()
    mesh, turn = geoms.meshes[0], np.empty(4)
    assert mesh is not None
    mujoco.mju_mat2Quat(turn, geoms.rotation[0, 0].ravel())
    numbers = [" ".join(map(repr, array.ravel().tolist())) for array in (mesh.vertices, mesh.faces)]
    places = [" ".join(map(repr, array.tolist())) for array in (geoms.position[0, 0], turn)]
    model = mujoco.MjModel.from_xml_string(
        f'<mujoco><asset><mesh name="m" vertex="{numbers[0]}" face="{numbers[1]}"/></asset><worldbody>'
        f'<body pos="{places[0]}" quat="{places[1]}"><geom type="mesh" mesh="m"/></body></worldbody></mujoco>'
    )
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    picture = render(geoms, camera, a_look(), 96, 128)
    met, normal, differ = np.zeros(1, np.int32), np.zeros(3), 0
    rays, alone = rays_of(camera, 0, 96, 128), 0
    for y in range(96):
        for x in range(128):
            far = mujoco.mj_ray(model, data, camera.pose[0, :3, 3], rays[y, x], None, True, -1, met, normal)
            alone += far >= 0
            if picture.instance[0, y, x] == 1:
                towards = -np.sign(normal @ rays[y, x]) * normal
                close = abs(picture.depth[0, y, x] / far - 1) < 1e-5
                differ += not (close and np.abs(picture.normal[0, y, x] - towards).max() < 1e-3)
    assert (picture.instance[0] == 1).sum() > 300
    assert differ <= 3
    assert abs(alone - picture.area[0, 0]) <= 2


def test_what_is_behind_a_hole_is_seen() -> None:
    geoms, camera = ring_scene()
    upright = geoms.rotation.copy()
    upright[0, 0] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    picture = render(replace(geoms, rotation=upright), camera, a_look(), 96, 128)
    middle, _ = project(camera, 0, geoms.position[0, 0])
    assert picture.instance[0, int(middle[1]), int(middle[0])] == 2


def test_flow_moves_points_with_the_mesh() -> None:
    geoms, camera = ring_scene(frames=3)
    picture = render(geoms, camera, a_look(), 96, 128)
    x, y = np.meshgrid(np.arange(128) + 0.5, np.arange(96) + 0.5)
    for t in range(2):
        seen = picture.instance[t] == 1
        local = (points_of(camera, picture, t)[seen] - geoms.position[t, 0]) @ geoms.rotation[t, 0]
        there, _ = project(camera, t + 1, local @ geoms.rotation[t + 1, 0].T + geoms.position[t + 1, 0])
        np.testing.assert_allclose(picture.flow[t][seen], there - np.stack([x, y], -1)[seen], atol=2e-3)


def test_a_mesh_throws_a_shadow_with_a_hole_and_shades_itself() -> None:
    sun = (0.0, 0.0, 1.0)
    geoms, _ = ring_scene()
    flat = replace(
        geoms,
        kind=geoms.kind[:1],
        size=geoms.size[:1],
        albedo=np.full((1, 3), 0.5),
        position=np.array([[[0.0, 0.0, 0.5]]]),
        rotation=np.eye(3)[None, None],
        meshes=geoms.meshes[:1],
    )
    camera = a_camera(a_pose((0, -2.5, 0.2), (0, 0, 0.15)), height=128, width=128)
    lit = render(flat, camera, a_look("plain", sun, 0.02), 128, 128)
    points, light = points_of(camera, lit, 0), lit.rgb[0].astype(int).sum(axis=-1)
    ground = (lit.instance[0] == 0) & np.isfinite(lit.depth[0])
    away = np.hypot(points[..., 0], points[..., 1])
    under, hole, out = (light[ground & (away > a) & (away < b)] for a, b in ((0.24, 0.36), (0, 0.1), (0.6, 0.8)))
    assert min(map(len, (under, hole, out))) > 10
    assert under.mean() < 0.8 * out.mean()
    assert hole.mean() > 0.85 * out.mean()
    # Two boxes, one above the other, as one mesh: the upper one shades the lower one's top.
    upper, lower = CORNERS * (0.3, 0.3, 0.02) + (0, 0, 0.5), CORNERS * (0.5, 0.5, 0.05)
    shelf = mesh_of("shelf", np.concatenate([upper, lower]), np.concatenate([SIDES, np.array(SIDES) + 8]))
    low = float(shelf.vertices[:, 2].min())
    stands = replace(flat, position=np.array([[[0.0, 0.0, -low]]]), meshes=(shelf,))
    camera = a_camera(a_pose((0, -2.5, 0.35), (0, 0, 0.3)), height=128, width=128)
    picture = render(stands, camera, a_look("plain", sun, 0.02), 128, 128)
    points, light = points_of(camera, picture, 0), picture.rgb[0].astype(int).sum(axis=-1)
    top = (np.abs(points[..., 2] - 0.1) < 1e-3) & (picture.normal[0, ..., 2] > 0.99)
    reach = np.abs(points[..., :2]).max(axis=-1)
    shaded, bright = light[top & (reach < 0.27)], light[top & (reach > 0.33)]
    assert min(len(shaded), len(bright)) > 10
    assert shaded.mean() < 0.8 * bright.mean()
    assert np.ptp(bright) < 0.1 * bright.mean()  # no speckles where nothing shades it


def test_same_meshes_same_bytes_whatever_the_other_frames() -> None:
    geoms, camera = ring_scene(frames=3)
    first, second = (render(geoms, camera, a_look(), 96, 128) for _ in range(2))
    for name in ("rgb", "depth", "flow", "instance", "normal", "area", "visible"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    last = replace(geoms, position=geoms.position[2:], rotation=geoms.rotation[2:])
    alone = render(last, Camera(camera.pose[2:], camera.intrinsics[2:]), a_look(), 96, 128)
    assert np.array_equal(alone.rgb[0], first.rgb[2])
    assert alone.flow.shape == (0, 96, 128, 2)


def test_meshes_beside_and_behind_the_camera() -> None:
    geoms, camera = ring_scene()
    for place in ((0.0, -6.0, 1.2), (3.5, -2.9, 1.2), (0.05, -2.95, 1.2)):
        moved = geoms.position.copy()
        moved[0, 0] = place
        picture = render(replace(geoms, position=moved), camera, a_look(), 96, 128)
        assert picture.area[0, 0] == 0 or place[0] == 0.05


def test_the_rounded_box_of_a_box_and_of_a_ball() -> None:
    np.testing.assert_allclose(rounded_box(a_box()), (0, 0, 0, *HALF, 0), atol=1e-6)
    np.testing.assert_allclose(rounded_box(a_ball()), (0, 0, 0, 0, 0, 0, 0.3), atol=0.02)


# --- from arrays and files --------------------------------------------------------------------------------------------


def test_the_origin_is_the_centre_of_mass() -> None:
    mesh = a_box(at=(3.0, -2.0, 7.0))
    np.testing.assert_allclose(mesh.vertices, a_box().vertices, atol=1e-5)
    assert mesh.extents == pytest.approx(HALF)
    assert mesh.radius == pytest.approx(np.linalg.norm(HALF), abs=1e-5)
    assert mesh.volume == pytest.approx(8 * math.prod(HALF), rel=1e-5)
    twice = scaled(mesh, 2)
    assert (twice.extents, twice.volume) == (pytest.approx([0.6, 0.4, 0.5]), pytest.approx(8 * mesh.volume))
    tiny = mesh_of("crumb", 1e-5 * mesh.vertices, mesh.faces)
    assert tiny.volume == pytest.approx(1e-15 * mesh.volume, rel=1e-4)


def obj_of(mesh: Mesh) -> str:
    lines = [f"v {x} {y} {z}" for x, y, z in mesh.vertices] + [f"f {a} {b} {c}" for a, b, c in mesh.faces + 1]
    return "\n".join(lines) + "\n"


def stl_of(mesh: Mesh) -> bytes:
    corners = mesh.vertices[mesh.faces].astype("<f4")
    faces = b"".join(bytes(12) + triangle.tobytes() + bytes(2) for triangle in corners)
    return bytes(80) + struct.pack("<I", len(corners)) + faces


def test_files_hold_what_was_written(tmp_path: Path) -> None:
    ring = a_ring()
    (tmp_path / "Key_Ring-2.OBJ").write_text(obj_of(ring))
    (tmp_path / "ring.stl").write_bytes(stl_of(ring))
    for name, word in (("Key_Ring-2.OBJ", "key ring"), ("ring.stl", "ring")):
        mesh = read_mesh(tmp_path / name)
        assert mesh.name == word
        assert len(mesh.faces) == len(ring.faces)
        assert mesh.extents == pytest.approx(ring.extents, abs=1e-6)
        assert mesh.volume == pytest.approx(ring.volume, rel=1e-4)
        geoms, camera = ring_scene()
        same = [render(replace(geoms, meshes=(m, None, None)), camera, a_look(), 96, 128) for m in (ring, mesh)]
        np.testing.assert_allclose(same[0].depth, same[1].depth, rtol=1e-3)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("mug.obj", b"", "has no faces: export the surface"),
        ("mug.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\n", "has no faces: export the surface"),
        ("mug.obj", b"f 1 2 3\n" * 1_000_000, "has 1,000,000 faces: simplify it to 100,000 at most"),
        ("mug.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 9\n", "vertex index 8 does not exist"),
        ("mug.obj", b"v 0 0 0\nv 1 0 zero\nv 0 1 0\nv 0 0 1\nf 1 2 3\n", "line 2 is no place in space"),
        ("mug.obj", b"v 0 0 0\nv 1 0 nan\nv 0 1 0\nv 0 0 1\nf 1 2 3\n", "line 2 is no place in space"),
        ("mug.obj", b"v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 2 4 3\n", "is flat, and a body has a volume"),
        ("mug.obj", b"\x00\x01\x02\n" * 50, "has no faces"),
        (
            "mug.stl",
            b"solid mug\nfacet normal 0 0 1\nendsolid\n",
            "is a text STL: export it anew, as OBJ or binary STL",
        ),
        ("mug.stl", b"short", "is too short for an STL"),
        ("mug.stl", bytes(84), "has no faces"),
        ("mug.stl", bytes(80) + struct.pack("<I", 1_000_000), "has 1,000,000 faces"),
        ("mug.stl", bytes(80) + struct.pack("<I", 12) + bytes(100), "is damaged or no mesh"),
        ("123.obj", b"", "has no word for a name"),
        ("mug.ply", b"ply\n", "is neither OBJ nor STL"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, name: str, content: bytes, sentence: str) -> None:
    good = obj_of(a_box()).encode()
    (tmp_path / name).write_bytes(good if sentence.startswith("has no word") else content)
    with pytest.raises(ValueError, match=sentence) as refusal:
        read_mesh(tmp_path / name)
    assert str(tmp_path / name) in str(refusal.value)


def test_bad_arrays_are_refused() -> None:
    box = a_box()
    with pytest.raises(ValueError, match="the mesh 'mug' has no faces"):
        mesh_of("mug", box.vertices, np.zeros((0, 3), np.int32))
    with pytest.raises(ValueError, match="not finite"):
        mesh_of("mug", box.vertices * np.nan, box.faces)
    with pytest.raises(ValueError, match=r"that it does not have \(8\)"):
        mesh_of("mug", box.vertices, box.faces + 1)
    with pytest.raises(ValueError, match="is flat"):
        mesh_of("mug", box.vertices * (1, 0, 1), box.faces)
    geoms, camera = ring_scene()
    with pytest.raises(ValueError, match="give a MESH its mesh"):
        render(replace(geoms, meshes=()), camera, a_look(), 96, 128)


# --- in worlds --------------------------------------------------------------------------------------------------------


def stage(*things: Thing, seed: int = 0) -> World:
    move = CameraMove("static", 0.0, 0.0, 0.3, 3.2, (0.0, 0.0, 0.4))
    return replace(sample_world(seed), things=things, props=(), move=move)


def a_thing(mesh: Mesh, **state: object) -> Thing:
    return replace(Thing(mesh.name, "red", "medium", mesh.extents, (0.0, 0.0, 1.0), mesh=mesh), **state)  # type: ignore[arg-type]


def test_a_mesh_of_a_box_moves_as_the_box() -> None:
    turn = (math.cos(0.2), math.sin(0.2) * 0.6, math.sin(0.2) * 0.8, 0.0)
    mesh = a_thing(a_box(), motion="drop", quaternion=turn, spin=(0.3, -0.2, 0.5))
    box = replace(mesh, shape="box", mesh=None)
    paths = [trajectory(stage(thing), 33, 15.0) for thing in (box, mesh)]
    flying = slice(0, 6)  # what comes after the first contact depends on every digit
    np.testing.assert_allclose(paths[0].position[flying], paths[1].position[flying], atol=1e-4)
    np.testing.assert_allclose(paths[0].quaternion[flying], paths[1].quaternion[flying], atol=1e-4)
    assert paths[0].contacts[0].frame == paths[1].contacts[0].frame
    assert [(c.first, c.second) for c in paths[1].contacts] == [(0, GROUND)]
    assert np.linalg.norm(paths[1].velocity[-1, 0]) < 0.05


def test_events_and_words_of_a_mesh() -> None:
    mesh = scaled(a_box(), 0.8)
    clip = film(stage(a_thing(mesh, shape="mug", motion="drop", restitution=0.1)), 33, 64, 64)
    assert any(isinstance(event, Landed) and event.object == 0 for event in clip.events)
    assert clip.objects[0].name == "medium red mug"
    assert clip.objects[0].extents == pytest.approx(mesh.extents)
    assert all("red mug" in text for text in clip.captions[1:])
    assert (clip.states.visible == 1).all()
    wall = Thing("box", "blue", "tall", (0.6, 0.05, 0.6), (0.0, -0.8, 0.6), motion="stand", fixed=True)
    behind = film(stage(a_thing(mesh, shape="mug", position=(0.0, 0.5, 0.2)), wall), 5, 64, 64)
    assert Hidden(0, 4, 0, 1) in behind.events
    assert (behind.states.visible[:, 0] == 0).all()
    before = film(stage(a_thing(scaled(mesh, 2), fixed=True, position=(0.0, -0.8, 0.4)), box_behind()), 5, 64, 64)
    assert Hidden(0, 4, 1, 0) in before.events


def box_behind() -> Thing:
    return Thing("box", "blue", "small", extents("box", "small"), (0.0, 0.6, 0.17))


def test_meshes_stand_in_for_loose_boxes() -> None:
    meshes, seen = (a_ring(), a_ball(count=100)), set()
    for seed in range(60):
        world = sample_world(seed)
        changed = with_meshes(world, meshes)
        for box, thing in zip(world.things, changed.things, strict=True):
            if box.shape != "box" or box.fixed:
                assert thing is box
                continue
            assert thing.mesh is not None
            seen.add(thing.shape)
            assert max(np.subtract(thing.extents, box.extents)) < 1e-9
            assert thing.colour == box.colour
            assert thing.mesh.vertices[:, 2].min() + thing.position[2] > -1e-6 or box.motion in (
                "drop",
                "throw",
                "ramp",
            )
    assert seen == {"ring", "pebble"}
    world = sample_world(3)
    assert with_meshes(world, ()) is world


@pytest.mark.parametrize(("mesh", "said", "unsaid"), [(a_ball(0.2, 300), "roll", "slid"), (a_box(), "slid", "roll")])
def test_what_rolls_is_said_to_roll(mesh: Mesh, said: str, unsaid: str) -> None:
    """A pebble in the place of a box that is pushed does not slide."""
    low = -float(mesh.vertices[:, 2].min())
    pushed = a_thing(mesh, motion="slide", position=(-0.8, 0.0, low), velocity=(1.6, 0.0, 0.0), friction=0.15)
    clip = film(stage(pushed), 33, 32, 32)
    assert np.ptp(clip.states.position[:, 0, 0]) > 0.5
    assert all(said in text and unsaid not in text for text in clip.captions[2:])


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meshes, worlds = tmp_path / "meshes", tmp_path / "worlds"
    meshes.mkdir()
    words = ["simulate", str(worlds), "--clips", "3", "--size", "48x32", "--frames", "5", "--meshes", str(meshes)]
    assert obey(words) == 2
    assert "holds no OBJ and no STL files: put at least one there" in capsys.readouterr().err
    (meshes / "mug.obj").write_text(obj_of(a_box()))
    assert not worlds.exists()
    assert obey(words) == 0
    said = [json.loads(file.read_text()) for file in sorted(worlds.glob("*.json"))]
    named = [thing["shape"] for clip in said for thing in clip["objects"]]
    assert "mug" in named
    assert any(" mug" in file.read_text() for file in worlds.glob("*.txt"))
    assert all(clip["meshes"][0][0] == "mug" for clip in said)
    capsys.readouterr()
    assert obey(words) == 0
    assert "(0 made, 3 already there)" in capsys.readouterr().out
    assert obey(words[:-2]) == 2
    assert "has other meshes: choose another folder, or the same meshes" in capsys.readouterr().err
    assert obey([*words[:-1], str(meshes / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err
