"""A recipe in minutes: a few steps of every stage, so that what is wrong with it, or its machine, shows at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from muybridge.recipes.recipe import FlowStage, Portion, Recipe
from muybridge.training.settings import TrainSettings

STEPS = 3
"""Of a stage, at least: the first is slower than those that follow."""

FRAMES, WORLDS = 1536, 1024
"""So many are made at least, where they are quick: what starts those who make them shall not count for much."""


def rehearsed(recipe: Recipe, batch: int | None = None) -> Recipe:
    """The same networks, with as many clips and steps as show what a step costs. Nothing is compiled.

    batch  clips a step of every stage; None: as many as the recipe has
    """
    pixels, words, witness = recipe.learn_autoencoder, recipe.learn_words, recipe.learn_witness
    learn_autoencoder = replace(
        pixels,
        training=_brief(pixels.training),
        decoder=None if pixels.decoder is None else _brief(pixels.decoder),
        batch=batch or pixels.batch,
        files=1,
    )
    learn_witness = witness
    if witness is not None:
        learn_witness = replace(witness, training=_brief(witness.training), batch=batch or witness.batch)
    planner = recipe.learn_planner
    if planner is not None:
        batch_of = batch or planner.batch
        worlds = max(batch_of, min(WORLDS, planner.worlds))
        planner = replace(planner, training=_brief(planner.training), batch=batch_of, worlds=worlds)
    dynamics = recipe.learn_dynamics
    if dynamics is not None:
        dynamics = replace(dynamics, training=_brief(dynamics.training), batch=batch or dynamics.batch)
        if planner is not None:
            planner = replace(planner, worlds=max(planner.worlds, dynamics.batch))
    return replace(
        recipe,
        learn_autoencoder=learn_autoencoder,
        learn_words=replace(words, training=_brief(words.training), batch=batch or words.batch),
        flow=tuple(_brief_flow(stage, recipe, batch) for stage in recipe.flow),
        learn_witness=learn_witness,
        learn_planner=planner,
        learn_dynamics=dynamics,
    )


def amounts(recipe: Recipe) -> Mapping[str, int]:
    """How much there is to do of each thing that a training tells of: files, steps, clips to encode."""
    pixels, witness, planner = recipe.learn_autoencoder, recipe.learn_witness, recipe.learn_planner
    found = {"pixels": pixels.files, "autoencoder": pixels.training.steps}
    found |= {} if pixels.decoder is None else {"decoder": pixels.decoder.steps}
    found["words"] = recipe.learn_words.training.steps
    for stage in recipe.flow:
        for portion in stage.portions:
            for name in recipe.encoded(portion):
                what = f"encoding {name}"
                found[what] = max(found.get(what, 0), portion.clips)
        found[stage.name] = stage.training.steps
    found |= {} if witness is None else {"witness": witness.training.steps}
    found |= {} if planner is None else {"worlds": planner.worlds, "planner": planner.training.steps}
    dynamics = recipe.learn_dynamics
    return found if planner is None or dynamics is None else found | {"dynamics": dynamics.training.steps}


def _brief(training: TrainSettings, steps: int = STEPS) -> TrainSettings:
    return replace(training, steps=steps, warmup=1, log_every=1, sample_every=0, compile=False)


def _brief_flow(stage: FlowStage, recipe: Recipe, batch: int | None) -> FlowStage:
    """Every portion has its turn in every size, and the first one two. What learns after them sees the same clips."""
    learners = [
        stage for stage in (recipe.learn_witness, recipe.learn_planner, recipe.learn_dynamics) if stage is not None
    ]
    learns = max((batch or stage.batch for stage in learners), default=0)
    portions = tuple(_few(portion, batch or portion.batch, learns) for portion in stage.portions)
    turns = sum(len(recipe.encoded(portion)) for portion in portions)
    return replace(stage, training=_brief(stage.training, max(STEPS, turns + 1)), portions=portions)


def _few(portion: Portion, batch: int, least: int) -> Portion:
    return replace(portion, batch=batch, clips=max(batch, least, min(FRAMES // portion.frames, portion.clips)))
