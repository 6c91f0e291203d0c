"""The planner: words and the frames that are known -> tracks, before there is a picture of what they tell of.

What goes where is a few hundred numbers, and a picture of it some ten thousand. A small network that sees only the few
learns from as many simulated worlds as one likes what falls, rolls, collides and hides; the large one then paints what
is told (motion first, as VideoJAM of Chefer et al. 2502.02492 and Motion-I2V of Shi et al. 2401.15977 have it, with
tracks in the place of flow).

It is a flow on tracks: noisy tracks, a level for each of their tokens, and what is clean beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn

from muybridge.transformer.blocks import JointBlock
from muybridge.transformer.dynamics import MIDDLE, PLACE, SPREAD, Dynamics, DynamicsConfig
from muybridge.transformer.eye import Eye
from muybridge.transformer.model import BASE_FPS, LevelEmbedding, gist
from muybridge.transformer.rope import rotations
from muybridge.types import TEMPORAL_STRIDE, Streams, Tracks

_MOVING = PLACE * TEMPORAL_STRIDE


@dataclass(frozen=True)
class PlannerConfig:
    """Every number of a planner.

    kinds   how many colours and shapes things may have
    things  so many at most
    eye     channels of what looks at pictures, and `looks`, how many blocks it has
    steps   channels of its dynamics; 0: it has none
    """

    channels: int
    text_width: int
    kinds: tuple[int, int]
    things: int = 9
    width: int = 192
    layers: int = 6
    heads: int = 4
    expansion: int = 4
    text_expansion: int = 1
    eye: int = 64
    looks: int = 3
    steps: int = 0

    @property
    def numbers(self) -> int:
        """Numbers of a token: where a thing is while a latent frame lasts, what it is, and whether it is there."""
        return _MOVING + sum(self.kinds) + 1

    @property
    def of_dynamics(self) -> DynamicsConfig:
        """Those of its dynamics, which has an eye of its own."""
        return DynamicsConfig(self.channels, self.text_width, self.kinds, self.things, self.steps, self.eye, self.looks)


class Planner(nn.Module):
    """(noisy tracks, level of each token, clean streams) -> the tracks themselves, as numbers (see `written`)."""

    def __init__(self, config: PlannerConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.tracks_in = nn.Linear(config.numbers, width)
        self.slot = nn.Parameter(0.02 * torch.randn(config.things, width))
        self.text_in = nn.Linear(config.text_width, width)
        self.eye = Eye(config.channels, config.things, width, config.eye, config.looks)
        self.unseen = nn.Parameter(torch.zeros(2, width))
        self.level = LevelEmbedding(width, config.text_width)
        sizes = (width, config.heads, width // config.heads, config.expansion, config.text_expansion)
        self.blocks = nn.ModuleList(JointBlock(*sizes, last=i == config.layers - 1) for i in range(config.layers))
        self.out = nn.Linear(width, config.numbers)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.dynamics = Dynamics(config.of_dynamics) if config.steps else None

    def look(
        self, pictures: Float[Tensor, "b t c h w"], is_known: Bool[Tensor, "b t"]
    ) -> tuple[Float[Tensor, "b t k d"], Float[Tensor, "b t d"], Float[Tensor, "b t j h w"]]:
        """What is seen in each frame, of frames that are not known as if nobody had looked; and the eye's scores."""
        seen, whole, scores = (
            rearrange(part, "(b t) ... -> b t ...", b=pictures.shape[0]) for part in self.eye(pictures.flatten(0, 1))
        )
        known = is_known[:, :, None, None]
        seen = torch.where(known, seen, self.unseen[0].to(seen))
        return seen, torch.where(known[:, :, 0], whole, self.unseen[1].to(whole)), scores

    def look_once(self, streams: Streams) -> tuple[Float[Tensor, "b t k d"], Float[Tensor, "b t d"]]:
        """What `look` sees, at the cost of the frames up to the last that is known."""
        clips, frames = streams.is_known.shape
        unseen, whole = self.unseen.expand(clips, frames, -1, -1).to(streams.known.dtype).unbind(dim=2)
        seen = unseen[:, :, None].expand(-1, -1, self.config.things, -1)
        known = streams.is_known.any(dim=0).nonzero()
        if not len(known):
            return seen, whole
        count = 1 + int(known[-1])
        found, of_whole, _ = self.look(streams.known[:, :count], streams.is_known[:, :count])
        return torch.cat([found, seen[:, count:]], dim=1), torch.cat([of_whole, whole[:, count:]], dim=1)

    def forward(
        self, x: Float[Tensor, "b t k f"], level: Float[Tensor, "b t k"], streams: Streams
    ) -> tuple[Float[Tensor, "b t k f"], Float[Tensor, "b t j h w"]]:
        """The tracks, and what the eye sees at each place of `streams.known`: it looks at frames that are known."""
        assert streams.text_mask is None, "a planner reads words without a mask"
        seen, whole, scores = self.look(streams.known, streams.is_known)
        return self.foresee(x, level, streams.text, streams.fps, seen, whole), scores

    def foresee(
        self,
        x: Float[Tensor, "b t k f"],
        level: Float[Tensor, "b t k"],
        text: Float[Tensor, "b n e"],
        fps: Float[Tensor, " b"],
        seen: Float[Tensor, "b t k d"],
        whole: Float[Tensor, "b t d"],
    ) -> Float[Tensor, "b t k f"]:
        """The tracks, from words and what `look` sees: what is asked at every level."""
        t, k = x.shape[1:3]
        tokens = rearrange(self.tracks_in(x) + self.slot[:k] + seen, "b t k d -> b (t k) 1 d")
        beside = torch.cat([self.text_in(text), whole.to(text)], dim=1)
        modulation, _ = self.level(rearrange(level, "b t k -> b (t k)"), gist(text, None))
        turn = rotations(self._positions(t, k, fps), self.config.width // self.config.heads)
        for block in self.blocks:
            tokens, beside = block(tokens, beside, modulation, turn, None)
        out: Tensor = self.out(F.rms_norm(tokens, tokens.shape[-1:], eps=1e-6))
        return rearrange(out, "b (t k) 1 f -> b t k f", k=k)

    def _positions(self, t: int, k: int, fps: Float[Tensor, " b"]) -> Float[Tensor, "b n 3"]:
        """Of the tokens: when, and which thing."""
        when = torch.arange(t, device=fps.device) * (BASE_FPS / fps)[:, None]
        thing = torch.arange(k, device=when.device).to(when)
        pairs = [repeat(when, "b t -> b (t k)", k=k), repeat(thing, "k -> b (t k)", b=fps.shape[0], t=t)]
        return torch.stack([*pairs, torch.zeros_like(pairs[0])], dim=-1)


_LEAST, _MOST = (-1.0, -1.0, -4.0, -4.0, -1.0), (2.0, 2.0, 0.7, 0.7, 3.0)


def written(tracks: Tracks, config: PlannerConfig) -> Float[Tensor, "b t k f"]:
    """Tracks as the numbers that the planner's noise is added to, of about unit size."""
    place = tracks.place.float()
    place = torch.cat([place[..., :2], place[..., 2:].clamp_min(1e-3).log()], dim=-1)
    place = torch.minimum(torch.maximum(place, place.new_tensor(_LEAST)), place.new_tensor(_MOST))
    place = (place - place.new_tensor(MIDDLE)) / place.new_tensor(SPREAD)
    place = rearrange(place, "b t p k e -> b t k (p e)") * tracks.is_there[:, None, :, None]
    one_hot = [F.one_hot(of.clamp_min(0), n) for of, n in zip(tracks.kind.unbind(-1), config.kinds, strict=True)]
    kind = torch.cat([*one_hot, torch.zeros_like(one_hot[0][..., :1])], dim=-1).float() * tracks.is_there[..., None]
    kind[..., -1] = tracks.is_there.float()
    return torch.cat([place, repeat(2 * kind - 1, "b k f -> b t k f", t=place.shape[1])], dim=-1)


def told(numbers: Float[Tensor, "b t k f"], config: PlannerConfig) -> Tracks:
    """The tracks that numbers stand for: what a thing is, all frames together say."""
    place = rearrange(numbers[..., :_MOVING].float(), "b t k (p e) -> b t p k e", p=TEMPORAL_STRIDE)
    place = place * place.new_tensor(SPREAD) + place.new_tensor(MIDDLE)
    place = torch.cat([place[..., :2], place[..., 2:].exp()], dim=-1)
    colour, shape, there = torch.split(numbers[..., _MOVING:].float().mean(dim=1), [*config.kinds, 1], dim=-1)
    return Tracks(place, torch.stack([colour.argmax(-1), shape.argmax(-1)], dim=-1), there[..., 0] > 0)


def parted(
    numbers: Float[Tensor, "b t k f"], config: PlannerConfig
) -> tuple[Float[Tensor, "b t k m"], Float[Tensor, "b k w"]]:
    """What numbers say of places, frame by frame, and of what things are, all frames together: of the latter what is
    certain, as in `written`."""
    certain = written(told(numbers, config), config)
    return numbers[..., :_MOVING], certain[:, 0, :, _MOVING:]


def joined(places: Float[Tensor, "b t k m"], what: Float[Tensor, "b k w"]) -> Float[Tensor, "b t k f"]:
    """The numbers that `parted` takes apart."""
    return torch.cat([places, repeat(what, "b k w -> b t k w", t=places.shape[1])], dim=-1)


def is_led(held: Float[Tensor, "b t k f"] | None, clips: Tensor) -> Bool[Tensor, " b"]:
    """Of each of so many clips, whether it is certain where something is that is there."""
    if held is None:
        return torch.zeros(len(clips), dtype=torch.bool, device=clips.device)
    return (~held[..., 0].isnan() & (held[..., -1] > 0)).flatten(1).any(dim=1)


def held(
    course: Float[Tensor, "b t p k 2"],
    asked: Bool[Tensor, "b c"] | None,
    config: PlannerConfig,
    props: Bool[Tensor, " b"] | None = None,
) -> Float[Tensor, "b t k f"]:
    """What is certain of the numbers before they are foreseen; NaN where nothing is.

    course  where things shall be, NaN where they are free. What shall be somewhere is there
    asked   the kinds, colour * shapes + shape, of all things that shall be there; of clips without any, and of None,
            nobody knows. Two of one colour have one place among the tracks, and what that is, is free
    props   whether there may be one; where there may not, and what is asked is known, there is none
    """
    clips, frames, things = course.shape[0], course.shape[1], course.shape[3]
    place = course.new_full((*course.shape[:-1], 5), torch.nan)
    what = course.new_full((clips, things, sum(config.kinds) + 1), torch.nan)
    goes = ~course.isnan().any(dim=-1).any(dim=2)
    if asked is not None:
        wanted = asked.view(clips, things - 1, -1)  # of each colour its shapes; what has none comes last, and is free
        known = asked.any(dim=1)[:, None]
        one, none = known & (wanted.sum(dim=2) == 1), known & ~wanted.any(dim=2) & ~goes[:, :, :-1].any(dim=1)
        tracks = Tracks(
            place.new_zeros(clips, 1, TEMPORAL_STRIDE, things - 1, 5),
            torch.stack([torch.arange(things - 1, device=asked.device).expand(clips, -1), wanted.int().argmax(2)], -1),
            one,
        )
        certain = written(tracks, config)[:, 0, :, _MOVING:]
        what[:, :-1] = torch.where((one | none)[..., None], certain, what[:, :-1])
        if props is not None:
            bare = (known[:, 0] & ~props)[:, None]
            what[:, -1] = torch.where(bare, -1.0, what[:, -1])
            place[:, :, :, -1] = torch.where(bare[:, None, None], 0.0, place[:, :, :, -1])
        place[:, :, :, :-1] = torch.where(none[:, None, None, :, None], 0.0, place[:, :, :, :-1])
    at = (course - course.new_tensor(MIDDLE[:2])) / course.new_tensor(SPREAD[:2])
    place[..., :2] = torch.where(course.isnan(), place[..., :2], at)
    what = repeat(what, "b k f -> b t k f", t=frames).clone()
    what[..., -1] = torch.where(goes, 1.0, what[..., -1])
    return torch.cat([rearrange(place, "b t p k e -> b t k (p e)"), what], dim=-1)
