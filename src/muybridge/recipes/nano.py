"""The model to train oneself: two CPU cores, one sitting."""

from __future__ import annotations

from muybridge.recipes.recipe import AutoencoderStage, FlowStage, Recipe, WordsStage
from muybridge.sampler.sample import Settings
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

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
        FlowStage(
            "stills",
            TrainSettings(
                steps=1500, lr=1e-3, muon_lr=1.5e-3, warmup=50, decay=0.15, bf16=True, compile=True, sample_every=250
            ),
            batch=128,
            clips=40_000,
            frames=1,
            # What is where is decided at levels above 0.8. A shift of 1.5 draws one in six from there, 5 three in five.
            levels=LevelSettings(shift=5.0),
        ),
        FlowStage(
            "clips",
            TrainSettings(
                steps=1100, lr=8e-4, muon_lr=1.2e-3, warmup=30, decay=0.4, bf16=True, compile=True, sample_every=250
            ),
            batch=16,
            clips=5_000,
            frames=33,
            # The same noise hides less of nine frames than of one: they are alike.
            levels=LevelSettings(shift=8.0),
        ),
    ),
    sampling=Settings(guidance=3.0, shift=4.0),
)
