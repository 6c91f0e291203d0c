"""phyworld's balls (Kang et al. 2411.02385), to stand beside the paper's smallest model, of 22.5 million parameters.

One model learns the three laws, on two CPU cores, from the smallest of the published grids. All its networks together
are smaller than the paper's one, whose figure leaves its autoencoder out. What it reaches: docs/measuring.md.
"""

from __future__ import annotations

from dataclasses import replace

from muybridge.data.balls import Balls
from muybridge.data.material import KINDS
from muybridge.recipes.recipe import (
    AutoencoderStage,
    DynamicsStage,
    FlowStage,
    PlannerStage,
    Portion,
    Recipe,
    WordsStage,
)
from muybridge.sampler.sample import Settings
from muybridge.simulation.balls import FRAMES, LAWS, STEP
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_PIXELS = TrainSettings(steps=4000, lr=1e-3, betas=(0.9, 0.98), schedule="wsd", decay=0.6, bf16=True, compile=True)

_DECODER = replace(_PIXELS, steps=2000, lr=5e-4, decay=0.8, ema=0.998, seed=1)

_FLOW = TrainSettings(
    steps=1200, lr=1e-3, muon_lr=1.5e-3, warmup=50, decay=0.5, ema=0.998, bf16=True, compile=True, sample_every=250
)

_PLANNER = replace(_FLOW, steps=300, sample_every=0)

_DYNAMICS = replace(
    _FLOW, steps=1500, lr=1.2e-3, muon_lr=1.8e-3, muon_within=("reading", "stepping"), compile=False, sample_every=0
)

PHYWORLD = Recipe(
    name="phyworld",
    autoencoder=AutoencoderConfig(coarse=128, noise=0.02),
    transformer=TransformerConfig(width=192, layers=6, heads=3, text_width=128, tracked=KINDS),
    text_layers=1,
    text_heads=2,
    # A hundredth of a unit is an eighth of a pixel, and discs have to stay where they are: latents get little noise.
    learn_autoencoder=AutoencoderStage(_PIXELS, batch=16, files=24, clip_frames=FRAMES, decoder=_DECODER),
    learn_words=WordsStage(_FLOW, batch=32),  # captions are three sentences: they are learnt with the clips
    flow=(
        # Where a ball goes is foreseen by the planner: a picture of it needs few frames to be learnt.
        FlowStage(
            "clips",
            _FLOW,
            (Portion(6000, FRAMES, batch=48, glimpses=3), Portion(6000, FRAMES, batch=16)),
            LevelSettings(shift=5.0, growth=0.2, prefix=0.7, drop_tracks=0.05),
            recognition=0.1,
        ),
    ),
    learn_planner=PlannerStage(_PLANNER, batch=48, worlds=30_000 * len(LAWS)),
    learn_dynamics=DynamicsStage(_DYNAMICS, batch=96),
    sampling=Settings(steps=12, guidance=1.0, shift=4.0, plan_steps=8),
    fps=1 / STEP,
    material=Balls(),
)
