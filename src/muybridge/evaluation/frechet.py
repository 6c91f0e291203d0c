"""How far one set of clips is from another in a space of features: the Fréchet distance, and the inception score.

FID, FVD and their like are one formula over different features (`features.py`). It says how a set looks as a whole, and
nothing about a clip: compare figures of equal numbers of clips only, since few clips look farther apart than many do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from muybridge.evaluation.features import Features
from muybridge.evaluation.metric import Direction, Need, Sample
from muybridge.evaluation.statistics import Mean

Rows: TypeAlias = Float[np.ndarray, "n d"]

_GROUPS = 20


def frechet_distance(made: Rows, real: Rows) -> float:
    """Squared Fréchet distance of two normal distributions with the rows' means and covariances.

    Heusel et al. 2017 (arXiv:1706.08500), eq. 6: |μ1 - μ2|² + tr(C1 + C2 - 2 (C1 C2)^½). With C = AᵀA / (n - 1) of
    centred rows A, the trace of the root is the sum of the singular values of A1 A2ᵀ / √((n1 - 1)(n2 - 1)): no root of
    an ill-conditioned matrix is taken. ValueError for fewer than two rows, other widths, numbers that are not finite.
    """
    _check(made, real)
    a, b = (_scatter(rows) for rows in (made, real))
    roots = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    apart = made.mean(axis=0, dtype=np.float64) - real.mean(axis=0, dtype=np.float64)
    return max(0.0, float(apart @ apart + (a * a).sum() + (b * b).sum() - 2 * roots))


def inception_score(probabilities: Rows) -> float:
    """exp(mean KL(p(y|x) ‖ p(y))), from 1 to the number of classes: Salimans et al. 2016 (arXiv:1606.03498), section 4.

    High where each clip is clearly of one class and all classes occur. Rows are probabilities; ValueError if not.
    """
    rows = np.asarray(probabilities, np.float64)
    if len(rows) == 0 or (rows < 0).any() or not np.allclose(rows.sum(axis=1), 1, atol=1e-3):
        raise ValueError(
            "an inception score needs rows of probabilities, one at least: put the logits through a softmax"
        )
    tiny = np.finfo(float).tiny
    divergence = (rows * (np.log(rows.clip(tiny)) - np.log(rows.mean(axis=0).clip(tiny)))).sum(axis=1)
    return float(np.exp(divergence.mean()))


@dataclass
class Frechet:
    """The Metric of the distance between the clips and their references, or between the clips and fixed rows.

    features  what is seen in a clip
    real      rows of a reference set; None: the references of the samples
    """

    name: str
    features: Features
    real: Rows | None = None
    range: tuple[float, float] = (0.0, math.inf)
    direction: Direction = "lower"
    made: list[Rows] = field(default_factory=list)
    references: list[Rows] = field(default_factory=list)

    @property
    def needs(self) -> tuple[Need, ...]:
        return ("reference",) if self.real is None else ()

    def update(self, sample: Sample) -> None:
        if self.real is None:
            if sample.reference is None:
                raise ValueError(f"{self.name} needs the reference of a clip, or a reference set when it is made")
            self.references.append(self.features(sample.reference))
        self.made.append(self.features(sample.frames))

    def compute(self) -> Mean:
        """The distance of all clips, with the jackknife's interval."""

        def distance(picked: Sequence[int]) -> float:
            real = self.real if self.real is not None else np.concatenate([self.references[i] for i in picked])
            return frechet_distance(np.concatenate([self.made[i] for i in picked]), real)

        return jackknife(distance, len(self.made))


@dataclass
class InceptionScore:
    """The Metric of the inception score; `classes` gives probabilities, a row for each window or frame of a clip."""

    name: str
    classes: Features
    needs: tuple[Need, ...] = ()
    range: tuple[float, float] = (1.0, math.inf)
    direction: Direction = "higher"
    rows: list[Rows] = field(default_factory=list)

    def update(self, sample: Sample) -> None:
        self.rows.append(self.classes(sample.frames))

    def compute(self) -> Mean:
        return jackknife(lambda picked: inception_score(np.concatenate([self.rows[i] for i in picked])), len(self.rows))


def jackknife(statistic: Callable[[Sequence[int]], float], clips: int) -> Mean:
    """A statistic of a set of clips with its 95 % interval by leaving out a group at a time (at most 20 of them).

    Shao and Wu 1989. The bootstrap does not serve here: a clip drawn twice makes a set look narrower than it is.
    ValueError for fewer than 4 clips.
    """
    if clips < 4:
        raise ValueError(f"a distance of sets needs 4 clips at least, and there are {clips}: give more")
    groups = np.array_split(np.random.default_rng(0).permutation(clips), min(_GROUPS, clips))
    without = [statistic(np.setdiff1d(np.arange(clips), group).tolist()) for group in groups]
    spread = math.sqrt((len(groups) - 1) * float(np.var(without)))
    value = statistic(range(clips))
    return Mean(value, value - 1.96 * spread, value + 1.96 * spread, clips)


def _scatter(rows: Rows) -> Float[np.ndarray, "k d"]:
    """A with AᵀA the covariance, no taller than it is wide."""
    centred = np.asarray(rows, np.float64) - rows.mean(axis=0, dtype=np.float64)
    scaled: Float[np.ndarray, "k d"] = centred / math.sqrt(len(rows) - 1)
    return np.asarray(np.linalg.qr(scaled, mode="r")) if len(rows) > rows.shape[1] else scaled


def _check(made: Rows, real: Rows) -> None:
    if min(len(made), len(real)) < 2 or made.shape[1] != real.shape[1]:
        raise ValueError(f"rows of features {made.shape} and {real.shape}: give two at least, of one network")
    if not (np.isfinite(made).all() and np.isfinite(real).all()):
        raise ValueError("there are features that are not finite: look at the clips, or at the network")
