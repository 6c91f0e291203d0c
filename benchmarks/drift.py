"""What becomes of a stream in the long run: do colours stay, do objects remain what they were, does memory grow?

    python benchmarks/drift.py --model nano-fast --minutes 10 --streams 3 --json drift.json
    python benchmarks/drift.py --model nano-fast --minutes 1 --streams 1          (a first impression)

Streams begin with held-out prompts. Every window of `WINDOW` frames is looked at: its colour (the median of its pixels,
in CIE Lab) against that of the first window, and the objects that are seen in it against those of the first. A sheet of
pictures from each stream lies beside the JSON. What cannot leave the picture cannot be lost, so prompts whose objects
roll away count against the model as those that melt do.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import tyro
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track
from rich.table import Table

import muybridge
from muybridge.evaluation.judge import Judge
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation import prompt_and_facts
from muybridge.storage.stills import contact_sheet

WINDOW = 33
"""Frames that are judged together: as many as a clip has."""

SHOWN = 24
"""Pictures of a sheet."""


@dataclass(frozen=True)
class Options:
    """Streams of so many minutes.

    Args:
        model: A bundled name or a folder.
        minutes: How long each stream plays.
        streams: How many, each with a held-out prompt and seed of its own.
        steps: As in `muybridge generate`; by default the model's own.
        engine: What runs it, as in `muybridge generate`.
        json: Where to write all figures, and a sheet of each stream beside it.
    """

    model: str = "nano-fast"
    minutes: float = 10.0
    streams: int = 3
    steps: int | None = None
    engine: str = "torch"
    json: Path | None = None


@dataclass(frozen=True)
class Run:
    """One stream.

    colour      ΔE (CIE 1976) of each window's median colour against the first window's
    same        of each window, whether its objects are those of the first
    objects     of each window, how many are seen
    frames_s    frames a second
    first       seconds until the first frame was there
    grown       by how much the process's largest memory grew after the first minute, in MiB
    """

    prompt: str
    seed: int
    colour: list[float]
    same: list[bool]
    objects: list[int]
    frames_s: float
    first: float
    grown: float


def main(options: Options) -> None:
    model, judge = muybridge.load(options.model, engine=options.engine), Judge()
    settings = model.settings if options.steps is None else replace(model.settings, steps=options.steps)
    runs = []
    for number in range(options.streams):
        seed = HELD_OUT + number
        prompt = prompt_and_facts(seed)[0]
        fps = float(model.config["trained"]["fps"])
        stream = model.stream(muybridge.Condition(prompt, fps=fps), number, settings)
        windows = max(2, round(options.minutes * 60 * fps / WINDOW))
        run, pictures = watched(stream, windows, judge, prompt, seed, f"stream {number + 1} of {options.streams}")
        runs.append(run)
        if options.json:
            times = [f"{place * WINDOW / fps:.0f} s" for place in shown(windows)]
            contact_sheet(pictures, options.json.with_suffix(f".{number}.png"), captions=times, title=prompt)
    table = Table("stream", "ΔE at the end", "largest ΔE", "same objects", "frames/s", "first frame", "memory grown")
    for run in runs:
        share = f"{np.mean(run.same[1:]):.0%} of windows"
        colours = f"{run.colour[-1]:.1f}", f"{max(run.colour):.1f}"
        table.add_row(
            run.prompt, *colours, share, f"{run.frames_s:.0f}", f"{run.first * 1000:.0f} ms", f"{run.grown:.0f} MiB"
        )
    Console().print(table)
    if options.json:
        found = {
            "model": options.model,
            "hash": model.hash,
            "engine": options.engine,
            "settings": asdict(settings),
            "runs": list(map(asdict, runs)),
        }
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def watched(
    stream: muybridge.generate.Stream, windows: int, judge: Judge, prompt: str, seed: int, name: str
) -> tuple[Run, UInt8[np.ndarray, "n h w 3"]]:
    """What becomes of a stream in so many windows, and pictures of it."""
    began, spent, first, early = time.perf_counter(), 0.0, 0.0, 0.0
    colours, seen, pictures, left = [], [], [], np.empty((0, 1, 1, 3), np.uint8)
    for number in track(range(windows), name, console=Console(stderr=True)):
        began = time.perf_counter()
        parts = [left] if len(left) else []
        while sum(map(len, parts)) < WINDOW:
            parts.extend(islice(stream, 1))
            first = first or time.perf_counter() - began
        spent += time.perf_counter() - began
        frames = np.concatenate(parts)
        frames, left = frames[:WINDOW], frames[WINDOW:]
        colours.append(lab(np.median(frames.reshape(-1, 3), axis=0)))
        seen.append(sorted((one.colour, one.shape) for one in judge.see(frames)))
        if number in shown(windows):
            pictures.append(frames[0])
        if spent < 60:
            early = _largest_memory()
    far = [float(np.linalg.norm(colour - colours[0])) for colour in colours]
    same, objects = [one == seen[0] for one in seen], [len(one) for one in seen]
    grown = _largest_memory() - early
    return Run(prompt, seed, far, same, objects, windows * WINDOW / spent, first, grown), np.stack(pictures)


def lab(srgb: Float[np.ndarray, "3"]) -> Float[np.ndarray, "3"]:
    """CIE Lab (D65) of an sRGB colour from 0 to 255: IEC 61966-2-1, then CIE 15."""
    coded = srgb / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ linear / to_xyz.sum(axis=1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def shown(windows: int) -> list[int]:
    """Which windows are on the sheet."""
    places: Float[np.ndarray, " n"] = np.linspace(0, windows - 1, SHOWN)
    return sorted(set(places.round().astype(int).tolist()))


def _largest_memory() -> float:
    """MiB that this process had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(tyro.cli(Options))
