"""What others have published of phyworld, and a bench's own figures beside it.

Source: Kang et al. 2024 (2411.02385), text and project page; of parabola and collision the paper shows its models'
errors in a plot without numbers. What it calls out of distribution, speed and radius at once, is our split
"combination".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from muybridge.evaluation.phyworld import PUBLISHED, VELOCITY
from muybridge.evaluation.report import Report
from muybridge.evaluation.running import TRUTH, Result
from muybridge.evaluation.statistics import Mean, mean
from muybridge.simulation.balls import LAWS, Law


@dataclass(frozen=True)
class Figure:
    """A published velocity error, units/second: the model's name, its millions of parameters, its training clips."""

    model: str
    millions: float
    clips: str
    law: Law
    split: str
    error: float

    def __str__(self) -> str:
        return f"{self.error:.3f} {self.model}, {self.millions:g} M, {self.clips} clips"


FIGURES = (
    Figure("DiT-S", 22.5, "30K", "uniform", "in distribution", 0.022),
    Figure("DiT-L", 310, "3M", "uniform", "in distribution", 0.012),
    Figure("DiT-B", 89.5, "30K", "uniform", "combination", 0.433),
    Figure("DiT-B", 89.5, "300K", "uniform", "combination", 0.328),
    Figure("DiT-L", 310, "3M", "uniform", "combination", 0.427),
)


@dataclass(frozen=True)
class Line:
    """The velocity error in one law and split, units/second.

    own, floor  of the contestant that the report is about, and of the truth; None where no clip could be measured
    missing     clips of the contestant that could not be measured
    published   the paper's floor, its parse of its own videos: in distribution only
    """

    law: Law
    split: str
    own: Mean | None
    floor: Mean | None
    missing: int
    published: float | None
    others: tuple[Figure, ...]


def beside_the_paper(report: Report) -> tuple[Line, ...]:
    """A line for each law and split of phyworld that a report has; none if it has no phyworld."""
    results = [result for result in report.results if result.suite == "phyworld"]
    splits = dict.fromkeys(result.split for result in results)
    return tuple(
        _line(report.contestant, law, split, here)
        for split in splits
        for law in LAWS
        if (here := [r for r in results if r.split == split and r.groups["law"] == law])
    )


def _line(name: str, law: Law, split: str, results: Sequence[Result]) -> Line:
    own = [result for result in results if result.contestant == name]
    found = _error(own)
    published = PUBLISHED[law] if split == "in distribution" else None
    others = tuple(figure for figure in FIGURES if (figure.law, figure.split) == (law, split))
    floor = _error([result for result in results if result.contestant == TRUTH])
    return Line(law, split, found, floor, len(own) - (found.n if found else 0), published, others)


def _error(results: Sequence[Result]) -> Mean | None:
    values = [result.errors[VELOCITY] for result in results if VELOCITY in result.errors]
    return mean(values) if values else None


HEAD = ("velocity error, units/s", "clips", "this model", "truth", "the paper's floor", "the paper's models")


def cells(line: Line) -> tuple[str, ...]:
    """A line as texts, for the columns of `HEAD`."""
    count = (line.own.n if line.own else 0) + line.missing
    unread = f", {line.missing} not measured" if line.missing else ""
    interval = f" ({line.own.low:.4f} to {line.own.high:.4f})" if line.own and line.own.n > 1 else ""
    own, floor = ("" if value is None else f"{value.value:.4f}" for value in (line.own, line.floor))
    published = "" if line.published is None else f"{line.published:.4f}"
    others = "; ".join(str(figure) for figure in line.others)
    return (f"{line.law}, {line.split}", f"{count}{unread}", own + interval, floor, published, others)
