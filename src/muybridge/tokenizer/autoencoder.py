"""The causal video autoencoder: Video <-> Latent, whole or in chunks.

The first pixel frame is an image and becomes the first latent frame; every further latent frame stands for four pixel
frames. Both directions look at the present and the past only: what a layer needs of the past is one frame of its
own input, kept in a Carry, so a clip that is streamed in chunks gives what the whole clip gives.

No norm stands on the way from pixels to latent to pixels, only in the blocks beside it: at the start of training the
whole is linear, and how bright a place is never has to be told through a normalisation.

All convolutions are two-dimensional, over a clip's frames as a batch, because that is what CPUs are good at; time is
mixed where a block reads its own past beside the present (`Past`). Four frames ride in the channels of one.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from muybridge.types import TEMPORAL_STRIDE, Carry, latent_frames


@dataclass(frozen=True)
class AutoencoderConfig:
    """Every number of the autoencoder. `coarse` and `fine` are widths at 1/8 and 1/4 of the picture's resolution."""

    channels: int = 16
    coarse: int = 160
    fine: int = 64
    encoder_blocks: tuple[int, int] = (2, 2)
    decoder_blocks: tuple[int, int] = (2, 4)
    noise: float = 0.1

    @property
    def spatial_stride(self) -> int:
        return 8


class ChannelNorm(nn.Module):
    """RMS norm over the channels of each pixel (Zhang & Sennrich 2019): no statistics over space or time, so crops,
    chunks and whole clips see the same numbers."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        length = torch.linalg.vector_norm(x, dim=1, keepdim=True, dtype=torch.float32)
        scale = torch.rsqrt(length.square() / x.shape[1] + 1e-6)
        return x * scale.to(x.dtype) * self.gain.to(x.dtype)


class Past(nn.Module):
    """Adds what the previous frame had to say: a 1x1 convolution of the frame before, from the carry for the first."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.mix.weight)

    def forward(self, x: Float[Tensor, "n c h w"], batch: int, before: Tensor | None) -> tuple[Tensor, Tensor]:
        frames = rearrange(x, "(b t) c h w -> b t c h w", b=batch)
        first = torch.zeros_like(frames[:, :1]) if before is None else before.to(frames.dtype)
        past = rearrange(torch.cat([first, frames[:, :-1]], dim=1), "b t c h w -> (b t) c h w")
        return x + self.mix(past), frames[:, -1:]


class Block(nn.Module):
    """Residual block: norm, 3x3, SiLU, 3x3, the last one starting at zero."""

    def __init__(self, channels: int, causal: bool = False) -> None:
        super().__init__()
        self.past = Past(channels) if causal else None
        self.norm = ChannelNorm(channels)
        self.up = nn.Conv2d(channels, channels, 3, padding=1)
        self.down = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor, batch: int, before: Tensor | None) -> tuple[Tensor, Tensor | None]:
        y, last = x, None
        if self.past is not None:
            y, last = self.past(x, batch, before)
        return y + self.down(F.silu(self.up(self.norm(y)))), last


class Stage(nn.Module):
    """Blocks at one resolution; every second one reads the past."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(channels, causal=i % 2 == 0) for i in range(blocks))

    def forward(self, x: Tensor, batch: int, carry: Carry, name: str) -> tuple[Tensor, Carry]:
        after: Carry = {}
        for i, block in enumerate(self.blocks):
            x, last = block(x, batch, carry.get(f"{name}.{i}"))
            if last is not None:
                after[f"{name}.{i}"] = last
        return x, after


class Encoder(nn.Module):
    """Groups of four frames at 1/4 resolution, then at 1/8, then `channels` numbers a place."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3 * TEMPORAL_STRIDE * 16, config.fine, 3, padding=1)
        self.fine = Stage(config.fine, config.encoder_blocks[0])
        self.merge = nn.Conv2d(config.fine * 4, config.coarse, 1)
        self.coarse = Stage(config.coarse, config.encoder_blocks[1])
        self.head = nn.Conv2d(config.coarse, config.channels, 3, padding=1)

    def forward(self, groups: Float[Tensor, "b t f 3 h w"], carry: Carry) -> tuple[Tensor, Carry]:
        batch = groups.shape[0]
        x = rearrange(groups, "b t f c (h p) (w q) -> (b t) (f c p q) h w", p=4, q=4)
        x = self.stem(x.contiguous(memory_format=torch.channels_last))
        x, fine = self.fine(x, batch, carry, "encoder.fine")
        x = self.merge(rearrange(x, "n c (h p) (w q) -> n (c p q) h w", p=2, q=2))
        x, coarse = self.coarse(x, batch, carry, "encoder.coarse")
        x = self.head(x)
        return rearrange(x, "(b t) c h w -> b t c h w", b=batch), fine | coarse


class Decoder(nn.Module):
    """The encoder's mirror: places at 1/8 resolution, then at 1/4, then the pixels of four frames."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.stem = nn.Conv2d(config.channels, config.coarse, 3, padding=1)
        self.coarse = Stage(config.coarse, config.decoder_blocks[1])
        self.split = nn.Conv2d(config.coarse, config.fine * 4, 1)
        self.fine = Stage(config.fine, config.decoder_blocks[0])
        self.head = nn.Conv2d(config.fine, 3 * TEMPORAL_STRIDE * 16, 3, padding=1)

    def forward(self, latent: Float[Tensor, "b t c h w"], carry: Carry) -> tuple[Tensor, Carry]:
        batch = latent.shape[0]
        x = rearrange(latent, "b t c h w -> (b t) c h w").contiguous(memory_format=torch.channels_last)
        x, coarse = self.coarse(self.stem(x), batch, carry, "decoder.coarse")
        x, fine = self.fine(F.pixel_shuffle(self.split(x), 2), batch, carry, "decoder.fine")
        pictures = F.pixel_shuffle(self.head(x), 4)
        return rearrange(pictures, "(b t) (f c) h w -> b t f c h w", b=batch, f=TEMPORAL_STRIDE), coarse | fine


class VideoAutoencoder(nn.Module):
    """Video <-> Latent. `mean` and `std` of each channel, measured after training, bring latents to unit variance."""

    mean: Tensor
    std: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("mean", torch.zeros(config.channels, 1, 1))
        self.register_buffer("std", torch.ones(config.channels, 1, 1))
        for parameter in self.parameters():  # convolutions on CPUs are fastest with channels last
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def encode(
        self, video: Float[Tensor, "b t rgb h w"], carry: Carry | None = None
    ) -> tuple[Float[Tensor, "b s c i j"], Carry]:
        """Latent frames of `video`, pixels in [-1, 1]. Without a carry the clip begins here and has 1 + 4k frames;
        with the carry of the chunk before it has 4k."""
        if carry is None:
            latent_frames(video.shape[1])
            video = torch.cat([repeat(video[:, :1], "b 1 c h w -> b f c h w", f=TEMPORAL_STRIDE - 1), video], dim=1)
        _, frames, colours, height, width = video.shape
        stride = self.config.spatial_stride
        if frames % TEMPORAL_STRIDE or colours != 3 or height % stride or width % stride or 0 in video.shape:
            raise ValueError(
                f"cannot encode {tuple(video.shape)}: a chunk has 4k frames (1 + 4k where a clip begins) of 3 colours, "
                f"and height and width are multiples of {stride}"
            )
        groups = rearrange(video, "b (t f) c h w -> b t f c h w", f=TEMPORAL_STRIDE)
        moments, after = self.encoder(groups, carry or {})
        return (moments - self.mean) / self.std, after

    def decode(
        self, latent: Float[Tensor, "b s c i j"], carry: Carry | None = None
    ) -> tuple[Float[Tensor, "b t 3 h w"], Carry]:
        """Pixel frames of `latent`, in [-1, 1] but for small overshoot. Without a carry the clip begins here: its first
        latent frame gives one pixel frame, every other one four."""
        if latent.shape[2] != self.config.channels or 0 in latent.shape:
            raise ValueError(
                f"cannot decode {tuple(latent.shape)}: a latent has 1 frame or more of {self.config.channels} channels"
            )
        groups, after = self.decoder(latent * self.std + self.mean, carry or {})
        video = rearrange(groups, "b t f c h w -> b (t f) c h w")
        return (video if carry is not None else video[:, TEMPORAL_STRIDE - 1 :]), after
