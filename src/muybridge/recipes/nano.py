"""The model that ships: trains on two CPU cores in one sitting."""

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
            TrainSettings(steps=2200, lr=1e-3, warmup=100, decay=0.1, bf16=True, compile=True, sample_every=400),
            batch=32,
            clips=24_000,
            frames=1,
            levels=LevelSettings(shift=1.5),
        ),
        # What is where is decided at levels above 0.8. A shift of 1.5 draws one in six from there, 5 three in five.
        FlowStage(
            "layouts",
            TrainSettings(steps=1000, lr=1e-3, warmup=50, decay=0.1, bf16=True, compile=True, sample_every=250),
            batch=32,
            clips=24_000,
            frames=1,
            levels=LevelSettings(shift=5.0),
        ),
        FlowStage(
            "clips",
            TrainSettings(steps=850, lr=8e-4, warmup=50, decay=0.4, bf16=True, compile=True, sample_every=300),
            batch=6,
            clips=5_000,
            frames=33,
            levels=LevelSettings(shift=5.0),
        ),
    ),
    sampling=Settings(guidance=3.0, shift=4.0),
)
