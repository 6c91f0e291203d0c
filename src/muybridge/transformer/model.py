"""The video diffusion transformer: noisy latent frames, their noise levels and the clean streams -> velocity."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from muybridge.transformer.blocks import JointBlock
from muybridge.transformer.rope import rotations
from muybridge.transformer.tracks import TrackEmbedding
from muybridge.types import Streams, Tracks

BASE_FPS = 15.0
"""At this speed one latent frame is one step of time's rotary position; faster clips take shorter steps."""


@dataclass(frozen=True)
class TransformerConfig:
    """Every number of the transformer. `patch` latent places a side make one token.

    head_width  width of an attention head; None: width / heads. Pruning leaves heads out and the others as wide
    spans       takes a span beside the level: it then tells the mean velocity over that span, not that of the moment
    causal      a frame sees the frames before it, not those after: what streams
    window      while streaming, frames of the past that are remembered
    sink        of which so many are the clip's first, for as long as it goes on (as Xiao et al. 2309.17453)
    anchored    a frame is given the known frame nearest to it beside its own noise: what stands still need not be
                found by attention (channel concatenation of Blattmann et al. 2311.15127, for any frames that are known)
    tracked     how many colours and shapes things may have: takes tracks, which tell where they are; None: takes none
    """

    channels: int = 16
    patch: int = 2
    width: int = 256
    layers: int = 8
    heads: int = 4
    expansion: int = 4
    text_width: int = 256
    text_expansion: int = 2
    head_width: int | None = None
    spans: bool = False
    causal: bool = False
    window: int = 8
    sink: int = 1
    anchored: bool = False
    tracked: tuple[int, int] | None = None

    @property
    def head(self) -> int:
        """Width of an attention head."""
        return self.width // self.heads if self.head_width is None else self.head_width


class LevelEmbedding(nn.Module):
    """A frame's noise level and the gist of the words, as shift, scale and gate of both branches of every block.

    The gist is the mean of the words' features (as the pooled text of Esser et al. 2403.03206): what is true of the
    whole clip reaches every place at once, and attention is left with what is where. With `spans`, how far below its
    level a frame is to be taken in one step is told as well; it starts at no effect.
    """

    def __init__(self, width: int, text_width: int, spans: bool = False, frequencies: int = 64) -> None:
        super().__init__()
        self.gist = nn.Linear(text_width, width, bias=False)
        self.span = nn.Linear(2 * frequencies, width, bias=False) if spans else None
        self.frequencies = frequencies
        self.hidden = nn.Linear(2 * frequencies, width)
        self.out = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        if self.span is not None:
            nn.init.zeros_(self.span.weight)

    def forward(
        self, level: Float[Tensor, "b t"], gist: Float[Tensor, "b e"], span: Float[Tensor, "b t"] | None = None
    ) -> tuple[Float[Tensor, "b t 1 6 d"], Float[Tensor, "b t 1 d"]]:
        assert span is None or self.span is not None, "a span for a transformer that takes none"
        told = self.hidden(self._angles(level)) + self.gist(gist)[:, None]
        if self.span is not None:
            told = told + self.span(self._angles(torch.zeros_like(level) if span is None else span))
        hidden = F.silu(told)
        return rearrange(self.out(hidden), "b t (z d) -> b t 1 z d", z=6), hidden[:, :, None]

    def _angles(self, level: Float[Tensor, "b t"]) -> Float[Tensor, "b t f"]:
        scale = math.log(1000.0) / (self.frequencies - 1)
        angle = level[..., None] * torch.exp(scale * torch.arange(self.frequencies, device=level.device)) * math.pi
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class VideoTransformer(nn.Module):
    """The network of a rectified flow on latent clips of any length, size and aspect ratio."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        places = config.channels * config.patch**2
        self.frames_in = nn.Linear(places, config.width)
        self.anchor_in = nn.Linear(places, config.width) if config.anchored else None
        self.tracks_in = None if config.tracked is None else TrackEmbedding(config.width, config.tracked)
        self.place_in = nn.Linear(4 * PLACE_FREQUENCIES, config.width, bias=False)
        self.text_in = nn.Linear(config.text_width, config.width)
        self.level = LevelEmbedding(config.width, config.text_width, config.spans)
        sizes = (config.width, config.heads, config.head, config.expansion, config.text_expansion)
        self.blocks = nn.ModuleList(JointBlock(*sizes, last=i == config.layers - 1) for i in range(config.layers))
        self.norm_out = nn.RMSNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.modulation_out = nn.Linear(config.width, 2 * config.width)
        self.frames_out = nn.Linear(config.width, places)
        for module in (self.modulation_out, self.frames_out):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        if self.anchor_in is not None:
            nn.init.zeros_(self.anchor_in.weight)
            nn.init.zeros_(self.anchor_in.bias)

    def forward(
        self,
        latent: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        streams: Streams,
        block_causal: bool = False,
        tap: int | None = None,
        span: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t c h w"] | tuple[Float[Tensor, "b t c h w"], Float[Tensor, "b t s d"]]:
        """Velocity of `latent`, whose frames are at noise `level` each; `block_causal`: frames see their past only.

        With a `span`, the mean velocity on the way from `level` down to level - span. With `tap`, also what the frames'
        tokens are after so many blocks.
        """
        t, rows, columns = latent.shape[1], *self.rows_columns(latent)
        block_causal = block_causal or self.config.causal
        frames, text = self.embed(latent), self.text_in(streams.text)
        if self.anchor_in is not None:
            chosen = nearest_known(streams.is_known).to(latent)
            known = torch.einsum("btk,bkchw->btchw", chosen, latent)
            frames = frames + self.anchor(known) * chosen.sum(dim=-1)[:, :, None, None]
        if streams.told is not None:
            frames = frames + streams.told
        modulation, hidden = self.level(level, gist(streams.text, streams.text_mask), span)
        turn = rotations(positions(t, rows, columns, streams.fps, streams.when), self.config.head)
        mask = joint_mask(t, rows * columns, text.shape[1], streams.text_mask, block_causal, latent.device)
        tapped = frames
        for number, block in enumerate(self.blocks, start=1):
            frames, text = block(frames, text, modulation, turn, mask)
            tapped = frames if number == tap else tapped
        out = self.project(frames, hidden, rows)
        return out if tap is None else (out, tapped)

    def rows_columns(self, latent: Float[Tensor, "b t c h w"]) -> tuple[int, int]:
        """Rows and columns of tokens in one frame."""
        return latent.shape[3] // self.config.patch, latent.shape[4] // self.config.patch

    def embed(self, latent: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t s d"]:
        """The tokens of the frames, as the first block reads them."""
        place = self.place_in(places(*self.rows_columns(latent), latent.device))
        embedded: Tensor = self.frames_in(self.tokens(latent)) + place
        return embedded

    def anchor(self, known: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t s d"]:
        """What a known frame for each frame adds to its tokens."""
        assert self.anchor_in is not None, "an anchor for a transformer that takes none"
        added: Tensor = self.anchor_in(self.tokens(known))
        return added

    def tell(self, tracks: Tracks, latent: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t s d"]:
        """What each token of a latent of that size is told of where things are."""
        assert self.tracks_in is not None, "tracks for a transformer that takes none"
        told: Tensor = self.tracks_in(tracks, *self.rows_columns(latent))
        return told

    def tokens(self, latent: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b t s e"]:
        """The numbers of each patch, side by side."""
        p = self.config.patch
        return rearrange(latent, "b t c (h p) (w q) -> b t (h w) (c p q)", p=p, q=p)

    def project(
        self, frames: Float[Tensor, "b t s d"], hidden: Float[Tensor, "b t 1 d"], rows: int
    ) -> Float[Tensor, "b t c h w"]:
        """What the last block says, as a latent."""
        p = self.config.patch
        shift, scale = self.modulation_out(hidden).chunk(2, dim=-1)
        out: Tensor = self.frames_out(self.norm_out(frames) * (1 + scale) + shift)
        return rearrange(out, "b t (h w) (c p q) -> b t c (h p) (w q)", h=rows, p=p, q=p)


def gist(text: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None) -> Float[Tensor, "b d"]:
    """The mean of the words' features, padding left out."""
    if mask is None:
        return text.mean(dim=1)
    return (text * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)


LARGEST_GAP = 2**30
"""Farther apart than any two frames."""


def nearest_known(is_known: Bool[Tensor, "b t"]) -> Bool[Tensor, "b t t"]:
    """Row i marks the known frame nearest to frame i (of two as near, the earlier); nothing where none is known."""
    frame = torch.arange(is_known.shape[1], device=is_known.device)
    far = torch.where(is_known[:, None], (frame[:, None] - frame).abs(), LARGEST_GAP)
    return (frame == far.argmin(dim=-1, keepdim=True)) & is_known[:, None]


PLACE_FREQUENCIES = 8


def places(rows: int, columns: int, device: torch.device) -> Float[Tensor, "s f"]:
    """Where in the picture a token lies: sines and cosines of its row and column, the picture being 1 x 1.

    Rotary positions say how far apart tokens are; this says where the borders are, at any size.
    """
    y = (torch.arange(rows, device=device) + 0.5) / rows
    x = (torch.arange(columns, device=device) + 0.5) / columns
    frequency = math.pi * torch.arange(1, PLACE_FREQUENCIES + 1, device=device) / 2
    down, across = y[:, None] * frequency, x[:, None] * frequency
    down = repeat(torch.cat([down.sin(), down.cos()], dim=-1), "h f -> (h w) f", w=columns)
    across = repeat(torch.cat([across.sin(), across.cos()], dim=-1), "w f -> (h w) f", h=rows)
    return torch.cat([down, across], dim=-1)


def positions(
    t: int, rows: int, columns: int, fps: Float[Tensor, " b"], when: Int[Tensor, "b t"] | None = None
) -> Float[Tensor, "b n 3"]:
    """Rotary positions (time, row, column) of a clip's tokens; time in steps of a latent frame at BASE_FPS.

    The frames are the first `t` of the clip unless `when` tells which they are.
    """
    when = torch.arange(t, device=fps.device).expand(fps.shape[0], t) if when is None else when
    time = repeat(when * (BASE_FPS / fps)[:, None], "b t -> b (t h w) 1", h=rows, w=columns)
    axes = [torch.arange(size, device=fps.device, dtype=torch.float32) for size in (rows, columns)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return torch.cat([time, repeat(place, "h w z -> b (t h w) z", b=fps.shape[0], t=t)], dim=-1)


def joint_mask(
    t: int,
    frame_tokens: int,
    words: int,
    text_mask: Bool[Tensor, "b n"] | None,
    block_causal: bool,
    device: torch.device,
) -> Bool[Tensor, "b 1 m m"] | None:
    """Which of the m = words + t * frame_tokens tokens may attend to which; None where all may.

    Padding is seen by nobody. Block-causal: words see words, a frame sees words, itself and the frames before it.
    """
    if text_mask is None and not block_causal:
        return None
    frame = torch.arange(1, t + 1, device=device).repeat_interleave(frame_tokens)
    order = torch.cat([frame.new_zeros(words), frame if block_causal else frame.new_zeros(len(frame))])
    allowed = (order[:, None] >= order)[None, None]
    if text_mask is None:
        return allowed
    return allowed & F.pad(text_mask, (0, t * frame_tokens), value=True)[:, None, None, :]
