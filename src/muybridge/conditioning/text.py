"""The text encoder: words -> a few tokens that the video transformer attends to.

Words first read one another; then a fixed number of learnt queries read the words (the resampler of Perceiver IO,
Jaegle et al. 2107.14795), so the transformer sees the same few tokens whether a prompt is short or long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from muybridge.conditioning.vocabulary import LONGEST_PROMPT


@dataclass(frozen=True)
class TextConfig:
    """Every number of the text encoder; `vocabulary` counts ids, `queries` the tokens that come out."""

    vocabulary: int
    width: int = 256
    layers: int = 3
    heads: int = 4
    queries: int = 12


class Attention(nn.Module):
    """Multi-head attention of `x` to `memory`, padding left out."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, 2 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)

    def forward(
        self, x: Float[Tensor, "b q d"], memory: Float[Tensor, "b n d"], seen: Bool[Tensor, "b n"]
    ) -> Float[Tensor, "b q d"]:
        q = rearrange(self.query(x), "b q (k e) -> b k q e", k=self.heads)
        k, v = rearrange(self.key_value(memory), "b n (z k e) -> z b k n e", z=2, k=self.heads)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=seen[:, None, None, :])
        out: Tensor = self.out(rearrange(y, "b k q e -> b q (k e)"))
        return out


class Layer(nn.Module):
    """Attention to the words, then a feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, memory: Tensor | None, seen: Tensor) -> Tensor:
        """`x` attends to `memory`, or to itself where that is None."""
        y = normed(x)
        x = x + self.attention(y, y if memory is None else memory, seen)
        out: Tensor = x + self.down(F.gelu(self.up(normed(x))))
        return out


class TextEncoder(nn.Module):
    """Ids of words -> `queries` tokens. Every prompt begins with a token of its own, so an empty one is one too.

    words    what gives each word its features, (b n) -> (b n width); None: an embedding of its own
    longest  words that there are places for
    """

    def __init__(self, config: TextConfig, words: nn.Module | None = None, longest: int = LONGEST_PROMPT) -> None:
        super().__init__()
        self.config, self.longest = config, longest
        self.words = nn.Embedding(config.vocabulary, config.width) if words is None else words
        self.places = nn.Parameter(torch.randn(longest + 1, config.width) * 0.02)
        self.start = nn.Parameter(torch.randn(config.width) * 0.02)
        self.queries = nn.Parameter(torch.randn(config.queries, config.width) * 0.02)
        self.readers = nn.ModuleList(Layer(config.width, config.heads) for _ in range(config.layers))
        self.resamplers = nn.ModuleList(Layer(config.width, config.heads) for _ in range(2))
        if isinstance(self.words, nn.Embedding):
            nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b q d"]:
        """Features of prompts given as `ids`, padded with 0 to any length up to `longest`."""
        count, length = ids.shape
        assert length <= self.longest, f"{length} words, at most {self.longest}"
        start = self.start.expand(count, 1, -1)
        x = torch.cat([start, self.words(ids)], dim=1) + self.places[: length + 1]
        seen = F.pad(ids != 0, (1, 0), value=True)
        for layer in self.readers:
            x = layer(x, None, seen)
        x = normed(x)
        out = self.queries.expand(count, -1, -1)
        for layer in self.resamplers:
            out = layer(out, x, seen)
        return normed(out)


def normed(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """RMS norm (Zhang & Sennrich 1910.07467); the linear layer that follows has gain enough."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def pad(prompts: Sequence[Sequence[int]], length: int | None = None) -> Int[Tensor, "b n"]:
    """Ids of several prompts as one tensor, filled with 0 up to the longest (or to `length`)."""
    longest = max([1, *map(len, prompts)])
    length = longest if length is None else length
    assert longest <= length, f"a prompt of {longest} words does not fit into {length}"
    return torch.tensor([[*ids, *[0] * (length - len(ids))] for ids in prompts])
