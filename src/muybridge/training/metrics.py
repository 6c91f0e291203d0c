"""Means of what objectives report, over the clips of many steps, pieces and processes."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from muybridge.training.parallel import Group


class Meter:
    """Sums of metrics over clips. They stay on the device until they are read; not every step needs to have all."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[Tensor | float, float]] = {}

    def add(self, metrics: Mapping[str, Tensor | float], clips: float) -> None:
        """Takes in means over so many clips."""
        for name, value in metrics.items():
            value = value.detach().float() if isinstance(value, Tensor) else value
            self._add(name, value * clips, clips)

    def join(self, other: Meter) -> None:
        for name, (total, clips) in other.sums.items():
            self._add(name, total, clips)

    def means(self, group: Group) -> dict[str, float]:
        """Means over the clips of all processes. Collective."""
        found = Meter()
        for sums in group.gathered({name: (float(total), clips) for name, (total, clips) in self.sums.items()}):
            for name, (total, clips) in sums.items():
                found._add(name, total, clips)
        return {name: float(total) / clips for name, (total, clips) in found.sums.items()}

    def _add(self, name: str, total: Tensor | float, clips: float) -> None:
        before, count = self.sums.get(name, (0.0, 0.0))
        self.sums[name] = (before + total, count + clips)
