"""`muybridge finetune`: a LoRA for an open model, from a folder of clips."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rich.console import Console

from muybridge.backends.finetuning import LoraVelocity, save
from muybridge.backends.model import OpenModel
from muybridge.commands.options import size_of
from muybridge.commands.train import Lines
from muybridge.data.footage import Bucket, Footage
from muybridge.generate import load
from muybridge.training.parallel import Group
from muybridge.training.settings import TrainSettings
from muybridge.training.trainer import Trainer


def run(
    name: str,
    data: Path,
    folder: Path,
    steps: int,
    rank: int,
    lr: float,
    size: str,
    frames: int,
    batch: int,
    device: str | None,
) -> None:
    """Trains, from where it was, and writes `folder`/lora.safetensors."""
    if not 1 <= rank <= 1024:
        raise ValueError(f"--rank is {rank}: take 1 to 1024")
    notes = Console(stderr=True, highlight=False, emoji=False)
    with notes.status(f"opening {name}"):
        model = load(name, device)
    if not isinstance(model, OpenModel):
        raise ValueError(f"{name} is a model of Muybridge: `muybridge train` and `muybridge distill` are for those")
    family = model.pipeline.family
    width, height = size_of(size) if size else (family.width, family.height)
    captions: list[str] = []

    def number(caption: str) -> list[int]:
        if caption not in captions:
            captions.append(caption)
        return [captions.index(caption) + 1]

    footage = Footage(data, [Bucket(frames, height, width)], batch, fps=family.fps, encode_text=number, text_length=1)
    for file in footage.skipped:
        notes.print(f"note: {file} is shorter than {frames} frames and is left out", markup=False, style="yellow")
    objective = LoraVelocity(model.pipeline.pipe, captions, rank)
    settings = TrainSettings(
        steps=steps, lr=lr, warmup=min(50, steps // 10), ema=None, bf16=model.device.type == "cuda"
    )
    identity = {
        "model": model.hash,
        "data": hashlib.sha256("\0".join(str(file.path) for file in footage.files).encode()).hexdigest()[:12],
        "shape": [batch, frames, height, width],
        "rank": rank,
    }
    trainer = Trainer(objective, footage, settings, folder, recipe=identity, group=Group(device=model.device))
    with Lines(notes) as lines:
        for event in trainer.run():
            lines.hear(("finetuning", event))
    path = folder / "lora.safetensors"
    save(model.pipeline.pipe, path)
    print(f"LoRA           {path}")
    print(f'try it         muybridge generate "{captions[0]}" --model {name} --lora {path}')
