"""Everything, in seconds: for tests and for trying things. What it makes is not worth looking at."""

from __future__ import annotations

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
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_BRIEFLY = TrainSettings(steps=3, warmup=1, log_every=1, ema=0.5, sample_every=2)

TINY = Recipe(
    name="tiny",
    autoencoder=AutoencoderConfig(channels=4, coarse=16, fine=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1)),
    transformer=TransformerConfig(channels=4, width=32, layers=2, heads=2, text_width=32, anchored=True, tracked=KINDS),
    text_layers=1,
    text_heads=2,
    learn_autoencoder=AutoencoderStage(
        _BRIEFLY, batch=2, files=1, clips_a_file=4, clip_frames=9, side=32, decoder=_BRIEFLY
    ),
    learn_words=WordsStage(_BRIEFLY, batch=2),
    flow=(
        FlowStage("stills", _BRIEFLY, (Portion(clips=8, frames=1, batch=2),)),
        FlowStage("clips", _BRIEFLY, (Portion(4, 9, batch=2), Portion(4, 9, batch=4, glimpses=2))),
    ),
    learn_witness=WitnessStage(_BRIEFLY, batch=2, width=16, blocks=1),
    learn_planner=PlannerStage(_BRIEFLY, batch=2, worlds=4, width=32, layers=1, heads=2),
    learn_dynamics=DynamicsStage(_BRIEFLY, batch=2, width=32),
    sampling=Settings(steps=2, guidance=1.5, drafts=2, draft_steps=1, plan_steps=1),
    height=64,
    width=64,
)
