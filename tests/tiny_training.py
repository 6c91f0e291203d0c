"""A training of a few thousand weights for the tests, real in every part; as a script, it is a process of its own.

python tiny_training.py FOLDER STEPS [--pause SECONDS] [--fsdp]    (also under torchrun)
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from muybridge.data.source import clip_seeds, share
from muybridge.training.parallel import joined
from muybridge.training.settings import TrainSettings
from muybridge.training.trainer import Trainer
from muybridge.types import Batch


class Denoise(nn.Module):
    """Guesses a latent from a noisy one, the noise being drawn from each clip's seed; with dropout, which is not."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 32)
        self.blocks = nn.ModuleList([nn.Linear(32, 32), nn.Linear(32, 32, bias=False)])
        self.norm = nn.LayerNorm(32)
        self.out = nn.Linear(32, 8)
        self.dropout = nn.Dropout(dropout)
        self.frozen = nn.Linear(4, 4).requires_grad_(False)
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        assert batch.latent is not None
        assert batch.seed is not None
        self.seen += len(batch)
        noise = torch.stack([torch.randn(8, generator=torch.Generator().manual_seed(int(s))) for s in batch.seed])
        clean = batch.latent.flatten(1)
        hidden = self.embed(clean + noise.to(clean))
        for block in self.blocks:
            hidden = hidden + self.dropout(torch.relu(block(self.norm(hidden))))
        loss = (self.out(hidden) - clean).square().mean()
        return loss, {"root": loss.sqrt()}


@dataclass(frozen=True)
class Points:
    """Latents (1, 2, 2, 2) on a circle, drawn from each clip's seed."""

    clips: int = 8
    seed: int = 0
    pause: float = 0.0

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        time.sleep(self.pause)
        seeds = clip_seeds(self.seed, step, share(self.clips, rank, world))
        angle = (seeds % 1000).float()[:, None] + torch.arange(8)
        return Batch(latent=angle.sin().reshape(-1, 1, 2, 2, 2), seed=seeds)


def settings(steps: int, **changes: object) -> TrainSettings:
    """Muon and AdamW, an average, the state written after every step."""
    usual = {"lr": 3e-3, "muon_lr": 3e-3, "warmup": 2, "save_every_seconds": 0.0, "log_every": 1, "ema": 0.9}
    return TrainSettings(**{"steps": steps, **usual, **changes})  # type: ignore[arg-type]


def trainer(folder: Path, source: Points, chosen: TrainSettings, dropout: float = 0.0, **more: object) -> Trainer:
    torch.manual_seed(0)
    return Trainer(Denoise(dropout), source, chosen, folder, **more)  # type: ignore[arg-type]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--fsdp", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with joined("cpu") as group:
        training = trainer(asked.folder, Points(pause=asked.pause), settings(asked.steps, fsdp=asked.fsdp), group=group)
        for event in training.run():
            if group.rank == 0:
                print(event.step, repr(event.metrics["loss"]), flush=True)
