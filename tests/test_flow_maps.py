"""Flow maps against a Gaussian, whose flow is known between any two levels."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from muybridge.flow.maps import in_two_steps, jump
from muybridge.flow.paths import expand_level
from muybridge.flow.schedules import time_grid
from muybridge.flow.solvers import heun

MEAN, STD = 0.7, 0.5


def spread(t: Tensor) -> Tensor:
    return ((1 - t) ** 2 * STD**2 + t**2).sqrt()


def velocity(x: Tensor, level: Tensor) -> Tensor:
    """Exact, for data of N(MEAN, STD^2)."""
    t = expand_level(level, x)
    surprise = (x - (1 - t) * MEAN) / spread(t) ** 2
    return t * surprise - (MEAN + (1 - t) * STD**2 * surprise)


def mean_velocity(x: Tensor, level: Tensor, after: Tensor) -> Tensor:
    """Exact: the flow keeps (x_t - (1 - t) MEAN) / spread(t)."""
    t, s = expand_level(level, x), expand_level(after, x)
    there = (1 - s) * MEAN + spread(s) / spread(t) * (x - (1 - t) * MEAN)
    return torch.where(s == t, velocity(x, level), (there - x) / torch.where(s == t, 1, s - t))


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("shift", [1.0, 4.0])
def test_the_right_map_arrives_in_any_number_of_steps(steps: int, shift: float) -> None:
    x = noise(64)
    *_, last = jump(mean_velocity, x, time_grid(steps, shift, dtype=torch.float64))
    torch.testing.assert_close(last.x, MEAN + STD * x)
    assert last.level == 0


def test_the_map_is_where_a_fine_solver_gets_to() -> None:
    x = noise(64)
    *_, walked = heun(velocity, x, torch.linspace(0.9, 0.3, 301, dtype=torch.float64))
    ends = torch.tensor([0.9, 0.3], dtype=torch.float64)
    *_, jumped = jump(mean_velocity, x, ends)
    torch.testing.assert_close(jumped.x, walked.x, rtol=0, atol=1e-5)


@settings(deadline=None, max_examples=50)
@given(st.tuples(*[st.floats(0, 1)] * 3))
def test_two_steps_of_the_right_map_are_one(levels: tuple[float, float, float]) -> None:
    """The identity that shortcut models are taught by: 2410.12557, eq. 4."""
    level, middle, after = torch.tensor(sorted(levels, reverse=True), dtype=torch.float64)
    if 0 < level - after < 1e-6:
        return
    x = noise(16)
    whole = in_two_steps(mean_velocity, x, level, middle, after)
    torch.testing.assert_close(whole, mean_velocity(x, level, after), rtol=0, atol=1e-6)


def test_elements_have_steps_of_their_own_and_those_without_do_not_move() -> None:
    x = noise(3, 4, 2)
    level = torch.tensor([[1.0, 0.5, 0.0, 0.2]] * 3, dtype=torch.float64)
    middle, after = level * 0.6, level * 0.2
    middle[:, 3] = after[:, 3] = level[:, 3]
    whole = in_two_steps(mean_velocity, x, level, middle, after)
    torch.testing.assert_close(whole, mean_velocity(x, level, after))
    torch.testing.assert_close(whole[:, 3], velocity(x, level)[:, 3])
    *_, last = jump(mean_velocity, x, torch.stack([level, after]))
    assert torch.equal(last.x[:, 3], x[:, 3])


def test_two_steps_of_a_teacher_are_its_euler_walk() -> None:
    """What a student of progressive distillation is shown: 2202.00512, algorithm 2."""
    x, (level, middle, after) = noise(16), torch.tensor([0.8, 0.5, 0.3], dtype=torch.float64)
    halfway = x + (middle - level) * velocity(x, level)
    there = halfway + (after - middle) * velocity(halfway, middle)
    u = in_two_steps(lambda x, level, after: velocity(x, level), x, level, middle, after)
    torch.testing.assert_close(x + (after - level) * u, there)
