"""How long a model takes for a clip, stage by stage, how much memory and arithmetic, and how well it uses the machine.

The model is handed in as its parts, so that this works for any; the stages are the text, every step of the sampler,
decoding, and writing the file.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from muybridge.evaluation.resources import counted, forget_peak, matmul_peak, peak_mebibytes

Frames = UInt8[np.ndarray, "t h w 3"]
Said = TypeVar("Said")
Made = TypeVar("Made")
Found = TypeVar("Found")


@dataclass(frozen=True)
class Parts(Generic[Said, Made]):
    """A model in the order in which it works.

    text    reads the words
    steps   samples: yields once a step, the last time what is to be decoded (before that, anything)
    decode  makes pixels of it
    write   makes a file of them
    first   makes pixels of the first frame alone, as soon as sampling is done; None: they come with all others
    """

    text: Callable[[], Said]
    steps: Callable[[Said], Iterator[Made]]
    decode: Callable[[Made], Frames]
    write: Callable[[Frames], None]
    first: Callable[[Made], Frames] | None = None


@dataclass(frozen=True)
class Stage:
    """One stage of a clip; None where nothing can be said.

    name             "text", "step 1" and so on, "decode", "write"
    seconds          median of the rounds
    flops            floating-point operations of matrix products, convolutions and attention; a multiplication and an
                     addition are two
    share_of_peak    flops per second, of what the machine's matrix product reaches
    peak_mebibytes   most memory that was held in the stage, the process and the model included
    """

    name: str
    seconds: float
    flops: int | None
    share_of_peak: float | None
    peak_mebibytes: float


@dataclass(frozen=True)
class Speed:
    """What a clip costs. Medians of the rounds; a first round, in which caches are filled, does not count.

    real_time_factor         seconds of work per second of clip: under 1 is faster than it plays
    seconds_to_first_frame   from the words to the first frame's pixels
    matmul_peak              floating-point operations a second of a square matrix product on this machine
    memory_by_stage          whether peaks are each stage's own; if not, they are the process's since its start
    """

    stages: tuple[Stage, ...]
    frames: int
    fps: float
    rounds: int
    seconds_per_clip: float
    frames_per_second: float
    real_time_factor: float
    seconds_to_first_frame: float
    peak_mebibytes: float
    memory_by_stage: bool
    flops: int
    share_of_peak: float
    matmul_peak: float
    machine: dict[str, Any]

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, texts and lists, ready for `json.dumps`."""
        return asdict(self) | {"stages": [asdict(stage) for stage in self.stages]}


def measure_speed(
    parts: Parts[Said, Made],
    fps: float,
    *,
    rounds: int = 3,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    counted_in: Parts[Said, Made] | None = None,
    watch: Callable[[int], None] | None = None,
) -> Speed:
    """Make the same clip `rounds` times and twice more: once before, to warm up, once after, to count operations.

    fps    frames a second at which the clip plays
    dtype  of the model's matrix products, which the machine's peak is measured with
    counted_in  the same model in PyTorch, where its operations can be counted; None: the parts are in PyTorch
    watch       is told after each clip how many are made

    ValueError if `rounds` or `fps` is not positive, or `steps` yields nothing.
    """
    if rounds < 1 or not 0 < fps < float("inf"):
        raise ValueError(
            f"{rounds} rounds of a clip of {fps} frames a second cannot be measured: give positive numbers"
        )
    where = torch.device(device)
    about = machine(where)
    peak = matmul_peak(dtype, where)
    runs = []
    for made in range(1, rounds + 2):
        runs.append(_run(parts, where))
        if watch is not None:
            watch(made)
    flops = _operations(counted_in or parts, where)
    if watch is not None:
        watch(rounds + 2)
    peak = max(peak, matmul_peak(dtype, where))  # before and after: what the machine did at its best
    return _summary(runs[1:], flops, peak, fps, about)


def _summary(runs: list[_Run], flops: dict[str, int], peak: float, fps: float, about: dict[str, Any]) -> Speed:
    stages = tuple(_stage(name, runs, flops.get(name), peak) for name in runs[0].seconds)
    clip = statistics.median(sum(run.seconds.values()) for run in runs)
    frames, total = runs[0].frames, sum(flops.values())
    return Speed(
        stages=stages,
        frames=frames,
        fps=fps,
        rounds=len(runs),
        seconds_per_clip=clip,
        frames_per_second=frames / clip,
        real_time_factor=clip * fps / frames,
        seconds_to_first_frame=statistics.median(run.first for run in runs),
        peak_mebibytes=max(stage.peak_mebibytes for stage in stages),
        memory_by_stage=runs[0].memory_by_stage,
        flops=total,
        share_of_peak=total / clip / peak,
        matmul_peak=peak,
        machine=about,
    )


def _stage(name: str, runs: list[_Run], flops: int | None, peak: float) -> Stage:
    seconds = statistics.median(run.seconds[name] for run in runs)
    share = None if flops is None else flops / seconds / peak
    return Stage(name, seconds, flops, share, max(run.mebibytes[name] for run in runs))


def machine(device: torch.device) -> dict[str, Any]:
    """What figures depend on beside the code."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    load = [round(one, 2) for one in os.getloadavg()] if hasattr(os, "getloadavg") else []
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "load": load,
    }


@dataclass(frozen=True)
class _Run:
    """One clip: seconds and memory of each stage, and seconds until its first frame was there."""

    seconds: dict[str, float]
    mebibytes: dict[str, float]
    first: float
    frames: int
    memory_by_stage: bool


class _Watch:
    """Takes the time and memory of calls."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.by_stage = device, True
        self.seconds: dict[str, float] = {}
        self.mebibytes: dict[str, float] = {}

    def time(self, name: str, work: Callable[[], Found]) -> Found:
        self.by_stage &= forget_peak(self.device)
        began = time.perf_counter()
        found = work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = time.perf_counter() - began
        self.mebibytes[name] = peak_mebibytes(self.device)
        return found


def _run(parts: Parts[Said, Made], device: torch.device) -> _Run:
    watch = _Watch(device)
    said = watch.time("text", parts.text)
    made = _last(watch.time, parts.steps(said), watch.seconds, watch.mebibytes)
    sampled = sum(watch.seconds.values())
    frames = watch.time("decode", lambda: parts.decode(made))
    first = _seconds(parts.first, made, device) if parts.first else watch.seconds["decode"]
    watch.time("write", lambda: parts.write(frames))
    return _Run(watch.seconds, watch.mebibytes, sampled + first, len(frames), watch.by_stage)


def _seconds(work: Callable[[Made], object], made: Made, device: torch.device) -> float:
    watch = _Watch(device)
    watch.time("", lambda: work(made))
    return watch.seconds[""]


def _operations(parts: Parts[Said, Made], device: torch.device) -> dict[str, int]:
    """Operations of each stage of another clip, the writing apart."""
    flops: dict[str, int] = {}

    def count(name: str, work: Callable[[], Found]) -> Found:
        found, flops[name] = counted(work)
        return found

    said = count("text", parts.text)
    made = _last(count, parts.steps(said), flops)
    count("decode", lambda: parts.decode(made))
    return flops


def _last(call: Callable[[str, Callable[[], Any]], Any], steps: Iterator[Made], *records: dict[str, Any]) -> Made:
    """Goes through the steps, each of which is called by name; what is yielded last.

    The call that finds no more steps is taken out of the records.
    """
    end, number = object(), 1
    made: Made | None = None
    while (found := call(f"step {number}", lambda: next(steps, end))) is not end:
        made, number = found, number + 1
    for record in records:
        del record[f"step {number}"]
    if made is None:
        raise ValueError("the sampler's last step gave nothing to decode, or there was no step: look at Parts.steps")
    return made
