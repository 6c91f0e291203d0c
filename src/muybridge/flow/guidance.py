"""Classifier-free guidance: away from what is not wanted, towards what is.

A negative prompt is no case of its own: it is the unconditional field under another condition.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from muybridge.flow.paths import data_from_velocity, expand_level
from muybridge.flow.solvers import Field


@dataclass(frozen=True)
class Guidance:
    """How strongly, when, and how mildly a sample is guided.

    scale     w of classifier-free guidance; 1 follows the condition alone
    interval  (low, high]: the levels at which guidance is applied
    rescale   φ in [0, 1]: how far the contrast of the guided estimate is brought back to that of the conditional one
    """

    scale: float = 1.0
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0

    def applies(self, level: Float[Tensor, "*lead"]) -> Bool[Tensor, "*lead"]:
        """low < t <= high: the guidance interval of Kynkäänniemi et al. 2404.07724, §3 (so never where t = 0)."""
        low, high = self.interval
        return (level > low) & (level <= high)


def guide(conditional: Float[Tensor, "*x"], unconditional: Float[Tensor, "*x"], scale: float) -> Float[Tensor, "*x"]:
    """v = v_neg + w (v_pos - v_neg): classifier-free guidance, Ho and Salimans 2207.12598 (w here is their 1 + w)."""
    return unconditional + scale * (conditional - unconditional)


def rescale(
    guided: Float[Tensor, "*x"], conditional: Float[Tensor, "*x"], amount: float, lead: int
) -> Float[Tensor, "*x"]:
    """x = φ x_cfg std(x_pos) / std(x_cfg) + (1 - φ) x_cfg: Lin et al. 2305.08891, §3.4 eq. 15 and 16.

    The deviation is taken over all dimensions but the first `lead` ones: over a frame, where each has a level.
    """
    assert lead < guided.ndim, f"no deviation over no dimension: {lead} of {guided.ndim} lead"
    dims = tuple(range(lead, guided.ndim))
    std_guided = guided.std(dims, correction=0, keepdim=True)
    std_conditional = conditional.std(dims, correction=0, keepdim=True)
    ratio = torch.where(std_guided > 0, std_conditional / std_guided, 1)
    return guided * (1 + amount * (ratio - 1))


def guided_velocity(
    x: Float[Tensor, "*x"],
    level: Float[Tensor, "..."],
    conditional: Float[Tensor, "*x"],
    unconditional: Float[Tensor, "*x"],
    guidance: Guidance,
) -> Float[Tensor, "*x"]:
    """Guidance (2207.12598) of velocities, with its rescale (2305.08891, §3.4) in terms of the data they foretell.

    Lin et al. rescale the prediction of a variance-preserving model, which at high noise is the data but for its sign.
    A velocity of the straight path always holds the noise too; scaled as such it would leave some of that in the
    sample. So the data estimate is rescaled, d' = d + Δ, and v' = v - Δ / t.
    """
    guided = guide(conditional, unconditional, guidance.scale)
    if guidance.rescale == 0:
        return guided
    data = data_from_velocity(x, guided, level)
    change = rescale(data, data_from_velocity(x, conditional, level), guidance.rescale, level.ndim) - data
    t = expand_level(level, x)
    return torch.where(t > 0, guided - change / t, guided)


def guided_field(
    conditional: Field, unconditional: Field, guidance: Guidance, held: Bool[Tensor, "..."] | None = None
) -> Field:
    """v_neg + w (v_pos - v_neg) inside the interval (2404.07724, §3), v_pos outside: a field made of two.

    `unconditional` is evaluated only where it matters: not if the scale is 1, nor if no element's level lies in the
    interval. Elements that are `held` (known frames, shaped as the level) have no say in that.
    """

    def field(x: Tensor, level: Tensor) -> Tensor:
        wanted = conditional(x, level)
        if guidance.scale == 1:
            return wanted
        applies = guidance.applies(level) if held is None else guidance.applies(level) & ~held
        if not bool(applies.any()):
            return wanted
        guided = guided_velocity(x, level, wanted, unconditional(x, level), guidance)
        return torch.where(expand_level(applies, x), guided, wanted)

    return field
