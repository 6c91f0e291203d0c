"""Baselines: what comes of the given frames by each rule, and that they know nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import ImageColor
from tiny_suite import Tiny

from muybridge.data.balls import Balls
from muybridge.data.material import Shape
from muybridge.data.worlds import HELD_OUT_PAIRS
from muybridge.evaluation import running
from muybridge.evaluation.baselines import PLAIN, NearestClip, constant_velocity, last_frame_repeat, static_copy
from muybridge.evaluation.phyworld import Phyworld
from muybridge.evaluation.segments import segments
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames
from muybridge.simulation import simulate
from muybridge.simulation.palette import COLOURS

GREY = np.array([150, 145, 140], np.uint8)


def discs(places: list[list[tuple[float, float]]], colours: list[str], side: int = 128, radius: float = 12) -> Frames:
    """One frame for each list of (x, y), the last disc in front."""
    frames = np.full((len(places), side, side, 3), GREY)
    y, x = np.mgrid[:side, :side]
    for frame, centres in zip(frames, places, strict=True):
        for (cx, cy), colour in zip(centres, colours, strict=True):
            frame[np.hypot(x - cx, y - cy) < radius] = ImageColor.getrgb(COLOURS[colour])
    return frames


def places_of(frames: Frames, colour: str) -> np.ndarray:
    """(x, y) of the largest segment of a colour in every frame."""
    found = [max((s for s in segments(f) if s.colour == colour), key=lambda s: s.area) for f in frames]
    return np.array([s.centre[::-1] for s in found])


def test_copies_are_copies() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    assert (static_copy(frames, 9) == frames[0]).all()
    made = last_frame_repeat(frames, 9)
    assert (made[:5] == frames).all()
    assert (made[5:] == frames[4]).all()
    assert len(made) == len(static_copy(frames, 9)) == 9


def test_constant_velocity_goes_straight_on_and_leaves_no_trace() -> None:
    frames = discs([[(20 + 3 * t, 40 + 2 * t)] for t in range(5)], ["red"])
    made = constant_velocity(frames, 20)
    assert (made[:5] == frames).all()
    expected = np.array([(20 + 3 * t, 40 + 2 * t) for t in range(20)])
    np.testing.assert_allclose(places_of(made, "red"), expected, atol=1.0)
    assert [len(segments(frame)) for frame in made] == [1] * 20
    assert (made[-1, 40, 20] == GREY).all()


def test_constant_velocity_keeps_what_stands_and_puts_the_lower_in_front() -> None:
    """Red passes behind blue, whose foot is lower in the picture."""
    frames = discs([[(20 + 4 * t, 60), (70, 68)] for t in range(5)], ["red", "blue"])
    made = constant_velocity(frames, 16)
    np.testing.assert_allclose(places_of(made, "blue"), np.tile([70, 68], (16, 1)), atol=0.5)
    hidden = [s.area for s in segments(made[12]) if s.colour == "red"]
    assert sum(hidden) < 0.5 * next(s.area for s in segments(frames[0]) if s.colour == "red")


@pytest.mark.parametrize("side", [64, 256])
def test_constant_velocity_is_in_pixels_of_the_frame(side: int) -> None:
    scale = side / 128
    frames = discs([[(scale * (30 + 3 * t), scale * 60)] for t in range(5)], ["red"], side, 14 * scale)
    made = constant_velocity(frames, 15)
    assert places_of(made, "red")[-1, 0] == pytest.approx(30 + 3 * 14, abs=1.5)  # segments are in pixels of 128


def test_what_leaves_the_picture_is_gone() -> None:
    frames = discs([[(80 + 8 * t, 60)] for t in range(5)], ["red"])
    assert segments(constant_velocity(frames, 30)[-1]) == []


@settings(max_examples=15, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(16, 40), st.integers(16, 40), st.just(3))),
    st.integers(0, 6),
)
def test_whatever_is_given_stays(frames: Frames, more: int) -> None:
    for name, baseline in PLAIN.items():
        made = baseline(frames, len(frames) + more)
        assert made.shape == (len(frames) + more, *frames.shape[1:])
        assert made.dtype == np.uint8
        if name != "static copy":
            assert (made[: len(frames)] == frames).all()


def test_the_nearest_clip_is_found_and_goes_on() -> None:
    task = Tiny().task("in distribution", 0)
    own = simulate(3, *task.truth.rgb.shape[:3], without=HELD_OUT_PAIRS)
    nearest = NearestClip(range(6))
    made = nearest(replace(task, truth=own))
    assert nearest.nearest(simulate(3, 1, without=HELD_OUT_PAIRS).rgb[0]) == 3
    assert nearest.nearest(own.rgb[0]) == 3  # of another size and shape
    assert (made == own.rgb).all()
    other = nearest(task)
    assert (other[:5] == task.given).all()
    assert (other[5:] != task.truth.rgb[5:]).any()


def test_phyworlds_nearest_clip_is_one_of_balls(tmp_path: Path) -> None:
    nearest = next(one for one in running.baselines(tmp_path, range(12)) if one.name == running.NEAREST)
    task = Phyworld().task("in distribution", 0)
    assert nearest.make is not None
    made = nearest.make(task)
    shape = Shape(*task.truth.rgb.shape[:3], task.truth.fps)
    assert any((made[5:] == Balls().clip(number, shape).rgb[5:]).all() for number in range(12))


def test_no_training_clip_is_held_out() -> None:
    with pytest.raises(AssertionError, match="no training clips"):
        NearestClip(range(HELD_OUT, HELD_OUT + 2))
