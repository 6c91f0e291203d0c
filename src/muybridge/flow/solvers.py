"""Solvers of dx / dt = field(x, t), walked from noise down to data.

Each solver is a generator function: solver(field, x, levels) yields a `Step` for every interval of `levels`, whose
first dimension counts the grid and whose others are the leading dimensions of `x`. So elements can have grids of their
own; one whose level does not change does not move. Nothing is evaluated before it is asked for: to cancel, stop
iterating.

For the same number of evaluations `multistep` comes nearest to the exact flow of Gaussian mixtures
(tests/test_flow_solvers.py), so it is what the sampler takes unless told otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.paths import data_from_velocity, expand_level

Field: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""field(x, level) -> velocity, shaped as x."""


class Step(NamedTuple):
    """Where a solver stands after a step: the state, its level, and the data as foretold at the step's start."""

    x: Tensor
    level: Tensor
    data: Tensor


Solver: TypeAlias = Callable[[Field, Tensor, Tensor], Iterator[Step]]
"""solver(field, x, levels) -> steps."""


def euler(field: Field, x: Float[Tensor, "*x"], levels: Float[Tensor, "..."]) -> Iterator[Step]:
    """x' = x + h v(x, t): Euler's method, order 1; on the straight path the same as DDIM (2010.02502, eq. 12)."""
    for level, after in pairwise(levels):
        v = field(x, level)
        data = data_from_velocity(x, v, level)
        x = x + expand_level(after - level, x) * v
        yield Step(x, after, data)


def heun(field: Field, x: Float[Tensor, "*x"], levels: Float[Tensor, "..."]) -> Iterator[Step]:
    """x' = x + h (v(x, t) + v(x + h v, t')) / 2: Heun's method, order 2; Karras et al. 2206.00364, algorithm 1.

    As there, elements that arrive at level 0 take Euler's step: no model is trained to tell a velocity of clean data.
    So n steps to 0 cost 2 n - 1 evaluations.
    """
    for level, after in pairwise(levels):
        h = expand_level(after - level, x)
        v = field(x, level)
        data = data_from_velocity(x, v, level)
        predicted = x + h * v
        corrected = (after > 0) & (after != level)
        if bool(corrected.any()):
            mean = (v + field(predicted, after)) / 2
            predicted = torch.where(expand_level(corrected, x), x + h * mean, predicted)
        x = predicted
        yield Step(x, after, data)


def multistep(field: Field, x: Float[Tensor, "*x"], levels: Float[Tensor, "..."]) -> Iterator[Step]:
    """x' = x + h v + h^2 / 2 (v - v_before) / h_before: Adams-Bashforth of order 2 with variable steps.

    Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I, §III.5; one evaluation a step, the first step
    is Euler's.
    """
    v_before, h_before = torch.zeros_like(x), torch.zeros_like(levels[0])
    for level, after in pairwise(levels):
        h = after - level
        v = field(x, level)
        data = data_from_velocity(x, v, level)
        slope_weight = torch.where(h_before != 0, h * h / 2 / h_before, 0)
        x = x + expand_level(h, x) * v + expand_level(slope_weight, x) * (v - v_before)
        v_before, h_before = v, h
        yield Step(x, after, data)
