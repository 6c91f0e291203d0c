"""One clip on several processes: each has its share of the tokens, and for attention its share of the heads.

That is Ulysses' way (arXiv 2309.14509), as diffusers has it. It knows where to cut some transformers; those that mask
what is attended to come out wrong or not at all, which leaves Wan.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.distributed.device_mesh import init_device_mesh

from muybridge.backends.tuning import denoisers
from muybridge.training.parallel import Group
from muybridge.types import Condition

CUT = ("WanTransformer3DModel",)
"""Transformers that are known to make the same frames on several processes."""


def spread(pipe: Any, name: str, condition: Condition, group: Group) -> None:
    """Has all processes of a group work on each clip of a pipeline. ValueError where they cannot share it evenly.

    All of them have to ask for the same clips, in the same order, and all get the same frames.
    """
    from diffusers import ContextParallelConfig

    count = group.world
    for network in denoisers(pipe):
        kind = type(network).__name__
        if kind not in CUT:
            raise ValueError(f"{name} cannot be spread over {count} processes, its {kind} cannot be cut: use one")
        heads, tokens = network.config.num_attention_heads, _tokens(pipe, network, condition)
        if heads % count or tokens % count:
            raise ValueError(
                f"{name} has {heads} heads and {tokens} tokens at {condition.frames} frames of {condition.width}x"
                f"{condition.height}: both have to be multiples of the {count} processes, take another number or size"
            )
        if group.device.type == "cpu":
            # diffusers looks for an accelerator to take its mesh from, and there is none.
            network._resolve_parallel_config = partial(_resolved, network, group)
        network.enable_parallelism(config=ContextParallelConfig(ulysses_degree=count))


def _tokens(pipe: Any, network: Any, condition: Condition) -> int:
    time, rows, columns = network.config.patch_size
    side, stride = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
    frames = 1 + (condition.frames - 1) // stride
    return int((frames // time) * (condition.height // (side * rows)) * (condition.width // (side * columns)))


def _resolved(network: Any, group: Group, asked: Any) -> Any:
    from diffusers import ParallelConfig

    mesh = init_device_mesh(group.device.type, asked.mesh_shape, mesh_dim_names=asked.mesh_dim_names)
    network._parallel_config = ParallelConfig(context_parallel_config=asked)
    network._parallel_config.setup(group.rank, group.world, group.device, mesh=mesh)
    return network._parallel_config
