"""Streams of a causal model by every engine, in turn and pipelined: frames a second, first frame, memory, in one run.

    python benchmarks/streaming.py --model FOLDER [--seconds 10] [--sizes 128 256] [--engines torch openvino-bf16]

Each stream gets its seconds in several turns, the others between them. Beside what the clock on the wall says stands
what the processors spent: on a busy machine that says what an idle one could do.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from measuring import machine, report
from rich.table import Table

import muybridge
from muybridge.engines.kinds import STREAM, TORCH, make, present
from muybridge.generate import Stream

PROMPT = "a small red ball rolls behind a tall blue box"
NOTES = (
    "frames/s: over all turns, by the clock on the wall; times: those of PyTorch in turn, same size",
    "ms of a frame: of all processors, watermark and MP4 not included; 1000 / ms: what one idle core holds in turn",
    "first frame: least of several, from the request (words read, nothing to compile any more) to its pixels",
    "pipelined: the transformer in a thread, the decoder in another, one processor each",
)


@dataclass
class Contender:
    """A stream that is running, and what was measured of it."""

    stream: Stream
    first: list[float]
    frames: int = 0
    seconds: float = 0.0
    processors: float = 0.0
    rates: list[float] = field(default_factory=list)

    def turn(self, seconds: float) -> None:
        """So many seconds of it, after one step that nobody counts."""
        next(self.stream)
        frames, began, spent = 0, time.perf_counter(), time.process_time()
        while time.perf_counter() - began < seconds:
            frames += len(next(self.stream))
        taken = time.perf_counter() - began
        self.processors += time.process_time() - spent
        self.frames, self.seconds = self.frames + frames, self.seconds + taken
        self.rates.append(frames / taken)


def begun(model: muybridge.Model, size: int, pipelined: bool, requests: int = 3) -> Contender:
    """A stream whose window is full, and how long the first frames of some took."""
    first = []
    for _ in range(requests + 1):  # the first of them compiles
        began = time.perf_counter()
        stream = model.stream(muybridge.Condition(PROMPT, height=size, width=size), 0, pipelined=pipelined)
        next(stream)
        first.append(time.perf_counter() - began)
        stream.close()
    stream = model.stream(muybridge.Condition(PROMPT, height=size, width=size), 0, pipelined=pipelined)
    for _ in range(model.transformer.config.window + 1):
        next(stream)
    return Contender(stream, first[1:])


def resident() -> float:
    """Mebibytes of this process that lie in memory; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano-stream", help="a causal model: a bundled name or a folder")
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 256])
    parser.add_argument("--engines", nargs="+", default=[TORCH, *present()])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each stream, in all")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of each stage")
    parser.add_argument("--folder", type=Path, help="where engines' graphs are kept; by default where they always are")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    running: dict[tuple[int, str, bool], Contender] = {}
    for engine in options.engines:
        model = muybridge.load(options.model, device="cpu")
        if engine != TORCH:
            model.engine = make(model, engine, options.folder, options.threads, STREAM)
        for size in options.sizes:
            for pipelined in (False, True):
                running[size, engine, pipelined] = begun(model, size, pipelined)
    memory = []
    for _ in range(options.turns):
        for contender in running.values():
            contender.turn(options.seconds / options.turns)
        memory.append(resident())
    for contender in running.values():
        contender.stream.close()

    table = Table("size", "by", "how", "frames/s", "times", "ms of a frame", "first frame, ms")
    found: dict[str, Any] = {"machine": machine(), "memory_mebibytes": memory, "streams": []}
    for (size, engine, pipelined), one in sorted(running.items()):
        rate, plain = one.frames / one.seconds, running.get((size, TORCH, False))
        times = rate / (plain.frames / plain.seconds) if plain else None
        how = "pipelined" if pipelined else "in turn"
        spent = one.processors / one.frames
        table.add_row(
            f"{size}x{size}",
            engine,
            how,
            f"{rate:.1f}  ({min(one.rates):.1f} … {max(one.rates):.1f})",
            f"{times:.2f}" if times else "",
            f"{1e3 * spent:.2f}",
            f"{1e3 * min(one.first):.0f}",
        )
        found["streams"].append(
            {
                "size": size,
                "engine": engine,
                "pipelined": pipelined,
                "frames_a_second": rate,
                "rates": one.rates,
                "times_torch_in_turn": times,
                "processor_seconds_a_frame": spent,
                "first_frame_seconds": one.first,
            }
        )
    head = f"memory of the whole run, MiB: {memory[0]:.0f} after the first turns, {memory[-1]:.0f} after the last"
    report(table, (head, *NOTES), found, options.json)


if __name__ == "__main__":
    main()
