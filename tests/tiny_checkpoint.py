"""A checkpoint that is real in every part, and tiny; and the environment of processes that tests start."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch
from tiny_models import AUTOENCODER, TRANSFORMER, drawn

import muybridge
from muybridge.conditioning.familiarity import Familiarity
from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.sampler.sample import Settings
from muybridge.simulation import VOCABULARY
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig

JUMPS = Settings(steps=2, guidance=1, solver="jump")


def child_environment() -> dict[str, str]:
    """For processes that tests start: they find this package wherever they run, and take one core."""
    home = str(Path(muybridge.__file__).parents[1])
    paths = [home, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}


def build_causal_model(folder: Path) -> Path:
    """Writes a model that streams frames of 48x32 in 2 jumps."""
    config = replace(TRANSFORMER, causal=True, spans=True, window=3)
    return build_tiny_model(folder, transformer=config, sampling=JUMPS)


def build_drafting_model(folder: Path) -> Path:
    """Writes a model that chooses its first frame among ten, of which four are drawn at once."""
    sampling = Settings(steps=2, guidance=2.0, preview_every=1, drafts=10, draft_steps=2)
    looks = WitnessConfig(channels=4, text_width=16, colours=8, shapes=3, objects=3, width=8, blocks=1)
    return build_tiny_model(folder, None, replace(TRANSFORMER, anchored=True), sampling, looks)


def build_whole_model(folder: Path, causal: bool = False) -> Path:
    """Writes a model that does both: it foresees where eight colours and a prop go, and draws drafts."""
    plans = PlannerConfig(channels=4, text_width=16, kinds=(9, 5), things=9, width=32, layers=1, heads=2, eye=8)
    sampling = Settings(
        steps=2, guidance=2.0, preview_every=1, drafts=10, draft_steps=2, plan_steps=3, given_guidance=1.5
    )
    looks = WitnessConfig(channels=4, text_width=16, colours=8, shapes=3, objects=3, width=8, blocks=1)
    if causal:
        sampling = replace(sampling, guidance=1, given_guidance=None)
    anchored = replace(TRANSFORMER, anchored=True, tracked=plans.kinds, causal=causal)
    return build_tiny_model(folder, None, anchored, sampling, looks, planner=plans)


def build_planning_model(folder: Path) -> Path:
    """Writes a model that foresees where at most four things go, of three colours and two shapes."""
    plans = PlannerConfig(channels=4, text_width=16, kinds=(3, 2), things=4, width=32, layers=1, heads=2, eye=8)
    sampling = Settings(steps=2, guidance=2.0, preview_every=1, plan_steps=2)
    return build_tiny_model(folder, None, replace(TRANSFORMER, tracked=plans.kinds), sampling, planner=plans)


def _certain(planner: Planner) -> Planner:
    """Random, but sure that everything it foresees is there."""
    drawn(planner)
    with torch.no_grad():
        planner.out.bias[-1] = 9.0
    return planner


def build_tiny_model(
    folder: Path,
    familiarity: Familiarity | None = None,
    transformer: TransformerConfig = TRANSFORMER,
    sampling: Settings | None = None,
    witness: WitnessConfig | None = None,
    planner: PlannerConfig | None = None,
) -> Path:
    """Writes a model that makes 9 frames of 48x32 in 2 steps: noise, but noise that depends on every input."""
    vocabulary = Vocabulary.of(VOCABULARY)
    autoencoder = VideoAutoencoder(AUTOENCODER)
    text = TextEncoder(TextConfig(len(vocabulary), width=16, layers=1, heads=2, queries=3))
    network_of_frames = VideoTransformer(transformer)
    for network in (autoencoder, text, network_of_frames):  # what starts at zero would hide what reaches the output
        drawn(network)
    muybridge.save_model(
        folder,
        name="tiny",
        autoencoder=autoencoder,
        text=text,
        transformer=network_of_frames,
        vocabulary=vocabulary,
        sampling=sampling or Settings(steps=2, guidance=2.0, preview_every=1),
        trained={"frames": 9, "height": 32, "width": 48, "fps": 15.0},
        learnt_from="nothing at all",
        familiarity=familiarity,
        witness=None if witness is None else drawn(Witness(witness)),
        planner=None if planner is None else _certain(Planner(planner)),
        card="# tiny\n\nRandom weights, for tests.\n",
    )
    return folder
