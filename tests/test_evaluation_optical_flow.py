"""Flow: the estimate against known motion, and the simulator's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from muybridge.evaluation.optical_flow import consistent, estimated_flow, moved, true_flow
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.clip import simulate

CLIP = simulate(HELD_OUT + 4, frames=9, fps=7.5)


def texture(side: int = 64) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(0).normal(size=(side, side)), 2)
    picture: np.ndarray = 128 + 100 * noise / np.abs(noise).max()
    return picture


def clip_of(*pictures: np.ndarray) -> np.ndarray:
    return np.stack([np.rint(picture).clip(0, 255).astype(np.uint8)[..., None].repeat(3, -1) for picture in pictures])


@pytest.mark.parametrize(("right", "down"), [(0.5, 0.0), (3.0, -2.0), (-7.0, 4.0)])
def test_a_shifted_picture(right: float, down: float) -> None:
    first = texture()
    flow = estimated_flow(clip_of(first, shift(first, (down, right), order=3, mode="nearest")))
    inner = flow[0, 16:-16, 16:-16]
    assert np.abs(inner - (right, down)).mean() < 0.15


def test_a_still_picture_and_a_flat_one_do_not_move() -> None:
    assert not estimated_flow(clip_of(texture(), texture())).any()
    assert not estimated_flow(np.stack([np.full((32, 32, 3), v, np.uint8) for v in (90, 90)])).any()


def test_backwards_is_there_and_back() -> None:
    first = texture()
    frames = clip_of(first, shift(first, (0, 3), order=3, mode="nearest"))
    there, back = estimated_flow(frames), estimated_flow(frames, backwards=True)
    inside = consistent(there, back)[0, 16:-16, 16:-16]
    assert inside.mean() > 0.98
    assert not consistent(there, there)[0, 16:-16, 16:-16].any()


def test_the_estimate_goes_the_way_of_things() -> None:
    flow, (true, seen) = estimated_flow(CLIP.rgb), true_flow(CLIP)
    things = seen & (CLIP.instance[:-1] > 0)
    length, error = np.linalg.norm(true, axis=-1)[things], np.linalg.norm(flow - true, axis=-1)[things]
    assert length.mean() > 2
    assert error.mean() < 0.75 * length.mean()


def test_true_flow_leads_to_the_same_body() -> None:
    flow, seen = true_flow(CLIP)
    assert 0.8 < seen.mean() < 1
    assert np.isfinite(flow).all()
    for t in range(len(flow)):
        there = moved((CLIP.instance[t + 1] == 1).astype(float), flow[t])
        np.testing.assert_allclose(there[seen[t]], (CLIP.instance[t] == 1)[seen[t]], atol=1e-6)


def test_moved_takes_from_the_end_of_the_flow() -> None:
    picture = np.arange(16.0).reshape(4, 4)
    flow = np.zeros((4, 4, 2))
    flow[..., 0] = 1  # to the right
    np.testing.assert_allclose(moved(picture, flow)[:, :3], picture[:, 1:])
    flow = flow[..., ::-1] / 2  # half a pixel down
    np.testing.assert_allclose(moved(picture, flow)[:3], (picture[1:] + picture[:-1]) / 2)
    np.testing.assert_allclose(moved(picture[..., None], flow)[..., 0], moved(picture, flow))


def test_too_little_to_see_is_refused() -> None:
    with pytest.raises(ValueError, match="two frames of 16x16"):
        estimated_flow(CLIP.rgb[:1])
    with pytest.raises(ValueError, match="two frames of 16x16"):
        estimated_flow(CLIP.rgb[:, :15])
