"""The parts of a model that streams: what its layers read of a prompt, and the frame that follows those remembered.

    read     tokens of a prompt -> keys and values of every layer
    advance  one noisy frame, its level, what was read, what is remembered -> velocity, keys and values of that frame

What is remembered has `window` places whatever it holds, so one graph of one shape makes every frame of a stream.
Places are filled in order, and `held` tells which are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.engines.parts import Axes, Part, Sizes, shape_of
from muybridge.transformer.model import TransformerConfig, VideoTransformer
from muybridge.transformer.planner import Planner, PlannerConfig
from muybridge.transformer.planner import told as tracks_of
from muybridge.transformer.streaming import Words, following, read
from muybridge.types import Carry

PAST, OWN = "past.", "own."
"""How keys and values are called that are remembered, and those that a frame would be remembered by."""


class Read(nn.Module):
    """Tokens of a prompt -> keys and values of the words in every layer."""

    def __init__(self, transformer: VideoTransformer) -> None:
        super().__init__()
        self.transformer = transformer

    def forward(self, text: Float[Tensor, "b n d"]) -> tuple[Tensor, ...]:
        words = read(self.transformer, text)
        return (*words.keys, *words.values)


class Advance(nn.Module):
    """The next frame's velocity, keys and values. `held` is 1 for the places of the past that hold a frame.

    Then come, of models that jump, its span; of anchored ones a frame and 1 if that is known, else 0; tracks, or what
    the frame's tokens are told of them, as in `parts.Transformer`; keys and values of words and past.
    """

    def __init__(
        self, transformer: VideoTransformer, planned: PlannerConfig | None = None, tells: bool = False
    ) -> None:
        super().__init__()
        self.transformer, self.planned, self.tells = transformer, planned, tells

    def forward(
        self, latent: Tensor, level: Tensor, gist: Tensor, fps: Tensor, held: Tensor, *more: Tensor
    ) -> tuple[Tensor, ...]:
        config, rest = self.transformer.config, list(more)
        span = rest.pop(0) if config.spans else None
        anchor = None
        if config.anchored:
            known, is_known = self.transformer.anchor(rest.pop(0)), rest.pop(0)
            anchor = known * is_known[:, :, None, None]
        told = None
        if self.tells:
            told = rest.pop(0).flatten(2, 3)
        elif self.planned is not None:
            told = self.transformer.tell(tracks_of(rest.pop(0), self.planned), latent)
        per_kind = [tuple(rest[i : i + config.layers]) for i in range(0, 4 * config.layers, config.layers)]
        words = Words(per_kind[0], per_kind[1], gist, None)
        names = remembered(config)
        past = {name: x.flatten(2, 4) for name, x in zip(names, (*per_kind[2], *per_kind[3]), strict=True)}
        batch, count, (rows, columns) = held.shape[0], words.keys[0].shape[2], self.transformer.rows_columns(latent)
        places = held[:, :, None].expand(-1, -1, rows * columns).flatten(1)
        seen = torch.cat([held.new_ones(batch, count), places, held.new_ones(batch, rows * columns)], dim=1)
        own_place = held.sum(dim=1, keepdim=True).to(torch.int64)
        when = torch.cat([torch.arange(config.window).expand(batch, -1), own_place], dim=1)
        velocity, own = following(
            self.transformer,
            latent,
            level,
            words,
            fps,
            past,
            config.window,
            span,
            anchor,
            told,
            seen[:, None, None] > 0.5,
            when,
        )
        shape = (batch, config.heads, 1, rows, columns, config.head)
        return (velocity, *(own[name].reshape(shape) for name in names))


def remembered(config: TransformerConfig) -> list[str]:
    """What a Carry calls the keys and values of each layer: first all keys, then all values."""
    return [f"{kind}.{layer}" for kind in ("keys", "values") for layer in range(config.layers)]


def parts_of_a_stream(
    transformer: VideoTransformer, tokens: int, planner: Planner | None = None, tells: bool = False
) -> dict[str, Part]:
    """The two parts by name, for prompts of so many tokens; none if the model does not stream.

    tells  as in `parts_of`
    """
    config = transformer.config
    if not config.causal:
        return {}
    tells = tells and config.tracked is not None
    planned = None if planner is None or config.tracked is None or tells else planner.config
    names = remembered(config)
    latent: Axes = ("batch", 1, config.channels, "height", "width")
    place = (f"height/{config.patch}", f"width/{config.patch}", config.head)
    words: dict[str, Axes] = {f"words.{name}": ("batch", config.heads, tokens, config.head) for name in names}
    inputs: dict[str, Axes] = {
        "latent": latent,
        "level": ("batch", 1),
        "gist": ("batch", config.text_width),
        "fps": ("batch",),
        "held": ("batch", config.window),
    }
    if config.spans:
        inputs["span"] = ("batch", 1)
    if config.anchored:
        inputs |= {"anchor": latent, "known": ("batch", 1)}
    if planned is not None:
        inputs["tracks"] = ("batch", 1, planned.things, planned.numbers)
    if tells:
        inputs["told"] = ("batch", 1, f"height/{config.patch}", f"width/{config.patch}", config.width)
    inputs |= words | {PAST + name: ("batch", config.heads, config.window, *place) for name in names}
    own: dict[str, Axes] = {OWN + name: ("batch", config.heads, 1, *place) for name in names}
    text: dict[str, Axes] = {"text": ("batch", tokens, config.text_width)}
    return {
        "read": Part("read", Read(transformer), text, words),
        "advance": Part("advance", Advance(transformer, planned, tells), inputs, {"velocity": latent, **own}),
    }


def nothing_held(part: Part, sizes: Sizes) -> Carry:
    """The past of a stream that begins: `held`, and keys and values of places that hold nothing."""
    past = {name.removeprefix(PAST): axes for name, axes in part.inputs.items() if name.startswith(PAST)}
    return {name: torch.zeros(shape_of(axes, sizes)) for name, axes in (past | {"held": part.inputs["held"]}).items()}


def rolled(part: Part, past: Carry, own: Carry) -> Carry:
    """The past with one frame more, in as many places: once all are taken, the oldest goes that is none of the sink."""
    assert isinstance(part.module, Advance), type(part.module)
    window, sink = part.module.transformer.config.window, part.module.transformer.config.sink
    count = int(past["held"][0].sum())

    def moved(x: Tensor, new: Tensor, dim: int) -> Tensor:
        if count < window:
            return torch.cat([x.narrow(dim, 0, count), new, x.narrow(dim, count, window - count - 1)], dim=dim)
        return torch.cat([x.narrow(dim, 0, sink), x.narrow(dim, sink + 1, window - sink - 1), new], dim=dim)

    after = {name: moved(past[name], new, 2) for name, new in own.items()}
    return after | {"held": moved(past["held"], past["held"].new_ones(len(past["held"]), 1), 1)}
