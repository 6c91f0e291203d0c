"""How much of the pixels survives: the autoencoder's reconstruction, and the first frame of image-to-video."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import UInt8

from muybridge.evaluation.pictures import psnr, ssim
from muybridge.evaluation.resume import Record, Watch, go_through
from muybridge.evaluation.statistics import HELD_OUT, Mean, mean
from muybridge.simulation.captions import prompt_and_facts
from muybridge.simulation.clip import Clip, simulate

EncodeDecode: TypeAlias = Callable[[UInt8[np.ndarray, "t h w 3"]], UInt8[np.ndarray, "t h w 3"]]
"""A clip through the autoencoder and back."""
Animate: TypeAlias = Callable[
    [UInt8[np.ndarray, "b h w 3"], Sequence[str], Sequence[int]], UInt8[np.ndarray, "b t h w 3"]
]
"""Clips that start from stills, with the prompt and seed of each."""


@dataclass(frozen=True)
class AutoencoderFidelity:
    """Means over clips. PSNR in dB, of the squared error pooled over a clip; then the mean over clips, in dB.

    whole    all pixels
    objects  pixels of objects, walls and ramps (instance > 0)
    ssim     of the luma, see `pictures.ssim`
    """

    whole: Mean
    objects: Mean
    ssim: Mean


@dataclass(frozen=True)
class FirstFrameFidelity:
    """Image to video: PSNR in dB of the first frame against the still, means over stills.

    generated      the first frame of the generated clip
    reconstructed  the still through the autoencoder alone: a generator in its latent space can hardly do better
    lost           reconstructed - generated, still by still
    """

    generated: Mean
    reconstructed: Mean
    lost: Mean


def autoencoder_fidelity(
    encode_decode: EncodeDecode,
    seeds: Sequence[int] = range(HELD_OUT, HELD_OUT + 500),
    *,
    clip: Callable[[int], Clip] = simulate,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> AutoencoderFidelity:
    """Compare every seed's clip (33 frames of 128x128 unless `clip` makes others) with its reconstruction.

    `folder` as in `go_through`. ValueError if a reconstruction has another shape than its clip.
    """

    def evaluate(picked: Sequence[int]) -> list[Record]:
        return [_compared(clip(seed), encode_decode) for seed in picked]

    records = go_through(seeds, evaluate, folder=folder, watch=watch)
    seen = [r["objects"] for r in records if r["objects"] is not None]
    return AutoencoderFidelity(mean([r["whole"] for r in records]), mean(seen), mean([r["ssim"] for r in records]))


def _compared(truth: Clip, encode_decode: EncodeDecode) -> Record:
    made = encode_decode(truth.rgb)
    inside = psnr(made, truth.rgb, truth.instance > 0)
    return {
        "whole": psnr(made, truth.rgb),
        "objects": None if math.isnan(inside) else inside,
        "ssim": ssim(made, truth.rgb),
    }


def first_frame_fidelity(
    animate: Animate,
    encode_decode: EncodeDecode,
    seeds: Sequence[int] = range(HELD_OUT, HELD_OUT + 100),
    *,
    still: Callable[[int], UInt8[np.ndarray, "h w 3"]] | None = None,
    batch: int = 8,
    folder: Path | None = None,
    watch: Watch | None = None,
) -> FirstFrameFidelity:
    """Animate the first frame of every seed's world, or what `still` makes of a seed, with that world's prompt."""
    picture = still or first_frame

    def evaluate(picked: Sequence[int]) -> list[Record]:
        stills = np.stack([picture(seed) for seed in picked])
        clips = animate(stills, [prompt_and_facts(seed)[0] for seed in picked], picked)
        if len(clips) != len(picked):
            raise ValueError(f"{len(picked)} stills were given to the model, which made {len(clips)} clips")
        return [
            {"generated": psnr(made[:1], given[None]), "reconstructed": psnr(encode_decode(given[None]), given[None])}
            for made, given in zip(clips, stills, strict=True)
        ]

    records = go_through(seeds, evaluate, batch=batch, folder=folder, watch=watch)
    return FirstFrameFidelity(
        generated=mean([r["generated"] for r in records]),
        reconstructed=mean([r["reconstructed"] for r in records]),
        lost=mean([r["reconstructed"] - r["generated"] for r in records]),
    )


def first_frame(seed: int) -> UInt8[np.ndarray, "h w 3"]:
    """The first frame of a seed's clip, 128x128."""
    frame: UInt8[np.ndarray, "h w 3"] = simulate(seed, frames=1).rgb[0]
    return frame
