"""Several sources in turns: what a training learns from need not be of one kind."""

from __future__ import annotations

from collections.abc import Sequence

from muybridge.data.source import Source
from muybridge.types import Batch


class InTurns:
    """The batches of several sources, one source after the other, round and round. A source may come more than once."""

    def __init__(self, sources: Sequence[Source]) -> None:
        assert sources, "no sources"
        self.sources = tuple(sources)

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        """Every source counts its own steps, so one that comes twice a round goes on where it was."""
        rounds, place = divmod(step, len(self.sources))
        source = self.sources[place]
        return source.batch(rounds * self.sources.count(source) + self.sources[:place].count(source), rank, world)
