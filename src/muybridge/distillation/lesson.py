"""What every distillation has in common: a frozen teacher, and a batch as both of them see it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from muybridge.conditioning.text import TextEncoder
from muybridge.flow.guidance import Guidance, guided_field
from muybridge.flow.paths import expand_level
from muybridge.flow.solvers import Field
from muybridge.training.objectives import LevelSettings, drawn_prefix, seeded_normal, seeded_uniform
from muybridge.transformer.model import VideoTransformer
from muybridge.types import Batch, Streams, Tracks


@dataclass(frozen=True)
class Lesson:
    """A batch, made ready.

    data, noise        both ends of every clip's path
    is_known, held     which frames are given, and the level they are given at
    streams, negative  the words, and no words
    seed               one a clip, for what else is random
    """

    data: Float[Tensor, "b t c h w"]
    noise: Float[Tensor, "b t c h w"]
    is_known: Bool[Tensor, "b t"]
    held: Float[Tensor, "b t"]
    streams: Streams
    negative: Streams
    seed: Int[Tensor, " b"]

    def uniform(self, columns: int, salt: int) -> Float[Tensor, "b n"]:
        """Numbers in [0, 1), each clip's from its own seed."""
        return seeded_uniform(self.seed, (columns,), salt).to(self.data)

    def hold(self, level: Float[Tensor, "b t"]) -> Float[Tensor, "b t"]:
        """`level`, but what is known stays at the level it is given at."""
        return torch.where(self.is_known, self.held, level)

    def error(self, said: Float[Tensor, "b t c h w"], meant: Float[Tensor, "b t c h w"]) -> Float[Tensor, ""]:
        """Mean squared error over the frames that are to be made; what is known counts as right."""
        error = (said.float() - meant.float()).square()
        return (error * expand_level(~self.is_known, error)).mean()


class Teacher(nn.Module):
    """A frozen model: its velocity with guidance, and the text encoder that its students share.

    Guidance costs a second evaluation here and is built into what students learn (Meng et al. 2210.03142, §3.1, with
    the strength that the teacher is used at). Tracks are read for both by the teacher's network, as words are.
    """

    def __init__(self, transformer: VideoTransformer, text: TextEncoder, guidance: Guidance) -> None:
        super().__init__()
        self.transformer, self.text, self.guidance = transformer, text, guidance
        self.requires_grad_(False)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the transformer, and leaves the draws of random numbers as they are."""
        self.transformer.compile(*args, **kwargs)

    @torch.no_grad()
    def lesson(self, batch: Batch, levels: LevelSettings) -> Lesson:
        """The batch as both see it. Of `levels` the prefixes, their noise and the share of lost words are taken."""
        assert batch.latent is not None, "distillation needs batch.latent"
        assert batch.text is not None, "distillation needs batch.text"
        assert batch.seed is not None, "distillation needs batch.seed"
        assert batch.fps is not None, "distillation needs batch.fps"
        data = batch.latent.float()
        noise = seeded_normal(batch.seed, tuple(data.shape[1:])).to(data)
        chance = seeded_uniform(batch.seed, (5,), salt=2)
        is_known, held = drawn_prefix(chance, data.shape[1], levels)
        longest = max(1, int((batch.text != 0).sum(dim=1).max()))
        words = batch.text[:, :longest] * (chance[:, 4:] >= levels.drop_text).to(batch.text)
        is_known, held = is_known.to(data.device), held.to(data)
        told = None
        if self.transformer.config.tracked is not None:
            are_told = seeded_uniform(batch.seed, (), salt=3).to(data) >= levels.drop_tracks
            told = self.transformer.tell(Tracks.of(batch, are_told), data)
        streams, negative = (
            Streams(self.text(ids), None, data, is_known, batch.fps, told=told)
            for ids in (words, torch.zeros_like(words[:, :1]))
        )
        return Lesson(data, noise, is_known, held, streams, negative, batch.seed)

    @torch.no_grad()
    def velocity(
        self, lesson: Lesson, x: Float[Tensor, "b t c h w"], level: Float[Tensor, "b t"]
    ) -> Float[Tensor, "b t c h w"]:
        """What is to be learnt: the guided velocity."""

        def under(streams: Streams) -> Field:
            return lambda x, level: self.transformer(x, level, streams).float()

        field = guided_field(under(lesson.streams), under(lesson.negative), self.guidance, held=lesson.is_known)
        return field(x, level)


def compile_each(modules: Iterable[nn.Module], *args: Any, **kwargs: Any) -> None:
    """Compiles modules for each shape of a batch."""
    # One function for networks of several roles, with gradients and without: more variants than by default.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 32)
    for module in modules:
        module.compile(*args, **{"dynamic": False, **kwargs})
