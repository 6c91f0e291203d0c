"""The large one: wants a datacentre GPU for an afternoon."""

from __future__ import annotations

from dataclasses import replace

from muybridge.data.material import KINDS
from muybridge.recipes.recipe import FlowStage, Portion
from muybridge.recipes.small import SMALL
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_STAGE = TrainSettings(steps=60_000, lr=6e-4, muon_lr=6e-4, warmup=500, decay=0.3, bf16=True, compile=True)

STILLS = Portion(clips=500_000, frames=1, batch=512)
GLIMPSES = Portion(clips=200_000, frames=33, batch=384, glimpses=3)

BASE = replace(
    SMALL,
    name="base",
    transformer=TransformerConfig(width=768, layers=16, heads=12, text_width=512, anchored=True, tracked=KINDS),
    text_layers=6,
    text_heads=8,
    flow=(
        FlowStage("stills", replace(_STAGE, steps=20_000), (STILLS,)),
        FlowStage(
            "clips",
            replace(_STAGE, lr=4e-4, muon_lr=4e-4, decay=0.5),
            (STILLS, GLIMPSES, Portion(clips=200_000, frames=33, batch=128), GLIMPSES),
            SMALL.flow[-1].levels,
        ),
    ),
)
