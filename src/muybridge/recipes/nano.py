"""The kind of model that ships: trains on two CPU cores. How the one in the package came about, its card says."""

from __future__ import annotations

from dataclasses import replace

from muybridge.data.material import KINDS
from muybridge.recipes.recipe import (
    AutoencoderStage,
    DynamicsStage,
    FlowStage,
    PlannerStage,
    Portion,
    Recipe,
    WitnessStage,
    WordsStage,
)
from muybridge.sampler.sample import Settings
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_FLOW = TrainSettings(
    steps=1000,
    lr=1e-3,
    muon_lr=1.5e-3,
    warmup=50,
    decay=0.15,
    ema=0.998,
    bf16=True,
    compile=True,
    sample_every=250,
)

_PIXELS = TrainSettings(steps=2400, lr=5e-4, betas=(0.9, 0.98), schedule="wsd", decay=0.5, bf16=True, compile=True)
DECODER = replace(_PIXELS, steps=2200, lr=4e-4, decay=0.6, ema=0.998, seed=1)

WITNESS = TrainSettings(steps=800, lr=2e-3, warmup=50, decay=0.5, bf16=True)

PLANNER = replace(_FLOW, steps=700, warmup=100, decay=0.3, ema=0.998, sample_every=0, seed=2)

DYNAMICS = replace(
    _FLOW,
    steps=900,
    lr=1.2e-3,
    muon_lr=1.8e-3,
    muon_within=("reading", "stepping"),
    warmup=100,
    decay=0.5,
    ema=0.998,
    compile=False,
    sample_every=0,
    seed=2,
)

STILLS = Portion(clips=40_000, frames=1, batch=128)
GLIMPSES = Portion(clips=6_000, frames=33, batch=48, glimpses=3)
CLIPS = Portion(clips=6_000, frames=33, batch=16)

NANO = Recipe(
    name="nano",
    autoencoder=AutoencoderConfig(),
    transformer=TransformerConfig(anchored=True, tracked=KINDS),
    text_layers=3,
    text_heads=4,
    learn_autoencoder=AutoencoderStage(_PIXELS, batch=16, files=24, decoder=DECODER),
    learn_words=WordsStage(TrainSettings(steps=700, lr=1e-3, warmup=50, bf16=True), batch=32),
    flow=(
        # What is where is decided at levels above 0.8. A shift of 1.5 draws one in six from there, 5 three in five.
        FlowStage("stills", _FLOW, (STILLS,), LevelSettings(shift=5.0)),
        # Captions of clips say more than those of stills: the first frames of clips keep the words alive.
        FlowStage(
            "clips",
            replace(_FLOW, steps=750, lr=7e-4, muon_lr=1e-3, decay=0.3, ema=0.995, seed=1),
            (STILLS, GLIMPSES, Portion(clips=6_000, frames=33, batch=128, latents=1), CLIPS, GLIMPSES),
            LevelSettings(shift=5.0, growth=0.2, prefix=0.85),
        ),
    ),
    learn_witness=WitnessStage(WITNESS, batch=48),
    learn_planner=PlannerStage(PLANNER, batch=48, worlds=10_000),
    learn_dynamics=DynamicsStage(DYNAMICS, batch=96),
    sampling=Settings(steps=20, guidance=3.0, given_guidance=1.0, shift=4.0, drafts=32, draft_steps=8, plan_steps=8),
)
