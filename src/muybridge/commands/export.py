"""`muybridge export`: a model for other runtimes, compared with the original before it is given out."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from rich.console import Console
from torch import Tensor

from muybridge.commands.generate import frames_of
from muybridge.commands.options import size_of
from muybridge.commands.progress import meter
from muybridge.engines.engine import Engine
from muybridge.engines.export import check_target, export
from muybridge.generate import Model, load
from muybridge.sampler.sample import sample
from muybridge.types import Condition, Sampled, latent_frames

DIFFUSERS = "diffusers"

HOLDS = 30.0
"""Decibels of PSNR that no frame may be below, so that it may be called the original's: an error of 8 levels in 255."""


def run(name: str, folder: Path, target: str, precision: str, size: str, seconds: float | None) -> None:
    """Writes the graphs, or a pipeline of diffusers, and prints how near they come, part by part or in a whole clip."""
    notes = Console(stderr=True, highlight=False, emoji=False)
    if target == DIFFUSERS:
        for_diffusers(name, folder, precision, size, seconds, notes)
        return
    check_target(target, precision)
    model = load(name, device="cpu", dtype=torch.float32)
    condition = _condition(model, size, seconds)
    stride = model.autoencoder.config.spatial_stride
    frames, height, width = latent_frames(condition.frames), condition.height // stride, condition.width // stride
    sizes = {"batch": 1, "frames": frames, "height": height, "width": width, "words": 8}
    with notes.status(f"writing {model.name} as {target}"):
        engine, differences = export(model, model.vocabulary.to_json(), folder, target, precision, sizes)
    for found in differences:
        print(f"{found.part:<14} largest difference {found.largest:.2e}, relative {found.relative:.2e}")
    _tell(clip_psnr(model, engine, condition, notes), precision, notes)
    total = sum(file.stat().st_size for file in folder.iterdir())
    print(f"written        {folder}: {total / 1e6:.1f} MB, {target}, weights in {precision}")


def for_diffusers(name: str, folder: Path, precision: str, size: str, seconds: float | None, notes: Console) -> None:
    """Writes a pipeline of diffusers, opens what was written, and compares a clip of it with the model's own."""
    if precision != "fp32":
        raise ValueError(
            f"--precision is {precision!r}: {DIFFUSERS} takes fp32; from_pretrained(torch_dtype=…) narrows it"
        )
    model = load(name, device="cpu", dtype=torch.float32)
    if type(model) is not Model:
        raise ValueError(f"{name} is a model of others, which diffusers opens as it is: give a model of Muybridge")
    condition = _condition(model, size, seconds)
    with notes.status(f"writing {model.name} for diffusers"):
        from muybridge.backends.exporting import export_pipeline

        written = export_pipeline(model, folder).model(dtype=torch.float32)
    bar = meter(notes)
    with bar:
        steps = 2 * (model.settings.steps + (model.settings.draft_steps if model.settings.drafts else 0))
        task = bar.add_task("comparing a clip", total=steps)
        one, other = (
            made.generate(condition, 0, on_event=lambda event: bar.advance(task))[0].video.frames[0]
            for made in (model, written)
        )
    _tell(_psnr(one, other), precision, notes)
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    print(f"written        {folder}: {total / 1e6:.1f} MB, {DIFFUSERS}, weights in {precision}")


def clip_psnr(model: Model, engine: Engine, condition: Condition, notes: Console) -> list[float]:
    """How near each frame of a clip of the engine comes to the model's own, from the same noise, in its own steps.

    Both without drafts and plans: clips that begin a little otherwise, or are foreseen so, may become other scenes, and
    then no frame is near. The graphs of these are held against the model's own parts, each alone.
    """
    settings, bar = replace(model.settings, drafts=0, plan_steps=0, tries=1), meter(notes)
    with bar:
        task = bar.add_task("comparing a clip", total=2 * settings.steps)
        streams = model.streams(condition)
        found = []
        for events in (model.steps(*streams, settings, [0]), sample(engine.velocity, *streams, settings, [0])):
            latent = None
            for event in events:
                bar.advance(task)
                latent = event.latent if isinstance(event, Sampled) else None
            assert latent is not None, "the sampler ended without its last event"
            found.append(latent.frames)
        with torch.inference_mode():
            own, other = model.autoencoder.decode(found[0])[0], engine.decode(found[1])[0]
    return _psnr(own[0], other[0])


def _psnr(own: Float[Tensor, "t c h w"], other: Float[Tensor, "t c h w"]) -> list[float]:
    """In dB, of each frame's pixels in [-1, 1]; infinite where they are equal."""
    errors = (own.clamp(-1, 1) - other.clamp(-1, 1)).square().mean(dim=(1, 2, 3)) / 4
    return [math.inf if error == 0 else -10 * math.log10(error) for error in errors.tolist()]


def _tell(psnr: list[float], precision: str, notes: Console) -> None:
    """Prints how near frames come, and says where that is too little."""
    least = min(psnr)
    if math.isinf(least):
        print("whole clip     the same frames as the original's")
        return
    mean = -10 * math.log10(sum(10 ** (-each / 10) for each in psnr) / len(psnr))
    worst = f"the worst frame, {psnr.index(least) + 1} of {len(psnr)}, {least:.1f} dB"
    print(f"whole clip     {mean:.1f} dB, {worst} (PSNR to the original's)")
    if least < HOLDS:
        mend = "take --precision fp16 or fp32" if precision == "int8" else "that is a fault, please report it"
        notes.print(f"note: in {precision} clips are not quite the original's, frames are below {HOLDS:.0f} dB: {mend}")


def _condition(model: Model, size: str, seconds: float | None) -> Condition:
    trained = model.config["trained"]
    width, height = size_of(size) if size else (trained["width"], trained["height"])
    frames = trained["frames"] if seconds is None else frames_of(seconds, trained["fps"])
    condition = Condition("a red ball and a blue box", "", frames, height, width, trained["fps"])
    model.check(condition)
    return condition
