"""One clip on several processes: each has its share of the tokens, and for attention its share of the heads.

That is Ulysses' way (arXiv 2309.14509), as diffusers has it for transformers of which it knows where to cut.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch.distributed.device_mesh import init_device_mesh

from muybridge.backends.tuning import denoisers
from muybridge.training.parallel import Group


def spread(pipe: Any, name: str, group: Group) -> None:
    """Has all processes of a group work on each clip of a pipeline. ValueError if its networks cannot be cut.

    All of them have to ask for the same clips, in the same order, and all get the same frames.
    """
    from diffusers import ContextParallelConfig

    networks = denoisers(pipe)
    for network in networks:
        kind = type(network).__name__
        if getattr(network, "_cp_plan", None) is None:
            raise ValueError(f"{name} cannot be spread over {group.world} processes, its {kind} cannot be cut: use one")
        heads = int(getattr(network.config, "num_attention_heads", 0))
        if heads < group.world:
            raise ValueError(f"{name} has {heads} heads of attention for {group.world} processes: use {heads} at most")
        if group.device.type == "cpu":
            # diffusers looks for an accelerator to take its mesh from, and there is none.
            network._resolve_parallel_config = partial(_resolved, network, group)
        network.enable_parallelism(config=ContextParallelConfig(ulysses_degree=group.world, ulysses_anything=True))


def _resolved(network: Any, group: Group, asked: Any) -> Any:
    from diffusers import ParallelConfig

    mesh = init_device_mesh(group.device.type, asked.mesh_shape, mesh_dim_names=asked.mesh_dim_names)
    network._parallel_config = ParallelConfig(context_parallel_config=asked)
    network._parallel_config.setup(group.rank, group.world, group.device, mesh=mesh)
    return network._parallel_config
