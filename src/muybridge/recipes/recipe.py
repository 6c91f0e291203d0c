"""What a recipe is: the networks' shapes, what they are trained on, and for how long. Settings, nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from muybridge.data.material import Material, Shape, Simulated
from muybridge.sampler.sample import Settings
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig


@dataclass(frozen=True)
class AutoencoderStage:
    """The autoencoder learns from `batch` windows a step, of `frames` frames and `side` pixels.

    They are cut from `files` files of `clips_a_file` simulated clips, `clip_frames` long. `decoder`: its decoder then
    goes on alone, for telling a latent frame's four pictures apart takes it longest, and latents stay as they are.
    """

    training: TrainSettings
    batch: int
    files: int
    clips_a_file: int = 64
    clip_frames: int = 33
    frames: int = 9
    side: int = 64
    object_weight: float = 3.0
    decoder: TrainSettings | None = None


@dataclass(frozen=True)
class WordsStage:
    """The text encoder learns what sentences name, `batch` of them a step."""

    training: TrainSettings
    batch: int


@dataclass(frozen=True)
class Portion:
    """What the transformer learns from in a step: `batch` of `clips` encoded clips of `frames` frames.

    latents   only so many latent frames of each, the first
    glimpses  or the first and so many others less one, drawn anew each time
    """

    clips: int
    frames: int
    batch: int
    latents: int | None = None
    glimpses: int | None = None

    @property
    def what(self) -> str:
        """What its cache holds."""
        return "stills" if self.frames == 1 else "clips"


@dataclass(frozen=True)
class FlowStage:
    """The transformer learns from its `portions`, one a step, in turns; naming what stands where weighs `recognition`.

    Stills teach what words look like at a ninth of a clip's cost, glimpses what becomes of it, clips what happens.
    Stages follow each other, each from the averaged weights of the one before.
    """

    name: str
    training: TrainSettings
    portions: tuple[Portion, ...]
    levels: LevelSettings = field(default_factory=LevelSettings)
    recognition: float = 0.5

    @property
    def frames(self) -> int:
        """Of the longest clips."""
        return max(portion.frames for portion in self.portions)


@dataclass(frozen=True)
class WitnessStage:
    """The witness learns from `batch` first frames a step what stands in a picture and what is named.

    They are those of stills and of clips, in turns. It is `width` wide and `blocks` deep.
    """

    training: TrainSettings
    batch: int
    width: int = 96
    blocks: int = 5


@dataclass(frozen=True)
class PlannerStage:
    """The planner learns from `batch` clips a step, in turns: of those that are encoded, the longest, and of `worlds`
    that nobody renders. It is `width` wide and `layers` deep.
    """

    training: TrainSettings
    batch: int
    worlds: int
    width: int = 192
    layers: int = 6
    heads: int = 4


@dataclass(frozen=True)
class DynamicsStage:
    """The planner's dynamics, `width` wide, learns from `batch` clips a step, in turns as the planner does."""

    training: TrainSettings
    batch: int
    width: int = 128


Stage = TypeVar("Stage", AutoencoderStage, WordsStage, FlowStage, WitnessStage, PlannerStage, DynamicsStage)


@dataclass(frozen=True)
class Recipe:
    """A model, from nothing to weights. The text encoder is as wide as the transformer expects its text to be.

    height, width  of the clips that the autoencoder learns from
    material       what it is trained on where nobody gives footage of their own
    sizes          (width, height) of the clips that the transformer learns from, in turns; the first is what the model
                   makes unasked. None: those of the autoencoder
    effort         so many times the steps that it was written with, see `longer`
    """

    name: str
    autoencoder: AutoencoderConfig
    transformer: TransformerConfig
    text_layers: int
    text_heads: int
    learn_autoencoder: AutoencoderStage
    learn_words: WordsStage
    flow: tuple[FlowStage, ...]
    learn_witness: WitnessStage | None = None
    learn_planner: PlannerStage | None = None
    learn_dynamics: DynamicsStage | None = None
    sampling: Settings = field(default_factory=Settings)
    height: int = 128
    width: int = 128
    fps: float = 15.0
    material: Material = field(default_factory=Simulated)
    sizes: tuple[tuple[int, int], ...] = ()
    effort: float = 1.0

    def shape(self, frames: int) -> Shape:
        """The shape of the clips that the autoencoder learns from, `frames` long."""
        return Shape(frames, self.height, self.width, self.fps)

    def shapes(self, frames: int) -> tuple[Shape, ...]:
        """The shapes of the clips that the transformer learns from, `frames` long: one for each size."""
        among = tuple(Shape(frames, height, width, self.fps, self.sizes) for width, height in self.sizes)
        return among or (self.shape(frames),)

    def encoded(self, portion: Portion) -> Mapping[str, Shape]:
        """What is encoded for a portion: its clips in every shape, each by a name for people."""
        return {
            f"{portion.what} {shape.size}" if shape.among else portion.what: shape
            for shape in self.shapes(portion.frames)
        }

    def sharded(self) -> Recipe:
        """The same recipe, with weights, gradients and optimisers spread over the processes in every stage."""
        return self._each(lambda training: replace(training, fsdp=True))

    def longer(self, times: float) -> Recipe:
        """The same recipe, with so many times its steps in every stage. ValueError for none.

        What is shorter warms up and shows samples in proportion; what is longer needs no more of either.
        """
        if not times > 0 or not math.isfinite(times):
            raise ValueError(f"{times} times as long is no training: take a number above 0")

        def stretched(training: TrainSettings) -> TrainSettings:
            share = min(times, 1.0)
            return replace(
                training,
                steps=max(1, round(times * training.steps)),
                warmup=round(share * training.warmup),
                sample_every=max(1, round(share * training.sample_every)) if training.sample_every else 0,
            )

        return replace(self._each(stretched), effort=times * self.effort)

    def _each(self, changed: Callable[[TrainSettings], TrainSettings]) -> Recipe:
        """The same recipe, every stage's training `changed`."""
        pixels = self.learn_autoencoder
        decoder = None if pixels.decoder is None else changed(pixels.decoder)

        def of(stage: Stage) -> Stage:
            return replace(stage, training=changed(stage.training))

        return replace(
            self,
            learn_autoencoder=replace(of(pixels), decoder=decoder),
            learn_words=of(self.learn_words),
            flow=tuple(of(stage) for stage in self.flow),
            learn_witness=None if self.learn_witness is None else of(self.learn_witness),
            learn_planner=None if self.learn_planner is None else of(self.learn_planner),
            learn_dynamics=None if self.learn_dynamics is None else of(self.learn_dynamics),
        )
