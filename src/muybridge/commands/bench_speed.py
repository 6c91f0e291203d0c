"""`muybridge bench speed`: how long a clip takes, stage by stage, and how well the machine is used."""

from __future__ import annotations

import json as json_
import tempfile
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from muybridge.backends.model import OpenModel
from muybridge.commands.progress import meter
from muybridge.data.worlds import HELD_OUT
from muybridge.evaluation.speed import Parts, Speed, measure_speed
from muybridge.evaluation.suite import Frames
from muybridge.generate import Model, load, to_uint8
from muybridge.sampler.sample import Settings
from muybridge.simulation import simulate
from muybridge.storage.atomic import check_writable, new_file
from muybridge.storage.video import write_mp4
from muybridge.types import Condition, Latent, Sampled, Streams

PROMPT = "a small red ball rolls behind a tall blue box while the camera pans right"

Said = tuple[Streams, Streams | None] | Condition
"""What a model reads: streams; a model of others, the words themselves."""


def speed(
    model: str, rounds: int, steps: int | None, device: str | None, json: Path | None, engine: str = "torch"
) -> None:
    """Prints what a clip of the model costs, run by an engine."""
    if rounds < 1:
        raise ValueError(f"--rounds is {rounds}: take 1 or more")
    if json is not None:
        check_writable(json)
    opened = load(model, device, engine=engine)
    settings = opened.settings if steps is None else replace(opened.settings, steps=steps)
    trained = opened.config["trained"]
    fps = float(trained["fps"])
    condition = Condition(PROMPT, "", trained["frames"], trained["height"], trained["width"], fps)
    if isinstance(opened, OpenModel):
        condition = with_still(opened, condition)
    bar = meter(Console(stderr=True, highlight=False))
    with bar, tempfile.TemporaryDirectory() as folder:
        task = bar.add_task("making clips", total=rounds + 2)
        clip, plain = Path(folder) / "clip.mp4", copy(opened)
        plain.engine = None  # operations are counted in PyTorch, which sees its own alone
        parts, counted = (parts_of(one, condition, settings, clip) for one in (opened, plain))
        kind = opened.device.type
        found = measure_speed(
            parts,
            fps,
            rounds=rounds,
            dtype=opened.dtype,
            device=kind,
            counted_in=counted,
            watch=lambda made: bar.update(task, completed=made),
        )
    name = "torch" if opened.engine is None else opened.engine.name
    _print(found, name)
    if json is not None:
        about = {"model": opened.name, "model_hash": opened.hash, "settings": vars(settings), "engine": name}
        with new_file(json) as temporary:
            temporary.write_text(json_.dumps(about | found.as_json(), indent=1) + "\n", encoding="utf-8")


def parts_of(model: Model, condition: Condition, settings: Settings, file: Path) -> Parts[Said, Latent | None]:
    """A model's stages for one clip, which is written to `file`."""

    def text() -> Said:
        return condition if isinstance(model, OpenModel) else model.streams(condition, guided=settings.guidance != 1)

    def steps(said: Said) -> Iterator[Latent | None]:
        """Once a step; the last time, the latent."""
        events = model.sample(said, [0], settings) if isinstance(said, Condition) else model.steps(*said, settings, [0])
        for event in events:
            if isinstance(event, Sampled):
                yield event.latent
            elif event.step < event.steps:
                yield None

    def decode(latent: Latent | None) -> Frames:
        assert latent is not None, "the sampler's last event is the latent"
        return to_uint8(model.decode(latent).frames[0])

    def first(latent: Latent | None) -> Frames:
        assert latent is not None, "the sampler's last event is the latent"
        return decode(Latent(latent.frames[:, :1], latent.fps))

    at_once = isinstance(model, OpenModel)  # it decodes within its last step
    return Parts(text, steps, decode, lambda frames: write_mp4(file, frames, condition.fps), None if at_once else first)


def with_still(model: OpenModel, condition: Condition) -> Condition:
    """The condition as the model takes it: with a still where it makes nothing without one, without words it cannot."""
    if all("image" in way.needs for way in model.pipeline.ways):
        still = simulate(HELD_OUT, 1, condition.height, condition.width).rgb[0]
        condition = replace(condition, prefix=torch.from_numpy(still).movedim(2, 0)[None] / 127.5 - 1)
    return condition if "prompt" in model.takes else replace(condition, prompt="")


def _print(found: Speed, engine: str) -> None:
    table = Table("stage", "seconds", "GFLOP", "% of peak", "peak MiB")
    for stage in found.stages:
        flops = "" if stage.flops is None else f"{stage.flops / 1e9:.1f}"
        share = "" if stage.share_of_peak is None else f"{100 * stage.share_of_peak:.0f}"
        table.add_row(stage.name, f"{stage.seconds:.3f}", flops, share, f"{stage.peak_mebibytes:.0f}")
    Console(highlight=False).print(table)
    print(f"clip           {found.seconds_per_clip:.2f} s for {found.frames} frames at {found.fps:g} fps, by {engine}")
    print(f"real time      {found.real_time_factor:.2f} s of work a second of clip")
    print(f"first frame    after {found.seconds_to_first_frame:.2f} s")
    print(f"memory         {found.peak_mebibytes:.0f} MiB at most")
    print(f"arithmetic     {found.flops / 1e9:.0f} GFLOP, {100 * found.share_of_peak:.0f} % of the matmul peak")
