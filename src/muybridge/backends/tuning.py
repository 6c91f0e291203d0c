"""How a pipeline is made to run well where it is: precision of the weights, place, attention, compilation, caches.

What leaves the pixels as they are (but for rounding) is done unasked where the machine has what it takes; what changes
them is done only if it was asked for, and is part of what a clip says of its model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from muybridge.backends.families import Family
from muybridge.backends.placement import Need, Placement

DENOISERS = ("transformer", "transformer_2", "unet")
"""The parts that run at every step: theirs are the weights that are made smaller, and the caches."""

TUNED = "--precision and --cache"

FIRST_BLOCK, TAYLOR = "first-block", "taylorseer"

_BY_CALL = frozenset(
    {
        "Wan 2.1 and 2.2",
        "LTX-Video",
        "CogVideoX",
        "HunyuanVideo",
        "Mochi 1",
    }
)
CACHES: Mapping[str, frozenset[str]] = MappingProxyType({FIRST_BLOCK: _BY_CALL, TAYLOR: _BY_CALL})
"""Cache -> families it was tried with: those whose pipelines tell diffusers which of guidance's calls is which."""

EIGHT_BITS = ("fp8", "int8")
"""Precisions of weights that are not computed with."""


@dataclass(frozen=True)
class Tuning:
    """What was asked for beyond what is done unasked; all of it changes pixels a little.

    precision  of the weights that run at every step: "" as they are computed with, "fp8", "int8", or a .gguf file
    cache      what is not computed anew at every step: "" nothing, or a name of `CACHES`, ":" and a number behind it
    """

    precision: str = ""
    cache: str = ""

    def check(self, family: Family) -> None:
        """ValueError for what does not go with a family or what this machine lacks a package for."""
        if self.cache:
            _check_cache(self.cache, family)
        if self.precision == "int8" and find_spec("torchao") is None:
            raise ValueError(
                "--precision int8 wants the package torchao: pip install 'muybridge[quantised]', or take fp8"
            )
        if self.precision and self.precision not in EIGHT_BITS:
            _check_gguf(Path(self.precision))

    @property
    def changes(self) -> tuple[str, ...]:
        """What of it changes pixels, in words: of a file, the file's name."""
        precision = Path(self.precision).name if self.precision.endswith(".gguf") else self.precision
        said = {f"{precision} weights": self.precision, f"{self.cache} cache": self.cache}
        return tuple(words for words, asked in said.items() if asked)


PLAIN = Tuning()
"""What leaves the pixels as they are."""


def _check_cache(asked: str, family: Family) -> None:
    cache, _, number = asked.partition(":")
    if cache not in CACHES or (number and not _is_within(cache, number)):
        raise ValueError(
            f"--cache is {asked!r}: take first-block (or first-block:0.05, how far off it may be, above 0 and below 1) "
            "or taylorseer (or taylorseer:2, every how many steps it computes, 2 to 20)"
        )
    if family.name not in CACHES[cache]:
        able = ", ".join(sorted(CACHES[cache]))
        raise ValueError(f"a {cache} cache does not go with {family.name}: leave it out (families that do: {able})")


def _is_within(cache: str, number: str) -> bool:
    try:
        return 0 < float(number) < 1 if cache == FIRST_BLOCK else 2 <= int(number) <= 20
    except ValueError:
        return False


def _check_gguf(file: Path) -> None:
    if file.suffix != ".gguf":
        raise ValueError(f"--precision is {str(file)!r}: take bf16, fp16, fp32, fp8, int8, or a .gguf file")
    if not file.is_file():
        raise ValueError(f"--precision names {file}, and there is no such file: give one that is there")
    if find_spec("gguf") is None:
        raise ValueError(f"{file} wants the package gguf: pip install 'muybridge[quantised]', or take --precision fp8")


def replaced(tuning: Tuning, config: Path, dtype: torch.dtype, kind: Any) -> Any:
    """The transformer of a .gguf file. ValueError if diffusers cannot read it as that.

    config  folder with the settings of the transformer; kind  its class
    """
    from diffusers import GGUFQuantizationConfig

    quantised = GGUFQuantizationConfig(compute_dtype=dtype)
    try:
        return kind.from_single_file(
            tuning.precision,
            quantization_config=quantised,
            config=str(config.parent),
            subfolder=config.name,
            torch_dtype=dtype,
            local_files_only=True,
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RuntimeError, ImportError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ValueError(
            f"{tuning.precision} is no transformer for {config.parent} ({said}): take one made of it"
        ) from error


def quantise(pipe: Any, precision: str, dtype: torch.dtype) -> None:
    """The weights that run at every step in 8 bits, computed with in `dtype`."""
    for network in denoisers(pipe):
        if precision == "fp8":
            network.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=dtype)
        elif precision == "int8":
            from torchao.quantization import Int8WeightOnlyConfig, quantize_

            quantize_(network, Int8WeightOnlyConfig())


def denoisers(pipe: Any) -> list[Any]:
    """The networks that run at every step."""
    return [part for name in DENOISERS if isinstance(part := getattr(pipe, name, None), nn.Module)]


def place(pipe: Any, need: Need | None, device: torch.device, free: int) -> list[str]:
    """Puts a pipeline where it fits, the fastest way that does; says how.

    need  what a clip takes; None where that could not be told: a GPU is then used as carefully as can be
    free  bytes on the device
    """
    if device.type != "cuda":
        pipe.to(device)
        if need is None or need.takes(Placement.TOGETHER) <= free or not hasattr(pipe.vae, "enable_tiling"):
            return []
        pipe.vae.enable_tiling()
        return ["the decoder works in tiles"]
    chosen = Placement.BLOCKS if need is None else need.placement(free)
    if chosen.tiled and hasattr(pipe.vae, "enable_tiling"):
        pipe.vae.enable_tiling()
    if chosen in (Placement.TOGETHER, Placement.TILED):
        pipe.to(device)
    elif chosen is Placement.BLOCKS:
        pipe.enable_group_offload(
            onload_device=device, offload_type="block_level", num_blocks_per_group=1, use_stream=True
        )
    else:
        pipe.enable_model_cpu_offload(device=device)
    return [] if chosen is Placement.TOGETHER else [chosen.value]


def hasten(pipe: Any, device: torch.device, tuning: Tuning) -> list[str]:
    """Whatever makes it faster here and leaves the pixels as they are, and the cache that was asked for; says what."""
    said = []
    if device.type == "cuda" and _in_layout(pipe.vae):
        said.append("channels-last decoder")
    for network in denoisers(pipe):
        if device.type == "cuda":
            said += _on_gpu(network, device, compiled=not tuning.cache and tuning.precision != "int8")
        if tuning.cache:
            network.enable_cache(cache_settings(tuning.cache))
    return [*dict.fromkeys(said), *tuning.changes]


def _in_layout(vae: nn.Module) -> bool:
    """Convolutions over time keep their weights as the fastest kernels want them: the channels last."""
    weights = [one for one in vae.parameters() if one.ndim == 5]
    for one in weights:
        one.data = one.data.contiguous(memory_format=torch.channels_last_3d)
    return bool(weights)


def _on_gpu(network: Any, device: torch.device, compiled: bool) -> list[str]:
    said = []
    # FlashAttention 3 knows no masks; of the transformers here, those of Wan give none.
    hopper = torch.cuda.get_device_capability(device)[0] == 9
    if hopper and find_spec("flash_attn_interface") and type(network).__name__.startswith("Wan"):
        network.set_attention_backend("_flash_3")
        said.append("FlashAttention 3")
    if compiled and getattr(network, "_repeated_blocks", None):
        network.compile_repeated_blocks()
        said.append("compiled blocks (the first step takes a minute)")
    return said


def cache_settings(asked: str) -> Any:
    """What diffusers is told of a cache, "name" or "name:number"."""
    from diffusers.hooks import FirstBlockCacheConfig, TaylorSeerCacheConfig

    name, _, number = asked.partition(":")
    if name == FIRST_BLOCK:
        return FirstBlockCacheConfig(threshold=float(number or 0.1))
    every = int(number or 3)
    # Its light mode foretells what the whole network puts out; the other one, every attention, which costs memory.
    return TaylorSeerCacheConfig(cache_interval=every, use_lite_mode=True, taylor_factors_dtype=torch.float32)
