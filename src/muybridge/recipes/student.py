"""What a student's recipe is: what it learns from its teacher, one exercise after the other. Settings, nothing else.

A student recipe goes with any teacher: sizes, clips, guidance and the grid's shift are the teacher's.

Of every exercise, `batch` is the clips that a step learns from. Every other step learns from so many `firsts` instead,
if there are any: clips' first frames alone, which a clip begins with where a model makes drafts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from muybridge.distillation.pruning import Pruning
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings


@dataclass(frozen=True)
class Imitate:
    """The teacher's guided velocity at any level: after pruning, and before a causal student learns from itself."""

    training: TrainSettings
    batch: int
    firsts: int = 0
    levels: LevelSettings = field(default_factory=LevelSettings)


@dataclass(frozen=True)
class Halve:
    """Progressive distillation: from a teacher that takes `begin` steps down to a student of `end`, halving each time.

    `training` is that of one round.
    """

    training: TrainSettings
    batch: int
    firsts: int = 0
    begin: int = 32
    end: int = 1
    levels: LevelSettings = field(default_factory=LevelSettings)


@dataclass(frozen=True)
class Shorten:
    """Shortcuts on a grid of `finest` steps; `anchor` is the share of clips that learn from the teacher."""

    training: TrainSettings
    batch: int
    firsts: int = 0
    finest: int = 32
    anchor: float = 0.5
    levels: LevelSettings = field(default_factory=LevelSettings)


@dataclass(frozen=True)
class Match:
    """Clips that the student makes, judged by teacher and critic.

    turns     the student learns in every such step, the critic in all
    pace      the student's rates as a share of the critic's, which are those of `training`
    guidance  that the teacher judges with; None: as it is sampled
    """

    training: TrainSettings
    batch: int
    firsts: int = 0
    turns: int = 1
    pace: float = 1.0
    guidance: float | None = None
    levels: LevelSettings = field(default_factory=LevelSettings)


Exercise: TypeAlias = Imitate | Halve | Shorten | Match


@dataclass(frozen=True)
class StudentRecipe:
    """A student, from its teacher to weights.

    exercises  what it learns, in this order, each from the averaged weights of the one before
    steps      what it samples with unless told otherwise
    drafts     first frames it chooses from, of a teacher with a witness
    tries      times that it draws a clip at most, likewise: with few steps, twice costs little
    plan_steps what its plans take at most, of a teacher with a planner, which stays the teacher's
    clips      encoded clips that it learns from
    keep       how much of the teacher it is; less is followed by a recovery (`Imitate`)
    causal     its frames see no future, so it streams
    window     latent frames that it remembers while it streams, fewer than its clips have: so it learns to forget, for
               its cache rolls while it makes them. None: as many as its teacher's shape says
    """

    name: str
    exercises: tuple[Exercise, ...]
    steps: int
    clips: int
    keep: Pruning = field(default_factory=Pruning)
    causal: bool = False
    window: int | None = None
    drafts: int = 4
    tries: int = 1
    plan_steps: int = 4

    @property
    def spans(self) -> bool:
        """Whether it is told how far it steps, and so jumps."""
        return any(isinstance(exercise, Shorten | Match) for exercise in self.exercises)
