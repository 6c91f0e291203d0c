"""One dial up from nano: a few hours of one GPU, or a night of many cores."""

from __future__ import annotations

from dataclasses import replace

from muybridge.data.material import KINDS
from muybridge.recipes.nano import DECODER, DYNAMICS, NANO, PLANNER, WITNESS
from muybridge.recipes.recipe import DynamicsStage, FlowStage, PlannerStage, Portion, WitnessStage, WordsStage
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_STAGE = TrainSettings(steps=20_000, lr=1e-3, muon_lr=1e-3, warmup=300, decay=0.3, bf16=True, compile=True)

STILLS = Portion(clips=200_000, frames=1, batch=256)
GLIMPSES = Portion(clips=60_000, frames=33, batch=192, glimpses=3)

SMALL = replace(
    NANO,
    name="small",
    autoencoder=AutoencoderConfig(coarse=192, fine=96, encoder_blocks=(2, 3), decoder_blocks=(3, 5)),
    transformer=TransformerConfig(width=320, layers=10, heads=5, text_width=320, anchored=True, tracked=KINDS),
    text_heads=5,
    learn_autoencoder=replace(
        NANO.learn_autoencoder,
        training=replace(NANO.learn_autoencoder.training, steps=20_000),
        batch=32,
        files=100,
        decoder=replace(DECODER, steps=20_000),
    ),
    learn_words=WordsStage(replace(NANO.learn_words.training, steps=4000), batch=64),
    flow=(
        FlowStage("stills", replace(_STAGE, steps=10_000), (STILLS,)),
        FlowStage(
            "clips",
            replace(_STAGE, lr=6e-4, muon_lr=6e-4, decay=0.5),
            (STILLS, GLIMPSES, Portion(clips=60_000, frames=33, batch=64), GLIMPSES),
            NANO.flow[-1].levels,
        ),
    ),
    learn_witness=WitnessStage(replace(WITNESS, steps=1500), batch=48),
    learn_planner=PlannerStage(replace(PLANNER, steps=3000), batch=48, worlds=20_000),
    learn_dynamics=DynamicsStage(replace(DYNAMICS, steps=3600), batch=96),
)
