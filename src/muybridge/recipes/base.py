"""The large one: wants a datacentre GPU for an afternoon."""

from __future__ import annotations

from dataclasses import replace

from muybridge.recipes.recipe import FlowStage
from muybridge.recipes.small import SMALL
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_STAGE = TrainSettings(steps=60_000, lr=6e-4, muon_lr=6e-4, warmup=500, decay=0.3, bf16=True, compile=True)

BASE = replace(
    SMALL,
    name="base",
    transformer=TransformerConfig(width=768, layers=16, heads=12, text_width=512),
    text_layers=6,
    text_heads=8,
    flow=(
        FlowStage("stills", replace(_STAGE, steps=20_000), batch=512, clips=500_000, frames=1),
        FlowStage("clips", replace(_STAGE, lr=4e-4, muon_lr=4e-4, decay=0.5), batch=128, clips=200_000, frames=33),
    ),
)
