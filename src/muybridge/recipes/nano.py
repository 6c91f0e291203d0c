"""The model that ships: trains on two CPU cores in one sitting."""

from __future__ import annotations

from dataclasses import replace

from muybridge.recipes.recipe import AutoencoderStage, FlowStage, Recipe, WordsStage
from muybridge.sampler.sample import Settings
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_FLOW = TrainSettings(
    steps=1500,
    lr=1e-3,
    muon_lr=1.5e-3,
    warmup=50,
    decay=0.15,
    ema=0.998,
    bf16=True,
    compile=True,
    sample_every=250,
)

NANO = Recipe(
    name="nano",
    autoencoder=AutoencoderConfig(),
    transformer=TransformerConfig(),
    text_layers=3,
    text_heads=4,
    learn_autoencoder=AutoencoderStage(
        training=TrainSettings(
            steps=3000, lr=5e-4, betas=(0.9, 0.98), schedule="wsd", decay=0.5, bf16=True, compile=True
        ),
        batch=16,
        files=24,
    ),
    learn_words=WordsStage(TrainSettings(steps=800, lr=1e-3, warmup=50, bf16=True), batch=32),
    flow=(
        # What is where is decided at levels above 0.8. A shift of 1.5 draws one in six from there, 5 three in five.
        FlowStage("stills", _FLOW, batch=128, clips=40_000, frames=1, levels=LevelSettings(shift=5.0)),
        # The same noise hides less of several frames than of one: they are alike.
        FlowStage(
            "glimpses",
            replace(_FLOW, steps=600, lr=8e-4, muon_lr=1.2e-3, seed=1),
            batch=48,
            clips=5_000,
            frames=33,
            levels=LevelSettings(shift=6.0),
            glimpses=3,
        ),
        FlowStage(
            "clips",
            replace(_FLOW, steps=200, lr=6e-4, muon_lr=9e-4, decay=0.6, ema=0.99, seed=2),
            batch=16,
            clips=5_000,
            frames=33,
            levels=LevelSettings(shift=8.0),
        ),
    ),
    sampling=Settings(guidance=3.0, shift=4.0),
)
