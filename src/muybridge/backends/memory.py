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


def needs(found: PipelineFolder, frames: int, height: int, width: int) -> dict[str, Need]:
    """What a clip of this shape takes of memory, for each precision of the weights; nothing is loaded.

    ValueError, saying why, for a pipeline that cannot be rehearsed.
    """
    counts = {part: sum(_count(file) for file in files) for part, files in found.weights.items()}

    @cache
    def rehearsed(dtype: torch.dtype, tiled: bool = False) -> Rehearsed:
        try:
            return rehearse(found, (frames, height, width), dtype, tiled)
        except Exception as error:  # whatever a pipeline raises that meets tensors without data
            said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
            raise ValueError(
                f"what {found.folder} takes of memory cannot be told, its rehearsal failed ({said})"
            ) from error

    made: dict[str, Need] = {}
    for precision, dtype in COMPUTED.items():
        exact = precision_of(found, dtype)
        eight = DENOISERS if precision in EIGHT_BITS else ()
        sizes = {part: 1 if part in eight else exact.get(part, exact["default"]).itemsize for part in counts}
        seen = rehearsed(dtype)
        stored = {part: exact.get(part, exact["default"]).itemsize for part in counts}
        made[precision] = Need(
            parts={part: count * sizes[part] for part, count in counts.items()},
            blocks={part: seen.blocks.get(part, 0) * sizes[part] // stored[part] for part in counts},
            working={part: seen.calls.get(part, 0) for part in counts},
            tiled=rehearsed(dtype, True).calls["vae"] if seen.tiles and not family(found).tiled else None,
            clip=frames * height * width * 3 * 4 * 4,
        )
    return made


def _count(file: Path) -> int:
    """Numbers in a safetensors file, from its header; of a pickled one, a guess from its size."""
    if file.suffix != ".safetensors":
        return file.stat().st_size // 2
    with file.open("rb") as content:
        header = json.loads(content.read(int.from_bytes(content.read(8), "little")))
    return sum(math.prod(said["shape"]) for name, said in header.items() if name != "__metadata__")
