"""Flow maps: where the flow carries a point from one level to another, named by the mean velocity on the way.

    x_s = x_t + (s - t) u(x_t, t, s)        u(x_t, t, t) = v(x_t, t)

A network that knows u goes from noise to data in one step, or in as many as one likes. Mean velocity: Geng et al.
2505.13447, eq. 3; as what two steps have to agree upon with one: Frans et al. 2410.12557, eq. 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.paths import data_from_velocity, expand_level
from muybridge.flow.solvers import Step

Map: TypeAlias = Callable[[Tensor, Tensor, Tensor], Tensor]
"""map(x, level, after) -> mean velocity between the two levels, shaped as x."""


def jump(flow_map: Map, x: Float[Tensor, "*x"], levels: Float[Tensor, "..."]) -> Iterator[Step]:
    """x' = x + (t' - t) u(x, t, t'): no solver's error, for the map is that of the whole step (2505.13447, eq. 12)."""
    for level, after in pairwise(levels):
        u = flow_map(x, level, after)
        data = data_from_velocity(x, u, level)
        x = x + expand_level(after - level, x) * u
        yield Step(x, after, data)


def in_two_steps(
    flow_map: Map,
    x: Float[Tensor, "*x"],
    level: Float[Tensor, "..."],
    middle: Float[Tensor, "..."],
    after: Float[Tensor, "..."],
) -> Float[Tensor, "*x"]:
    """The mean velocity between `level` and `after` of a flow that is walked in two steps.

    What one step of a student has to be: of progressive distillation (Salimans & Ho 2202.00512, algorithm 2, for the
    straight path) if a teacher walks, of a shortcut model (2410.12557, eq. 4, for uneven halves) if it walks itself.
    Where a level does not change, it is the velocity of the moment.
    """
    first = flow_map(x, level, middle)
    halfway = x + expand_level(middle - level, x) * first
    second = flow_map(halfway, middle, after)
    whole = after - level
    share = torch.where(whole != 0, (middle - level) / torch.where(whole != 0, whole, 1), 1)
    share = expand_level(share, x)
    return share * first + (1 - share) * second
