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
from muybridge.types import Streams

BASE_FPS = 15.0
"""At this speed one latent frame is one step of time's rotary position; faster clips take shorter steps."""


@dataclass(frozen=True)
class TransformerConfig:
    """Every number of the transformer. `patch` latent places a side make one token."""

    channels: int = 16
    patch: int = 2
    width: int = 256
    layers: int = 8
    heads: int = 4
    expansion: int = 4
    text_width: int = 256
    text_expansion: int = 2


class LevelEmbedding(nn.Module):
    """A frame's noise level and the gist of the words, as shift, scale and gate of both branches of every block.

    The gist is the mean of the words' features (as the pooled text of Esser et al. 2403.03206): what is true of the
    whole clip reaches every place at once, and attention is left with what is where.
    """

    def __init__(self, width: int, text_width: int, frequencies: int = 64) -> None:
        super().__init__()
        self.gist = nn.Linear(text_width, width, bias=False)
        self.frequencies = frequencies
        self.hidden = nn.Linear(2 * frequencies, width)
        self.out = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self, level: Float[Tensor, "b t"], gist: Float[Tensor, "b e"]
    ) -> tuple[Float[Tensor, "b t 1 6 d"], Float[Tensor, "b t 1 d"]]:
        scale = math.log(1000.0) / (self.frequencies - 1)
        angle = level[..., None] * torch.exp(scale * torch.arange(self.frequencies, device=level.device)) * math.pi
        angles = torch.cat([angle.cos(), angle.sin()], dim=-1)
        hidden = F.silu(self.hidden(angles) + self.gist(gist)[:, None])
        return rearrange(self.out(hidden), "b t (z d) -> b t 1 z d", z=6), hidden[:, :, None]


class VideoTransformer(nn.Module):
    """The network of a rectified flow on latent clips of any length, size and aspect ratio."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        places = config.channels * config.patch**2
        self.frames_in = nn.Linear(places, config.width)
        self.place_in = nn.Linear(4 * PLACE_FREQUENCIES, config.width, bias=False)
        self.text_in = nn.Linear(config.text_width, config.width)
        self.level = LevelEmbedding(config.width, config.text_width)
        self.blocks = nn.ModuleList(
            JointBlock(config.width, config.heads, config.expansion, config.text_expansion, last=i == config.layers - 1)
            for i in range(config.layers)
        )
        self.norm_out = nn.RMSNorm(config.width, eps=1e-6, elementwise_affine=False)
        self.modulation_out = nn.Linear(config.width, 2 * config.width)
        self.frames_out = nn.Linear(config.width, places)
        for module in (self.modulation_out, self.frames_out):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self,
        latent: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        streams: Streams,
        block_causal: bool = False,
        tap: int | None = None,
    ) -> Float[Tensor, "b t c h w"] | tuple[Float[Tensor, "b t c h w"], Float[Tensor, "b t s d"]]:
        """Velocity of `latent`, whose frames are at noise `level` each; `block_causal`: frames see their past only.

        With `tap`, also what the frames' tokens are after so many blocks.
        """
        p = self.config.patch
        _, t, _, rows, columns = latent.shape
        rows, columns = rows // p, columns // p
        tokens = rearrange(latent, "b t c (h p) (w q) -> b t (h w) (c p q)", p=p, q=p)
        frames = self.frames_in(tokens) + self.place_in(places(rows, columns, latent.device))
        text = self.text_in(streams.text)
        modulation, hidden = self.level(level, gist(streams.text, streams.text_mask))
        turn = rotations(positions(t, rows, columns, streams.fps, streams.when), self.config.width // self.config.heads)
        mask = joint_mask(t, rows * columns, text.shape[1], streams.text_mask, block_causal, latent.device)
        tapped = frames
        for number, block in enumerate(self.blocks, start=1):
            frames, text = block(frames, text, modulation, turn, mask)
            tapped = frames if number == tap else tapped
        shift, scale = self.modulation_out(hidden).chunk(2, dim=-1)
        out: Tensor = self.frames_out(self.norm_out(frames) * (1 + scale) + shift)
        out = rearrange(out, "b t (h w) (c p q) -> b t c (h p) (w q)", h=rows, p=p, q=p)
        return out if tap is None else (out, tapped)


def gist(text: Float[Tensor, "b n d"], mask: Bool[Tensor, "b n"] | None) -> Float[Tensor, "b d"]:
    """The mean of the words' features, padding left out."""
    if mask is None:
        return text.mean(dim=1)
    return (text * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp_min(1)


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
    when = torch.arange(t, device=fps.device).expand(len(fps), t) if when is None else when
    time = repeat(when * (BASE_FPS / fps)[:, None], "b t -> b (t h w) 1", h=rows, w=columns)
    axes = [torch.arange(size, device=fps.device, dtype=torch.float32) for size in (rows, columns)]
    place = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    return torch.cat([time, repeat(place, "h w z -> b (t h w) z", b=len(fps), t=t)], dim=-1)


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
