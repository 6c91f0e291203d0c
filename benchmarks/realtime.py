"""A sentence to a signed MP4 on the disk, the model being loaded: where the time goes, and its ratio to playing time.

    python benchmarks/realtime.py --model FOLDER [--engine openvino] [--threads 2] [--rounds 5] [--json PATH]

What `muybridge generate` does, without its contact sheet. The least of all rounds counts, of the clock on the wall and
of the processors: what else the machine does can only add to either.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measuring import machine, report
from rich.table import Table

import muybridge
from muybridge.engines.kinds import CLIP, TORCH, kind_of, make
from muybridge.generate import to_uint8
from muybridge.storage import credentials
from muybridge.storage.provenance import to_metadata
from muybridge.storage.publish import marked, sign
from muybridge.storage.video import write_mp4
from muybridge.types import Progress, Sampled

PROMPT = "a small red ball rolls behind a tall blue box"


class Watch:
    """Seconds of each stage of one clip: by the wall, and of all processors."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processors: dict[str, float] = {}
        self._began = time.perf_counter(), time.process_time()

    def lap(self, stage: str) -> None:
        """What was done since the last lap was this."""
        now = time.perf_counter(), time.process_time()
        self.wall[stage] = self.wall.get(stage, 0) + now[0] - self._began[0]
        self.processors[stage] = self.processors.get(stage, 0) + now[1] - self._began[1]
        self._began = now


def clip(model: muybridge.Model, condition: muybridge.Condition, folder: Path, signer: Any) -> Watch:
    """Makes the clip and writes it."""
    settings, watch, latent = model.settings, Watch(), None
    said = model.streams(condition, guided=settings.guidance != 1)
    watch.lap("words")
    for event in model.steps(*said, settings, [0]):
        if isinstance(event, Progress):
            watch.lap("drafts" if event.steps - event.step >= settings.steps else "steps")
        if isinstance(event, Sampled):
            latent = event.latent
    assert latent is not None, "the sampler ended without its last event"
    frames = to_uint8(model.decode(latent).frames[0])
    watch.lap("decoding")
    frames, made = marked(frames, model.provenance(condition, 0, settings))
    watch.lap("watermark")
    file = folder / "clip.mp4"
    write_mp4(file, frames, made.fps, to_metadata(made))
    watch.lap("MP4")
    sign(file, made, signer)
    watch.lap("signature")
    return watch


def least(found: list[Watch], of: Callable[[Watch], dict[str, float]]) -> dict[str, float]:
    """Of each stage, the least of all rounds."""
    return {stage: min(of(watch)[stage] for watch in found) for stage in of(found[0])}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="nano-fast")
    parser.add_argument("--engine", default="openvino", help="torch, openvino, onnxruntime")
    parser.add_argument("--size", default="128x128")
    parser.add_argument("--frames", type=int, default=33)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where engines' graphs are kept; by default where they always are")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = muybridge.load(options.model, device="cpu")
    if options.engine != TORCH:
        model.engine = make(model, kind_of(options.engine, model.dtype), options.folder, options.threads, CLIP)
    width, height = (int(side) for side in options.size.split("x"))
    condition = muybridge.Condition(PROMPT, frames=options.frames, height=height, width=width)
    with tempfile.TemporaryDirectory() as name:
        signer = credentials.load_or_create(Path(name) / "signing.pem")
        found = [clip(model, condition, Path(name), signer) for _ in range(1 + options.rounds)][1:]

    wall, processors = least(found, lambda watch: watch.wall), least(found, lambda watch: watch.processors)
    total = min(sum(watch.wall.values()) for watch in found), min(sum(watch.processors.values()) for watch in found)
    playing = options.frames / condition.fps
    table = Table("stage", "seconds", "of all processors")
    for stage in wall:
        table.add_row(stage, f"{wall[stage]:.3f}", f"{processors[stage]:.3f}")
    table.add_row("the clip", f"{total[0]:.3f}", f"{total[1]:.3f}")
    table.add_row(f"over {playing:.2f} s of playing", f"{total[0] / playing:.2f}", f"{total[1] / playing:.2f}")
    settings = model.settings
    head = (
        f"{options.frames} frames of {options.size}; {settings.steps} steps, up to {settings.drafts} drafts of "
        f"{settings.draft_steps}, guidance {settings.guidance:g}; {options.engine}, threads: {options.threads}; each "
        f"the least of {options.rounds}"
    )
    figures = {
        "machine": machine(),
        "engine": options.engine,
        "settings": vars(settings),
        "seconds": wall,
        "processor_seconds": processors,
        "clip_seconds": total[0],
        "clip_processor_seconds": total[1],
        "over_playing_time": total[0] / playing,
    }
    report(table, (head,), figures, options.json)


if __name__ == "__main__":
    main()
