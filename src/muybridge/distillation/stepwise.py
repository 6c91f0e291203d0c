"""Students that learn from a teacher's velocity: as it is, or two steps of it as one."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from muybridge.distillation.lesson import Lesson, Teacher, compile_each
from muybridge.flow.maps import in_two_steps
from muybridge.flow.paths import interpolate
from muybridge.flow.schedules import logit_normal_times, share_levels, shift_times, time_grid
from muybridge.training.objectives import LevelSettings, seeded_normal
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Batch


class Imitation(nn.Module):
    """The student says what the teacher says, at levels drawn as in training.

    What brings a pruned student back, what takes guidance in without a second evaluation (Meng et al. 2210.03142,
    §3.1), and what teaches a causal student before it learns from itself (Yin et al. 2412.07772, §4.3, with the
    teacher's velocity on the path in the place of its ODE pairs).
    """

    def __init__(self, student: VideoTransformer, teacher: Teacher, levels: LevelSettings) -> None:
        super().__init__()
        self.student, self.teacher, self.levels = student, teacher, levels

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the transformers, and leaves the draws of random numbers as they are."""
        compile_each((self.student, self.teacher), *args, **kwargs)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        lesson = self.teacher.lesson(batch, self.levels)
        level = lesson.hold(self._draw(lesson))
        x = interpolate(lesson.data, lesson.noise, level)
        loss = lesson.error(self.student(x, level, lesson.streams), self.teacher.velocity(lesson, x, level))
        return loss, {"loss": loss.detach()}

    def _draw(self, lesson: Lesson) -> Float[Tensor, "b t"]:
        frames = lesson.data.shape[1]
        normals = seeded_normal(lesson.seed, (frames,), salt=1).to(lesson.data)
        shared = lesson.uniform(1, salt=4)[:, 0] >= self.levels.per_frame
        return share_levels(shift_times(logit_normal_times(normals), self.levels.shift), shared)


class ProgressiveDistillation(nn.Module):
    """One Euler step of the student is two of the teacher (Salimans & Ho 2202.00512, algorithm 2).

    For a student of `steps` steps; halving again, with this student as the teacher, is the next round. The error is
    that of the mean velocity over a step: an error of the data counts 1 / t² times, which is like the paper's SNR
    weights. In the first round the teacher's guidance is built in (Meng et al. 2210.03142). Steps lie on the grid that
    will be sampled, with its `shift`.
    """

    def __init__(
        self, student: VideoTransformer, teacher: Teacher, steps: int, shift: float, levels: LevelSettings
    ) -> None:
        super().__init__()
        assert steps >= 1, f"{steps} steps"
        self.student, self.teacher, self.levels = student, teacher, levels
        self.steps, self.shift = steps, shift

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the transformers, and leaves the draws of random numbers as they are."""
        compile_each((self.student, self.teacher), *args, **kwargs)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        lesson = self.teacher.lesson(batch, self.levels)
        grid = time_grid(2 * self.steps, self.shift).to(lesson.data)
        at = 2 * drawn_places(lesson, self.steps, self.levels.per_frame)
        level, middle, after = (lesson.hold(grid[at + i]) for i in range(3))
        x = interpolate(lesson.data, lesson.noise, level)
        meant = in_two_steps(lambda x, level, after: self.teacher.velocity(lesson, x, level), x, level, middle, after)
        loss = lesson.error(self.student(x, level, lesson.streams), meant)
        return loss, {"loss": loss.detach()}


class Shortcut(nn.Module):
    """A student that is told how far it steps, and knows every step from the longest to the shortest of a grid.

    The shortest step but one is two of the teacher; each longer one is two of its own, half as long (self-consistency
    of shortcut models, Frans et al. 2410.12557, eq. 4 and §3.2), so 1, 2, 4, … steps come out of one training that
    never walks a whole path. `anchor` is the share of a batch that learns from the teacher.

    With a teacher there is no need of the paper's flow-matching part: the teacher's steps are where the chain begins.
    """

    def __init__(
        self,
        student: VideoTransformer,
        teacher: Teacher,
        finest: int,
        shift: float,
        levels: LevelSettings,
        anchor: float = 0.5,
    ) -> None:
        super().__init__()
        assert finest >= 2, f"a grid of {finest} steps"
        assert finest & (finest - 1) == 0, f"a grid of {finest} steps cannot be halved down to one"
        assert student.config.spans, "a shortcut student takes spans"
        self.student, self.teacher, self.levels = student, teacher, levels
        self.finest, self.shift, self.anchor = finest, shift, anchor

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the transformers, and leaves the draws of random numbers as they are."""
        compile_each((self.student, self.teacher), *args, **kwargs)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        whole = self.teacher.lesson(batch, self.levels)
        chance = whole.uniform(2, salt=4)
        anchored = self._anchored(chance[:, 0])
        loss, metrics = whole.data.new_zeros(()), {}
        for name, rows in (("taught", anchored), ("consistent", ~anchored)):
            if not bool(rows.any()):
                continue
            lesson = part(whole, rows)
            steps = self._steps(chance[rows, 1], taught=name == "taught")
            wrong = self._error(lesson, steps, taught=name == "taught")
            loss = loss + wrong * (len(steps) / len(rows))
            metrics[name] = wrong.detach()
        return loss, {"loss": loss.detach(), **metrics}

    def _anchored(self, chance: Float[Tensor, " b"]) -> Bool[Tensor, " b"]:
        """Which clips learn from the teacher: as many in every batch, for compiled networks want shapes that stay."""
        count = len(chance) if self.finest == 2 else round(self.anchor * len(chance))
        return chance.argsort().argsort() < count

    def _steps(self, chance: Float[Tensor, " b"], taught: bool) -> Tensor:
        """In how many steps each clip is walked: as many as there are if the teacher does, else 1, 2, 4, … fewer."""
        if taught:
            return torch.full_like(chance, self.finest // 2, dtype=torch.long)
        choices = (self.finest // 2).bit_length() - 1
        return 2 ** (chance * choices).long()

    def _error(self, lesson: Lesson, steps: Tensor, taught: bool) -> Float[Tensor, ""]:
        grid = time_grid(self.finest, self.shift).to(lesson.data)
        stride = (self.finest // steps)[:, None]
        at = stride * drawn_places(lesson, steps[:, None], self.levels.per_frame)
        level, middle, after = (lesson.hold(grid[at + stride * i // 2]) for i in range(3))
        x = interpolate(lesson.data, lesson.noise, level)

        def walk(x: Tensor, level: Tensor, after: Tensor) -> Tensor:
            if taught:
                return self.teacher.velocity(lesson, x, level)
            stepped: Tensor = self.student(x, level, lesson.streams, span=level - after).float()
            return stepped

        with torch.no_grad():
            meant = in_two_steps(walk, x, level, middle, after)
        return lesson.error(self.student(x, level, lesson.streams, span=level - after), meant)


def drawn_places(lesson: Lesson, count: int | Tensor, per_frame: float) -> Tensor:
    """Which of `count` steps each clip is at, or, of a share `per_frame` of them, each frame (2407.01392)."""
    chance = lesson.uniform(1 + lesson.data.shape[1], salt=5)
    shared = chance[:, 0] >= per_frame
    return (share_levels(chance[:, 1:], shared) * count).long()


def part(lesson: Lesson, rows: Tensor) -> Lesson:
    """The lesson of some clips of a batch."""
    fields = ("text", "known", "is_known", "fps")
    told = None if lesson.streams.told is None else lesson.streams.told[rows]
    streams, negative = (
        type(of)(text_mask=None, told=told, **{name: getattr(of, name)[rows] for name in fields})
        for of in (lesson.streams, lesson.negative)
    )
    ends = lesson.data[rows], lesson.noise[rows], lesson.is_known[rows], lesson.held[rows]
    return Lesson(*ends, streams, negative, lesson.seed[rows.to(lesson.seed.device)])
