"""Solvers against flows whose end is known in closed form, and the order at which they get there."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from muybridge.flow.paths import expand_level
from muybridge.flow.schedules import hold_levels, time_grid
from muybridge.flow.solvers import Field, Solver, Step, euler, heun, multistep

SOLVERS = [euler, heun, multistep]
SECOND_ORDER = [heun, multistep]
MEAN, STD = 0.7, 0.5


def gaussian(x: Tensor, level: Tensor) -> Tensor:
    """The exact velocity E[noise - data | x_t] for data of N(MEAN, STD^2)."""
    t = expand_level(level, x)
    a = 1 - t
    surprise = (x - a * MEAN) / (a**2 * STD**2 + t**2)
    return t * surprise - (MEAN + a * STD**2 * surprise)


def linear(x: Tensor, level: Tensor) -> Tensor:
    return 2 * x


def mixture(modes: int, std: float) -> Field:
    """The exact velocity for data of `modes` Gaussians in 16 dimensions."""
    centres = torch.randn(modes, 16, generator=torch.Generator().manual_seed(modes), dtype=torch.float64)

    def field(x: Tensor, level: Tensor) -> Tensor:
        a, t = 1 - level, level
        variance = (a * std) ** 2 + t**2
        offset = x[:, None] - a * centres
        weight = torch.softmax(-offset.square().sum(-1) / (2 * variance), dim=-1)[..., None]
        data = (weight * (centres + a * std**2 / variance * offset)).sum(1)
        noise = (weight * (t / variance * offset)).sum(1)
        return noise - data

    return field


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def solve(solver: Solver, field: Field, x: Tensor, levels: Tensor) -> Tensor:
    return list(solver(field, x, levels))[-1].x


def grid(steps: int, shift: float = 1.0) -> Tensor:
    return time_grid(steps, shift, dtype=torch.float64)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_velocity_is_followed_exactly_in_one_step_or_many(solver: Solver) -> None:
    x, v = noise(2, 4, 3)
    for steps in (1, 7):
        end = solve(solver, lambda x, level: v, x, grid(steps, 3))
        torch.testing.assert_close(end, x - v)


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_gaussian_data_are_reached_to_1e_5(solver: Solver) -> None:
    """The flow of Gaussian data is x_0 = mean + std noise."""
    x = noise(64)
    end = solve(solver, gaussian, x, grid(600))
    torch.testing.assert_close(end, MEAN + STD * x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("solver", SECOND_ORDER)
def test_a_linear_field_is_followed_to_1e_5(solver: Solver) -> None:
    """dx / dt = 2 x from t = 1 to 0 is x e^-2."""
    x = noise(64).clamp(-1, 1)
    end = solve(solver, linear, x, torch.linspace(1, 0, 401, dtype=torch.float64))
    torch.testing.assert_close(end, x * math.exp(-2), atol=1e-5, rtol=0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_straight_flows_need_one_step(solver: Solver) -> None:
    """All data one point: every path is straight, v = (x - point) / t, and even Euler's first step arrives."""
    end = solve(solver, lambda x, level: (x - 3) / level, noise(64), grid(1))
    torch.testing.assert_close(end, torch.full_like(end, 3), atol=1e-5, rtol=0)


def test_multistep_extrapolates_over_uneven_steps() -> None:
    """For v = t, x_t moves by t^2 / 2: exact after Euler's first step, whatever the grid."""
    levels = torch.tensor([1, 0.95, 0.5, 0.45, 0.1, 0], dtype=torch.float64)
    first, *_, last = multistep(lambda x, level: level.expand_as(x), noise(4), levels)
    torch.testing.assert_close(last.x, first.x - 0.95**2 / 2)


@pytest.mark.parametrize(("solver", "order"), [(euler, 1), (heun, 2), (multistep, 2)])
@pytest.mark.parametrize("shift", [1.0, 2.0])
@pytest.mark.parametrize("field", [gaussian, linear])
def test_order_of_convergence(solver: Solver, order: int, shift: float, field: Field) -> None:
    """Halving the steps' length divides the error by 2^order."""
    x = noise(64)
    exact = MEAN + STD * x if field is gaussian else x * math.exp(-2)
    coarse, fine = ((solve(solver, field, x, grid(n, shift)) - exact).square().mean().sqrt() for n in (200, 400))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.3)


@pytest.mark.parametrize(("modes", "std"), [(4, 0.1), (8, 0.05), (64, 0.3)])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_multistep_is_the_best_use_of_32_evaluations(modes: int, std: float, shift: float) -> None:
    field, x = mixture(modes, std), noise(32, 16)
    exact = solve(heun, field, x, grid(400, shift))
    steps = {euler: 32, heun: 16, multistep: 32}
    error = {s: (solve(s, field, x, grid(n, shift)) - exact).square().mean().item() for s, n in steps.items()}
    assert error[multistep] < error[heun]
    assert error[multistep] < error[euler]


@pytest.mark.parametrize("solver", SOLVERS)
def test_elements_held_at_a_level_do_not_move_and_the_others_do_not_notice(solver: Solver) -> None:
    x = noise(2, 5, 3)
    is_known = torch.tensor([[True, True, False, False, False], [False] * 5])
    levels = grid(20)[:, None, None].expand(-1, 2, 5)
    free = solve(solver, gaussian, x, levels)
    for level in (0.0, 0.1):
        held = solve(solver, gaussian, x, hold_levels(levels, is_known, level))
        assert torch.equal(held[is_known], x[is_known])
        torch.testing.assert_close(held[~is_known], free[~is_known])


@pytest.mark.parametrize("solver", SOLVERS)
def test_elements_on_grids_of_their_own_are_solved_as_if_alone(solver: Solver) -> None:
    """A rolling window: the second frame waits at noise until the first one is done."""
    x = noise(1, 2, 3)
    down, wait = grid(10), torch.ones(11, dtype=torch.float64)
    first = torch.cat([down, torch.zeros(10, dtype=torch.float64)])
    second = torch.cat([wait, down[1:]])
    together = solve(solver, gaussian, x, torch.stack([first, second], -1)[:, None])
    alone = solve(solver, gaussian, x, down[:, None, None].expand(-1, 1, 2))
    torch.testing.assert_close(together, alone)


@pytest.mark.parametrize(("solver", "evaluations"), [(euler, 8), (heun, 15), (multistep, 8)])
@pytest.mark.parametrize("context", [0.0, 0.1])
def test_evaluations_are_counted_and_lazy(solver: Solver, evaluations: int, context: float) -> None:
    calls = 0

    def counted(x: Tensor, level: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        return gaussian(x, level)

    is_known = torch.tensor([[True, False]])
    steps = solver(counted, noise(1, 2, 3), hold_levels(grid(8)[:, None, None].expand(-1, 1, 2), is_known, context))
    assert calls == 0
    next(steps)
    assert calls == (2 if solver is heun else 1)
    assert len(list(steps)) == 7
    assert calls == evaluations


@pytest.mark.parametrize("solver", SOLVERS)
def test_steps_tell_their_level_and_foretell_the_data(solver: Solver) -> None:
    """Where all data are one point the foretold data are that point at every step."""
    steps: list[Step] = list(solver(lambda x, t: (x - 3) / t, noise(4), grid(5)))
    torch.testing.assert_close(torch.stack([step.level for step in steps]), grid(5)[1:])
    for step in steps:
        torch.testing.assert_close(step.data, torch.full_like(step.data, 3))
    torch.testing.assert_close(steps[-1].x, steps[-1].data)
