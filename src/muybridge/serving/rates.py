"""Requests a minute, in one number a key: the generic cell rate algorithm (ITU-T I.371, a leaky bucket).

Each request moves the time at which a key's allowance is whole again by 60 s / rate; a request that would move it more
than a minute ahead is one too many. No thread, no clean-up: what is in the past says nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Rates:
    """Counted in this process: N of them allow N times as much."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._whole_at: dict[str, float] = {}

    def wait(self, name: str, per_minute: int) -> float:
        """Counts a request: 0.0 if it is within the rate, else (and then it does not count) seconds until one is."""
        at, step = self._clock(), 60.0 / per_minute
        whole_at = max(at, self._whole_at.get(name, at)) + step
        if whole_at - at > 60.0 + 1e-6:
            return whole_at - at - 60.0
        self._whole_at[name] = whole_at
        return 0.0
