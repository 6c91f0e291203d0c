"""Clips: the same bytes anywhere, and captions and events that masks and states bear out."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from mentions import mentioned

from muybridge.simulation import Clip, Contact, Hidden, Landed, simulate
from muybridge.simulation.cameras import camera_path, project
from muybridge.simulation.captions import VOCABULARY, words
from muybridge.simulation.events import observed
from muybridge.simulation.lexicon import VERBS
from muybridge.simulation.physics import Trajectory, geoms, trajectory
from muybridge.simulation.render import render
from muybridge.simulation.scene import Rendered
from muybridge.simulation.worlds import World, sample_world

SEEDS = range(40)

clip = cache(simulate)


def digest(made: Clip) -> str:
    arrays = [made.rgb, made.depth, made.flow, made.instance, made.normal, made.camera.pose, made.camera.intrinsics]
    arrays += [made.states.position, made.states.quaternion, made.states.velocity, made.states.spin]
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays) + repr(made.captions).encode()).hexdigest()


def test_same_bytes_in_another_process() -> None:
    code = "import sys; sys.path.insert(0, 'tests'); from test_clip import digest, simulate; "
    code += "print(digest(simulate(7, frames=5, height=64, width=64)))"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.strip()
    assert made == digest(simulate(7, frames=5, height=64, width=64))


@pytest.mark.parametrize("seed", [0, 3, 11])
def test_a_still_is_the_first_frame(seed: int) -> None:
    still = simulate(seed, frames=1)
    np.testing.assert_array_equal(still.rgb[0], clip(seed).rgb[0])
    np.testing.assert_array_equal(still.depth[0], clip(seed).depth[0])
    assert still.flow.shape == (0, 128, 128, 2)


@pytest.mark.parametrize(("frames", "height", "width"), [(1, 64, 96), (5, 96, 64), (9, 32, 128)])
def test_any_length_and_aspect(frames: int, height: int, width: int) -> None:
    made = simulate(2, frames, height, width, fps=24.0)
    assert made.rgb.shape == (frames, height, width, 3)
    assert made.flow.shape == (frames - 1, height, width, 2)
    assert made.states.position.shape == (frames, len(made.objects), 3)
    assert len(made.captions) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_objects_are_seen_at_the_start(seed: int) -> None:
    made = clip(seed)
    for i, thing in enumerate(made.world.things):
        if thing.motion != "emerge":
            assert made.states.visible[0, i] > 0.4
            assert (made.instance[0] == i + 1).sum() > 60
    assert made.states.visible.min() >= 0
    assert made.states.visible.max() <= 1


@pytest.mark.parametrize("seed", SEEDS)
def test_masks_lie_where_the_states_say(seed: int) -> None:
    made = clip(seed)
    place = project(made.camera, made.states.position)
    for i in range(len(made.objects)):
        for t in (0, 16, 32):
            rows, columns = np.nonzero(made.instance[t] == i + 1)
            inside = 12 < place[t, i, 0] < 116 and 12 < place[t, i, 1] < 116
            if made.states.visible[t, i] > 0.98 and inside and len(rows) > 60:
                centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
                assert np.linalg.norm(centre - place[t, i, :2]) < 3.5


@pytest.mark.parametrize("seed", SEEDS)
def test_events_are_borne_out(seed: int) -> None:
    made = clip(seed)
    position = made.states.position
    for event in made.events:
        if isinstance(event, Hidden):
            spell = made.instance[event.frame_from : event.frame_to + 1]
            seen = (spell == event.object + 1).sum(axis=(1, 2))
            assert seen.max() < 0.1 * max(1, (made.instance == event.object + 1).sum(axis=(1, 2)).max()) + 12
            assert (spell == event.by + 1).any()
        if isinstance(event, Landed):
            assert position[event.frame, event.object, 2] > position[event.frame + 1 :, event.object, 2].min() - 1e-3
        if isinstance(event, Contact) and event.first < len(made.objects) > event.second:
            reach = sum(np.linalg.norm(made.objects[i].extents) for i in (event.first, event.second))
            gap = np.linalg.norm(position[event.frame, event.first] - position[event.frame, event.second])
            assert gap < reach + 0.5  # they were at most half a metre apart a frame before


def test_balls_that_miss_each_other_are_said_to_roll() -> None:
    """Of a ball that comes to meet another, but does not, no meeting is told."""
    seed = next(seed for seed in range(1000) if any(thing.motion == "meet" for thing in sample_world(seed).things))
    world = sample_world(seed)
    path = trajectory(world, 33, 15.0)
    meeting = [i for i, thing in enumerate(world.things) if thing.motion == "meet"]
    for happening in observed(world, path, render_of(world, path), ()):
        if happening.subject in meeting:
            assert happening.kind.split()[0] == "roll"
            assert happening.kind in VERBS


def render_of(world: World, path: Trajectory) -> Rendered:
    camera = camera_path(world.move, np.linspace(0, 1, 33), 32, 32)
    return render(geoms(world, path), camera, world.look, 32, 32)


@pytest.mark.parametrize("seed", SEEDS)
def test_captions_are_true(seed: int) -> None:
    made = clip(seed)
    position, things = made.states.position, made.world.things
    hidden = [event for event in made.events if isinstance(event, Hidden)]
    met = [event for event in made.events if isinstance(event, Contact)]
    for text in made.captions:
        assert set(words(text)) <= VOCABULARY
        for fact in mentioned(text):
            assert any((fact.colour, fact.shape) == (thing.colour, thing.shape) for thing in things)
        if re.search("reappears|comes out|coming out|stays hidden|stops there", text):
            assert hidden
        if re.search("hits|bumps|collides|runs into|(rolls|slides) into", text):
            assert met
        if re.search("falls|drops|dropped|bounces|down a (ramp|slope)", text):
            assert (position[0, :, 2] - position[:, :, 2].min(axis=0)).max() > 0.07
        if re.search(r"rolls|(?<!camera )slides|thrown|tossed|flies", text):
            assert np.linalg.norm(position - position[:1], axis=-1).max() > 0.15


@pytest.mark.parametrize(
    ("wish", "mend"),
    [
        ({"frames": 30}, "take 29 or 33"),
        ({"frames": 0}, "take 1 or 5"),
        ({"height": 8}, "height is 16 to 2048"),
        ({"width": 4000}, "width is 16 to 2048"),
        ({"fps": 0.0}, "1 to 120"),
    ],
)
def test_impossible_wishes_are_named(wish: dict[str, float], mend: str) -> None:
    with pytest.raises(ValueError, match=mend):
        simulate(0, **wish)  # type: ignore[arg-type]
