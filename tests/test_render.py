"""The ray caster against MuJoCo's, a sampled sun, and the geometry of two cameras."""

from __future__ import annotations

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from numba import njit
from scipy.spatial.transform import Rotation

from muybridge.simulation import casting, ground, shadows
from muybridge.simulation import render as preparation
from muybridge.simulation.render import render
from muybridge.simulation.scene import BOX, CAPSULE, CYLINDER, SPHERE, Camera, Geoms, Look, Rendered

NAMES = {SPHERE: "sphere", CAPSULE: "capsule", CYLINDER: "cylinder", BOX: "box"}
PLACES = {SPHERE: 1, CAPSULE: 2, CYLINDER: 2, BOX: 3}

# The kernels have no entry from Python: these do.
hit = njit(**casting.OPTIONS)(casting.hit.py_func)
square_wave = njit(**casting.OPTIONS)(ground.square_wave.py_func)


@njit(**casting.OPTIONS)  # type: ignore[untyped-decorator]
def shade(geom, d, spread, blur):  # type: ignore[no-untyped-def]
    return shadows.shadow(geom.kind, shadows.body(geom), (d[0], d[1], d[2]), spread, blur)


def a_look(
    pattern: str = "checker", sun: tuple[float, float, float] = (-0.5, -0.45, 0.75), radius: float = 0.09
) -> Look:
    return Look(
        sun=np.array(sun) / np.linalg.norm(sun),
        sun_radius=radius,
        sun_color=np.array([0.95, 0.88, 0.78]),
        sky_color=np.array([0.42, 0.46, 0.54]),
        bounce_color=np.array([0.22, 0.20, 0.18]),
        ground=np.array([[0.62, 0.60, 0.57], [0.45, 0.44, 0.43]]),
        pattern=pattern,
        pattern_scale=1.0,
        backdrop=np.array([[0.74, 0.76, 0.79], [0.42, 0.52, 0.66]]),
        fade_start=4.0,
        fade_end=11.0,
    )


def a_pose(eye: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    z = np.subtract(target, eye) / np.linalg.norm(np.subtract(target, eye))
    x = np.cross(z, [0, 0, 1]) / np.linalg.norm(np.cross(z, [0, 0, 1]))
    pose = np.eye(4)
    pose[:3] = np.stack([x, np.cross(z, x), z, eye], axis=1)
    return pose


def a_camera(*poses: np.ndarray, height: int, width: int) -> Camera:
    focal = height / 2 / np.tan(np.radians(45) / 2)
    one = np.array([[focal, 0, width / 2 + 1.5], [0, 1.1 * focal, height / 2 - 2], [0, 0, 1]])
    return Camera(pose=np.stack(poses), intrinsics=np.stack([one] * len(poses)))


def some_geoms(rng: np.random.Generator, count: int, frames: int = 1) -> Geoms:
    """Turned and scattered; from frame to frame they move a little."""
    step = rng.normal(size=(frames, count, 3)) * 0.05
    turns = Rotation.from_rotvec(rng.normal(size=(count, 3)))
    spin = rng.normal(size=(count, 3)) * 0.1
    rotation = [(Rotation.from_rotvec(t * spin) * turns).as_matrix() for t in range(frames)]
    return Geoms(
        kind=rng.choice([SPHERE, CAPSULE, CYLINDER, BOX], count).astype(np.int8),
        size=rng.uniform(0.08, 0.35, (count, 3)),
        albedo=rng.uniform(0.05, 0.8, (count, 3)),
        position=rng.uniform([-0.9, -0.6, 0.3], [0.9, 1.0, 1.0], (count, 3)) + np.cumsum(step, axis=0),
        rotation=np.stack(rotation).reshape(frames, count, 3, 3),
    )


def no_geoms(frames: int = 1) -> Geoms:
    return some_geoms(np.random.default_rng(0), 0, frames)


def rays_of(camera: Camera, t: int, height: int, width: int) -> np.ndarray:
    """World directions of depth 1 through the pixels' centres."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    return pixels @ np.linalg.inv(camera.intrinsics[t]).T @ camera.pose[t, :3, :3].T


def points_of(camera: Camera, picture: Rendered, t: int) -> np.ndarray:
    """Of the surfaces seen, in the world; nan on the backdrop."""
    rays = rays_of(camera, t, *picture.depth.shape[1:])
    depth = np.where(np.isinf(picture.depth[t]), np.nan, picture.depth[t])
    return camera.pose[t, :3, 3] + depth[..., None] * rays


def project(camera: Camera, t: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    seen = (points - camera.pose[t, :3, 3]) @ camera.pose[t, :3, :3] @ camera.intrinsics[t].T
    return seen[..., :2] / seen[..., 2:], seen[..., 2]


def mujoco_says(geoms: Geoms, camera: Camera, height: int, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Instance, depth and normal of the first frame, by mj_multiRay."""
    lines = ['<geom type="plane" size="0 0 0.1"/>']
    for kind, size, position, turn in zip(geoms.kind, geoms.size, geoms.position[0], geoms.rotation[0], strict=True):
        quat = Rotation.from_matrix(turn).as_quat(scalar_first=True)
        fields = {"type": NAMES[int(kind)], "size": size[: PLACES[int(kind)]], "pos": position, "quat": quat}
        text = {k: v if isinstance(v, str) else " ".join(f"{x:.17g}" for x in v) for k, v in fields.items()}
        lines.append("<geom " + " ".join(f'{k}="{v}"' for k, v in text.items()) + "/>")
    model = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{''.join(lines)}</worldbody></mujoco>")
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    rays = rays_of(camera, 0, height, width).reshape(-1, 3)
    length = np.linalg.norm(rays, axis=1)
    hit, distance, normal = np.zeros(len(rays), np.int32), np.zeros(len(rays)), np.zeros(rays.size)
    eye, directions = camera.pose[0, :3, 3].copy(), (rays / length[:, None]).ravel()
    mujoco.mj_multiRay(model, data, eye, directions, None, True, -1, hit, distance, normal, len(rays), 1e10)
    depth = np.where(hit >= 0, distance / length, np.inf)
    normal = np.where(hit[:, None] >= 0, normal.reshape(-1, 3), 0)
    shape = (height, width)
    return np.maximum(hit, 0).reshape(shape), depth.reshape(shape), normal.reshape(*shape, 3)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_mujoco_on_every_pixel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    geoms, camera = some_geoms(rng, 7), a_camera(a_pose((0.3, -3.0, 1.2), (0, 0, 0.4)), height=96, width=128)
    picture = render(geoms, camera, a_look(), 96, 128)
    instance, depth, normal = mujoco_says(geoms, camera, 96, 128)
    assert len(np.unique(instance)) > 4
    same = picture.instance[0] == instance
    assert (~same).sum() <= 2  # rays that graze an edge: of 12,288
    assert np.array_equal(np.isinf(picture.depth[0]), np.isinf(depth))
    solid = same & np.isfinite(depth)
    np.testing.assert_allclose(picture.depth[0][solid], depth[solid], rtol=1e-5)
    turned = np.abs(picture.normal[0] - normal).max(axis=-1) > 1e-4
    assert (turned & same).sum() <= 2  # rays that graze the edge between two faces


def test_area_is_what_a_geom_would_cover_alone() -> None:
    geoms, camera = (
        some_geoms(np.random.default_rng(3), 6),
        a_camera(a_pose((0, -3, 1), (0, 0, 0.4)), height=80, width=80),
    )
    picture = render(geoms, camera, a_look(), 80, 80)
    assert np.array_equal(picture.visible[0], np.bincount(picture.instance.ravel(), minlength=7)[1:])
    assert (picture.area >= picture.visible).all()
    assert (picture.area > picture.visible).any()
    for i in range(6):
        alone = Geoms(
            geoms.kind[[i]], geoms.size[[i]], geoms.albedo[[i]], geoms.position[:, [i]], geoms.rotation[:, [i]]
        )
        # The ground hides none: some reach below it, so it does not count either.
        assert render(alone, camera, a_look(), 80, 80).area[0, 0] == picture.area[0, i]


def test_flow_moves_surface_points_with_their_geoms() -> None:
    rng = np.random.default_rng(5)
    geoms = some_geoms(rng, 5, frames=3)
    poses = [a_pose((0.1 * t, -3.0 + 0.1 * t, 1.2), (0, 0.05 * t, 0.4)) for t in range(3)]
    camera = a_camera(*poses, height=48, width=64)
    picture = render(geoms, camera, a_look(), 48, 64)
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5)
    for t in range(2):
        points, seen = points_of(camera, picture, t), picture.instance[t]
        for i in range(5):
            local = (points[seen == i + 1] - geoms.position[t, i]) @ geoms.rotation[t, i]
            points[seen == i + 1] = local @ geoms.rotation[t + 1, i].T + geoms.position[t + 1, i]
        solid = np.isfinite(picture.depth[t])
        there, _ = project(camera, t + 1, points[solid])
        np.testing.assert_allclose(picture.flow[t][solid], there - np.stack([x, y], -1)[solid], atol=2e-3)
        ahead = rays_of(camera, t, 48, 64)[~solid] @ camera.pose[t + 1, :3, :3] @ camera.intrinsics[t + 1].T
        turned = ahead[:, :2] / ahead[:, 2:] - np.stack([x, y], -1)[~solid]
        np.testing.assert_allclose(picture.flow[t][~solid], turned, atol=2e-3)


def test_flow_and_depth_lead_to_the_same_surface_seen_from_elsewhere() -> None:
    geoms = some_geoms(np.random.default_rng(8), 5)
    still = replace(geoms, position=geoms.position[[0, 0]], rotation=geoms.rotation[[0, 0]])
    camera = a_camera(
        a_pose((0, -3, 1.2), (0, 0, 0.3)), a_pose((0.15, -2.95, 1.25), (0, 0, 0.3)), height=128, width=128
    )
    picture = render(still, camera, a_look("plain"), 128, 128)
    x, y = np.meshgrid(np.arange(128), np.arange(128))
    u, v = np.rint(x + picture.flow[0, ..., 0]).astype(int), np.rint(y + picture.flow[0, ..., 1]).astype(int)
    inside = (u >= 0) & (u < 128) & (v >= 0) & (v < 128) & np.isfinite(picture.depth[0])
    _, depth = project(camera, 1, points_of(camera, picture, 0)[inside])
    there = (1, v[inside], u[inside])
    unhidden = (picture.instance[there] == picture.instance[0][inside]) & (
        np.abs(picture.depth[there] / depth - 1) < 0.05
    )
    assert unhidden.mean() > 0.9
    assert np.median(np.abs(picture.depth[there] / depth - 1)[unhidden]) < 0.005
    before, after = picture.rgb[0][inside].astype(int), picture.rgb[there].astype(int)
    apart = np.abs(before - after).mean(axis=-1)[unhidden]
    assert np.median(apart) < 1
    assert apart.mean() < 2.5


def test_flow_is_nan_beside_a_camera_that_turned_away() -> None:
    camera = a_camera(a_pose((0, -3, 1), (0, 0, 0.5)), a_pose((0, -3, 1), (0, -6, 0.5)), height=16, width=16)
    assert np.isnan(render(no_geoms(2), camera, a_look(), 16, 16).flow).all()


def test_the_backdrop_has_no_depth_and_no_normal() -> None:
    camera = a_camera(a_pose((0, -3, 1), (0, 0, 4)), height=20, width=30)
    picture = render(no_geoms(), camera, a_look(), 20, 30)
    assert picture.rgb.shape == (1, 20, 30, 3)
    assert picture.flow.shape == (0, 20, 30, 2)
    assert np.isinf(picture.depth).all()
    assert not picture.normal.any()
    assert not picture.instance.any()
    assert picture.area.shape == (1, 0)
    up = picture.rgb[0, :, 0, 0].astype(int)
    assert up[0] < up[-1]  # darker towards the zenith, as the look says
    assert np.abs(np.diff(up)).max() <= 12


def test_same_input_same_bytes_whatever_the_other_frames() -> None:
    geoms = some_geoms(np.random.default_rng(2), 6, frames=3)
    camera = a_camera(*[a_pose((0.2 * t, -3, 1), (0, 0, 0.4)) for t in range(3)], height=40, width=56)
    first, second = (render(geoms, camera, a_look("rings"), 40, 56) for _ in range(2))
    for name in ("rgb", "depth", "flow", "instance", "normal", "area", "visible"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes(), name
    last = replace(geoms, position=geoms.position[2:], rotation=geoms.rotation[2:])
    alone = render(last, Camera(camera.pose[2:], camera.intrinsics[2:]), a_look("rings"), 40, 56)
    assert np.array_equal(alone.rgb[0], first.rgb[2])


def sampled_shadow(geom: np.ndarray, d: np.ndarray, sun: np.ndarray, radius: float) -> float:
    """Part of 300 points on the sun's disc that a geom hides, by casting rays."""
    k = np.arange(300)
    across = np.cross(sun, [0, 0, 1.0]) / np.linalg.norm(np.cross(sun, [0, 0, 1.0]))
    r, turn = np.tan(radius) * np.sqrt((k + 0.5) / 300), k * 2.399963
    towards = sun + np.outer(r * np.cos(turn), across) + np.outer(r * np.sin(turn), np.cross(sun, across))
    return float(
        np.mean([hit(geom["kind"], geom["half"], geom["axes"] @ d, geom["axes"] @ v)[0] < np.inf for v in towards])
    )


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.7, 0.35, 0.0), (1.5, 0.0, 0.6)])
def test_soft_shadows_are_those_of_a_sampled_sun(kind: int, turn: tuple[float, float, float]) -> None:
    look = a_look(sun=(-0.3, 0.5, 0.6), radius=0.1)
    geoms = Geoms(
        kind=np.array([kind], np.int8),
        size=np.array([[0.2, 0.25, 0.1]]),
        albedo=np.ones((1, 3)),
        position=np.array([[[0.0, 0.0, 0.6]]]),
        rotation=Rotation.from_rotvec(turn).as_matrix()[None, None],
    )
    rays = preparation._rays(a_camera(a_pose((0, -3, 1), (0, 0, 0)), height=8, width=8))
    geom = preparation._scene(geoms, look, rays)[0, 0]
    foot = -look.sun * 0.6 / look.sun[2]
    x, y = np.meshgrid(np.linspace(-0.7, 0.7, 18), np.linspace(-0.7, 0.7, 18))
    at = foot + np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3)
    ours = np.array([shade(geom, d, np.tan(look.sun_radius), 1e-6) for d in at])
    theirs = np.array([sampled_shadow(geom, d, look.sun, look.sun_radius) for d in at])
    assert 0.02 < theirs.mean() < 0.5
    assert ((theirs > 0.1) & (theirs < 0.9)).sum() > 10
    assert np.abs(ours - theirs).mean() < 0.02
    assert np.abs(ours - theirs).max() < 0.3


@pytest.mark.parametrize("width", [0.01, 0.4, 1.0, 3.3])
def test_patterns_are_box_filtered(width: float) -> None:
    for x in np.linspace(-1.3, 1.7, 13):
        under = np.linspace(x - width / 2, x + width / 2, 20001)
        mean = np.where(under % 1 < 0.5, 1.0, -1.0).mean()
        assert square_wave(x, width) == pytest.approx(mean, abs=2e-3 / width**0.5)


@pytest.mark.parametrize("pattern", ["checker", "stripes", "rings"])
def test_a_pattern_shows_both_albedos_near_and_neither_at_the_horizon(pattern: str) -> None:
    camera = a_camera(a_pose((0, -3, 1), (0, 0, 0.2)), height=64, width=64)
    rgb = render(no_geoms(), camera, a_look(pattern), 64, 64).rgb[0].astype(int)
    plain = render(no_geoms(), camera, a_look("plain"), 64, 64).rgb[0].astype(int)
    assert np.abs(rgb - plain)[40:].max() > 20
    assert (np.abs(rgb - plain)[40:].max(axis=-1) == 0).any()
    sky = np.isinf(render(no_geoms(), camera, a_look(pattern), 64, 64).depth[0])
    last = int(np.flatnonzero(sky.all(axis=1))[-1])
    assert np.abs(rgb[last] - rgb[last + 1]).max() <= 2  # no line at the horizon


def test_edges_are_smooth() -> None:
    ball = Geoms(
        kind=np.array([SPHERE], np.int8),
        size=np.array([[0.5, 0, 0]]),
        albedo=np.full((1, 3), 0.02),
        position=np.array([[[0.0, 0, 1.0]]]),
        rotation=np.eye(3)[None, None],
    )
    white = replace(a_look("plain"), backdrop=np.ones((2, 3)), ground=np.ones((2, 3)), fade_start=0.1, fade_end=0.2)
    camera = a_camera(a_pose((0, -3, 1), (0, 0, 1)), height=64, width=64)
    picture = render(ball, camera, white, 64, 64)
    background, rim = picture.rgb[0, 0, 0, 0], picture.rgb[0][picture.instance[0] == 1].min()
    between = ((picture.rgb[0, ..., 0] > rim + 60) & (picture.rgb[0, ..., 0] < background - 5)).sum()
    assert between > 0.5 * np.sqrt(4 * np.pi * picture.area[0, 0])  # of the outline's length


def test_says_what_is_wrong() -> None:
    geoms, camera = some_geoms(np.random.default_rng(0), 2), a_camera(a_pose((0, -3, 1), (0, 0, 0)), height=8, width=8)
    with pytest.raises(ValueError, match="pattern 'tartan'"):
        render(geoms, camera, a_look("tartan"), 8, 8)
    with pytest.raises(ValueError, match="unit vector"):
        render(geoms, camera, replace(a_look(), sun=np.array([0.0, 0, 2])), 8, 8)
    with pytest.raises(ValueError, match="0 x 8"):
        render(geoms, camera, a_look(), 0, 8)
    with pytest.raises(ValueError, match=r"geom kinds \[4\]"):
        render(replace(geoms, kind=np.array([4, 2], np.int8)), camera, a_look(), 8, 8)
    with pytest.raises(ValueError, match="under the ground"):
        render(
            geoms,
            replace(camera, pose=camera.pose - [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 2], [0, 0, 0, 0]]),
            a_look(),
            8,
            8,
        )
    with pytest.raises(ValueError, match="geoms have 1 frames, the camera 2"):
        render(geoms, Camera(camera.pose[[0, 0]], camera.intrinsics[[0, 0]]), a_look(), 8, 8)
