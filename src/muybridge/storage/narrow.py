"""Matrices in eight bits: a checkpoint half as large, for networks that do not mind.

A matrix becomes whole numbers from -127 to 127 with a scale for each row, which stands beside it as `<name>.scale`, and
is turned back when the file is read: what runs is in float again. A number is off by at most half a scale, 0.4 % of the
largest in its row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
LEAST = 4096
"""Numbers in a matrix from which on it is worth storing so."""


def narrowed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors, large matrices of floats in eight bits each with its scales."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim < 2 or tensor.numel() < LEAST or not tensor.is_floating_point():
            found[name] = tensor
            continue
        assert name + SCALE not in tensors, f"{name} has a neighbour that is called as its scale would be"
        rows = tensor.float().flatten(1)
        scale = (rows.abs().amax(dim=1, keepdim=True) / 127).clamp_min(1e-12)
        found[name] = (rows / scale).round().to(torch.int8).view(tensor.shape)
        found[name + SCALE] = scale[:, 0]
    return found


def widened(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What `narrowed` was given, as far as eight bits tell it; tensors without a scale are as they were."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        scale = tensors.get(name + SCALE)
        if scale is not None and scale.shape == tensor.shape[:1]:
            found[name] = tensor.float() * scale.view(-1, *(1,) * (tensor.ndim - 1))
        elif not name.endswith(SCALE) or name.removesuffix(SCALE) not in tensors:
            found[name] = tensor
    return found
