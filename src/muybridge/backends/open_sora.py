"""The transformer of Open-Sora 2.0 (Peng et al. 2503.09642), which diffusers does not have, and a loader for its file.

Its layers are named as in the file that its makers published (`Open_Sora_v2.safetensors`), so that a state dict says
what is what. Words and frames are two streams with weights of their own and joint attention, then one stream with the
same weights for both. Known frames come in beside the noise: their latents, and a mask of where they are.

Legend: b clips, t latent frames, c channels, h w latent rows and columns, n words, m tokens, d width, k heads, e width
of a head.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from muybridge.storage.checkpoint import load_into, load_tensors
from muybridge.transformer.rope import rotate

_FREQUENCIES = 128
_LONGEST = 10_000.0
"""Of the wavelengths of both levels and positions."""


@dataclass(frozen=True)
class OpenSoraConfig:
    """Every number of the transformer; the defaults are those that were published, 11.9 billion weights.

    channels      of the latent; `patch` places a side make one token
    words, gist   features of a word (T5) and of the whole sentence (CLIP)
    double, single  layers of two streams, then of one
    """

    channels: int = 16
    patch: int = 2
    width: int = 3072
    heads: int = 24
    double: int = 19
    single: int = 38
    words: int = 4096
    gist: int = 768
    expansion: int = 4

    @property
    def head(self) -> int:
        """Width of an attention head."""
        return self.width // self.heads

    @property
    def axes(self) -> tuple[int, int, int]:
        """How much of a head turns with time, row and column: an eighth, and half of the rest each."""
        return self.head // 8, self.head * 7 // 16, self.head * 7 // 16


class OpenSora(nn.Module):
    """Noisy latent, its level, words and known frames -> velocity."""

    def __init__(self, config: OpenSoraConfig) -> None:
        super().__init__()
        self.config = config
        width, places = config.width, config.channels * config.patch**2
        self.img_in = nn.Linear(places, width)
        self.time_in = _Embedder(2 * _FREQUENCIES, width)
        self.vector_in = _Embedder(config.gist, width)
        self.cond_in = nn.Linear(places + config.patch**2, width)
        self.txt_in = nn.Linear(config.words, width)
        self.double_blocks = nn.ModuleList(_DoubleBlock(config) for _ in range(config.double))
        self.single_blocks = nn.ModuleList(_SingleBlock(config) for _ in range(config.single))
        self.final_layer = _Last(width, places)

    def forward(
        self,
        latent: Float[Tensor, "b t c h w"],
        level: Float[Tensor, " b"],
        words: Float[Tensor, "b n d"],
        gist: Float[Tensor, "b e"],
        known: Float[Tensor, "b t c h w"] | None = None,
        is_known: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t c h w"]:
        """The velocity (noise - data) at noise `level`, 0 to 1, of a clip of which some latent frames may be known."""
        shape = latent.shape
        told = self.time_in(_angles(level).to(latent.dtype)) + self.vector_in(gist)
        frames = self.img_in(self._tokens(latent)) + self.cond_in(self._given(latent, known, is_known))
        text = self.txt_in(words)
        turn = self._turns(shape, text.shape[1], latent.device)
        for block in self.double_blocks:
            frames, text = block(frames, text, told, turn)
        both = torch.cat([text, frames], dim=1)
        for block in self.single_blocks:
            both = block(both, told, turn)
        out: Tensor = self.final_layer(both[:, text.shape[1] :], told)
        p = self.config.patch
        return rearrange(
            out, "b (t h w) (c p q) -> b t c (h p) (w q)", t=shape[1], h=shape[3] // p, w=shape[4] // p, p=p, q=p
        )

    def _tokens(self, latent: Float[Tensor, "b t c h w"]) -> Float[Tensor, "b m e"]:
        p = self.config.patch
        return rearrange(latent, "b t c (h p) (w q) -> b (t h w) (c p q)", p=p, q=p)

    def _given(self, latent: Tensor, known: Tensor | None, is_known: Tensor | None) -> Float[Tensor, "b m e"]:
        """The mask, then the known latents where it is 1, as one picture of c + 1 channels."""
        here = torch.zeros_like(latent[:, :, :1])
        if known is None or is_known is None:
            return self._tokens(torch.cat([here, torch.zeros_like(latent)], dim=2))
        here = here + is_known[:, :, None, None, None]
        return self._tokens(torch.cat([here, known.to(latent) * here], dim=2))

    def _turns(self, shape: torch.Size, words: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Cosine and sine of each plane of a head at each token's time, row and column; all words stand at 0."""
        _, t, _, h, w = shape
        sizes = (t, h // self.config.patch, w // self.config.patch)
        place = torch.stack(torch.meshgrid(*(torch.arange(size) for size in sizes), indexing="ij"), dim=-1)
        place = torch.cat([torch.zeros(words, 3), place.reshape(-1, 3).float()]).double()
        angles = [
            place[:, axis, None] * _LONGEST ** (-torch.arange(0, share, 2, dtype=torch.float64) / share)
            for axis, share in enumerate(self.config.axes)
        ]
        angle = torch.cat(angles, dim=-1).float().to(device)[None, None]
        return angle.cos(), angle.sin()


class _Embedder(nn.Module):
    """Two layers with a SiLU between them."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.in_layer, self.out_layer = nn.Linear(features, width), nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b e"]) -> Float[Tensor, "b d"]:
        y: Tensor = self.out_layer(F.silu(self.in_layer(x)))
        return y


class _Modulation(nn.Module):
    """What level and sentence say to a block: shift, scale and gate, once for each of its branches."""

    def __init__(self, width: int, branches: int) -> None:
        super().__init__()
        self.lin, self.parts = nn.Linear(width, 3 * branches * width), 3 * branches

    def forward(self, told: Float[Tensor, "b d"]) -> tuple[Tensor, ...]:
        return self.lin(F.silu(told))[:, None].chunk(self.parts, dim=-1)  # type: ignore[no-any-return]


class _Scale(nn.Module):
    """RMS norm over a head's features."""

    def __init__(self, head: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(head))

    def forward(self, x: Float[Tensor, "b k m e"]) -> Float[Tensor, "b k m e"]:
        return F.rms_norm(x.float(), x.shape[-1:], eps=1e-6).to(x.dtype) * self.scale


class _Norms(nn.Module):
    """Those of queries and keys."""

    def __init__(self, head: int) -> None:
        super().__init__()
        self.query_norm, self.key_norm = _Scale(head), _Scale(head)


class _Attention(nn.Module):
    """A stream's way into and out of joint attention."""

    def __init__(self, config: OpenSoraConfig) -> None:
        super().__init__()
        width, self.heads = config.width, config.heads
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.norm, self.proj = _Norms(config.head), nn.Linear(width, width)

    def queries_keys_values(self, x: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor, Tensor]:
        q, k, v = (_split(layer(x), self.heads) for layer in (self.q_proj, self.k_proj, self.v_proj))
        return self.norm.query_norm(q), self.norm.key_norm(k), v


class _DoubleBlock(nn.Module):
    """Joint attention of frames and words, then each stream's feed-forward."""

    def __init__(self, config: OpenSoraConfig) -> None:
        super().__init__()
        self.img_mod, self.txt_mod = _Modulation(config.width, 2), _Modulation(config.width, 2)
        self.img_attn, self.txt_attn = _Attention(config), _Attention(config)
        self.img_mlp, self.txt_mlp = _feed(config), _feed(config)

    def forward(self, frames: Tensor, text: Tensor, told: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        a, b = self.txt_mod(told), self.img_mod(told)
        read = (
            self.txt_attn.queries_keys_values(_modulated(text, *a[:2])),
            self.img_attn.queries_keys_values(_modulated(frames, *b[:2])),
        )
        q, k, v = (torch.cat(pair, dim=2) for pair in zip(*read, strict=True))
        to_text, to_frames = torch.split(_attend(q, k, v, turn), [text.shape[1], frames.shape[1]], dim=1)
        text = text + a[2] * self.txt_attn.proj(to_text)
        frames = frames + b[2] * self.img_attn.proj(to_frames)
        text = text + a[5] * self.txt_mlp(_modulated(text, *a[3:5]))
        frames = frames + b[5] * self.img_mlp(_modulated(frames, *b[3:5]))
        return frames, text


class _SingleBlock(nn.Module):
    """Attention and feed-forward side by side (Dehghani et al. 2302.05442), over words and frames alike."""

    def __init__(self, config: OpenSoraConfig) -> None:
        super().__init__()
        width, hidden, self.heads = config.width, config.expansion * config.width, config.heads
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_mlp, self.linear2 = nn.Linear(width, width + hidden), nn.Linear(width + hidden, width)
        self.norm, self.modulation = _Norms(config.head), _Modulation(width, 1)

    def forward(self, x: Tensor, told: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        shift, scale, gate = self.modulation(told)
        y = _modulated(x, shift, scale)
        v, hidden = torch.split(self.v_mlp(y), [x.shape[-1], self.linear2.in_features - x.shape[-1]], dim=-1)
        q, k = self.norm.query_norm(_split(self.q_proj(y), self.heads)), _split(self.k_proj(y), self.heads)
        attended = _attend(q, self.norm.key_norm(k), _split(v, self.heads), turn)
        out: Tensor = x + gate * self.linear2(torch.cat([attended, F.gelu(hidden, approximate="tanh")], dim=-1))
        return out


class _Last(nn.Module):
    """The last norm, modulated, and the way back to the latent's channels."""

    def __init__(self, width: int, places: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, places)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width))

    def forward(self, x: Float[Tensor, "b m d"], told: Float[Tensor, "b d"]) -> Float[Tensor, "b m e"]:
        shift, scale = self.adaLN_modulation(told)[:, None].chunk(2, dim=-1)
        y: Tensor = self.linear(_modulated(x, shift, scale))
        return y


def _feed(config: OpenSoraConfig) -> nn.Sequential:
    hidden = config.expansion * config.width
    return nn.Sequential(nn.Linear(config.width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, config.width))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


def _split(x: Float[Tensor, "b m d"], heads: int) -> Float[Tensor, "b k m e"]:
    return rearrange(x, "b m (k e) -> b k m e", k=heads)


def _attend(q: Tensor, k: Tensor, v: Tensor, turn: tuple[Tensor, Tensor]) -> Float[Tensor, "b m d"]:
    return rearrange(F.scaled_dot_product_attention(rotate(q, turn), rotate(k, turn), v), "b k m e -> b m (k e)")


def _angles(level: Float[Tensor, " b"]) -> Float[Tensor, "b f"]:
    """Cosines and sines of a level, taken as one of a thousand, at wavelengths from 2 pi to 2 pi x 10 000."""
    frequency = torch.exp(-math.log(_LONGEST) * torch.arange(_FREQUENCIES, device=level.device) / _FREQUENCIES)
    angle = 1000 * level.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def config_of(shapes: Mapping[str, tuple[int, ...]]) -> OpenSoraConfig:
    """The numbers of the network whose layers these are, as the file names them. ValueError if it is another."""
    if "double_blocks.0.img_attn.qkv.weight" in shapes:
        raise ValueError("its queries, keys and values are one matrix, which is an earlier layout: take Open-Sora 2.0")
    try:
        width, places = shapes["img_in.weight"]
        patches = shapes["cond_in.weight"][1] - places
        return OpenSoraConfig(
            channels=places // patches,
            patch=math.isqrt(patches),
            width=width,
            heads=width // shapes["double_blocks.0.img_attn.norm.query_norm.scale"][0],
            double=_layers(shapes, "double_blocks"),
            single=_layers(shapes, "single_blocks"),
            words=shapes["txt_in.weight"][1],
            gist=shapes["vector_in.in_layer.weight"][1],
            expansion=shapes["double_blocks.0.img_mlp.0.weight"][0] // width,
        )
    except (KeyError, ZeroDivisionError, ValueError, IndexError) as error:
        raise ValueError(
            f"it holds no transformer of Open-Sora 2.0 ({error}): take Open_Sora_v2.safetensors"
        ) from error


def _layers(shapes: Mapping[str, tuple[int, ...]], name: str) -> int:
    return 1 + max((int(key.split(".")[1]) for key in shapes if key.startswith(f"{name}.")), default=-1)


def load_open_sora(path: str | Path, device: str = "cpu", dtype: torch.dtype = torch.bfloat16) -> OpenSora:
    """The transformer of a file as it was published; its shape is told by its layers.

    ValueError, with the mend, if the file is damaged or is not one of Open-Sora 2.0.
    """
    tensors, _ = load_tensors(path)
    try:
        config = config_of({name: tuple(value.shape) for name, value in tensors.items()})
    except ValueError as error:
        raise ValueError(f"{path} cannot be opened: {error}") from error
    with torch.device("meta"):
        model = OpenSora(config)
    load_into(model, tensors, f"the transformer of Open-Sora in {path}", assign=True)
    return model.to(device, dtype).eval().requires_grad_(False)
