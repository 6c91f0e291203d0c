"""One layer of the transformer: every stream has weights of its own, all attend to all (a mixture of transformers).

Legend: b clips, n tokens, d width, k heads, e width of a head, t latent frames, s tokens of one frame, m tokens seen.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from muybridge.transformer.rope import rotate


class Projection(nn.Module):
    """A stream's way into and out of attention: queries, keys and values with QK-norm (Dehghani et al. 2302.05442).

    Only products of queries and keys count, so one of them has a gain. A stream that is read by others but does not
    read itself (`reads` false) has keys and values alone.
    """

    def __init__(self, width: int, heads: int, head_width: int, reads: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)
        if reads:
            self.query = nn.Linear(width, heads * head_width, bias=False)
            self.gain = nn.Parameter(torch.ones(head_width))
            self.out = nn.Linear(heads * head_width, width, bias=False)

    def queries(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b k n e"]:
        q = rearrange(self.query(x), "b n (k e) -> b k n e", k=self.heads)
        return normed(q) * self.gain.to(q.dtype)

    def keys_values(self, x: Float[Tensor, "b n d"]) -> tuple[Float[Tensor, "b k n e"], Float[Tensor, "b k n e"]]:
        k, v = rearrange(self.key_value(x), "b n (z k e) -> z b k n e", z=2, k=self.heads)
        return normed(k), v


class FeedForward(nn.Module):
    """Two matrices and a squared ReLU (So et al. 2109.08668), the cheapest of the good non-linearities on a CPU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden, bias=False)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        y: Tensor = self.down(F.relu(self.up(x)).square())
        return y


class JointBlock(nn.Module):
    """Joint attention of text and frames, then each stream's feed-forward.

    The frames' branches are modulated by their noise levels: adaLN (Peebles & Xie 2212.09748), whose network is shared
    by all layers (Chen et al. 2310.00426); a layer owns a table of offsets only. Text is clean and is not modulated.
    After the `last` block nobody reads the text, so it is not carried on.
    """

    def __init__(
        self, width: int, heads: int, head_width: int, expansion: int, text_expansion: int, last: bool = False
    ) -> None:
        super().__init__()
        self.offsets = nn.Parameter(torch.zeros(6, width))
        self.attention = Projection(width, heads, head_width)
        self.feed = FeedForward(width, expansion * width)
        self.text_attention = Projection(width, heads, head_width, reads=not last)
        self.last = last
        if not last:
            self.text_feed = FeedForward(width, text_expansion * width)

    def forward(
        self,
        frames: Float[Tensor, "b t s d"],
        text: Float[Tensor, "b n d"],
        modulation: Float[Tensor, "b t 1 6 d"],
        turn: tuple[Tensor, Tensor],
        mask: Bool[Tensor, "#b 1 m m"] | None,
    ) -> tuple[Float[Tensor, "b t s d"], Float[Tensor, "b n d"]]:
        t, words = frames.shape[1], text.shape[1]
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (modulation + self.offsets).unbind(dim=3)

        x = normed(frames) * (1 + scale_a) + shift_a
        x = rearrange(x, "b t s d -> b (t s) d")
        y = normed(text)
        keys, values = self.attention.keys_values(x)
        text_keys, text_values = self.text_attention.keys_values(y)
        keys, values = torch.cat([text_keys, rotate(keys, turn)], dim=2), torch.cat([text_values, values], dim=2)
        queries = rotate(self.attention.queries(x), turn)
        if self.last:
            attended = _attend(queries, keys, values, None if mask is None else mask[:, :, words:])
        else:
            attended = _attend(torch.cat([self.text_attention.queries(y), queries], dim=2), keys, values, mask)
            text = text + self.text_attention.out(attended[:, :words])
            text = text + self.text_feed(normed(text))
            attended = attended[:, words:]
        frames = frames + gate_a * rearrange(self.attention.out(attended), "b (t s) d -> b t s d", t=t)
        frames = frames + gate_f * self.feed(normed(frames) * (1 + scale_f) + shift_f)
        return frames, text

    def read(
        self, text: Float[Tensor, "b n d"], mask: Bool[Tensor, "b 1 1 n"] | None
    ) -> tuple[Float[Tensor, "b k n e"], Float[Tensor, "b k n e"], Float[Tensor, "b n d"]]:
        """Words that see words alone, as in a block-causal clip: keys and values for the frames, words for the next."""
        y = normed(text)
        keys, values = self.text_attention.keys_values(y)
        if self.last:
            return keys, values, text
        text = text + self.text_attention.out(_attend(self.text_attention.queries(y), keys, values, mask))
        return keys, values, text + self.text_feed(normed(text))

    def advance(
        self,
        frames: Float[Tensor, "b t s d"],
        modulation: Float[Tensor, "b t 1 6 d"],
        turn: tuple[Tensor, Tensor],
        seen: tuple[Float[Tensor, "b k p e"], Float[Tensor, "b k p e"]],
        mask: Bool[Tensor, "#b 1 n m"] | None,
    ) -> tuple[Float[Tensor, "b t s d"], tuple[Float[Tensor, "b k n e"], Float[Tensor, "b k n e"]]]:
        """The next frames of a block-causal clip, after the keys (turned) and values of the words and frames `seen`.

        Gives the frames' own keys, not turned, and values besides.
        """
        t = frames.shape[1]
        shift_a, scale_a, gate_a, shift_f, scale_f, gate_f = (modulation + self.offsets).unbind(dim=3)
        x = rearrange(normed(frames) * (1 + scale_a) + shift_a, "b t s d -> b (t s) d")
        keys, values = self.attention.keys_values(x)
        attended = _attend(
            rotate(self.attention.queries(x), turn),
            torch.cat([seen[0], rotate(keys, turn)], dim=2),
            torch.cat([seen[1], values], dim=2),
            mask,
        )
        frames = frames + gate_a * rearrange(self.attention.out(attended), "b (t s) d -> b t s d", t=t)
        frames = frames + gate_f * self.feed(normed(frames) * (1 + scale_f) + shift_f)
        return frames, (keys, values)


class Block(nn.Module):
    """A layer of one stream: attention of all its tokens to all, then a feed-forward."""

    def __init__(self, width: int, heads: int, expansion: int) -> None:
        super().__init__()
        self.attention = Projection(width, heads, width // heads)
        self.feed = FeedForward(width, expansion * width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        y = normed(x)
        x = x + self.attention.out(_attend(self.attention.queries(y), *self.attention.keys_values(y), None))
        done: Tensor = x + self.feed(normed(x))
        return done


def normed(x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """RMS norm (Zhang & Sennrich 1910.07467); the linear layer that follows has gain enough."""
    return F.rms_norm(x, x.shape[-1:], eps=1e-6)


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Float[Tensor, "b n d"]:
    if mask is None and q.device.type == "cpu" and torch.is_grad_enabled():
        # On CPUs the fused kernel with its gradient takes two to six times as long as two products and a softmax.
        scores = torch.softmax((q @ k.mT).float() * q.shape[-1] ** -0.5, dim=-1)
        attended = scores.to(v.dtype) @ v
    else:
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return rearrange(attended, "b k n e -> b n (k e)")
