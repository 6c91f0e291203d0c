"""Students by name: tiny ones to try things, and the fast and the streaming student of a model as large as nano."""

from __future__ import annotations

from dataclasses import replace

from muybridge.distillation.pruning import Pruning
from muybridge.recipes.student import Halve, Imitate, Match, Shorten, StudentRecipe
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings

_BRIEFLY = TrainSettings(steps=2, warmup=1, log_every=1, ema=0.5, sample_every=2)

_LEARN = TrainSettings(steps=600, lr=1.5e-4, muon_lr=2e-4, warmup=30, decay=0.5, ema=0.99, bf16=True, sample_every=100)
"""A student begins as its teacher, so its rates are a small part of those that made the teacher."""

_CAUSAL = LevelSettings(shift=6.0, per_frame=0.5, prefix=0.9, drop_text=0.0)
"""A stream's frame is noisy and its past is clean: prefixes nearly always, and levels of their own."""

TINY = StudentRecipe(
    name="tiny",
    exercises=(
        Imitate(_BRIEFLY, batch=2),
        Shorten(_BRIEFLY, batch=2, firsts=4, finest=4),
        Match(_BRIEFLY, batch=2, levels=_CAUSAL),
    ),
    steps=2,
    clips=4,
    keep=Pruning(expansion=3),
    causal=True,
    window=2,
)

TINY_HALVED = StudentRecipe(name="tiny-halved", exercises=(Halve(_BRIEFLY, batch=2, begin=4, end=1),), steps=1, clips=4)

_AFTER_A_STILL = LevelSettings(per_frame=0.0, prefix=0.9, drop_text=0.0)
"""First frames are drafts, so nearly every clip goes on from one; all other frames have one level, as sampled."""

NANO_FAST = StudentRecipe(
    name="nano-fast",
    exercises=(
        Shorten(
            replace(_LEARN, steps=450, lr=4e-4, muon_lr=5e-4, compile=True),
            batch=16,
            firsts=128,
            finest=16,
            levels=_AFTER_A_STILL,
        ),
    ),
    steps=2,
    clips=6_000,
    drafts=32,
    tries=2,
)

NANO_HALVED = StudentRecipe(
    name="nano-halved",
    exercises=(
        Halve(
            replace(_LEARN, steps=90, lr=4e-4, muon_lr=5e-4, warmup=10, ema=0.95, compile=True),
            batch=16,
            firsts=128,
            end=1,
            levels=_AFTER_A_STILL,
        ),
    ),
    steps=1,
    clips=6_000,
    drafts=32,
)
"""Five rounds, which come to the steps of `nano-fast`."""

NANO_SMALL = StudentRecipe(
    name="nano-small",
    exercises=(
        Imitate(replace(_LEARN, steps=400), batch=16, levels=LevelSettings(shift=6.0, drop_text=0.0)),
        Shorten(_LEARN, batch=16, levels=LevelSettings(drop_text=0.0)),
    ),
    steps=4,
    clips=5_000,
    keep=Pruning(layers=6, heads=3, expansion=3),
)

NANO_STREAM = StudentRecipe(
    name="nano-stream",
    exercises=(
        Imitate(
            replace(_LEARN, steps=150, lr=4e-4, muon_lr=5e-4, compile=True),
            batch=16,
            firsts=128,
            levels=_CAUSAL,
        ),
        Shorten(
            replace(_LEARN, steps=250, lr=4e-4, muon_lr=5e-4, compile=True),
            batch=16,
            firsts=128,
            finest=16,
            levels=_CAUSAL,
        ),
    ),
    steps=2,
    clips=6_000,
    causal=True,
    window=6,
    drafts=32,
)

STUDENTS = {recipe.name: recipe for recipe in (TINY, TINY_HALVED, NANO_FAST, NANO_HALVED, NANO_SMALL, NANO_STREAM)}


def find_student(name: str) -> StudentRecipe:
    """The student recipe of a name; ValueError with the names there are."""
    if name not in STUDENTS:
        raise ValueError(f"there is no student recipe {name!r}: take one of {', '.join(STUDENTS)}")
    return STUDENTS[name]
