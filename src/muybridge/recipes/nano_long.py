"""The model that ships: nano, and then as long again. In nano's folder it goes on where nano ended."""

from __future__ import annotations

from dataclasses import replace

from muybridge.recipes.nano import NANO
from muybridge.recipes.recipe import FlowStage
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings

_STAGE = TrainSettings(
    steps=1600, lr=8e-4, muon_lr=1.2e-3, warmup=50, decay=0.2, bf16=True, compile=True, sample_every=250, seed=1
)

NANO_LONG = replace(
    NANO,
    name="nano-long",
    flow=(
        *NANO.flow,
        FlowStage(
            "glimpses",
            _STAGE,
            batch=48,
            clips=12_000,
            frames=33,
            levels=LevelSettings(shift=6.0),
            recognition=0.5,
            glimpses=3,
        ),
        FlowStage(
            "more-clips",
            replace(_STAGE, steps=900, decay=0.5, seed=2),
            batch=16,
            clips=12_000,
            frames=33,
            levels=LevelSettings(shift=8.0),
            recognition=0.5,
        ),
    ),
)
