"""What a recipe is: the networks' shapes, what they are trained on, and for how long. Settings, nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from muybridge.data.material import Material, Shape, Simulated
from muybridge.sampler.sample import Settings
from muybridge.tokenizer.autoencoder import AutoencoderConfig
from muybridge.training.objectives import LevelSettings
from muybridge.training.settings import TrainSettings
from muybridge.transformer.model import TransformerConfig


@dataclass(frozen=True)
class AutoencoderStage:
    """The autoencoder learns from `batch` windows a step, of `frames` frames and `side` pixels.

    They are cut from `files` files of `clips_a_file` simulated clips, `clip_frames` long.
    """

    training: TrainSettings
    batch: int
    files: int
    clips_a_file: int = 64
    clip_frames: int = 33
    frames: int = 9
    side: int = 64
    object_weight: float = 3.0


@dataclass(frozen=True)
class WordsStage:
    """The text encoder learns what sentences name, `batch` of them a step."""

    training: TrainSettings
    batch: int


@dataclass(frozen=True)
class FlowStage:
    """The transformer learns from `clips` encoded clips of `frames` frames, `batch` a step.

    `recognition` is the weight of naming what stands where. With `glimpses`, only so many latent frames of each clip
    are learnt at once, the first among them.

    Stages follow each other, each from the averaged weights of the one before: stills teach what words look like at a
    ninth of the cost, glimpses what becomes of it, clips then teach what happens.
    """

    name: str
    training: TrainSettings
    batch: int
    clips: int
    frames: int
    levels: LevelSettings = field(default_factory=LevelSettings)
    recognition: float = 0.5
    glimpses: int | None = None


@dataclass(frozen=True)
class Recipe:
    """A model, from nothing to weights. The text encoder is as wide as the transformer expects its text to be.

    `material` is what it is trained on where nobody gives footage of their own.
    """

    name: str
    autoencoder: AutoencoderConfig
    transformer: TransformerConfig
    text_layers: int
    text_heads: int
    learn_autoencoder: AutoencoderStage
    learn_words: WordsStage
    flow: tuple[FlowStage, ...]
    sampling: Settings = field(default_factory=Settings)
    height: int = 128
    width: int = 128
    fps: float = 15.0
    material: Material = field(default_factory=Simulated)

    def shape(self, frames: int) -> Shape:
        """The shape of this recipe's clips, `frames` long."""
        return Shape(frames, self.height, self.width, self.fps)
