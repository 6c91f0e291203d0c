"""Tracks: exact on drawn pictures, near the simulator's masks on its clips, and total on anything else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from muybridge.evaluation.shapes import SHAPES
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.tracking import Track, track, true_tracks
from muybridge.simulation import Clip, ObjectInfo, simulate
from muybridge.simulation.palette import COLOURS
from muybridge.storage.video import read_mp4, write_mp4

FIRST = HELD_OUT + 600_000_000


def thing(colour: str, shape: str = "ball") -> ObjectInfo:
    return ObjectInfo(f"medium {colour} {shape}", shape, colour, "medium", (0.2, 0.0, 0.0), False)


def rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(COLOURS[colour][i : i + 2], 16) for i in (1, 3, 5))


def discs(*centres: tuple[float, float], colour: str = "red", radius: float = 10, side: int = 128) -> np.ndarray:
    """A grey picture with discs at these x and y."""
    rows, columns = np.mgrid[:side, :side] + 0.5
    picture = np.full((side, side, 3), 128, np.uint8)
    for x, y in centres:
        picture[(columns - x) ** 2 + (rows - y) ** 2 < radius**2] = rgb(colour)
    return picture


@cache
def clip(number: int) -> Clip:
    return simulate(FIRST + number)


def test_a_disc_is_followed_exactly() -> None:
    ways = [(30.0 + 3 * n, 40.0 + n) for n in range(9)]
    found = track(np.stack([discs(way) for way in ways]), [thing("red")])
    one = found.objects[0]
    assert one.seen.all()
    np.testing.assert_allclose(one.centre, ways, atol=0.1)
    np.testing.assert_allclose(one.area, np.pi * 100, rtol=0.05)
    np.testing.assert_allclose(one.box[0], (20, 30, 40, 50), atol=1)
    np.testing.assert_allclose(one.step, np.hypot(3, 1), atol=0.1)
    assert found.extras == ()


def test_what_is_hidden_is_not_seen() -> None:
    frames = np.stack([discs((30, 40)), discs(), discs((60, 40))])
    one = track(frames, [thing("red")]).objects[0]
    assert one.seen.tolist() == [True, False, True]
    assert one.area[1] == 0
    assert np.isnan(one.centre[1]).all()
    assert not one.shape[1].any()


def test_a_second_one_of_its_colour_is_an_extra_and_so_is_another_colour() -> None:
    two = [discs((30 + n, 40), (90, 40)) for n in range(4)]
    two[0] = discs((30, 40))
    found = track(np.stack(two), [thing("red")])
    np.testing.assert_allclose(found.objects[0].centre[:, 0], [30, 31, 32, 33], atol=0.1)
    assert [extra.frame for extra in found.extras] == [1, 2, 3]
    assert found.extras[0].centre == pytest.approx((90, 40), abs=0.1)
    assert found.crowded(4).tolist() == [False, True, True, True]
    other = track(discs((30, 40), colour="green")[None], [thing("red")])
    assert other.extras[0].colour == "green"
    assert not other.objects[0].seen.any()


def test_what_something_cuts_in_two_is_one() -> None:
    whole, cut = discs((50, 50)), discs((50, 50))
    cut[:, 48:52] = 128
    found = track(np.stack([whole, cut]), [thing("red")])
    assert found.extras == ()
    np.testing.assert_allclose(found.objects[0].centre[1], (50, 50), atol=0.3)


def test_a_clip_of_another_size_is_measured_in_its_own_pixels() -> None:
    large = np.asarray(Image.fromarray(discs((40, 30))).resize((256, 256)))
    one = track(large[None], [thing("red")]).objects[0]
    np.testing.assert_allclose(one.centre[0], (80, 60), atol=0.5)
    np.testing.assert_allclose(one.area[0], 4 * np.pi * 100, rtol=0.05)


def test_true_tracks_are_the_masks() -> None:
    truth = clip(0)
    for i, true in enumerate(true_tracks(truth)):
        assert true.area.tolist() == (truth.instance == i + 1).sum(axis=(1, 2)).tolist()
        looks, likely = true.looks_like(true.seen)
        assert looks == truth.objects[i].shape
        assert likely.tolist() == [float(shape == looks) for shape in SHAPES[:3]]
        assert true.looks_like(~true.seen)[0] == ""


def compared(frames: np.ndarray, truth: Clip) -> list[tuple[float, float]]:
    """Centre error in pixels and ratio of areas wherever half of an object and 60 pixels are to be seen."""
    pairs = []
    for i, (made, true) in enumerate(zip(track(frames, truth.objects).objects, true_tracks(truth), strict=True)):
        shown = (truth.states.visible[:, i] > 0.5) & (true.area > 60)
        assert made.seen[shown].all(), f"the {truth.objects[i].name} is missed"
        off = np.linalg.norm(made.centre - true.centre, axis=1)
        pairs += list(zip(off[shown].tolist(), (made.area / true.area.clip(1))[shown].tolist(), strict=True))
    return pairs


def close(pairs: list[tuple[float, float]]) -> bool:
    off, ratio = np.array(pairs).T
    low, high = np.quantile(ratio, (0.01, 0.99))
    return bool(off.mean() < 0.6 and np.quantile(off, 0.99) < 1.5 and low > 0.8 and high < 1.15)


def as_file(frames: np.ndarray, folder: Path) -> np.ndarray:
    write_mp4(folder / "clip.mp4", frames, 15.0)
    return read_mp4(folder / "clip.mp4").frames


def test_simulated_clips_are_followed_through_h264(tmp_path: Path) -> None:
    pairs = []
    for number in range(4):
        truth = clip(number)
        frames = as_file(truth.rgb, tmp_path)
        pairs += compared(frames, truth)
        assert track(frames, truth.objects).extras == ()
    assert close(pairs)


def test_the_same_clip_gives_the_same_tracks() -> None:
    one, two = (track(clip(1).rgb, clip(1).objects).objects[0] for _ in range(2))
    for field in Track.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one, field), getattr(two, field))


@settings(max_examples=20, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.integers(16, 40), st.integers(16, 40), st.just(3))))
def test_any_pictures_can_be_looked_at(frames: np.ndarray) -> None:
    found = track(frames, [thing("red"), thing("blue", "box")])
    for one in found.objects:
        assert one.seen.shape == (len(frames),)
        assert (one.area > 0).tolist() == one.seen.tolist()
        assert one.shape.shape == (len(frames), len(SHAPES))


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(t, h, w, 3\)"):
        track(np.zeros((2, 8, 8, 3), np.float32), [thing("red")])
    with pytest.raises(ValueError, match="share some: red, red"):
        track(discs()[None], [thing("red"), thing("red", "box")])


@pytest.mark.slow
def test_two_hundred_clips_are_followed_through_h264(tmp_path: Path) -> None:
    pairs, crowded = [], 0
    for number in range(200):
        truth = simulate(FIRST + number)
        frames = as_file(truth.rgb, tmp_path)
        pairs += compared(frames, truth)
        crowded += bool(track(frames, truth.objects).extras)
    assert close(pairs)
    assert crowded <= 2
