"""Solvers are plain functions of a field: here Ralston's, beside the sampler's own, on a flow whose answer is known.

python examples/custom_solver.py
"""

from itertools import pairwise

import torch

from muybridge.flow.paths import data_from_velocity
from muybridge.flow.schedules import time_grid
from muybridge.flow.solvers import Step, euler, heun, multistep

MEAN, STD = 2.0, 0.5  # of the data, a Gaussian


def velocity(x, t):
    """Noise minus data, as expected at x: x_t has variance v = (1 - t)^2 STD^2 + t^2 about (1 - t) MEAN."""
    v = (1 - t) ** 2 * STD**2 + t**2
    return -MEAN + (t - (1 - t) * STD**2) / v * (x - (1 - t) * MEAN)


def ralston(field, x, levels):
    for level, after in pairwise(levels):
        h = after - level
        k = field(x, level)
        v = k / 4 + 3 / 4 * field(x + 2 / 3 * h * k, level + 2 / 3 * h)
        yield Step(x + h * v, after, data_from_velocity(x, k, level))
        x = x + h * v


noise = torch.randn(1000, generator=torch.Generator().manual_seed(0))
for solver in (euler, heun, multistep, ralston):
    *_, last = solver(velocity, noise, time_grid(16)[:, None].expand(-1, 1000))
    error = (last.x - (MEAN + STD * noise)).abs().max()
    print(f"{solver.__name__:10} is off by {error:.5f} after 16 steps")
