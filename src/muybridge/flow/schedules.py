"""Which noise levels a model is trained on, and which it visits when it samples.

Training: draws become times (`logit_normal_times`), times become a level a frame (as drawn, shared, or held).
Sampling: a grid of times from 1 to 0, spread over the frames that are to be made.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def logit_normal_times(normals: Float[Tensor, "*n"], mean: float = 0.0, std: float = 1.0) -> Float[Tensor, "*n"]:
    """t = sigmoid(mean + std z), z ~ N(0, 1): logit-normal times, Esser et al. 2403.03206, §3.1 eq. 19."""
    return torch.sigmoid(mean + std * normals)


def shift_times(times: Float[Tensor, "*n"], shift: float) -> Float[Tensor, "*n"]:
    """t' = s t / (1 + (s - 1) t): the resolution shift of Esser et al. 2403.03206, §5.3.2 eq. 23. s > 1: noisier."""
    assert shift > 0, f"shift {shift} is not positive"
    return times / (times + (1 - times) / shift)  # the same, and exact at both ends


def time_grid(steps: int, shift: float = 1.0, dtype: torch.dtype = torch.float32) -> Float[Tensor, " {steps}+1"]:
    """t_i = shifted (1 - i / steps), i = 0 … steps: from 1 to 0, both met exactly; shift as in 2403.03206 eq. 23."""
    assert steps >= 1, f"{steps} steps"
    even = torch.linspace(1, 0, steps + 1, dtype=torch.float64)
    return shift_times(even, shift).to(dtype)


def share_levels(levels: Float[Tensor, "b t"], shared: Bool[Tensor, " b"]) -> Float[Tensor, "b t"]:
    """k_f = k_1 for every frame f, where `shared`: the level of a whole clip, Liu et al. 2209.03003.

    Elsewhere the levels pass as they were drawn, a frame each: diffusion forcing, Chen et al. 2407.01392.
    """
    return torch.where(shared[:, None], levels[:, :1], levels)


def prefix_mask(length: Int[Tensor, " b"], frames: int) -> Bool[Tensor, "b frames"]:
    """known_f = f < length: which frames are a given prefix, the clean context of Chen et al. 2407.01392."""
    return torch.arange(frames, device=length.device) < length[:, None]


def hold_levels(
    levels: Float[Tensor, "*k t"], is_known: Bool[Tensor, "b t"], level: float = 0.0
) -> Float[Tensor, "*k t"]:
    """k_f = `level` where frame f is known: clean context in diffusion forcing, Chen et al. 2407.01392.

    `levels` ends in (b, t); whatever stands before, as the steps of a sampling grid, is kept.
    """
    return levels.masked_fill(is_known, level)
