"""Several processes, one training: each takes its share of every batch and all take the same step.

Under `torchrun` the processes find each other through torch.distributed's own environment; otherwise there is one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from muybridge.types import device_of

T = TypeVar("T")

BUCKET_MB = 1024
"""Gradients travel in one piece: small models gain nothing from overlap and lose to many messages."""

SETTLING = 0.25
"""Seconds in which gloo's threads let go of the tensors of the last exchanges. They need Python's lock for it, nothing
tells when they are done, and one that asks for it while Python ends, or while what they serve is freed, aborts or
hangs the process."""


PATIENCE = timedelta(days=30)
"""How long a process waits in a collective: one of them encodes clips for hours. Should one die, torchrun ends all."""


@dataclass(frozen=True)
class Group:
    """The processes of a training, as one of them sees it."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def gathered(self, thing: T) -> list[T]:
        """`thing` of every process, in the order of ranks. Collective."""
        if self.world == 1:
            return [thing]
        things: list[T] = [thing] * self.world
        dist.all_gather_object(things, thing)
        return things

    def largest(self, *values: float) -> list[float]:
        """The largest of each value over the processes, so that all of them decide alike. Collective."""
        if self.world == 1:
            return list(values)
        shared = torch.tensor(values, device=self.device)
        dist.all_reduce(shared, dist.ReduceOp.MAX)
        return [float(value) for value in shared.tolist()]


@contextmanager
def joined(device: str | None = None) -> Iterator[Group]:
    """The group of this process: torchrun's, or itself alone. `device` is "cpu" or "cuda"; None takes what there is.

    ValueError for a device that is not there.
    """
    kind = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if not dist.is_torchelastic_launched():
        yield Group(device=device_of(kind))
        return
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", timeout=PATIENCE)
    try:
        place = device_of(f"cuda:{dist.get_node_local_rank()}" if kind == "cuda" else kind)
        if kind == "cuda":
            torch.cuda.set_device(place)
        yield Group(dist.get_rank(), dist.get_world_size(), place)
        dist.barrier()
        time.sleep(SETTLING)
    finally:
        dist.destroy_process_group()


def sharded(module: nn.Module, group: Group, within: tuple[str, ...]) -> None:
    """Splits what `module` learns over the processes, in place.

    Each child of the submodules named `within` (the blocks of a transformer) is a unit that is gathered when needed;
    the rest is one more. What is frozen stays whole: to gather it all would have to ask for it, and some may not (a
    witness repaints only the pictures that are drawn for it).
    """
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view")  # which nobody changes in place
    mesh = init_device_mesh(group.device.type, (group.world,))
    frozen = {parameter for parameter in module.parameters() if not parameter.requires_grad}
    for parameter in module.parameters():  # FSDP2 takes no other order in memory, such as channels last
        parameter.data = parameter.data.contiguous()
    for name, child in list(module.named_modules()):
        learns = any(parameter.requires_grad for parameter in child.parameters())
        if learns and len(parts := name.split(".")) > 1 and parts[-2] in within:
            fully_shard(child, mesh=mesh, ignored_params=frozen)
    fully_shard(module, mesh=mesh, ignored_params=frozen)


def replicated(module: nn.Module, group: Group) -> nn.Module:
    """`module`, with gradients averaged over the processes; itself where there is one process or it is sharded.

    An objective some of whose parameters have no part in some batches says so by `rests`.
    """
    if group.world == 1 or isinstance(module, FSDPModule):
        return module
    warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated")  # its other name is not in torch 2.9
    return DistributedDataParallel(
        module,
        gradient_as_bucket_view=True,
        bucket_cap_mb=BUCKET_MB,
        broadcast_buffers=False,
        find_unused_parameters=bool(getattr(module, "rests", False)),
    )


@contextmanager
def _without_sync(module: FSDPModule) -> Iterator[None]:
    module.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        module.set_requires_gradient_sync(True)


def synchronised(module: nn.Module, now: bool) -> AbstractContextManager[None]:
    """Inside, gradients are exchanged between processes only if `now` (the last piece of an accumulated batch)."""
    if not now and isinstance(module, DistributedDataParallel):
        return module.no_sync()
    if not now and isinstance(module, FSDPModule):
        return _without_sync(module)
    return nullcontext()


def whole(tensor: Tensor) -> Tensor:
    """A tensor that may be sharded, in one piece. Collective."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(value: Tensor, model: Tensor) -> Tensor:
    """`value`, laid out over devices, processes and memory (strides) as `model` is, which has the same shape."""
    if isinstance(model, DTensor):
        return distribute_tensor(value.to(model.device), model.device_mesh, model.placements)
    return torch.empty_like(model).copy_(value)
