"""A student learns from what it makes itself: distribution matching distillation, Yin et al. 2311.18828.

It makes a clip as it will when it is used: as a whole (2405.14867), or, if it is causal, frame by frame through its
cache (Self Forcing, Huang et al. 2506.08009). Then the clip is judged by a difference of two scores (eq. 7): that of
the teacher, who knows what clips there are, and that of a critic, who learns what clips the student makes.
"""

from __future__ import annotations

from itertools import islice, pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.distillation.lesson import Lesson, Teacher, compile_each
from muybridge.flow.maps import jump
from muybridge.flow.paths import data_from_velocity, expand_level, interpolate, velocity
from muybridge.flow.schedules import shift_times, time_grid
from muybridge.training.objectives import LevelSettings, seeded_normal
from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.streaming import advance, read
from muybridge.types import Batch, Carry

LOWEST, HIGHEST = 0.02, 0.98
"""Levels at which a clip is judged: at the very ends one of the two scores says nothing (2311.18828, §3.2)."""


def rollout(
    student: VideoTransformer, lesson: Lesson, grid: Float[Tensor, " k"], leave: int
) -> Float[Tensor, "b t c h w"]:
    """Clips made frame by frame, each from those before it through the cache.

    A frame takes the first `leave` steps of the `grid`, which ends at 0, and from there one jump to data. Only that
    jump has a gradient, and what is remembered has none: the memory it takes is that of one evaluation a frame
    (2506.08009, algorithm 1). Known frames are remembered as they are, at the level they are given at.
    """
    words = read(student, lesson.streams.text)
    carry: Carry = {}
    frames = []
    for number in range(lesson.data.shape[1]):
        part = slice(number, number + 1)
        x, fps = lesson.noise[:, part], lesson.streams.fps
        told = None if lesson.streams.told is None else lesson.streams.told[:, part]
        with torch.no_grad():
            for level, after in islice(pairwise(grid), leave):
                here = level.expand(x.shape[:2])
                u, _ = advance(student, x, here, words, fps, carry, span=here - after, told=told)
                x = x + (after - level) * u.float()
        here = grid[leave].expand(x.shape[:2])
        u, _ = advance(student, x, here, words, fps, carry, span=here, told=told)
        known = expand_level(lesson.is_known[:, part], x)
        frame = torch.where(known, lesson.data[:, part], data_from_velocity(x, u.float(), here))
        with torch.no_grad():
            held = lesson.hold(torch.zeros_like(lesson.held))[:, part]
            shown = interpolate(frame.detach(), lesson.noise[:, part], held)
            _, carry = advance(student, shown, held, words, fps, carry, remember=True, told=told)
        frames.append(frame)
    return torch.cat(frames, dim=1)


def sampled(
    student: VideoTransformer, lesson: Lesson, grid: Float[Tensor, " k"], leave: int
) -> Float[Tensor, "b t c h w"]:
    """Clips made as a whole: the first `leave` steps of the `grid`, then one jump to data, which alone has a gradient.

    So the student learns at what it meets when it is sampled, not at noisy data (2405.14867, §4.5).
    """

    def flow_map(x: Tensor, level: Tensor, after: Tensor) -> Tensor:
        mean: Tensor = student(x, level, lesson.streams, span=level - after)
        return mean.float()

    levels = torch.stack([lesson.hold(level.expand(lesson.held.shape)) for level in grid])
    x = interpolate(lesson.data, lesson.noise, levels[0])
    with torch.no_grad():
        for step in islice(jump(flow_map, x, levels), leave):
            x = step.x
    (last,) = jump(flow_map, x, levels[[leave, -1]])
    return torch.where(expand_level(lesson.is_known, x), lesson.data, last.x)


def gap(
    made: Float[Tensor, "b t c h w"], real: Float[Tensor, "b t c h w"], fake: Float[Tensor, "b t c h w"]
) -> Float[Tensor, "b t c h w"]:
    """Which way to go to be less like what is made and more like what there is: 2311.18828, eq. 7 and 8.

    `real` and `fake` are the data that teacher and critic foretell of the `made` clip after it was made noisy again.
    Divided by how far the clip is from the teacher's: levels then weigh alike. Zero where both distributions are one.
    """
    size = (made - real).abs().mean(dim=(1, 2, 3, 4), keepdim=True).clamp_min(1e-6)
    return (fake - real) / size


class DistributionMatching(nn.Module):
    """The student's clips are to be distributed as the teacher's; the critic is learnt beside it.

    steps   of the student's grid; each batch leaves it at one of them, so every jump to data is judged
    turns   the critic learns in every step, the student in every such step only (Yin et al. 2405.14867, §4.2). With
            several processes it has to be 1
    pace    the student's rates as a share of the critic's: a critic that lags behind sends it too far (two time-scales,
            Heusel et al. 1706.08500)
    """

    turn: Tensor

    def __init__(
        self,
        student: VideoTransformer,
        critic: VideoTransformer,
        teacher: Teacher,
        steps: int,
        shift: float,
        levels: LevelSettings,
        turns: int = 1,
        pace: float = 1.0,
    ) -> None:
        super().__init__()
        assert steps >= 1, f"{steps} steps"
        assert turns >= 1, f"{turns} turns"
        assert student.config.spans, "clips end with a jump: the student takes spans"
        self.student, self.critic, self.teacher, self.levels = student, critic, teacher, levels
        self.steps, self.shift, self.turns = steps, shift, turns
        self.rates = {"student": pace, "critic": 1.0}
        self.register_buffer("turn", torch.zeros((), dtype=torch.long))

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles what sees whole clips, for each shape of a batch."""
        learns = [] if self.student.config.causal else [self.student]
        compile_each((self.critic, self.teacher, *learns), *args, **kwargs)

    def forward(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        lesson = self.teacher.lesson(batch, self.levels)
        grid = time_grid(self.steps, self.shift).to(lesson.data)
        leave = int(torch.randint(self.steps, ()))  # of the generator that the Trainer seeds: one for the whole batch
        learns = int(self.turn) % self.turns == 0
        self.turn += 1
        make = rollout if self.student.config.causal else sampled
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            made = make(self.student, lesson, grid, leave)
        judged = self._flow(lesson, made.detach())
        metrics = {"critic": judged.detach()}
        loss = judged
        if learns:
            loss = loss + self._match(lesson, made, metrics)
        return loss, {"loss": loss.detach(), **metrics}

    def _match(self, lesson: Lesson, made: Float[Tensor, "b t c h w"], metrics: dict[str, Tensor]) -> Tensor:
        """A loss whose gradient at the made clips is the gap."""
        with torch.no_grad():
            x, level, _ = self._noisy(lesson, made, salt=6)
            real = data_from_velocity(x, self.teacher.velocity(lesson, x, level), level)
            fake = data_from_velocity(x, self.critic(x, level, lesson.streams).float(), level)
            away = gap(made, real, fake)
        metrics["gap"] = away.square().mean()
        return 0.5 * lesson.error(made, (made - away).detach())

    def _flow(self, lesson: Lesson, made: Float[Tensor, "b t c h w"]) -> Tensor:
        """The critic's own objective: flow matching on what the student makes (2311.18828, §3.2)."""
        x, level, noise = self._noisy(lesson, made, salt=7)
        return lesson.error(self.critic(x, level, lesson.streams), velocity(made, noise))

    def _noisy(
        self, lesson: Lesson, made: Float[Tensor, "b t c h w"], salt: int
    ) -> tuple[Float[Tensor, "b t c h w"], Float[Tensor, "b t"], Float[Tensor, "b t c h w"]]:
        """The made clips at one level each, known frames as they are given; that level, and the noise."""
        noise = seeded_normal(lesson.seed, tuple(made.shape[1:]), salt).to(made)
        drawn = LOWEST + (HIGHEST - LOWEST) * shift_times(lesson.uniform(1, salt + 2), self.levels.shift)
        level = lesson.hold(drawn.expand(made.shape[:2]))
        return interpolate(made, noise, level), level, noise
