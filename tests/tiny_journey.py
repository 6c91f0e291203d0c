"""The training journey of the tiny recipe, as a process of its own: what `muybridge train tiny` does, and it may stop.

python tiny_journey.py FOLDER [--fsdp] [--until STAGE]    (also under torchrun); it stops after that stage's first step
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from muybridge.data.material import Simulated
from muybridge.recipes import find
from muybridge.train import train
from muybridge.training.parallel import joined
from muybridge.types import Trained

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fsdp", action="store_true")
    parser.add_argument("--until", default="")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    recipe = find("tiny").sharded() if asked.fsdp else find("tiny")
    with joined("cpu") as group:
        journey = train(recipe, Simulated(), asked.folder, group, workers=0)
        for stage, event in journey:
            if stage == asked.until and isinstance(event, Trained):
                journey.close()  # type: ignore[attr-defined]
                break
