"""What a frozen text encoder knows of words, in the place of an embedding that is learnt: ids -> features of ours.

Its layers never change, so neither the optimiser nor the average nor the state of a training holds them: they are no
part of the module. What is learnt is one matrix from its features to ours; `TextEncoder` reads on from there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from muybridge.conditioning.pretrained import Frozen, PretrainedText
from muybridge.conditioning.text import TextConfig, TextEncoder, normed
from muybridge.conditioning.tokens import Tokens

LONGEST_READ = 128
"""Tokens of a prompt that are read at most: about ninety English words, where our own encoder reads 64."""


class Borrowed(nn.Module):
    """Features of tokens by a frozen encoder, brought to `width`."""

    def __init__(self, frozen: Frozen, width: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.bring = nn.Linear(frozen.width, width, bias=False)

    def forward(self, ids: Int[Tensor, "b n"]) -> Float[Tensor, "b n d"]:
        """Of ids as `Tokens` gives them; what is said of padding (0) means nothing."""
        seen = ids != 0
        length = max(1, int(seen.sum(dim=1).max()))  # batches are padded further than their longest prompt
        tokens, mask = (ids[:, :length] - 1).clamp_min(0), seen[:, :length]
        # Attention to nothing is no number in some families; a prompt of nothing is shown one token that nobody reads.
        mask = mask | (torch.arange(length, device=ids.device) == 0)
        with torch.no_grad():
            features = self.frozen(tokens, mask).float()
        features = torch.where(seen[:, :length, None], normed(features), 0)
        brought: Tensor = self.bring(features)
        return nn.functional.pad(brought, (0, 0, 0, ids.shape[1] - length))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Borrowed:
        """What moves the module moves the frozen encoder with it."""
        self.frozen.model._apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self


def tokens_of(pretrained: PretrainedText) -> Tokens:
    """What a pretrained encoder reads prompts in."""
    return Tokens.cut_by(pretrained.tokenizer.backend_tokenizer, min(pretrained.length, LONGEST_READ))


def name_of(pretrained: PretrainedText) -> str:
    """What tells a pretrained encoder from any other: its kind, and digests of what it reads and of its weights."""
    tokens = hashlib.sha256(tokens_of(pretrained).to_json().encode()).hexdigest()[:12]
    return f"{pretrained.model.config.model_type} ({tokens}, {pretrained.frozen.digest})"


def borrowing(config: TextConfig, frozen: Frozen, longest: int) -> TextEncoder:
    """A text encoder that reads what a frozen one says of a prompt's tokens, as yet untrained."""
    return TextEncoder(config, Borrowed(frozen, config.width), longest)


def borrowed_by(text: TextEncoder) -> Frozen | None:
    """The frozen encoder of a text encoder; None where words have an embedding of its own."""
    return text.words.frozen if isinstance(text.words, Borrowed) else None
