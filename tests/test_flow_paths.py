"""The straight path: its ends, its slope, and the way back to data."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from muybridge.flow import paths


@pytest.fixture
def point() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """data, noise, a level a frame (strictly inside), x_t and its velocity."""
    draw = torch.Generator().manual_seed(0)
    data, noise = torch.randn(2, 2, 3, 4, 5, 6, generator=draw, dtype=torch.float64)
    level = 0.05 + 0.9 * torch.rand(2, 3, generator=draw, dtype=torch.float64)
    return data, noise, level, paths.interpolate(data, noise, level), paths.velocity(data, noise)


def test_each_frame_is_mixed_by_its_own_level(point: tuple[Tensor, ...]) -> None:
    data, noise, level, x, _ = point
    for b in range(2):
        for t in range(3):
            k = level[b, t].item()
            torch.testing.assert_close(x[b, t], (1 - k) * data[b, t] + k * noise[b, t])


def test_the_ends_of_the_path_are_data_and_noise(point: tuple[Tensor, ...]) -> None:
    data, noise, level, _, _ = point
    assert torch.equal(paths.interpolate(data, noise, torch.zeros_like(level)), data)
    assert torch.equal(paths.interpolate(data, noise, torch.ones_like(level)), noise)


def test_velocity_is_the_derivative_of_the_path(point: tuple[Tensor, ...]) -> None:
    data, noise, level, x, v = point
    ahead = paths.interpolate(data, noise, level + 1e-3)
    torch.testing.assert_close((ahead - x) / 1e-3, v, atol=1e-9, rtol=0)


def test_a_point_and_its_velocity_give_the_data(point: tuple[Tensor, ...]) -> None:
    data, _, level, x, v = point
    torch.testing.assert_close(paths.data_from_velocity(x, v, level), data)


@pytest.mark.parametrize(
    ("shape", "expanded"),
    [((), (1,) * 5), ((2,), (2, 1, 1, 1, 1)), ((2, 3), (2, 3, 1, 1, 1)), ((1, 3), (1, 3, 1, 1, 1))],
)
def test_a_level_belongs_to_the_first_dimensions(shape: tuple[int, ...], expanded: tuple[int, ...]) -> None:
    level = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert torch.equal(paths.expand_level(level, torch.zeros(2, 3, 4, 5, 6)), level.reshape(expanded))


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 4), (2, 3, 4, 5, 6, 7)])
def test_a_level_that_does_not_lead_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(AssertionError, match="does not lead"):
        paths.expand_level(torch.zeros(shape), torch.zeros(2, 3, 4, 5, 6))
