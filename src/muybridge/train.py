"""The training journey on one page: worlds -> autoencoder -> words -> cached latents -> transformer -> checkpoint.

Each stage has a folder of its own and goes on where an earlier run of it stopped; what is finished costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from torch import Tensor, nn

from muybridge.conditioning.borrowed import borrowed_by, borrowing, name_of, tokens_of
from muybridge.conditioning.familiarity import Familiarity
from muybridge.conditioning.pretrained import PretrainedText
from muybridge.conditioning.text import TextConfig, TextEncoder
from muybridge.conditioning.vocabulary import Vocabulary
from muybridge.conditioning.witness import Witness, WitnessConfig
from muybridge.data import naming, sentences
from muybridge.data.crops import Crops, cache_pixels, whole_clips
from muybridge.data.material import (
    THINGS,
    Filmed,
    Foretold,
    Material,
    Shape,
)
from muybridge.data.prefetch import Prefetch
from muybridge.data.shards import Shards
from muybridge.data.source import Source
from muybridge.data.turns import InTurns
from muybridge.generate import check_shape, save_model
from muybridge.recipes.recipe import Portion, Recipe
from muybridge.storage.checkpoint import PRETRAINED
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.training.caching import cache_latents, cache_worlds
from muybridge.training.following import Following
from muybridge.training.objectives import (
    FlowMatching,
    Reader,
    Reading,
    Recogniser,
    Reconstruction,
    Witnessing,
    psnr,
    to_pixels,
)
from muybridge.training.parallel import Group, whole
from muybridge.training.planning import Planning
from muybridge.training.settings import TrainSettings
from muybridge.training.sheets import samples
from muybridge.training.trainer import Sheet, Trainer
from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.types import Progress, Trained, sizes_named

Step: TypeAlias = tuple[str, Trained | Progress]
"""What is being done, and how far it is."""

CLASSES = (len(naming.COLOURS), len(naming.SHAPES), len(naming.SIZES))
"""What is told of an object that a sentence names."""

MEASURED = 64
"""Clips by which the latents' mean and deviation are measured."""

FAMILIAR, FEWEST = 1000, 100
"""Stills by which others are told to be of another kind, and how few of them are too few for that."""


def train(
    recipe: Recipe,
    material: Material,
    folder: Path,
    group: Group,
    workers: int = 2,
    pretrained: PretrainedText | None = None,
) -> Iterator[Step]:
    """All stages in order; yields how far each is. At the end `folder`/model is a checkpoint that generates.

    `workers` processes make clips and batches ahead of time; 0 makes them here. What a `pretrained` text encoder says
    of a prompt is read in place of an embedding of each word; it learns nothing itself. ValueError for sizes, see
    `check`.
    """
    check(recipe, material)
    vocabulary = Vocabulary.of(material.words()) if pretrained is None else tokens_of(pretrained)
    about = identity(recipe, material, pretrained)
    autoencoder = yield from learn_autoencoder(recipe, material, folder, group, about)
    text = text_encoder(recipe, vocabulary, pretrained)
    reader = Reader(text.config, CLASSES, naming.OBJECTS) if material.grammatical else None
    if reader is not None:
        yield from learn_words(recipe, Reading(text, reader), vocabulary, folder, group, about, workers)
    # Whether words were learnt in this process or in an earlier one, what follows begins with the same numbers.
    torch.manual_seed(recipe.flow[0].training.seed)
    transformer = VideoTransformer(recipe.transformer)
    recogniser = Recogniser(recipe.transformer, material.classes) if material.classes else None
    name = naming.named if material.grammatical else None
    for stage in recipe.flow:
        for portion in stage.portions:
            yield from encode_clips(recipe, portion, material, autoencoder, folder, group, workers)
        objective = FlowMatching(
            transformer, text, stage.levels, recogniser, stage.recognition, reader, batch_shapes(recipe)
        )
        draw = partial(samples, recipe.shapes(stage.frames), recipe.sampling, objective, autoencoder, vocabulary)
        source = in_turns(recipe, folder, stage.portions, stage.training.seed, vocabulary, name)
        with Prefetch(source, min(workers, 1)) as ahead:
            yield from trained(stage.name, objective, ahead, stage.training, folder, group, about, draw)
    witness = yield from learn_witness(recipe, material, autoencoder, text, vocabulary, folder, group, about, workers)
    planner = yield from learn_planner(recipe, material, text, vocabulary, folder, group, about, workers)
    if group.rank == 0:
        save_model(
            folder / "model",
            name=recipe.name,
            autoencoder=autoencoder,
            text=text,
            transformer=transformer,
            vocabulary=vocabulary,
            sampling=recipe.sampling,
            trained=trained_on(recipe),
            learnt_from=material.name,
            familiarity=familiarity(autoencoder, folder / "pixels"),
            witness=witness,
            planner=planner,
            card=card(recipe, text, material.grammatical, witness is not None, planner is not None),
        )


def learn_autoencoder(
    recipe: Recipe, material: Material, folder: Path, group: Group, about: Mapping[str, Any]
) -> Generator[Step, None, VideoAutoencoder]:
    """The recipe's autoencoder, whose latents have about unit variance. `about`: see `identity`."""
    stage = recipe.learn_autoencoder
    torch.manual_seed(stage.training.seed)
    autoencoder, began = VideoAutoencoder(recipe.autoencoder), time.monotonic()
    for number in range(group.rank, stage.files, group.world):
        cache_pixels(folder / "pixels", number, stage.clips_a_file, material, recipe.shape(stage.clip_frames))
        yield "pixels", Progress(number + 1, stage.files, time.monotonic() - began)
    group.largest(0.0)  # a collective: all wait for all
    windows = partial(Crops, folder / "pixels", stage.files, stage.batch, stage.frames, stage.side)
    objective = Reconstruction(autoencoder, stage.object_weight)
    yield from trained("autoencoder", objective, windows(stage.training.seed), stage.training, folder, group, about)
    normalise(autoencoder, folder / "pixels")
    if stage.decoder is not None:
        autoencoder.encoder.requires_grad_(False)
        yield from trained("decoder", objective, windows(stage.decoder.seed), stage.decoder, folder, group, about)
    return autoencoder.requires_grad_(False).eval()


@torch.no_grad()
def normalise(autoencoder: VideoAutoencoder, pixels: Path) -> None:
    """Sets the autoencoder's `mean` and `std` to what its latents of the first cached clips have."""
    autoencoder.mean.zero_()
    autoencoder.std.fill_(1)
    clips = (to_pixels(clip.to(autoencoder.mean.device)) for clip in whole_clips(pixels, MEASURED))
    latents = torch.cat([autoencoder.encode(clip)[0] for clip in clips])
    autoencoder.mean.copy_(latents.mean(dim=(0, 1, 3, 4))[:, None, None])
    autoencoder.std.copy_(latents.std(dim=(0, 1, 3, 4))[:, None, None])


@torch.no_grad()
def familiarity(autoencoder: VideoAutoencoder, pixels: Path) -> Familiarity | None:
    """What the stills of the cached clips have in common; None where they are too few to tell."""
    latents, psnrs = [], []
    for clip in whole_clips(pixels, FAMILIAR):
        still = to_pixels(clip[:, :1].to(autoencoder.mean.device))
        latent, _ = autoencoder.encode(still)
        latents.append(latent[0, 0])
        psnrs.append(psnr(autoencoder.decode(latent)[0] - still))
    return Familiarity.fit(torch.stack(latents), torch.stack(psnrs)) if len(latents) >= FEWEST else None


def identity(recipe: Recipe, material: Material, pretrained: PretrainedText | None = None) -> Mapping[str, Any]:
    """What a folder belongs to, beside a stage's own settings: one of other material or networks is refused."""
    networks = {"autoencoder": asdict(recipe.autoencoder), "transformer": asdict(recipe.transformer)}
    sizes = {"sizes": recipe.sizes} if recipe.sizes else {}
    found = {"material": material.identity, **networks, "text": [recipe.text_layers, recipe.text_heads], **sizes}
    return found if pretrained is None else found | {"text encoder": name_of(pretrained)}


def trained_on(recipe: Recipe) -> dict[str, Any]:
    """The shape of the clips that a recipe's model has seen; of several sizes the first, and all of them as `sizes`."""
    first = recipe.shapes(max(stage.frames for stage in recipe.flow))[0]
    found = {"frames": first.frames, "height": first.height, "width": first.width, "fps": first.fps}
    return {**found, "sizes": [list(size) for size in recipe.sizes]} if recipe.sizes else found


def check(recipe: Recipe, material: Material) -> None:
    """ValueError for sizes that the recipe's model cannot make, or that no footage is of."""
    side = recipe.autoencoder.spatial_stride * recipe.transformer.patch
    lengths = {portion.frames for stage in recipe.flow for portion in stage.portions}
    for shape in (shape for frames in sorted(lengths) for shape in recipe.shapes(frames) if shape.among):
        check_shape(shape.frames, shape.width, shape.height, side)
        if isinstance(material, Filmed):
            material.check(shape)


def batch_shapes(recipe: Recipe) -> int:
    """How many shapes of batches the transformer meets in all stages, those of its sample sheets among them."""
    portions = {portion for stage in recipe.flow for portion in stage.portions}
    sheets = {stage.frames for stage in recipe.flow}
    return sum(len(recipe.shapes(frames)) for frames in [*(portion.frames for portion in portions), *sheets])


def card(recipe: Recipe, text: TextEncoder, reads: bool = True, looks: bool = True, plans: bool = True) -> str:
    """The model card of a fresh checkpoint: what is known before anything is measured.

    reads, looks, plans  whether words, witness and planner had something to learn from
    """
    rows: list[tuple[str, int, int | str]]
    pixels = recipe.learn_autoencoder
    rows = [("autoencoder", pixels.training.steps, pixels.batch)]
    if pixels.decoder is not None:
        rows.append(("decoder", pixels.decoder.steps, pixels.batch))
    if reads:
        rows.append(("words", recipe.learn_words.training.steps, recipe.learn_words.batch))
    for stage in recipe.flow:
        rows.append((stage.name, stage.training.steps, ", ".join(str(portion.batch) for portion in stage.portions)))
    if recipe.learn_witness is not None and looks:
        rows.append(("witness", recipe.learn_witness.training.steps, recipe.learn_witness.batch))
    if recipe.learn_planner is not None and plans:
        rows.append(("planner", recipe.learn_planner.training.steps, recipe.learn_planner.batch))
    if recipe.learn_dynamics is not None and plans:
        rows.append(("dynamics", recipe.learn_dynamics.training.steps, recipe.learn_dynamics.batch))
    table = "\n".join(f"| {name} | {steps} | {batch} |" for name, steps, batch in rows)
    sizes = recipe.sizes or ((recipe.width, recipe.height),)
    asked = f" --sizes {','.join(f'{width}x{height}' for width, height in sizes)}" if recipe.sizes else ""
    asked += f" --effort {recipe.effort:g}" if recipe.effort != 1 else ""
    return (
        f"# {recipe.name}\n\nText and stills to video, {sizes_named(sizes)} at {recipe.fps:g} fps.\n"
        f"Trained by `muybridge train {recipe.name}{asked}`.{reading(text)}\n\n"
        f"| stage | steps | clips a step |\n|---|--:|--:|\n{table}\n"
    )


def reading(text: TextEncoder) -> str:
    """A sentence for the model card about a text encoder that others have trained; empty where there is none."""
    frozen = borrowed_by(text)
    if frozen is None:
        return ""
    kind = frozen.model.config.model_type
    return f"\nPrompts are read with a frozen {kind}, which lies in `{PRETRAINED}` under the licence of its makers."


def text_encoder(recipe: Recipe, vocabulary: Vocabulary, pretrained: PretrainedText | None = None) -> TextEncoder:
    """The recipe's text encoder, as yet untrained."""
    torch.manual_seed(recipe.learn_words.training.seed)
    config = TextConfig(len(vocabulary), recipe.transformer.text_width, recipe.text_layers, recipe.text_heads)
    return TextEncoder(config) if pretrained is None else borrowing(config, pretrained.frozen, vocabulary.longest)


def learn_words(
    recipe: Recipe,
    objective: Reading,
    vocabulary: Vocabulary,
    folder: Path,
    group: Group,
    about: Mapping[str, Any],
    workers: int,
) -> Iterator[Step]:
    """The text encoder learns to tell what a sentence names."""
    stage = recipe.learn_words
    source = sentences.Sentences(stage.batch, vocabulary.ids, text_length=vocabulary.longest)
    with Prefetch(source, min(workers, 1)) as ahead:
        yield from trained("words", objective, ahead, stage.training, folder, group, about)


def learn_witness(
    recipe: Recipe,
    material: Material,
    autoencoder: VideoAutoencoder,
    text: TextEncoder,
    vocabulary: Vocabulary,
    folder: Path,
    group: Group,
    about: Mapping[str, Any],
    workers: int,
) -> Generator[Step, None, Witness | None]:
    """What chooses among drafts; None where the recipe wants none, or nobody knows what the clips show."""
    stage = recipe.learn_witness
    if stage is None or not material.grammatical or not material.classes:
        return None
    torch.manual_seed(stage.training.seed)
    colours, shapes, _ = CLASSES
    sizes = (recipe.autoencoder.channels, recipe.transformer.text_width, colours, shapes, naming.OBJECTS)
    witness = Witness(WitnessConfig(*sizes, stage.width, stage.blocks))
    portions, seed = first_frames(recipe, stage.batch), stage.training.seed
    source = in_turns(recipe, folder, portions, seed, vocabulary, naming.named)
    with Prefetch(source, min(workers, 1)) as ahead:
        objective = Witnessing(witness, text.requires_grad_(False), autoencoder.requires_grad_(False))
        yield from trained("witness", objective, ahead, stage.training, folder, group, about)
    return witness.eval()


def learn_planner(
    recipe: Recipe,
    material: Material,
    text: TextEncoder,
    vocabulary: Vocabulary,
    folder: Path,
    group: Group,
    about: Mapping[str, Any],
    workers: int,
) -> Generator[Step, None, Planner | None]:
    """What foresees where things go; None where the recipe wants none, or nobody knows where things are."""
    stage, kinds = recipe.learn_planner, recipe.transformer.tracked
    if stage is None or kinds is None or not isinstance(material, Foretold):
        return None
    torch.manual_seed(stage.training.seed)
    sizes = (recipe.autoencoder.channels, recipe.transformer.text_width, kinds, THINGS)
    follows = recipe.learn_dynamics
    steps = 0 if follows is None else follows.width
    config = PlannerConfig(*sizes, width=stage.width, layers=stage.layers, heads=stage.heads, steps=steps)
    planner = Planner(config)
    shape = recipe.shapes(max(portion.frames for flow in recipe.flow for portion in flow.portions))[0]
    yield from cache_worlds(folder / "worlds", shape, stage.worlds, material, group, workers)
    text.requires_grad_(False)
    objectives: list[tuple[str, nn.Module, TrainSettings, int]]
    objectives = [("planner", Planning(planner, text), stage.training, stage.batch)]
    if follows is not None and planner.dynamics is not None:
        objectives.append(("dynamics", Following(planner.dynamics, text, config), follows.training, follows.batch))
    for name, objective, settings, batch in objectives:
        clips = Shards(cache_of(folder, shape), batch, settings.seed, vocabulary.ids, vocabulary.longest)
        worlds = Shards(folder / "worlds", batch, settings.seed + 1, vocabulary.ids, vocabulary.longest)
        with Prefetch(InTurns([clips, worlds]), min(workers, 1)) as ahead:
            yield from trained(name, objective, ahead, settings, folder, group, about)
    return planner.eval()


def first_frames(recipe: Recipe, batch: int) -> tuple[Portion, ...]:
    """First frames of stills and of clips of each length: what clips are called is not what stills are called."""
    portions = {portion.frames: portion for stage in recipe.flow for portion in stage.portions}
    return tuple(replace(portion, batch=batch, latents=1, glimpses=None) for portion in portions.values())


def in_turns(
    recipe: Recipe,
    folder: Path,
    portions: Sequence[Portion],
    seed: int,
    vocabulary: Vocabulary,
    name: Callable[[str], Int64[Tensor, "k 3"]] | None,
) -> InTurns:
    """The cached clips of several portions, a batch of each in each of the recipe's sizes, in turns."""
    turns = [(portion, shape) for portion in portions for shape in recipe.shapes(portion.frames)]
    sources = {
        (portion, shape): Shards(
            cache_of(folder, shape),
            portion.batch,
            seed + number,
            vocabulary.ids,
            vocabulary.longest,
            frames=portion.latents,
            glimpses=portion.glimpses,
            name=name,
        )
        for number, (portion, shape) in enumerate(dict.fromkeys(turns))
    }
    return InTurns([sources[turn] for turn in turns])


def cache_of(folder: Path, shape: Shape) -> Path:
    """Where the latents of clips of a shape lie: where there are several sizes, each has a folder of its own."""
    return folder / (f"latents-{shape.frames}-{shape.size}" if shape.among else f"latents-{shape.frames}")


def encode_clips(
    recipe: Recipe,
    portion: Portion,
    material: Material,
    autoencoder: VideoAutoencoder,
    folder: Path,
    group: Group,
    workers: int,
) -> Iterator[Step]:
    """Fills the caches of a portion, one for each size."""
    for name, shape in recipe.encoded(portion).items():
        cache = cache_of(folder, shape)
        yield from cache_latents(cache, name, shape, portion.clips, material, autoencoder, group, workers)


def trained(
    name: str,
    objective: nn.Module,
    source: Source,
    settings: TrainSettings,
    folder: Path,
    group: Group,
    about: Mapping[str, Any],
    draw: Sheet | None = None,
) -> Iterator[Step]:
    """Trains `objective` in a folder of its own; afterwards it has its averaged weights. `about`: see Trainer.recipe"""
    objective.to(group.device)
    # A module that is sharded stays so, and what follows uses this one again, whole: so a copy of it learns.
    learner = deepcopy(objective) if settings.fsdp else objective

    def sheet(step: int) -> UInt8[np.ndarray, "h w 3"] | None:
        if settings.fsdp:
            objective.load_state_dict(weights(learner))
        return draw(step) if draw is not None and group.rank == 0 else None

    shown = None if draw is None else sheet
    trainer = Trainer(learner, source, settings, folder / name, recipe=about, group=group, on_sample=shown)
    for event in trainer.run():
        yield name, event
    with trainer.averaged():
        average = weights(learner)
    objective.load_state_dict(average)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of what a module's state holds, each tensor in one piece. Collective where it is sharded."""
    return {name: whole(tensor).clone() for name, tensor in module.state_dict().items()}
