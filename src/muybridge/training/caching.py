"""What training reads is made once and kept: clips by processes of their own, latents of them by an encoder.

Of worlds that nobody renders, where things go and what is said of it is all there is.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from einops import rearrange
from torch import Tensor, nn

from muybridge.data.material import (
    Foretold,
    Material,
    Seen,
    Shape,
    classes_of_places,
    origin_of,
)
from muybridge.data.processes import in_order, pool_of
from muybridge.data.shards import EncodedClip, cached_clips, write_shards
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.training.objectives import to_pixels
from muybridge.training.parallel import Group
from muybridge.types import TEMPORAL_STRIDE, Progress, of_latents

T = TypeVar("T")

PER_SHARD = 256
"""Clips a file of a cache; an interruption loses at most so many."""

AHEAD = 64
"""Clips that are made before they are encoded."""


def cache_latents(
    cache: Path,
    name: str,
    shape: Shape,
    clips: int,
    material: Material,
    autoencoder: VideoAutoencoder,
    group: Group,
    workers: int,
) -> Iterator[tuple[str, Progress]]:
    """Fills a cache: clips are made by processes of their own, encoded here. The other ranks wait."""
    tracked = ", with tracks" if isinstance(material, Foretold) else ""
    origin = f"{origin_of(material, shape)}{tracked}, by the encoder {fingerprint(autoencoder.encoder)}"
    began = time.monotonic()
    if group.rank == 0:
        with _made(partial(material.clip, shape=shape), range(cached_clips(cache), clips), workers) as seen:
            encoded = _encode(autoencoder, seen, batch=_batch(shape.frames), device=group.device)
            for made in write_shards(cache, encoded, origin, PER_SHARD):
                yield f"encoding {name}", Progress(made, clips, time.monotonic() - began)
    group.largest(0.0)  # a collective: all wait for all


def cache_worlds(
    cache: Path, shape: Shape, worlds: int, material: Foretold, group: Group, workers: int
) -> Iterator[tuple[str, Progress]]:
    """Fills a cache of clips that nobody renders: where things go, and what is said of it. The other ranks wait."""
    began = time.monotonic()
    if group.rank == 0:
        make = partial(_tracked, material, shape)
        with _made(make, range(cached_clips(cache), worlds), workers) as clips:
            for made in write_shards(cache, clips, f"{origin_of(material, shape)}, unseen", PER_SHARD):
                yield "worlds", Progress(made, worlds, time.monotonic() - began)
    group.largest(0.0)  # a collective: all wait for all


def fingerprint(network: nn.Module) -> str:
    """Twelve hexadecimal digits that tell a network's weights from any others."""
    digest = hashlib.sha256()
    for parameter in network.parameters():
        digest.update(parameter.detach().cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


@contextmanager
def _made(make: Callable[[int], T], numbers: range, workers: int) -> Iterator[Iterator[T]]:
    """What is made of the numbers, in order, by processes of their own."""
    if not (workers and numbers):
        yield map(make, numbers)
        return
    with pool_of(min(workers, AHEAD, len(numbers)), "--workers") as pool:
        yield in_order(pool, make, numbers, AHEAD)


def _tracked(material: Foretold, shape: Shape, number: int) -> EncodedClip:
    clip = material.tracked(number, shape)
    tracks = torch.from_numpy(of_latents(clip.place, TEMPORAL_STRIDE)), torch.from_numpy(clip.kind)
    return EncodedClip(None, clip.captions, shape.fps, None, *tracks)


def _batch(frames: int) -> int:
    """Clips that are encoded at once. It divides a shard, so who goes on after one encodes the same batches."""
    return 1 << max(1, 64 // frames).bit_length() - 1


def _encode(
    autoencoder: VideoAutoencoder, clips: Iterator[Seen], batch: int, device: torch.device
) -> Iterator[EncodedClip]:
    """The latents of clips, `batch` of them at a time."""
    autoencoder.to(device)
    while some := list(islice(clips, batch)):
        video = torch.from_numpy(np.stack([seen.rgb for seen in some])).to(device)
        pixels = to_pixels(rearrange(video, "b t h w c -> b t c h w"))
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            latents, _ = autoencoder.encode(pixels)
        for seen, latent in zip(some, latents.half().cpu(), strict=True):
            told = _told(seen, autoencoder.config.spatial_stride)
            yield EncodedClip(latent, seen.captions, seen.fps, **told)


def _told(seen: Seen, stride: int) -> dict[str, Tensor]:
    """What is known of a clip beside its pictures and words, as the cache keeps it."""
    found = {}
    if seen.classes is not None:
        found["classes"] = torch.from_numpy(classes_of_places(seen.classes, TEMPORAL_STRIDE, stride))
    if seen.place is not None and seen.kind is not None:
        found["place"] = torch.from_numpy(of_latents(seen.place, TEMPORAL_STRIDE))
        found["kind"] = torch.from_numpy(seen.kind)
    return found
