"""Streams of a model by every engine, in turn and pipelined: frames a second, first frame, memory, in one run.

    python benchmarks/streaming.py [--model FOLDER] [--seconds 10] [--sizes 128 256] [--engines torch openvino-bf16]

One stream after the other, each alone. Beside what the clock on the wall says stands what the processors spent: on a
busy machine that says what an idle one could do.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import torch
from measuring import machine, report
from rich.table import Table

import muybridge
from muybridge.engines.kinds import TORCH, make, of_a_stream, present
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation import prompt_and_facts

REQUESTS = 16
"""Streams that are begun for the first frame: of as many held-out prompts, each with a seed of its own."""

PROMPT = "a small red ball rolls behind a tall blue box"
NOTES = (
    "frames/s: by the clock on the wall, once the window is full; times: those of PyTorch in turn, same size",
    "where frames look ahead they come a window at a time: --seconds has to be that of several",
    "ms of a frame: of all processors, watermark and MP4 not included; 1000 / ms: what one idle core holds in turn",
    f"first frame, ms: from the request to its pixels, nothing to compile: median and slowest of {REQUESTS} prompts",
    "MiB: of the process, when the stream's window was full and when its seconds were over",
    "pipelined: the transformer in a thread, the decoder in another, as many processors each as --threads says",
)


@dataclass(frozen=True)
class Found:
    """What was measured of one stream; first frames in seconds by the wall."""

    size: int
    engine: str
    pipelined: bool
    frames_a_second: float
    processor_seconds_a_frame: float
    first_frame_seconds: float
    slowest_first_frame_seconds: float
    mebibytes_before: float
    mebibytes_after: float


def measured(model: muybridge.Model, engine: str, size: int, pipelined: bool, seconds: float) -> Found:
    """So many seconds of a stream whose window is full, and the first frames of some."""
    condition = muybridge.Condition(PROMPT, height=size, width=size)
    _first_frame(model, condition, 0, pipelined)  # compiles
    prompts = [prompt_and_facts(HELD_OUT + number)[0] for number in range(REQUESTS)]
    first = [_first_frame(model, replace(condition, prompt=one), i, pipelined) for i, one in enumerate(prompts)]
    with closing(model.stream(condition, 0, pipelined=pipelined)) as stream:
        for _ in range(model.transformer.config.window + 1):
            next(stream)
        before, frames, began = resident(), 0, (time.perf_counter(), time.process_time())
        while time.perf_counter() - began[0] < seconds:
            frames += len(next(stream))
        taken, spent = time.perf_counter() - began[0], time.process_time() - began[1]
        after = resident()
    return Found(
        size, engine, pipelined, frames / taken, spent / frames, statistics.median(first), max(first), before, after
    )


def _first_frame(model: muybridge.Model, condition: muybridge.Condition, seed: int, pipelined: bool) -> float:
    """Seconds from the request to the pixels."""
    began = time.perf_counter()
    with closing(model.stream(condition, seed, pipelined=pipelined)) as stream:
        next(stream)
        return time.perf_counter() - began


def resident() -> float:
    """Mebibytes of this process that lie in memory; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano-fast", help="a bundled name or a folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--engines", nargs="+", default=[TORCH, *present()])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each stream, in all")
    parser.add_argument("--threads", type=int, default=1, help="of each stage")
    parser.add_argument("--folder", type=Path, help="where engines' graphs are kept; by default where they always are")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    found = []
    for engine in options.engines:
        model = muybridge.load(options.model, device="cpu")
        if engine != TORCH:
            model.engine = make(model, engine, options.folder, options.threads, of_a_stream(model))
        for size, pipelined in product(options.sizes, (False, True)):
            found.append(measured(model, engine, size, pipelined, options.seconds))
            print(f"{found[-1]}", file=sys.stderr, flush=True)
    plain = {one.size: one.frames_a_second for one in found if one.engine == TORCH and not one.pipelined}
    names = ("size", "by", "how", "frames/s", "times", "ms of a frame", "first frame, ms", "MiB")
    table = Table(*names)
    for one in sorted(found, key=lambda one: one.size):
        table.add_row(
            f"{one.size}x{one.size}",
            one.engine,
            "pipelined" if one.pipelined else "in turn",
            f"{one.frames_a_second:.1f}",
            f"{one.frames_a_second / plain[one.size]:.2f}" if one.size in plain else "",
            f"{1e3 * one.processor_seconds_a_frame:.2f}",
            f"{1e3 * one.first_frame_seconds:.0f}, {1e3 * one.slowest_first_frame_seconds:.0f}",
            f"{one.mebibytes_before:.0f} … {one.mebibytes_after:.0f}",
        )
    figures = {"machine": machine(), "seconds": options.seconds, "streams": [asdict(one) for one in found]}
    report(table, NOTES, figures, options.json)


if __name__ == "__main__":
    main()
