"""How the benchmarks measure: contenders take turns in one process, and what is compared is measured in one run.

A B C A B C …: what else the machine does meets all alike, so ratios, taken round by round, are steadier than seconds.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

Work = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and best of `count` measurements."""

    median: float
    low: float
    high: float
    best: float
    count: int

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        low, median, high = (
            statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [values[0]] * 3
        )
        return Spread(median, low, high, min(values), len(values))

    def text(self, digits: int = 3) -> str:
        """The median and, where there is more than one measurement, the quartiles."""
        quartiles = f"  ({self.low:.{digits}f} … {self.high:.{digits}f})" if self.count > 1 else "  (once)"
        return f"{self.median:.{digits}f}{quartiles}"


def seconds_of(work: Work, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of one call, by the clock on the wall or by another."""
    began = clock()
    work()
    return clock() - began


def take_turns(
    contenders: Mapping[str, Work],
    rounds: int,
    warm_up: int = 2,
    patience: float = 60.0,
    clock: Callable[[], float] = time.perf_counter,
) -> Seconds:
    """Seconds of every contender in every round, after `warm_up` calls each.

    A contender whose first call takes longer than `patience` seconds is not called again: that call is its figure.
    """
    seconds: Seconds = {}
    for name, work in contenders.items():
        first = seconds_of(work, clock)
        seconds[name] = [first] if first > patience else []
        print(f"{name}: first call {first:.2f} s", file=sys.stderr, flush=True)
        for _ in range(warm_up - 1 if first <= patience else 0):
            work()
    patient = [name for name in contenders if not seconds[name]]
    for _ in range(rounds):
        for name in patient:
            seconds[name].append(seconds_of(contenders[name], clock))
    return seconds


Seconds = dict[str, list[float]]


def ratio(seconds: Seconds, name: str, to: str) -> Spread:
    """How many times as long as `to` the contender `name` takes, round by round."""
    pairs = zip(seconds[name], seconds[to], strict=False)  # one of them may have been measured once only
    return Spread.of([one / other for one, other in pairs])


def fastest(seconds: Seconds, names: Sequence[str]) -> str:
    """The contender with the least median."""
    return min(names, key=lambda name: statistics.median(seconds[name]))


def machine() -> dict[str, Any]:
    """What figures depend on, beside the code."""
    able = torch.cpu.get_capabilities()
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "arithmetic": [
            name for name in ("avx2", "avx512_f", "avx512_bf16", "avx512_vnni", "amx_bf16") if able.get(name)
        ],
        "torch": torch.__version__,
        "python": platform.python_version(),
        "load_before": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def everything_drawn(module: nn.Module) -> None:
    """Draws the matrices that training starts at zero, so that no arithmetic is with zeros."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1 and not parameter.any():
                parameter.normal_(std=0.02)


def report(table: Table, notes: Sequence[str], found: Mapping[str, Any], path: Path | None) -> None:
    """Prints the machine, the table and the notes; writes all figures to `path`."""
    console = Console(width=max(120, Console().width), highlight=False)
    for name, value in found["machine"].items():
        console.print(f"{name:12} {', '.join(map(str, value)) if isinstance(value, list) else value}")
    console.print(table)
    for note in notes:
        console.print(note, soft_wrap=True)
    if path is not None:
        path.write_text(json.dumps(found, indent=2, default=_plain) + "\n", encoding="utf-8")


def _plain(value: object) -> object:
    return asdict(value) if isinstance(value, Spread) else str(value)
