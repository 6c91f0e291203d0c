"""phyworld's balls (Kang et al. 2411.02385), to stand beside the paper's smallest model, of 22.5 million parameters.

All three networks together have 20.9 million; the paper's figure leaves its autoencoder out. One model learns the three
laws, 30 K clips of each, the smallest of the published grids. Wants a GPU. What it reaches has not been measured yet:
`muybridge bench physics --suites phyworld` will say.
"""

from __future__ import annotations

from muybridge.data.balls import Balls
from muybridge.recipes.recipe import AutoencoderStage, FlowStage, Portion, Recipe, WordsStage
from muybridge.sampler.sample import Settings
from muybridge.simulation.balls import FRAMES, LAWS, STEP
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig

_FAST = TrainSettings(steps=20_000, lr=1e-3, muon_lr=1e-3, warmup=300, decay=0.3, bf16=True, compile=True)
_CLIPS = 30_000 * len(LAWS)

PHYWORLD = Recipe(
    name="phyworld",
    autoencoder=AutoencoderConfig(),
    transformer=TransformerConfig(width=320, layers=8, heads=5, text_width=128),
    text_layers=1,
    text_heads=2,
    learn_autoencoder=AutoencoderStage(
        # A hundredth of a unit is an eighth of a pixel: discs have to stay where they are.
        training=TrainSettings(
            steps=10_000, lr=5e-4, betas=(0.9, 0.98), schedule="wsd", decay=0.5, bf16=True, compile=True
        ),
        batch=32,
        files=48,
        clip_frames=FRAMES,
    ),
    learn_words=WordsStage(_FAST, batch=32),  # captions are three sentences: they are learnt with the clips
    flow=(
        # Where a ball goes is in the frames that are given. Noise has to be strong to hide a disc on white: shift 5.
        FlowStage("clips", _FAST, (Portion(_CLIPS, FRAMES, batch=64),), LevelSettings(shift=5.0)),
    ),
    sampling=Settings(guidance=1.0, shift=4.0),
    fps=1 / STEP,
    material=Balls(),
)
