"""The order in which a finite collection is visited: every epoch a new permutation, every batch from one group.

Clips of a batch have to be of one shape, so a collection is a row of groups (one a shape). Nothing is remembered
between steps: the place in the order follows from the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Int64


@lru_cache(maxsize=64)
def _permutation(count: int, *key: int) -> Int64[np.ndarray, " count"]:
    order = np.random.default_rng(key).permutation(count).astype(np.int64)
    order.flags.writeable = False  # the cache hands the same array to every caller
    return order


@dataclass(frozen=True)
class Epochs:
    """Batches of `batch` members out of groups of `sizes` members.

    A member is met once an epoch at the most; what does not fill a batch waits for another epoch's permutation. A group
    smaller than a batch fills it by coming round again.
    """

    sizes: tuple[int, ...]
    batch: int
    seed: int

    def __post_init__(self) -> None:
        assert self.batch >= 1, self.batch
        assert self.sizes, "no groups"
        assert min(self.sizes) >= 1, self.sizes

    @property
    def batches(self) -> int:
        """Steps in an epoch."""
        return sum(self._batches())

    def at(self, step: int) -> tuple[int, Int64[np.ndarray, " batch"]]:
        """The group of the batch at `step`, and which of its members."""
        epoch, place = divmod(step, self.batches)
        ends = np.cumsum(self._batches())
        turn = int(_permutation(self.batches, self.seed, epoch, 0)[place])
        group = int(np.searchsorted(ends, turn, side="right"))
        first = (turn - int(ends[group] - self._batches()[group])) * self.batch
        members = _permutation(self.sizes[group], self.seed, epoch, 1 + group)
        return group, np.resize(members, max(len(members), self.batch))[first : first + self.batch]

    def _batches(self) -> list[int]:
        return [max(1, size // self.batch) for size in self.sizes]
