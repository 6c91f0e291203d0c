"""A sentence to a clip, as a user waits for it: `muybridge generate` from start to MP4, and where the time goes.

    python benchmarks/generate.py [--model nano] [--rounds 3] [--json PATH]

The command runs in a process of its own, whose wall time and peak memory (resident) are taken; then the same clip is
made once more in this process, stage by stage.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

PROMPT = "a small red ball rolls behind a tall blue box while the camera pans right"
HELP_RUNS = 5


@dataclass(frozen=True)
class Ran:
    """What a process took: seconds by the wall clock and of all processors, mebibytes at its peak."""

    seconds: float
    cpu_seconds: float
    mebibytes: float


def run(words: list[str]) -> Ran:
    """Runs `muybridge WORDS` to its end.

    A new process starts with the peak memory of the one that made it, so this one must be small until all have run:
    torch is imported only afterwards.
    """
    assert "torch" not in sys.modules, "torch is loaded: the peak memory would be this process's"
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "muybridge.cli", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    complaint = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise ValueError(f"muybridge {' '.join(words)} failed with exit code {process.returncode}: {complaint.strip()}")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, kibibytes on Linux
    return Ran(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 2**20)


def stages(options: argparse.Namespace, folder: Path) -> tuple[dict[str, float], list[float], dict[str, Any]]:
    """Seconds of each stage, of each step, and how it was sampled."""
    began = time.perf_counter()
    from muybridge.generate import Clip, load
    from muybridge.types import Condition, Progress, Sampled

    imported = time.perf_counter()
    model = load(options.model)
    settings = model.settings
    for name in ("steps", "guidance"):
        if getattr(options, name) is not None:
            settings = replace(settings, **{name: getattr(options, name)})
    width, height = (int(side) for side in options.size.split("x"))
    condition = Condition(PROMPT, frames=options.frames, height=height, width=width, fps=options.fps)
    loaded = time.perf_counter()
    ends, latent = [], None
    for event in model.sample(condition, [0], settings):
        if isinstance(event, Progress):
            ends.append(event.seconds)
        if isinstance(event, Sampled):
            latent = event.latent
    sampled = time.perf_counter()
    assert latent is not None, "the sampler ended without its last event"
    video = model.decode(latent)
    decoded = time.perf_counter()
    clip = Clip(video, model.provenance(condition, 0, settings))
    clip.save(folder / "stages.mp4")
    saved = time.perf_counter()
    clip.save_sheet(folder / "stages.png")
    found = {
        "imports": imported - began,
        "opening the model": loaded - imported,
        "text": sampled - loaded - ends[-1],
        "steps": ends[-1],
        "decoding": decoded - sampled,
        "MP4": saved - decoded,
        "contact sheet": time.perf_counter() - saved,
    }
    steps = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    return found, steps, {**vars(settings), "dtype": model.dtype, "hash": model.hash}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano", help="a bundled name, a checkpoint's folder, or org/name")
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--steps", type=int, help="by default the model's own, as for the next one")
    parser.add_argument("--guidance", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    words = ["generate", PROMPT, "--model", options.model, "--size", options.size, "--seed", "0", "--overwrite"]
    words += ["--seconds", repr(options.frames / options.fps), "--fps", repr(options.fps)]
    for name in ("steps", "guidance"):
        if getattr(options, name) is not None:
            words += [f"--{name}", str(getattr(options, name))]

    helps: list[Ran] = []
    clips: list[Ran] = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(max(HELP_RUNS, options.rounds)):
            if turn < HELP_RUNS:
                helps.append(run(["--help"]))
            if turn < options.rounds:
                clips.append(run([*words, "--output", f"{folder}/clip.mp4"]))
        parts, steps, settings = stages(options, Path(folder))
    tell(options, helps, clips, parts, steps, settings)


def tell(
    options: argparse.Namespace,
    helps: list[Ran],
    clips: list[Ran],
    parts: dict[str, float],
    steps: list[float],
    settings: dict[str, Any],
) -> None:
    """Prints the table and writes the figures."""
    from measuring import Spread, machine, report
    from rich.table import Table

    if settings["guidance"] == 1:
        print("note: guidance is off (1), which halves the work: give --guidance", file=sys.stderr)
    table = Table("what", "value")
    table.add_row("muybridge generate, seconds (quartiles)", Spread.of([ran.seconds for ran in clips]).text(2))
    table.add_row("… of all processors", Spread.of([ran.cpu_seconds for ran in clips]).text(2))
    table.add_row("… peak memory, MiB", f"{max(ran.mebibytes for ran in clips):.0f}")
    best = min(ran.seconds for ran in helps)
    table.add_row(f"muybridge --help, seconds, best of {len(helps)}", f"{best:.3f}")
    for name, value in parts.items():
        table.add_row(f"stage: {name}, seconds", f"{value:.3f}")
    table.add_row("one step, ms (quartiles)", Spread.of([1e3 * step for step in steps]).text(1))
    found = {
        "machine": machine(),
        "clip": {"size": options.size, "frames": options.frames, "fps": options.fps},
        "model": options.model,
        "settings": settings,
        "generate": [vars(ran) for ran in clips],
        "help": [vars(ran) for ran in helps],
        "help_best_seconds": best,
        "stages_seconds": parts,
        "steps_seconds": steps,
    }
    head = (
        f"{options.frames} frames of {options.size}; {settings['steps']} steps, {settings['solver']}, guidance "
        f"{settings['guidance']:g}; {settings['dtype']}. No terminal, so no previews are decoded"
    )
    report(table, (head,), found, options.json)


if __name__ == "__main__":
    main()
