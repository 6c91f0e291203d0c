"""What a model is cut into where PyTorch does not run it: functions from tensors to tensors.

    text         ids of a prompt's words -> the tokens that the transformer reads
    transformer  noisy latent, levels, tokens, speed (and which frames are known, for models that are anchored to
                 them, tracks, for models that plan, and span, for models that jump) -> velocity
    eye          latent frames, which of them are known -> what a planner sees of each thing and of the whole
    planner      noisy tracks as numbers, their levels, tokens, speed and what was seen -> the tracks
    decoder      latent frames, what was before -> pixel frames, what is to be remembered
    encoder      pixel frames, what was before -> latent frames, what is to be remembered
    witness      a latent picture, tokens -> scores of what stands where, and of what the words name (of a model that
                 has one)

Decoder and encoder work on chunks. Where a clip begins, what was before is zeros; the first latent frame then decodes
to four pixel frames of which only the last is shown, and the first pixel frame is encoded four times over. That is how
one graph does whole clips and streams alike. Models that stream have two more, see `engines/streaming.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from muybridge.conditioning.text import TextEncoder
from muybridge.conditioning.witness import Witness
from muybridge.tokenizer.autoencoder import VideoAutoencoder
from muybridge.transformer.model import VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.transformer.planner import told as tracks_of
from muybridge.types import TEMPORAL_STRIDE, Carry, Streams

Axes: TypeAlias = tuple[int | str, ...]
"""A shape: numbers where an axis is fixed, else "frames", or "8*height" for eight times as many, "height/2" for half.
Height, width and frames are those of the latent."""

Sizes: TypeAlias = Mapping[str, int]
"""How long the axes that are not fixed are: batch, frames, height, width, words."""

BEFORE, AFTER = "before.", "after."
"""How what was before, and what is to be remembered, are called: before.coarse.0 -> after.coarse.0."""

_EXAMPLE = {"batch": 2, "frames": 3, "height": 8, "width": 12, "words": 5}


@dataclass(frozen=True)
class Part:
    """A function from tensors to tensors. `module` takes its inputs and gives its outputs, a tuple, in this order."""

    name: str
    module: nn.Module
    inputs: Mapping[str, Axes]
    outputs: Mapping[str, Axes]

    def example(self, sizes: Sizes | None = None, seed: int = 0) -> tuple[Tensor, ...]:
        """Inputs of the right shapes and ranges."""
        generator = torch.Generator().manual_seed(seed)
        shapes = {name: shape_of(axes, sizes or _EXAMPLE) for name, axes in self.inputs.items()}
        return tuple(self._drawn(name, shape, generator) for name, shape in shapes.items())

    def _drawn(self, name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        if name == "ids":
            assert isinstance(self.module, Text), type(self.module)
            return torch.randint(1, self.module.encoder.config.vocabulary, shape, generator=generator)
        if name in ("level", "span"):
            return torch.rand(shape, generator=generator)
        if name == "known":
            return (torch.arange(shape[1]) == 0).expand(shape).float()
        if name == "held":
            return (torch.arange(shape[1]) < shape[1] - 1).expand(shape).float()
        if name == "fps":
            return torch.full(shape, 15.0)
        if name == "pixels":
            return torch.rand(shape, generator=generator) * 2 - 1
        return torch.randn(shape, generator=generator)


class Text(nn.Module):
    """Ids -> tokens."""

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Int[Tensor, "b n"]) -> tuple[Float[Tensor, "b q d"]]:
        return (self.encoder(ids),)


class Transformer(nn.Module):
    """Latent, level, tokens, speed, then what it takes of `known` (1 where a frame is), tracks and span -> velocity.

    planned  how its tracks are written as numbers; None: it takes none
    tells    in their place it takes `told`, what tokens are told of them, by rows and columns
    """

    def __init__(
        self, transformer: VideoTransformer, planned: PlannerConfig | None = None, tells: bool = False
    ) -> None:
        super().__init__()
        self.transformer, self.planned, self.tells = transformer, planned, tells

    def forward(self, latent: Tensor, level: Tensor, text: Tensor, fps: Tensor, *more: Tensor) -> tuple[Tensor]:
        rest = list(more)
        # The sampler holds what is known; the network has to be told only if it is anchored to it.
        known = rest.pop(0) > 0.5 if self.transformer.config.anchored else torch.zeros_like(level, dtype=torch.bool)
        told = None
        if self.tells:
            told = rearrange(rest.pop(0), "b t h w d -> b t (h w) d")
        elif self.planned is not None:
            told = self.transformer.tell(tracks_of(rest.pop(0), self.planned), latent)
        span = rest.pop(0) if rest else None
        return (self.transformer(latent, level, Streams(text, None, latent, known, fps, told=told), span=span),)


class Sees(nn.Module):
    """What a planner's eye sees, once a plan."""

    def __init__(self, planner: Planner) -> None:
        super().__init__()
        self.planner = planner

    def forward(self, latent: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
        seen, whole, _ = self.planner.look(latent, known > 0.5)
        return seen, whole


class Foresees(nn.Module):
    """One step of a plan."""

    def __init__(self, planner: Planner) -> None:
        super().__init__()
        self.planner = planner

    def forward(
        self, tracks: Tensor, level: Tensor, text: Tensor, fps: Tensor, seen: Tensor, whole: Tensor
    ) -> tuple[Tensor]:
        return (self.planner.foresee(tracks, level, text, fps, seen, whole),)


class Decoder(nn.Module):
    """Latent frames and the carry -> pixel frames, four for each, and the carry."""

    def __init__(self, autoencoder: VideoAutoencoder, names: tuple[str, ...]) -> None:
        super().__init__()
        self.autoencoder, self.names = autoencoder, names

    def forward(self, latent: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        pixels, after = self.autoencoder.decode(latent, dict(zip(self.names, before, strict=True)))
        return (pixels, *(after[name] for name in self.names))


class Encoder(nn.Module):
    """Pixel frames, four for each latent frame, and the carry -> latent frames and the carry."""

    def __init__(self, autoencoder: VideoAutoencoder, names: tuple[str, ...]) -> None:
        super().__init__()
        self.autoencoder, self.names = autoencoder, names

    def forward(self, pixels: Tensor, *before: Tensor) -> tuple[Tensor, ...]:
        latent, after = self.autoencoder.encode(pixels, dict(zip(self.names, before, strict=True)))
        return (latent, *(after[name] for name in self.names))


class Looks(nn.Module):
    """A latent picture and tokens -> the witness' scores of colour and shape: of each place, of each object named."""

    def __init__(self, witness: Witness) -> None:
        super().__init__()
        self.witness = witness

    def forward(self, picture: Tensor, text: Tensor) -> tuple[Tensor, ...]:
        return (*self.witness.look(picture), *self.witness.read(text))


def parts_of(
    text: TextEncoder,
    transformer: VideoTransformer,
    autoencoder: VideoAutoencoder,
    witness: Witness | None = None,
    planner: Planner | None = None,
    tells: bool = False,
) -> dict[str, Part]:
    """The parts of a model by name, in float32 on the CPU.

    tells  what its transformer is told of where things are is worked out elsewhere; else it works that out itself from
           the numbers of the planner, if there is one. Transformers that take tracks at all, that is
    """
    tokens, takes = text.config.queries, transformer.config.tracked is not None
    planned = None if planner is None or not takes or tells else planner.config
    parts = [
        _text(text),
        _transformer(transformer, tokens, planned, tells and takes),
        _decoder(autoencoder),
        _encoder(autoencoder),
    ]
    if witness is not None:
        parts.append(_witness(witness, tokens))
    if planner is not None and takes:
        parts += [_eye(planner), _planner(planner, tokens)]
    return {part.name: part for part in parts}


def shape_of(axes: Axes, sizes: Sizes) -> tuple[int, ...]:
    """The numbers that the axes stand for."""
    return tuple(extent(axis, sizes) for axis in axes)


def extent(axis: int | str, sizes: Sizes) -> int:
    """How long one axis is: 3, "height", "8*height" or "height/2"."""
    if isinstance(axis, int):
        return axis
    factor, _, rest = axis.rpartition("*")
    name, _, divisor = rest.partition("/")
    return int(factor or 1) * sizes[name] // int(divisor or 1)


def _text(encoder: TextEncoder) -> Part:
    config = encoder.config
    outputs: dict[str, Axes] = {"text": ("batch", config.queries, config.width)}
    return Part("text", Text(encoder), {"ids": ("batch", "words")}, outputs)


def _transformer(transformer: VideoTransformer, tokens: int, planned: PlannerConfig | None, tells: bool) -> Part:
    latent: Axes = ("batch", "frames", transformer.config.channels, "height", "width")
    inputs: dict[str, Axes] = {
        "latent": latent,
        "level": ("batch", "frames"),
        "text": ("batch", tokens, transformer.config.text_width),
        "fps": ("batch",),
    }
    if transformer.config.anchored:
        inputs["known"] = ("batch", "frames")
    if tells:
        patch = transformer.config.patch
        inputs["told"] = ("batch", "frames", f"height/{patch}", f"width/{patch}", transformer.config.width)
    elif planned is not None:
        inputs["tracks"] = ("batch", "frames", planned.things, planned.numbers)
    if transformer.config.spans:
        inputs["span"] = ("batch", "frames")
    return Part("transformer", Transformer(transformer, planned, tells), inputs, {"velocity": latent})


def _witness(witness: Witness, tokens: int) -> Part:
    config = witness.config
    inputs: dict[str, Axes] = {
        "picture": ("batch", config.channels, "height", "width"),
        "text": ("batch", tokens, config.text_width),
    }
    outputs: dict[str, Axes] = {
        "colours": ("batch", config.colours + 1, "height", "width"),
        "shapes": ("batch", config.shapes, "height", "width"),
        "colour": ("batch", config.objects, config.colours + 1),
        "shape": ("batch", config.objects, config.shapes),
    }
    return Part("witness", Looks(witness), inputs, outputs)


def _eye(planner: Planner) -> Part:
    config, frames = planner.config, ("batch", "frames")
    inputs: dict[str, Axes] = {"latent": (*frames, config.channels, "height", "width"), "known": frames}
    outputs: dict[str, Axes] = {"seen": (*frames, config.things, config.width), "whole": (*frames, config.width)}
    return Part("eye", Sees(planner), inputs, outputs)


def _planner(planner: Planner, tokens: int) -> Part:
    config = planner.config
    tracks: Axes = ("batch", "frames", config.things, config.numbers)
    inputs: dict[str, Axes] = {
        "tracks": tracks,
        "level": tracks[:3],
        "text": ("batch", tokens, config.text_width),
        "fps": ("batch",),
        "seen": (*tracks[:3], config.width),
        "whole": ("batch", "frames", config.width),
    }
    return Part("planner", Foresees(planner), inputs, {"foreseen": tracks})


def _decoder(autoencoder: VideoAutoencoder) -> Part:
    config, stride = autoencoder.config, autoencoder.config.spatial_stride
    latent: Axes = ("batch", "frames", config.channels, "height", "width")
    pixels: Axes = ("batch", f"{TEMPORAL_STRIDE}*frames", 3, f"{stride}*height", f"{stride}*width")
    _, carry = autoencoder.decode(torch.zeros(1, 1, config.channels, 1, 1))
    before, after = _carried(carry, 1)
    return Part(
        "decoder", Decoder(autoencoder, tuple(carry)), {"latent": latent, **before}, {"pixels": pixels, **after}
    )


def _encoder(autoencoder: VideoAutoencoder) -> Part:
    config, stride = autoencoder.config, autoencoder.config.spatial_stride
    latent: Axes = ("batch", "frames", config.channels, "height", "width")
    pixels: Axes = ("batch", f"{TEMPORAL_STRIDE}*frames", 3, f"{stride}*height", f"{stride}*width")
    _, carry = autoencoder.encode(torch.zeros(1, 1, 3, stride, stride))
    before, after = _carried(carry, 1)
    return Part(
        "encoder", Encoder(autoencoder, tuple(carry)), {"pixels": pixels, **before}, {"latent": latent, **after}
    )


def _carried(carry: Carry, side: int) -> tuple[dict[str, Axes], dict[str, Axes]]:
    """Names and shapes of a carry that was left by a latent of `side` x `side`, going in and coming out."""
    before: dict[str, Axes] = {}
    after: dict[str, Axes] = {}
    for name, left in carry.items():
        finer = left.shape[-1] // side
        height, width = ("height", "width") if finer == 1 else (f"{finer}*height", f"{finer}*width")
        axes: Axes = ("batch", 1, left.shape[2], height, width)
        plain = name.split(".", 1)[1]
        before[BEFORE + plain], after[AFTER + plain] = axes, axes
    return before, after
