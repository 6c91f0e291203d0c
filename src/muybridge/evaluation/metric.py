"""The contract of a metric that is fed clip by clip: what it needs, how to read it, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

from muybridge.evaluation.judge import Judge
from muybridge.evaluation.pictures import BEST_PSNR, psnr, ssim
from muybridge.evaluation.statistics import Mean, mean
from muybridge.simulation.captions import Fact

Need: TypeAlias = Literal["reference", "objects", "facts"]
Direction: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Sample:
    """A clip to be measured, and what is known beside it; None where it is not.

    reference  the clip that it should be
    objects    True where the reference shows an object
    facts      what a text asked for
    """

    frames: UInt8[np.ndarray, "t h w 3"]
    reference: UInt8[np.ndarray, "t h w 3"] | None = None
    objects: Bool[np.ndarray, "t h w"] | None = None
    facts: tuple[Fact, ...] | None = None


@runtime_checkable
class Metric(Protocol):
    """Feed it samples with `update`, read it with `compute`, as often as you like.

    needs      fields of a Sample that must be known, besides `frames`; `update` raises ValueError if they are not
    range      least and greatest value of a clip
    direction  whether higher or lower is better
    """

    @property
    def name(self) -> str: ...
    @property
    def needs(self) -> tuple[Need, ...]: ...
    @property
    def range(self) -> tuple[float, float]: ...
    @property
    def direction(self) -> Direction: ...

    def update(self, sample: Sample) -> None: ...

    def compute(self) -> Mean: ...


@dataclass
class ClipMean:
    """The Metric that is the mean of one number a clip; `of` gives that number, NaN where a clip has none."""

    name: str
    needs: tuple[Need, ...]
    of: Callable[[Sample], float]
    range: tuple[float, float]
    direction: Direction = "higher"
    values: list[float] = field(default_factory=list)

    def update(self, sample: Sample) -> None:
        for need in self.needs:
            if getattr(sample, need) is None:
                raise ValueError(f"{self.name} needs the {need} of a clip: put it into the Sample")
        value = self.of(sample)
        if not np.isnan(value):
            self.values.append(value)

    def compute(self) -> Mean:
        return mean(self.values)


def psnr_whole() -> ClipMean:
    """PSNR in dB, all pixels."""
    return ClipMean("psnr", ("reference",), lambda s: psnr(s.frames, _known(s.reference)), (0.0, BEST_PSNR))


def psnr_objects() -> ClipMean:
    """PSNR in dB, pixels of objects alone."""
    return ClipMean(
        "psnr_objects",
        ("reference", "objects"),
        lambda s: psnr(s.frames, _known(s.reference), s.objects),
        (0.0, BEST_PSNR),
    )


def ssim_whole() -> ClipMean:
    """SSIM of the luma."""
    return ClipMean("ssim", ("reference",), lambda s: ssim(s.frames, _known(s.reference)), (-1.0, 1.0))


def objects_right(judge: Judge | None = None) -> ClipMean:
    """1 where every named object is there with its colour and shape, else 0."""
    looker = judge or Judge()
    return ClipMean("objects_right", ("facts",), lambda s: looker.judge(s.frames, s.facts or ()).objects_right, (0, 1))


def count_right(judge: Judge | None = None) -> ClipMean:
    """1 where there are as many objects as the text names, else 0."""
    looker = judge or Judge()
    return ClipMean("count_right", ("facts",), lambda s: looker.judge(s.frames, s.facts or ()).count_right, (0, 1))


def _known(frames: UInt8[np.ndarray, "t h w 3"] | None) -> UInt8[np.ndarray, "t h w 3"]:
    assert frames is not None, "update checks what a metric needs"
    return frames
