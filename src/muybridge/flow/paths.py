"""The straight path between data and noise, and the way back from a point on it.

    x_t = (1 - t) data + t noise        velocity = dx_t / dt = noise - data

Rectified flow: Liu et al., arXiv 2209.03003; Lipman et al., arXiv 2210.02747. Every function takes a level of any
leading shape, see `expand_level`.
"""

from __future__ import annotations

from jaxtyping import Float, Shaped
from torch import Tensor


def expand_level(level: Shaped[Tensor, "..."], x: Shaped[Tensor, "..."]) -> Shaped[Tensor, "..."]:
    """(b, t) -> (b, t, 1, 1, 1): a level of each frame, as in Chen et al. 2407.01392, made to broadcast over `x`.

    A level belongs to the first dimensions of `x`, however many it has; a plain number's tensor fits everything.

    AssertionError where those dimensions differ (a 1 in the level stands for all).
    """
    lead = x.shape[: level.ndim]
    fits = level.ndim <= x.ndim and all(a in (1, b) for a, b in zip(level.shape, lead, strict=True))
    assert fits, f"a level of shape {tuple(level.shape)} does not lead {tuple(x.shape)}"
    return level.reshape(level.shape + (1,) * (x.ndim - level.ndim))


def interpolate(
    data: Float[Tensor, "*x"], noise: Float[Tensor, "*x"], level: Float[Tensor, "..."]
) -> Float[Tensor, "*x"]:
    """x_t = (1 - t) data + t noise: Liu et al. 2209.03003, eq. 1 (with time reversed, as in 2403.03206 eq. 13)."""
    t = expand_level(level, data)
    return (1 - t) * data + t * noise


def velocity(data: Float[Tensor, "*x"], noise: Float[Tensor, "*x"]) -> Float[Tensor, "*x"]:
    """v = noise - data, the derivative of the path: Liu et al. 2209.03003, eq. 1."""
    return noise - data


def data_from_velocity(
    x: Float[Tensor, "*x"], velocity: Float[Tensor, "*x"], level: Float[Tensor, "..."]
) -> Float[Tensor, "*x"]:
    """data = x_t - t v: the path of Liu et al. 2209.03003, solved for its clean end."""
    return x - expand_level(level, x) * velocity
