"""A pipeline's own code run on tensors without data, to see what a clip takes of memory before anything is loaded.

Networks are made on PyTorch's meta device, which knows shapes and holds nothing; everything else of the pipeline is
real (tokenizer, scheduler, the latents, which are small). Whenever the pipeline calls a network, the bytes that are
alive at a time are added up. So it needs the settings of a checkpoint only, works for all families alike, and holds no
coefficient that could grow old.
"""

from __future__ import annotations

import importlib
import json
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from muybridge.backends.families import Way
from muybridge.backends.opening import pipeline_class, precision_of, quietly
from muybridge.backends.pipelines import Pipeline
from muybridge.storage.pipelines import INDEX, PipelineFolder
from muybridge.types import Condition

ENTRANCES = ("forward", "encode", "decode")
"""Methods of networks that pipelines call. The first call of an autoencoder's `decode` ends the rehearsal."""

AUTOENCODERS = ("vae", "audio_vae")


@dataclass(frozen=True)
class Rehearsed:
    """Bytes that are alive beside the weights.

    calls   part -> the most while it runs
    blocks  part -> bytes of the largest of the blocks that it is a stack of; 0 where it is none
    tiles   its autoencoder can work in tiles
    """

    calls: Mapping[str, int]
    blocks: Mapping[str, int]
    tiles: bool


def rehearse(
    found: PipelineFolder,
    shape: tuple[int, int, int],
    dtype: torch.dtype,
    tiled: bool = False,
) -> Rehearsed:
    """One step of the simplest clip of that shape (frames, height, width).

    Raises whatever the pipeline raises that meets tensors without data.
    """
    with quietly(), torch.random.fork_rng(devices=[]), _autocast_anywhere():
        pipe = _without_weights(found, dtype)
        model = Pipeline(pipe, found.folder.name)
        if tiled:
            pipe.vae.enable_tiling()
        networks = {name: part for name, part in pipe.components.items() if isinstance(part, nn.Module)}
        calls = dict.fromkeys(networks, 0)
        for name, part in networks.items():
            for method in ENTRANCES:
                if hasattr(part, method):
                    setattr(part, method, _watched(part, method, name, calls))
        way = min(model.ways, key=lambda way: (way.pipeline != type(pipe).__name__, len(way.needs)))
        condition = _simplest(way, *shape, model.family.fps)
        settings = replace(model.settings, steps=2, preview_every=0)  # some schedules need two
        try:
            for _ in model.sample(condition, [0], settings):
                pass
        except _Enough:
            pass
    blocks = {name: _largest_block(part) for name, part in networks.items()}
    return Rehearsed(calls, blocks, hasattr(pipe.vae, "enable_tiling"))


def _without_weights(found: PipelineFolder, dtype: torch.dtype) -> Any:
    """The pipeline of a folder, its networks on the meta device, which works on the processor nevertheless."""
    index = json.loads((found.folder / INDEX).read_text(encoding="utf-8"))
    precision = precision_of(found, dtype)
    networks = {}
    for part in found.weights:
        with torch.device("meta"):
            network = _network(index[part][0], found.classes[part], found.settings[part])
        networks[part] = network.to("meta", precision.get(part, precision["default"])).eval()
        if part in AUTOENCODERS:
            _make_readable(networks[part])
    kind = pipeline_class(found)
    here = property(lambda self: torch.device("cpu"))
    working_here: Any = type(kind.__name__, (kind,), {"device": here, "_execution_device": here})
    return working_here.from_pretrained(
        str(found.folder), local_files_only=True, **networks, **dict.fromkeys(found.absent)
    )


def _make_readable(network: nn.Module) -> None:
    """Gives buffers of its own to an autoencoder: pipelines read its means and deviations."""
    for name, values in network.named_buffers(recurse=False):
        network.register_buffer(name, torch.ones(values.shape, dtype=values.dtype))


def _network(library: str, name: str, settings: Mapping[str, Any]) -> nn.Module:
    """A part by its settings alone, in the device context at hand."""
    import diffusers

    if library == "transformers":
        kind = getattr(importlib.import_module(library), name)
        encoder: nn.Module = kind._from_config(kind.config_class.from_dict(dict(settings)))
        return encoder
    kind = getattr(diffusers if library == "diffusers" else getattr(diffusers.pipelines, library), name)
    made: nn.Module = kind.from_config({key: value for key, value in settings.items() if not key.startswith("_")})
    return made


def _simplest(way: Way, frames: int, height: int, width: int, fps: float) -> Condition:
    """What has to be given for a clip of that shape, and nothing else; black pictures."""
    still, film = torch.zeros(1, 3, height, width), torch.zeros(()).expand(frames, 3, height, width)
    lens = [float(width), float(width), width / 2, height / 2]
    given: dict[str, dict[str, Any]] = {
        "image": {"prefix": still},
        "opening": {"prefix": film},
        "ending": {"suffix": still},
        "video": {"video": film},
        "control": {"control": film},
        "camera": {"camera": torch.eye(4).expand(frames, 4, 4), "intrinsics": torch.tensor(lens)},
    }
    condition = Condition("a cat" if "prompt" in way.takes else "", frames=frames, height=height, width=width, fps=fps)
    for name in way.needs & given.keys():
        condition = replace(condition, **given[name])
    return condition


def _largest_block(network: nn.Module) -> int:
    """Bytes of the largest block of those that a network is a stack of."""
    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
    return max((_size(block) for stack in stacks for block in stack), default=0)


def _size(module: nn.Module) -> int:
    return sum(weights.nbytes for weights in module.parameters())


class _Enough(Exception):
    """Raised where the clip would be decoded a second time: nothing new comes after it."""


def _watched(network: nn.Module, name: str, part: str, calls: dict[str, int]) -> Callable[..., Any]:
    """A method of a network on the meta device, for callers on the processor: zeros come back, of the right shapes."""
    method: Callable[..., Any] = getattr(network, name)
    seen: dict[str, Any] = {}

    @wraps(method)  # pipelines look at signatures
    def call(*args: Any, **kwargs: Any) -> Any:
        given = [(leaf.shape, leaf.dtype) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        if repr(given) not in seen:
            with torch.no_grad(), Alive(network) as alive, _Fused():
                there = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
                seen[repr(given)] = _real(method(*there[0], **there[1]))
                del there
            calls[part] = max(calls[part], alive.most)
        if (part, name) == ("vae", "decode"):
            raise _Enough
        return seen[repr(given)]

    return call


def _real(made: Any) -> Any:
    """Zeros where there were tensors without data."""
    spread = getattr(made, "latent_dist", None)
    if spread is not None:
        for name, value in list(vars(spread).items()):
            setattr(spread, name, _real(value))
    return tree_map_only(Tensor, lambda tensor: torch.zeros(tensor.shape, dtype=tensor.dtype), made)


class _Fused(TorchFunctionMode):
    """Attention as fused kernels do it, so the matrix of its weights is never there; and masks that leave all in."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            said = dict(zip(("query", "key", "value"), args, strict=False)) | (kwargs or {})
            return said["query"].new_empty((*said["query"].shape[:-1], said["value"].shape[-1]))
        if func is Tensor.__getitem__ and isinstance(args[1], Tensor) and args[1].dtype == torch.bool:
            return args[0].new_empty((args[1].numel(), *args[0].shape[args[1].ndim :]))
        if func in (torch.nonzero, Tensor.nonzero):
            return args[0].new_empty((args[0].numel(), args[0].ndim), dtype=torch.int64)
        return func(*args, **(kwargs or {}))


@contextmanager
def _autocast_anywhere() -> Iterator[None]:
    """Lets networks ask for autocast on the meta device, which PyTorch refuses."""
    begin = torch.autocast.__init__

    def begin_anywhere(self: Any, device_type: str, *args: Any, **kwargs: Any) -> None:
        begin(self, "cpu" if device_type == "meta" else device_type, *args, **kwargs)

    torch.autocast.__init__ = begin_anywhere  # type: ignore[method-assign]
    try:
        yield
    finally:
        torch.autocast.__init__ = begin  # type: ignore[method-assign]


class Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that are made, takes off those that are gone, remembers the most.

    network  whose weights are no part of it
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._seen = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = self._guessed(func, args) if _is_empty(args) else None
        made = func(*args, **(kwargs or {})) if made is None else made
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        if func is torch.ops.aten.convolution.default:
            # Libraries copy input and output into the layout that they compute in.
            self.most = max(self.most, self.now + args[0].nbytes + made.nbytes)
        return made

    def _guessed(self, func: Any, args: Any) -> Any:
        """What depends on data that is not there: no mask is all ones, and there is one of everything."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return False if args[0].dtype == torch.bool else torch.ones((), dtype=args[0].dtype).item()
        return None

    def _see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen.add(key)
        self.now += size
        self.most = max(self.most, self.now)
        weakref.finalize(storage, self._gone, key, size)

    def _gone(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size


def _is_empty(args: Any) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and args[0].device.type == "meta"
