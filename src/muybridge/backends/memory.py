"""What a pipeline takes of memory, told before it is loaded: weights from the headers of files, the decoder rehearsed.

The rehearsal runs the autoencoder's own code on tensors without data (the meta device) and adds up what is alive at a
time. It needs the settings only, works for all families alike, and there is no coefficient that could grow old.
"""

from __future__ import annotations

import json
import math
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from muybridge.backends.families import Family, family_of
from muybridge.storage.pipelines import PipelineFolder

PRECISIONS: Mapping[str, int] = {"float32": 4, "bfloat16": 2, "int8": 1}
"""Bytes a weight takes. int8 stands for 8-bit weights; what is computed stays at 16 bits."""

_LIVE_WIDTHS = 9
"""Features of a token that a transformer block holds at a time, in widths: its input, the modulated copy, queries,
keys, values, what attention puts out, and the hidden layer of the feed-forward network, about four wide."""


@dataclass(frozen=True)
class Need:
    """Bytes that a clip takes.

    parts   part -> its weights
    sampling, decoding  what is alive beside the weights while the transformer runs, and while the autoencoder does
    """

    parts: Mapping[str, int]
    sampling: int
    decoding: int

    @property
    def resident(self) -> int:
        """All weights in one place, which is fastest."""
        return sum(self.parts.values()) + max(self.sampling, self.decoding)

    @property
    def offloaded(self) -> int:
        """One part at a time on the GPU, the others in main memory."""
        largest = {name: size for name, size in self.parts.items() if name != "vae"}
        return max(max(largest.values(), default=0) + self.sampling, self.parts.get("vae", 0) + self.decoding)


def needs(found: PipelineFolder, frames: int, height: int, width: int) -> dict[str, Need]:
    """What a clip of this shape takes of memory, for each precision of the weights; nothing is loaded."""
    known = family_of(found.pipeline)
    assert known is not None, f"{found.pipeline} is in no family"
    counts = {part: sum(_count(file) for file in files) for part, files in found.weights.items()}
    latent = _latent(found, known, frames, height, width)
    decoded, tokens = _decoding(found, latent), _sampling(found, latent)
    shown = frames * height * width * 3 * 4 * 2  # the clip itself, as the pipeline has it and as it is given out
    made: dict[str, Need] = {}
    for precision, size in PRECISIONS.items():
        exact = {"vae"} if known.vae_float32 else set()
        parts = {part: count * (4 if part in exact else size) for part, count in counts.items()}
        compute = max(2, size)
        decoding = decoded * (4 if exact else compute)
        made[precision] = Need(parts, tokens * compute, decoding + shown)
    return made


def _count(file: Path) -> int:
    """Numbers in a safetensors file, from its header; of a pickled one, a guess from its size."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // 2
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return sum(math.prod(said["shape"]) for name, said in header.items() if name != "__metadata__")


def _latent(found: PipelineFolder, known: Family, frames: int, height: int, width: int) -> tuple[int, ...]:
    """Shape (c, t, h, w) of the latent."""
    vae = found.settings.get("vae", {})
    channels = vae.get("latent_channels") or vae.get("z_dim") or 4
    side = vae.get("spatial_compression_ratio") or vae.get("scale_factor_spatial") or 8
    if "patch_size" in vae and "spatio_temporal_scaling" in vae and not vae.get("spatial_compression_ratio"):
        side = vae["patch_size"] * 2 ** sum(vae["spatio_temporal_scaling"])
    stride = known.stride if known.stride in (4, 6, 8) else (4 if known.vae_float32 else 1)
    return channels, 1 + (frames - 1) // stride, max(1, height // side), max(1, width // side)


def _sampling(found: PipelineFolder, latent: tuple[int, ...]) -> int:
    """Numbers that a step of the transformer holds."""
    part = next((name for name in ("transformer", "unet") if name in found.settings), None)
    settings = found.settings.get(part or "", {})
    heads, per_head = settings.get("num_attention_heads"), settings.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(per_head, int):
        features = heads * per_head
    else:
        features = max(settings.get("block_out_channels", [settings.get("hidden_size", 320)]))
    patch = settings.get("patch_size", 1)
    time, rows, columns = (
        patch if isinstance(patch, list | tuple) else (settings.get("patch_size_t") or 1, patch, patch)
    )
    _, frames, height, width = latent
    tokens = math.ceil(frames / time) * math.ceil(height / rows) * math.ceil(width / columns)
    return int(tokens * features) * _LIVE_WIDTHS


def _decoding(found: PipelineFolder, latent: tuple[int, ...]) -> int:
    """The most numbers that are alive while the autoencoder decodes."""
    import diffusers

    settings = {name: value for name, value in found.settings["vae"].items() if not name.startswith("_")}
    with torch.device("meta"):
        vae = getattr(diffusers, found.classes["vae"]).from_config(settings).eval()
        moving = found.classes["vae"] != "AutoencoderKL"
        shape = (1, *latent) if moving else (1, latent[0], *latent[2:])
        z = torch.empty(shape)
    with torch.no_grad(), _counting() as alive:
        try:
            vae.decode(z)
        except (TypeError, NotImplementedError, RuntimeError, ValueError):
            return _roughly(found, latent)
    return alive.most // 4 * (1 if moving else latent[1])


def _roughly(found: PipelineFolder, latent: tuple[int, ...]) -> int:
    """For decoders that cannot be rehearsed: four feature maps of full size, of the narrowest block."""
    widths = found.settings["vae"].get("block_out_channels") or [found.settings["vae"].get("base_dim", 96)]
    _, frames, height, width = latent
    return 4 * int(min(widths)) * frames * height * width * 64


class _Alive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the bytes of all tensors that are made, takes off those that are gone, remembers the most."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.most = 0
        self._seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, Tensor):
                self._see(tensor)
        return made

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


@contextmanager
def _counting() -> Iterator[_Alive]:
    with _Alive() as alive:
        yield alive
