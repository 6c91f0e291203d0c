"""A suite whose tasks take milliseconds, and which is a suite in every respect: clips of 9 frames of 48x32."""

from __future__ import annotations

from dataclasses import dataclass

from muybridge.evaluation.pictures import psnr
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Frames, Split, Task, Times, Verdict
from muybridge.simulation import simulate

NEAR = 30.0
"""dB from the truth, over the made frames, that pass."""


@dataclass(frozen=True)
class Tiny:
    """A clip passes if it looks like the truth."""

    name: str = "tiny"
    splits: tuple[Split, ...] = ("in distribution", "count")

    def task(self, split: Split, number: int) -> Task:
        seed = HELD_OUT + 900_000_000 + number + 1000 * self.splits.index(split)
        clip = simulate(seed, 9, 32, 48)
        name = f"tiny-{split.replace(' ', '-')}-{number:04d}"
        return Task(name, seed, split, clip.captions[-1], 5, clip, {"odd": str(number % 2 == 1)})

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        near = psnr(frames[task.known :], task.truth.rgb[task.known :])
        why = "" if near >= NEAR else f"it is {near:.1f} dB from the truth"
        return Verdict(float(near >= NEAR), why, {"distance, dB": near})
