"""Times and levels: closed forms, inverses, and which frames keep what they had."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muybridge.flow import schedules

SHIFTS = st.floats(0.05, 20)


def normals(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_logit_normal_times_have_their_density() -> None:
    """P(t < q) is the normal distribution of (logit q - mean) / std."""
    t = schedules.logit_normal_times(normals(200_000), mean=-0.5, std=1.3)
    for q in (0.1, 0.3, 0.5, 0.8):
        expected = 0.5 * (1 + math.erf((math.log(q / (1 - q)) + 0.5) / 1.3 / math.sqrt(2)))
        assert (t < q).double().mean().item() == pytest.approx(expected, abs=0.005)


@given(shift=SHIFTS)
def test_shift_keeps_the_ends_and_the_order_and_has_an_inverse(shift: float) -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    shifted = schedules.shift_times(t, shift)
    assert shifted[0] == 0
    assert shifted[-1] == 1
    assert bool((shifted.diff() > 0).all())
    torch.testing.assert_close(shifted, shift * t / (1 + (shift - 1) * t))
    torch.testing.assert_close(schedules.shift_times(shifted, 1 / shift), t)


@given(first=SHIFTS, second=SHIFTS)
def test_shifts_compose_by_multiplication(first: float, second: float) -> None:
    """Because a shift multiplies the noise-to-signal ratio t / (1 - t)."""
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    twice = schedules.shift_times(schedules.shift_times(t, first), second)
    torch.testing.assert_close(twice, schedules.shift_times(t, first * second))


@given(steps=st.integers(1, 200), shift=SHIFTS)
def test_grid_runs_from_noise_to_data(steps: int, shift: float) -> None:
    grid = schedules.time_grid(steps, shift)
    assert grid.shape == (steps + 1,)
    assert grid.dtype == torch.float32
    assert grid[0] == 1
    assert grid[-1] == 0
    assert bool((grid.diff() < 0).all())


def test_grid_without_shift_is_even_and_with_it_spends_steps_on_noise() -> None:
    torch.testing.assert_close(schedules.time_grid(4), torch.tensor([1, 0.75, 0.5, 0.25, 0]))
    torch.testing.assert_close(schedules.time_grid(4, shift=3), torch.tensor([1, 0.9, 0.75, 0.5, 0]))


def test_share_levels_gives_a_clip_one_level_and_leaves_the_others() -> None:
    levels = schedules.logit_normal_times(normals(3, 5))
    shared = schedules.share_levels(levels, torch.tensor([True, False, True]))
    assert torch.equal(shared[1], levels[1])
    for clip in (0, 2):
        assert torch.equal(shared[clip], levels[clip, 0].expand(5))


def test_known_prefix_is_held_and_the_rest_kept() -> None:
    is_known = schedules.prefix_mask(torch.tensor([0, 2, 4]), 4)
    assert is_known.tolist() == [[False] * 4, [True, True, False, False], [True] * 4]
    levels = schedules.logit_normal_times(normals(3, 4))
    held = schedules.hold_levels(levels, is_known)
    assert torch.equal(held[is_known], torch.zeros(6, dtype=torch.float64))
    assert torch.equal(held[~is_known], levels[~is_known])


def test_a_whole_grid_is_held_at_once() -> None:
    grid = schedules.time_grid(3)[:, None, None].expand(4, 2, 2)
    held = schedules.hold_levels(grid, torch.tensor([[True, False], [False, False]]), level=0.125)
    assert torch.equal(held[:, 0, 0], torch.full((4,), 0.125))
    assert torch.equal(held[:, 1, 0], schedules.time_grid(3))
