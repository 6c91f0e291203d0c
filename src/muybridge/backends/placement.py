"""Where the parts of a pipeline are while it runs, what each placement takes, and which is the fastest that fits."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import torch


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a GPU, or of this machine's main memory; 0 where the system does not tell."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return 0


class Placement(Enum):
    """Where the parts of a pipeline are while it runs, the fastest first; the value says it."""

    TOGETHER = "all parts on the GPU"
    TILED = "all parts on the GPU, the decoder in tiles"
    PARTS = "a part at a time on the GPU"
    PARTS_TILED = "a part at a time on the GPU, the decoder in tiles"
    BLOCKS = "a block at a time on the GPU, the decoder in tiles"

    @property
    def tiled(self) -> bool:
        """Whether the decoder works in tiles."""
        return self.value.endswith("tiles")


@dataclass(frozen=True)
class Need:
    """Bytes that a clip takes.

    parts     part -> its weights
    blocks    part -> its largest block, for parts that are stacks of blocks
    working   part -> what is alive beside the weights while it runs
    tiled     the same for the autoencoder's decoder if it works in tiles; None where it cannot
    clip      the clip itself, as the pipeline makes pictures of it and as it is given out
    """

    parts: Mapping[str, int]
    blocks: Mapping[str, int]
    working: Mapping[str, int]
    tiled: int | None
    clip: int

    @property
    def weights(self) -> int:
        """All weights."""
        return sum(self.parts.values())

    @property
    def sampling(self) -> int:
        """What is alive beside the weights until the last step is done."""
        return max((size for part, size in self.working.items() if part != "vae"), default=0)

    @property
    def decoding(self) -> int:
        """What is alive beside the weights while latents become pixels."""
        return max(self.working.get("vae", 0), self.clip)

    def takes(self, placement: Placement) -> int:
        """What it takes of the device where the parts are placed so."""
        decoding = self.decoding if self.tiled is None or not placement.tiled else max(self.tiled, self.clip)
        working = {**self.working, "vae": decoding}
        if placement in (Placement.TOGETHER, Placement.TILED):
            return self.weights + max(working.values())
        at_once = dict(self.parts)
        if placement is Placement.BLOCKS:
            # One block computes while the next is on its way.
            at_once |= {part: min(self.parts[part], 2 * size) for part, size in self.blocks.items() if size}
        return max(size + working.get(part, 0) for part, size in at_once.items())

    def placement(self, free: int) -> Placement:
        """The fastest that fits into `free` bytes, a tenth of which is left to allocators; else the smallest."""
        fitting = (one for one in Placement if self.takes(one) <= 0.9 * free)
        return next(fitting, Placement.BLOCKS)
