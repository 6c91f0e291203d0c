"""A step and a decode of the bundled model by every engine, against diffusers' LTX and Wan of equal size, in one run.

    python benchmarks/engines.py [--threads 1] [--rounds 7] [--compile] [--json PATH]

What counts is the least of several runs: what else the machine does can only add to it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import Work, machine, report, take_turns
from rich.table import Table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from train_step import FULL, NETWORKS

import muybridge
from muybridge.engines.choice import sizes_of
from muybridge.engines.engine import Engine
from muybridge.engines.kinds import eager, make, present

PRECISIONS = {"f32": torch.float32, "bf16": torch.bfloat16}
PRODUCTS = PRECISIONS | {"int8": torch.int8}
NOTES = (
    "ms: the least of all rounds, of one thread the processor's time, of several the clock's; one clip of the size"
    " that the model learnt from, a batch of one, one evaluation",
    "share: of PyTorch's matrix product (2048 x 2048 x 2048) of the same precision, in the same run",
    "LTX, Wan: as in train_step.py, as many parameters that meet video tokens; under bf16 autocast and in float32",
)


def step_of(engine: Engine, inputs: Mapping[str, tuple[Tensor, ...]], part: str) -> Work:
    return lambda: engine.functions[part](inputs[part])


def theirs(name: str, dtype: torch.dtype, compiled: bool) -> Work:
    """A step of diffusers' network, with weights that were drawn."""
    task = replace(FULL["video"], batch=1)
    network: nn.Module = NETWORKS[name](task).eval().requires_grad_(False)
    if compiled:
        network.compile()
    latent, level = torch.randn(task.latent), torch.rand(1)
    text = torch.randn(1, task.words, task.config.text_width)

    @torch.inference_mode()
    def step() -> None:
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            network(latent, level, text)

    return step


def product(dtype: torch.dtype, side: int = 2048) -> Work:
    if dtype == torch.int8:
        whole = torch.randint(-128, 128, (side, side), dtype=dtype)
        return lambda: torch._int_mm(whole, whole)
    a, b = (torch.randn(side, side, dtype=dtype) for _ in range(2))
    return lambda: a @ b


def operations(work: Work) -> int:
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compile", action="store_true", help="also with torch.compile (minutes more)")
    parser.add_argument("--no-diffusers", action="store_true", help="ours alone")
    parser.add_argument("--folder", type=Path, help="where engines' graphs are kept; by default where they always are")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.simplefilter("ignore")
    model = muybridge.load(options.model, device="cpu")
    native = {f"torch-{name}": eager(model, dtype) for name, dtype in PRECISIONS.items()}
    engines = native | {kind: make(model, kind, options.folder, options.threads) for kind in present()}
    exact = native["torch-f32"]
    inputs = {name: part.example(sizes_of(model)) for name, part in exact.parts.items()}

    works: dict[str, Work] = {f"product, {name}": product(dtype) for name, dtype in PRODUCTS.items()}
    flops = {}
    for part in inputs:
        works |= {f"{part}, {name}": step_of(engine, inputs, part) for name, engine in engines.items()}
        flops[part] = operations(works[f"{part}, torch-f32"])
    if not options.no_diffusers:
        for name in ("LTX", "Wan"):
            for how, dtype in PRECISIONS.items():
                works[f"{name}, torch-{how}"] = theirs(name, dtype, compiled=False)
                if options.compile:
                    works[f"{name}, compiled-{how}"] = theirs(name, dtype, compiled=True)
    clock = time.process_time if options.threads == 1 else time.perf_counter
    seconds = take_turns(works, options.rounds, warm_up=1, clock=clock)
    least = {name: min(values) for name, values in seconds.items()}
    peaks = {name: 2 * 2048**3 / least[f"product, {name}"] for name in PRODUCTS}

    table = Table("what", "by", "ms, least", "times our fastest", "share of the fastest product")
    best = {part: min((w for w in works if w.startswith(part)), key=least.__getitem__) for part in inputs}
    for work, value in least.items():
        what, by = work.split(", ")
        to = best.get("transformer" if what in ("LTX", "Wan") else what)
        share = f"{flops[what] / value / peaks[by.rpartition('-')[-1]]:.0%}" if what in flops else ""
        table.add_row(what, by, f"{1e3 * value:.1f}", f"{value / least[to]:.2f}" if to else "", share)
    found: dict[str, Any] = {
        "machine": machine(),
        "seconds": seconds,
        "least": least,
        "flops": flops,
        "peaks": peaks,
        "fastest": best,
    }
    report(table, NOTES, found, options.json)


if __name__ == "__main__":
    main()
