"""Numbers with their uncertainty, as dataclasses that become JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

HELD_OUT = 2**40
"""First of the seeds that nothing is ever trained on."""
_RESAMPLES = 2000


@dataclass(frozen=True)
class Mean:
    """A mean over `n` clips with its 95 % percentile-bootstrap interval (Efron 1979; clips are resampled).

    A share is a mean of 0s and 1s. The interval has no width where all clips agree: read it as "within about 3 / n".
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n = {self.n})"


def mean(values: Sequence[float] | Sequence[bool]) -> Mean:
    """Mean and interval of one number a clip. The same numbers give the same interval. ValueError if there are none."""
    if len(values) == 0:
        raise ValueError("a mean needs one clip at least: give clips to evaluate")
    numbers = np.asarray(values, np.float64)
    picks = np.random.default_rng(0).integers(len(numbers), size=(_RESAMPLES, len(numbers)))
    low, high = np.quantile(numbers[picks].mean(axis=1), (0.025, 0.975))
    return Mean(float(numbers.mean()), float(low), float(high), len(numbers))


def means(groups: dict[str, list[bool]]) -> dict[str, Mean]:
    """One mean a group, in the order of the names."""
    return {name: mean(values) for name, values in sorted(groups.items())}


def to_json(report: Any) -> str:
    """A report (a dataclass of dataclasses, numbers and texts) as JSON."""
    return json.dumps(dataclasses.asdict(report), indent=2)
