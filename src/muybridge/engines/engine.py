"""What runs a model's parts: one interface, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.engines.parts import AFTER, BEFORE, Part, extent, shape_of
from muybridge.engines.streaming import OWN, PAST, nothing_held, rolled
from muybridge.sampler.plan import Foreseer
from muybridge.transformer.dynamics import Dynamics
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.transformer.streaming import Words
from muybridge.types import TEMPORAL_STRIDE, Carry, Streams

Function: TypeAlias = Callable[[Sequence[Tensor]], list[Tensor]]
"""A part, ready to run: its inputs in order -> its outputs in order, all on the CPU."""


@dataclass(frozen=True)
class Engine:
    """A model's parts as functions, called as PyTorch's modules are.

    name       of the engine and what it multiplies in, e.g. "openvino-bf16"
    parts      what the functions take and give
    functions  by the names of the parts
    """

    name: str
    parts: Mapping[str, Part]
    functions: Mapping[str, Function]

    def velocity(
        self, latent: Tensor, level: Tensor, streams: Streams, /, *, span: Tensor | None = None
    ) -> Float[Tensor, "b t c h w"]:
        """The velocity of a latent (a `Denoiser`). All the words have to be seen, and the frames be the first ones."""
        assert streams.text_mask is None, "padding among the words"
        assert streams.when is None, "frames that are not the first"
        inputs = [latent, level, streams.text, streams.fps]
        if "known" in self.parts["transformer"].inputs:
            inputs.append(streams.is_known)
        if "told" in self.parts["transformer"].inputs:
            inputs.append(_told(self.parts["transformer"], latent, streams.told))
        if "tracks" in self.parts["transformer"].inputs:
            assert streams.told is None, "tracks that are worked out already, for a graph that does so itself"
            things, numbers = self.parts["transformer"].inputs["tracks"][2:]
            inputs.append(level.new_zeros(*level.shape, int(things), int(numbers)))
        if "span" in self.parts["transformer"].inputs:
            inputs.append(torch.zeros_like(level) if span is None else span)
        (velocity,) = self.functions["transformer"]([x.float() for x in inputs])
        return velocity

    def foreseeing(self, planner: Planner) -> Foreseer:
        """The planner with its steps run here; itself where that is none of the parts."""
        return Foreseeing(planner, self.functions["planner"]) if "planner" in self.functions else planner

    def advance(
        self,
        latent: Tensor,
        level: Tensor,
        words: Words,
        fps: Tensor,
        carry: Carry,
        span: Tensor | None = None,
        remember: bool = False,
        told: Float[Tensor, "b 1 s d"] | None = None,
    ) -> tuple[Float[Tensor, "b 1 c h w"], Carry]:
        """As `transformer.streaming.advance`, a frame at a time. The carry has another form: its size never changes."""
        assert words.mask is None, "padding among the words"
        part = self.parts["advance"]
        sizes = {"batch": len(latent), "height": latent.shape[3], "width": latent.shape[4]}
        past = carry or nothing_held(part, sizes)
        known = level.new_full(level.shape, float(remember or bool(carry)))
        given = {"latent": latent, "level": level, "gist": words.gist, "fps": fps, "held": past["held"], "known": known}
        given["span"] = torch.zeros_like(level) if span is None else span
        given["anchor"] = latent if remember or not carry else carry.get("anchor", latent)
        if "told" in part.inputs:
            given["told"] = _told(part, latent, told)
        for kind, read in (("keys", words.keys), ("values", words.values)):
            given |= {f"words.{kind}.{layer}": x for layer, x in enumerate(read)}
        given |= {PAST + name: x for name, x in past.items()}
        velocity, *new = self.functions["advance"]([given[name].float() for name in part.inputs])
        if not remember:
            return velocity, carry
        own = dict(zip((name.removeprefix(OWN) for name in part.outputs if name.startswith(OWN)), new, strict=True))
        return velocity, rolled(part, past, own) | {"anchor": latent}

    def words(self, ids: Tensor) -> Float[Tensor, "b n d"]:
        """The tokens of a prompt's ids."""
        (text,) = self.functions["text"]([ids])
        return text

    def decode(self, latent: Tensor, carry: Carry | None = None) -> tuple[Float[Tensor, "b t 3 h w"], Carry]:
        """As `VideoAutoencoder.decode`: without a carry the clip begins here, with a single frame."""
        pixels, after = self._chunk("decoder", latent, carry, latent.shape[3:])
        return (pixels if carry is not None else pixels[:, TEMPORAL_STRIDE - 1 :]), after

    def encode(self, video: Tensor, carry: Carry | None = None) -> tuple[Float[Tensor, "b t c h w"], Carry]:
        """As `VideoAutoencoder.encode`: without a carry the clip begins here and has 1 + 4k frames, else 4k."""
        if carry is None:
            video = torch.cat([video[:, :1].expand(-1, TEMPORAL_STRIDE - 1, -1, -1, -1), video], dim=1)
        stride = extent(self.parts["encoder"].inputs["pixels"][3], {"height": 1})
        return self._chunk("encoder", video, carry, (video.shape[3] // stride, video.shape[4] // stride))

    def _chunk(self, name: str, x: Tensor, carry: Carry | None, side: Sequence[int]) -> tuple[Tensor, Carry]:
        part = self.parts[name]
        sizes = {"batch": len(x), "height": side[0], "width": side[1]}
        before = [
            torch.zeros(shape_of(axes, sizes)) if carry is None else carry[key.removeprefix(BEFORE)].float()
            for key, axes in part.inputs.items()
            if key.startswith(BEFORE)
        ]
        out, *after = self.functions[name]([x.float(), *before])
        names = [key.removeprefix(AFTER) for key in part.outputs if key.startswith(AFTER)]
        return out, dict(zip(names, after, strict=True))


@dataclass(frozen=True)
class Foreseeing:
    """A planner one of whose steps is a function: it looks once a plan, and steps many times."""

    planner: Planner
    function: Function

    @property
    def config(self) -> PlannerConfig:
        return self.planner.config

    @property
    def dynamics(self) -> Dynamics | None:
        return self.planner.dynamics

    def look_once(self, streams: Streams) -> tuple[Float[Tensor, "b t k d"], Float[Tensor, "b t d"]]:
        return self.planner.look_once(streams)

    def foresee(
        self, x: Tensor, level: Tensor, text: Tensor, fps: Tensor, seen: Tensor, whole: Tensor
    ) -> Float[Tensor, "b t k f"]:
        (foreseen,) = self.function([given.float() for given in (x, level, text, fps, seen, whole)])
        return foreseen


def _told(part: Part, latent: Tensor, told: Float[Tensor, "b t s d"] | None) -> Float[Tensor, "b t h w d"]:
    """What tokens are told, by rows and columns; zeros tell nothing."""
    sizes = {"batch": len(latent), "frames": latent.shape[1], "height": latent.shape[3], "width": latent.shape[4]}
    shape = shape_of(part.inputs["told"], sizes)
    return torch.zeros(shape) if told is None else told.reshape(shape)
