"""What a clip takes of memory, told before anything is loaded, and which options make it fit.

Weights are counted from the headers of files; what is alive beside them comes from a rehearsal of the pipeline
(`rehearsal.py`). What an allocator keeps of what was given back comes on top.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import torch

from muybridge.backends.opening import family, precision_of
from muybridge.backends.placement import Need
from muybridge.backends.rehearsal import Rehearsed, rehearse
from muybridge.backends.tuning import DENOISERS, EIGHT_BITS
from muybridge.storage.pipelines import PipelineFolder

COMPUTED: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "fp8": torch.bfloat16,
    "int8": torch.bfloat16,
}
"""Precision of the weights -> what is computed in."""


def weights(found: PipelineFolder) -> dict[str, dict[str, int]]:
    """Precision -> part -> bytes of its weights."""
    counts = {part: sum(_count(file) for file in files) for part, files in found.weights.items()}
    return {
        precision: {part: count * _itemsize(found, part, precision) for part, count in counts.items()}
        for precision in COMPUTED
    }


def needs(found: PipelineFolder, frames: int, height: int, width: int) -> dict[str, Need]:
    """What a clip of this shape takes of memory, for each precision of the weights; nothing is loaded.

    ValueError, saying why, for a pipeline that cannot be rehearsed.
    """

    @cache
    def rehearsed(dtype: torch.dtype, tiled: bool = False) -> Rehearsed:
        try:
            return rehearse(found, (frames, height, width), dtype, tiled)
        except Exception as error:  # whatever a pipeline raises that meets tensors without data
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            shape = f"{frames} frames of {width}x{height}"
            raise ValueError(
                f"what {shape} take of memory beside the weights cannot be told, the rehearsal failed ({said})"
            ) from error

    made: dict[str, Need] = {}
    for precision, parts in weights(found).items():
        dtype = COMPUTED[precision]
        seen, tiles = rehearsed(dtype), not family(found).tiled
        exact = precision_of(found, dtype)
        kept = {part: exact.get(part, dtype).itemsize for part in parts}
        made[precision] = Need(
            parts=parts,
            blocks={part: seen.blocks.get(part, 0) * _itemsize(found, part, precision) // kept[part] for part in parts},
            working={part: seen.calls.get(part, 0) for part in parts},
            tiled=rehearsed(dtype, True).calls["vae"] if seen.tiles and tiles else None,
            clip=frames * height * width * 3 * 4 * 4,
        )
    return made


def _itemsize(found: PipelineFolder, part: str, precision: str) -> int:
    """Bytes of a weight."""
    if precision in EIGHT_BITS and part in DENOISERS:
        return 1
    return precision_of(found, COMPUTED[precision]).get(part, COMPUTED[precision]).itemsize


def _count(file: Path) -> int:
    """Numbers in a safetensors file, from its header; of a pickled one, a guess from its size."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // 2
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return sum(math.prod(said["shape"]) for name, said in header.items() if name != "__metadata__")
