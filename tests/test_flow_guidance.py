"""Guidance: its formula, its interval, its rescale, and what it costs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muybridge.flow.guidance import Guidance, guide, guided_field, guided_velocity, rescale
from muybridge.flow.paths import data_from_velocity
from muybridge.flow.solvers import Field


class Counted:
    """A constant field that counts its evaluations."""

    def __init__(self, velocity: Tensor) -> None:
        self.velocity, self.calls = velocity, 0

    def __call__(self, x: Tensor, level: Tensor) -> Tensor:
        self.calls += 1
        return self.velocity


def draws(n: int) -> Tensor:
    return torch.randn(n, 2, 3, 4, 5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def levels(value: float) -> Tensor:
    return torch.full((2, 3), value, dtype=torch.float64)


def guided(guidance: Guidance, level: Tensor, held: Tensor | None = None) -> tuple[Tensor, Counted, Counted]:
    x, wanted, unwanted = draws(3)
    conditional, unconditional = Counted(wanted), Counted(unwanted)
    field: Field = guided_field(conditional, unconditional, guidance, held)
    return field(x, level), conditional, unconditional


def test_scale_moves_along_the_difference() -> None:
    wanted, unwanted = draws(2)
    assert torch.equal(guide(wanted, unwanted, 0), unwanted)
    torch.testing.assert_close(guide(wanted, unwanted, 1), wanted)
    torch.testing.assert_close(guide(wanted, unwanted, 4) - wanted, 3 * (wanted - unwanted))
    got, conditional, unconditional = guided(Guidance(4), levels(0.5))
    torch.testing.assert_close(got, guide(conditional.velocity, unconditional.velocity, 4))


def test_scale_one_costs_one_evaluation_and_changes_nothing() -> None:
    got, conditional, unconditional = guided(Guidance(1, rescale=0.7), levels(0.5))
    assert (conditional.calls, unconditional.calls) == (1, 0)
    assert torch.equal(got, conditional.velocity)


@pytest.mark.parametrize(("level", "calls"), [(1.0, 0), (0.81, 0), (0.8, 1), (0.5, 1), (0.2, 0), (0.1, 0), (0.0, 0)])
def test_interval_is_open_below_and_closed_above(level: float, calls: int) -> None:
    got, conditional, unconditional = guided(Guidance(4, interval=(0.2, 0.8)), levels(level))
    assert (conditional.calls, unconditional.calls) == (1, calls)
    assert torch.equal(got, conditional.velocity) == (calls == 0)


def test_each_frame_is_guided_by_its_own_level() -> None:
    level = levels(0.5)
    level[:, 0] = 0.9
    got, conditional, unconditional = guided(Guidance(4, interval=(0.2, 0.8)), level)
    assert torch.equal(got[:, 0], conditional.velocity[:, 0])
    torch.testing.assert_close(got[:, 1:], guide(conditional.velocity, unconditional.velocity, 4)[:, 1:])


def test_held_frames_have_no_say() -> None:
    """Known frames with context noise 0.1 lie in the interval; the frames to be made do not."""
    level, held = levels(0.9), torch.zeros(2, 3, dtype=torch.bool)
    level[:, 0], held[:, 0] = 0.1, True
    assert guided(Guidance(4, interval=(0.0, 0.8)), level)[2].calls == 1
    assert guided(Guidance(4, interval=(0.0, 0.8)), level, held)[2].calls == 0


def test_rescale_gives_back_the_deviation_of_the_conditional() -> None:
    wanted, unwanted = draws(2)
    strong = guide(wanted, unwanted, 6)
    dims = (2, 3, 4)
    full = rescale(strong, wanted, 1.0, lead=2)
    torch.testing.assert_close(full.std(dims), wanted.std(dims))
    torch.testing.assert_close(rescale(strong, wanted, 0.0, lead=2), strong)
    torch.testing.assert_close(rescale(strong, wanted, 0.7, lead=2), 0.7 * full + 0.3 * strong)


def test_rescale_of_what_is_flat_is_finite() -> None:
    flat = torch.full((2, 3, 4, 5, 5), 0.25)
    torch.testing.assert_close(rescale(flat, flat, 0.7, lead=2), flat)


@pytest.mark.parametrize("level", [1.0, 0.6, 0.1])
def test_velocity_is_rescaled_by_the_data_it_foretells(level: float) -> None:
    x, wanted, unwanted = draws(3)
    t = levels(level)
    got = guided_velocity(x, t, wanted, unwanted, Guidance(5, rescale=1))
    data, of_wanted = data_from_velocity(x, got, t), data_from_velocity(x, wanted, t)
    torch.testing.assert_close(data.std((2, 3, 4)), of_wanted.std((2, 3, 4)))
    plain = data_from_velocity(x, guide(wanted, unwanted, 5), t)
    torch.testing.assert_close(data / data.std((2, 3, 4), keepdim=True), plain / plain.std((2, 3, 4), keepdim=True))


def test_rescale_leaves_clean_frames_alone() -> None:
    x, wanted, unwanted = draws(3)
    got = guided_velocity(x, levels(0.0), wanted, unwanted, Guidance(5, rescale=1))
    torch.testing.assert_close(got, guide(wanted, unwanted, 5))
