"""The distillation journey on one page: teacher -> cached latents -> smaller, causal, told its steps -> checkpoint.

Each exercise has a folder of its own and goes on where an earlier run of it stopped; what is finished costs nothing.
Of halving, the student of every round is kept as a checkpoint there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy, deepcopy
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import UInt8
from torch import nn

from muybridge.data.material import Material, Shape
from muybridge.data.prefetch import Prefetch
from muybridge.data.shards import Shards
from muybridge.data.source import Source
from muybridge.data.turns import InTurns
from muybridge.data.worlds import HELD_OUT
from muybridge.distillation.lesson import Teacher
from muybridge.distillation.matching import DistributionMatching
from muybridge.distillation.pruning import on, pruned
from muybridge.distillation.stepwise import Imitation, ProgressiveDistillation, Shortcut
from muybridge.distillation.student import begun
from muybridge.flow.guidance import Guidance
from muybridge.flow.paths import interpolate
from muybridge.generate import Model, save_model, to_uint8
from muybridge.recipes.student import Exercise, Halve, Imitate, Match, Shorten, StudentRecipe
from muybridge.sampler.sample import JUMP, Settings
from muybridge.simulation import prompt_and_facts
from muybridge.train import Step, reading, trained
from muybridge.training.caching import cache_latents
from muybridge.training.objectives import LevelSettings
from muybridge.training.parallel import Group
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Condition, Sampled

CALIBRATED = 32
"""Clips by which it is measured what a network can do without."""

SAMPLED = 8
"""Held-out prompts whose pictures are drawn now and then."""


def distil(
    recipe: StudentRecipe, teacher: Model, material: Material, folder: Path, group: Group, workers: int = 2
) -> Iterator[Step]:
    """All exercises in order; yields how far each is. At the end `folder`/model is a checkpoint that generates.

    `workers` processes make clips and batches ahead of time; 0 makes them here.

    ValueError for a teacher that jumps: exercises ask for velocities of a moment, and it learnt those of steps alone.
    """
    if teacher.transformer.config.spans:
        raise ValueError(
            f"{teacher.name} cannot teach, it learnt where its steps lead, not the velocity of a moment: "
            "take the model that it is a student of as --teacher"
        )
    shape = shape_of(teacher)
    cache = folder / f"latents-{shape.frames}"
    yield from cache_latents(cache, "clips", shape, recipe.clips, material, teacher.autoencoder, group, workers)
    guidance = guidance_of(teacher.settings)
    teaching = Teacher(teacher.transformer, teacher.text, guidance).to(group.device)
    words = teacher.vocabulary
    student = enrolled(recipe, teaching, Shards(cache, CALIBRATED, 0, words.ids, words.longest))

    def keep(place: Path, steps: int) -> None:
        if group.rank == 0:
            save_student(place, student, replace(recipe, steps=steps), teacher)

    for exercise in recipe.exercises:
        source = lessons(exercise, cache, teacher)
        for name, steps, objective in rounds(exercise, recipe, student, teaching, teacher.settings.shift):
            draw = partial(samples, teacher, student, replace(sampling_of(recipe, teacher), steps=steps))
            with Prefetch(source, min(workers, 1)) as ahead:
                about = identity(recipe, teacher, exercise, material)
                yield from trained(name, objective, ahead, exercise.training, folder, group, about, draw)
            if isinstance(exercise, Halve):
                keep(folder / name / "model", steps)
    keep(folder / "model", recipe.steps)


def save_student(folder: Path, student: VideoTransformer, recipe: StudentRecipe, teacher: Model) -> None:
    """A checkpoint: the student's transformer, sampled in the recipe's steps, and all else of its teacher."""
    save_model(
        folder,
        name=recipe.name,
        autoencoder=teacher.autoencoder,
        text=teacher.text,
        transformer=student,
        vocabulary=teacher.vocabulary,
        sampling=sampling_of(recipe, teacher),
        trained={name: value for name, value in teacher.config["trained"].items() if name != "sizes"},
        learnt_from=teacher.config["learnt_from"],
        familiarity=teacher.familiarity,
        witness=teacher.witness,
        planner=teacher.planner,
        card=card(recipe, teacher),
    )


def lessons(exercise: Exercise, cache: Path, teacher: Model) -> Source:
    """What an exercise learns from: clips, and in turns with them first frames alone, if it wants any."""
    seed, words = exercise.training.seed, teacher.vocabulary
    clips = Shards(cache, exercise.batch, seed, words.ids, words.longest)
    if not exercise.firsts:
        return clips
    return InTurns([clips, Shards(cache, exercise.firsts, seed + 1, words.ids, words.longest, frames=1)])


def enrolled(recipe: StudentRecipe, teaching: Teacher, source: Source) -> VideoTransformer:
    """The student as it begins: the teacher, less what is pruned, with what it takes to jump or to stream."""
    lesson = teaching.lesson(source.batch(0).to(teaching.transformer.frames_in.weight.device), LevelSettings())
    level = lesson.hold(lesson.uniform(1, salt=8).expand(lesson.is_known.shape))
    calibration = on(interpolate(lesson.data, lesson.noise, level), level, lesson.streams)
    return begun(pruned(teaching.transformer, recipe.keep, calibration), recipe.spans, recipe.causal, recipe.window)


def rounds(
    exercise: Exercise, recipe: StudentRecipe, student: VideoTransformer, teacher: Teacher, shift: float
) -> Iterator[tuple[str, int, nn.Module]]:
    """The objectives of an exercise, each with its name and the steps that its student samples with.

    One is asked for when the one before has been learnt: in halving, that student is its teacher.
    """
    levels = exercise.levels
    match exercise:
        case Imitate():
            yield "imitation", 16, Imitation(student, teacher, levels)
        case Shorten():
            shortcut = Shortcut(student, teacher, exercise.finest, shift, levels, exercise.anchor)
            yield "shortcuts", recipe.steps, shortcut
        case Match():
            critic = deepcopy(teacher.transformer).requires_grad_(True)
            if critic.tracks_in is not None:
                critic.tracks_in.requires_grad_(False)
            guidance = teacher.guidance if exercise.guidance is None else Guidance(exercise.guidance)
            judge = Teacher(teacher.transformer, teacher.text, guidance)
            turns, pace = exercise.turns, exercise.pace
            matching = DistributionMatching(student, critic, judge, recipe.steps, shift, levels, turns, pace)
            yield "matching", recipe.steps, matching
        case Halve():
            steps = exercise.begin
            while steps > exercise.end:
                steps //= 2
                yield f"halving-{steps}", steps, ProgressiveDistillation(student, teacher, steps, shift, levels)
                teacher = Teacher(deepcopy(student), teacher.text, Guidance())


def shape_of(teacher: Model) -> Shape:
    """Of the clips that the teacher has learnt from; where they came in several sizes, in the first."""
    trained = teacher.config["trained"]
    return Shape(int(trained["frames"]), int(trained["height"]), int(trained["width"]), float(trained["fps"]))


def guidance_of(settings: Settings) -> Guidance:
    """The guidance that a teacher is sampled with, which its students build in."""
    return Guidance(settings.guidance, settings.guidance_interval, settings.guidance_rescale)


def sampling_of(recipe: StudentRecipe, teacher: Model) -> Settings:
    """How the finished student is sampled: few steps on the teacher's grid, guidance built in, no more for its plan."""
    solver = JUMP if recipe.spans else "euler"
    drafts, tries = (recipe.drafts, recipe.tries) if teacher.settings.drafts else (0, 1)
    return Settings(
        recipe.steps,
        solver,
        guidance=1.0,
        shift=teacher.settings.shift,
        preview_every=1,
        drafts=drafts,
        draft_steps=recipe.steps,
        plan_steps=min(recipe.plan_steps, teacher.settings.plan_steps),
        tries=tries,
    )


def identity(recipe: StudentRecipe, teacher: Model, exercise: Exercise, material: Material) -> Mapping[str, Any]:
    """What a folder belongs to, beside the training's own settings: one of another teacher or exercise is refused."""
    numbers = {name: value for name, value in asdict(exercise).items() if name != "training"}
    return {
        "teacher": teacher.hash,
        "material": material.identity,
        "keep": asdict(recipe.keep),
        "causal": recipe.causal,
        "window": recipe.window,
        **numbers,
    }


def samples(teacher: Model, student: VideoTransformer, settings: Settings, step: int) -> UInt8[np.ndarray, "h w 3"]:
    """What held-out prompts have become of so far: a row of frames for each."""
    shape = shape_of(teacher)
    clip = Condition(frames=shape.frames, height=shape.height, width=shape.width, fps=shape.fps)
    conditions = [replace(clip, prompt=prompt_and_facts(HELD_OUT + i)[0]) for i in range(SAMPLED)]
    model, streams = copy(teacher), teacher.encode(conditions)
    model.transformer = student
    *_, last = model.steps(streams, streams, settings, range(SAMPLED))
    assert isinstance(last, Sampled), last
    video = teacher.decode(last.latent).frames
    shown = np.unique(np.linspace(0, shape.frames - 1, 6).round().astype(int))
    rows = np.stack([to_uint8(frames[shown]) for frames in video])
    return rearrange(rows, "(r n) t h w c -> (n h) (r t w) c", r=2)


def card(recipe: StudentRecipe, teacher: Model) -> str:
    """The model card of a fresh student: what is known before anything is measured."""
    rows = [(type(each).__name__.lower(), each.training.steps, each.batch) for each in recipe.exercises]
    table = "\n".join(f"| {name} | {steps} | {batch} |" for name, steps, batch in rows)
    streams = " Streams: its frames see no future." if recipe.causal else ""
    return (
        f"# {recipe.name}\n\nA student of {teacher.name} ({teacher.hash}): {recipe.steps} steps, guidance "
        f"{teacher.settings.guidance:g} built in.{streams}\nMade by `muybridge distill {recipe.name} --teacher "
        f"{teacher.name}`.{reading(teacher.text)}\n\n| exercise | steps | clips a step |\n|---|--:|--:|\n{table}\n"
    )
