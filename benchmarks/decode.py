"""Latent to pixels, 33 frames of 128x128: our autoencoder against diffusers' Wan and LTX at random weights, in one run.

    python benchmarks/decode.py [--compile] [--threads 2] [--rounds 5] [--json PATH]

Each decoder runs in fp32, under bf16 autocast and with bf16 weights (and compiled, where asked); the fastest counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from measuring import Spread, Work, everything_drawn, fastest, machine, ratio, report, take_turns
from rich.table import Table
from torch import Tensor, nn

from muybridge.recipes.nano import NANO
from muybridge.recipes.tiny import TINY
from muybridge.tokenizer.autoencoder import AutoencoderConfig, VideoAutoencoder

NOTES = (
    "pixels/number: compression, so many pixels (of three colours) to one number of the latent",
    "reduced: the same compression with narrower layers; LTX comparable: reduced, at our compression",
    "`muybridge generate` decodes under bf16 autocast, where the processor has it",
)
REDUCED_LTX: Mapping[str, Any] = {
    "block_out_channels": (32, 64, 128, 128),
    "decoder_block_out_channels": (32, 64, 128, 128),
}
COMPARABLE_LTX: Mapping[str, Any] = {
    **REDUCED_LTX,
    "latent_channels": 64,
    "spatio_temporal_scaling": (True, True, False, False),
    "decoder_spatio_temporal_scaling": (True, True, False, False),
}
TINY_LTX: Mapping[str, Any] = {
    "latent_channels": 16,
    "block_out_channels": (8, 8, 8, 8),
    "decoder_block_out_channels": (8, 8, 8, 8),
    "layers_per_block": (1, 1, 1, 1, 1),
    "decoder_layers_per_block": (1, 1, 1, 1, 1),
}
WanAutoencoder: Any = diffusers.AutoencoderKLWan
LtxAutoencoder: Any = diffusers.AutoencoderKLLTXVideo
PRECISIONS = ("fp32", "bf16 autocast", "bf16 weights")


@dataclass(frozen=True)
class Contender:
    """An autoencoder: how to make it, and how its latents are laid out: numbers a place, pixels a place each way."""

    make: Callable[[], nn.Module]
    channels: int
    stride: int
    temporal_stride: int = 4

    @property
    def pixels_a_number(self) -> float:
        return self.temporal_stride * self.stride**2 / self.channels


def ours(config: AutoencoderConfig) -> Contender:
    return Contender(lambda: VideoAutoencoder(config), config.channels, config.spatial_stride)


def wan(base: int) -> Contender:
    return Contender(lambda: WanAutoencoder(base_dim=base), 16, 8)


def ltx(config: Mapping[str, Any], stride: int = 32, temporal_stride: int = 8) -> Contender:
    channels = config.get("latent_channels", 128)
    return Contender(lambda: LtxAutoencoder(**config), channels, stride, temporal_stride)


FULL = {
    "ours": ours(NANO.autoencoder),
    "Wan, full": wan(96),
    "Wan, reduced": wan(24),
    "LTX, full": ltx({}),
    "LTX, reduced": ltx(REDUCED_LTX),
    "LTX, comparable": ltx(COMPARABLE_LTX, 16, 4),
}
SMALLEST = {"ours": ours(TINY.autoencoder), "Wan, reduced": wan(4), "LTX, reduced": ltx(TINY_LTX)}


def decoder(contender: Contender, precision: str, compiled: bool, frames: int, side: int) -> tuple[Work, int]:
    """A decode of one clip, and the decoder's parameters. The result has the shape asked for."""
    torch.manual_seed(0)
    network = contender.make().eval().requires_grad_(False)
    everything_drawn(network)
    part = network.decoder
    assert isinstance(part, nn.Module)
    if compiled:
        part.compile()
    dtype = torch.bfloat16 if precision == "bf16 weights" else torch.float32
    network.to(dtype)
    size = (1 + (frames - 1) // contender.temporal_stride, side // contender.stride)
    is_ours = isinstance(network, VideoAutoencoder)
    shape = (1, size[0], contender.channels) if is_ours else (1, contender.channels, size[0])
    latent = torch.randn(*shape, size[1], size[1], dtype=dtype)
    wanted = (1, frames, 3, side, side) if is_ours else (1, 3, frames, side, side)

    @torch.inference_mode()
    def decode() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16 autocast"):
            video: Tensor = network.decode(latent)[0]  # type: ignore[operator]
        assert video.shape == wanted, (video.shape, wanted)

    return decode, sum(p.numel() for p in part.parameters())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--compile", action="store_true", help="also with torch.compile (many minutes more)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patience", type=float, default=20.0, help="decoders slower than this are measured once")
    parser.add_argument("--only", nargs="*", help="these decoders alone, such as --only ours 'Wan, reduced'")
    parser.add_argument("--tiny", action="store_true", help="toy networks, to try the script")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    diffusers.utils.logging.set_verbosity_error()  # it warns of every cast
    frames, side = (9, 64) if options.tiny else (33, 128)
    chosen = {name: one for name, one in (SMALLEST if options.tiny else FULL).items() if name in (options.only or FULL)}
    found: dict[str, Any] = {"machine": machine(), "frames": frames, "side": side, "decoders": {}}

    works: dict[str, Work] = {}
    for name, contender in chosen.items():
        for precision in PRECISIONS:
            for compiled in (False, True) if options.compile else (False,):
                variant = f"{name}: {precision}{', compiled' if compiled else ''}"
                works[variant], count = decoder(contender, precision, compiled, frames, side)
        found["decoders"][name] = {"parameters": count, "pixels_a_number": contender.pixels_a_number}
    seconds = take_turns(works, options.rounds, patience=options.patience)

    best = {name: fastest(seconds, [v for v in seconds if v.startswith(f"{name}:")]) for name in chosen}
    table = Table(
        "decoder", "parameters", "pixels/number", "seconds (quartiles)", "times ours, same", "… fastest of each"
    )
    for variant, values in seconds.items():
        name, how = variant.split(": ")
        facts = found["decoders"][name]
        same = ratio(seconds, variant, f"ours: {how}").text(1) if "ours" in chosen else ""
        each = ratio(seconds, variant, best["ours"]).text(1) if "ours" in chosen and variant == best[name] else ""
        count, dense = facts["parameters"], facts["pixels_a_number"]
        table.add_row(variant, f"{count:,}", f"{dense:g}", Spread.of(values).text(3), same, each)
    found |= {"seconds": seconds, "fastest": best}
    if "ours" in chosen:
        found["ratio_of_fastest"] = {name: ratio(seconds, one, best["ours"]) for name, one in best.items()}
    once = f"once: a first call over {options.patience:g} s"
    head = f"one clip, {frames} frames of {side}x{side}; {options.rounds} rounds; {once}"
    report(table, (head, *NOTES), found, options.json)


if __name__ == "__main__":
    main()
