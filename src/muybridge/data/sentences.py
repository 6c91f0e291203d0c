"""Captions without pictures, and what they name: what the text encoder reads before it ever meets a video."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from muybridge.data.source import Encode, choose, clip_seeds, share, token_ids
from muybridge.data.worlds import HELD_OUT, HELD_OUT_PAIRS
from muybridge.simulation import describe
from muybridge.simulation.lexicon import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS
from muybridge.types import Batch

OBJECTS = 5
"""Objects of a sentence that are told apart; worlds have four, one of which may be an occluder beside them."""

COLOURS, SHAPES, SIZES = tuple(COLOUR_WORDS), tuple(SHAPE_WORDS), tuple(SIZE_WORDS)


def _said(table: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    return {word: i for i, words in enumerate(table.values()) for word in words}


_COLOUR_OF, _SHAPE_OF, _SIZE_OF = _said(COLOUR_WORDS), _said(SHAPE_WORDS), _said(SIZE_WORDS)
_NOUN = re.compile(rf"(?:({'|'.join(_SIZE_OF)}) )?({'|'.join(_COLOUR_OF)}) ({'|'.join(_SHAPE_OF)})\b")


def named(text: str) -> Int64[Tensor, "5 3"]:
    """Colour, shape and size (numbers of COLOURS, SHAPES, SIZES) of the objects that `text` names, as they come up.

    Rows beyond the last object have colour len(COLOURS); a size that is not said is len(SIZES).
    """
    found: dict[tuple[int, int], int] = {}
    for size, colour, shape in _NOUN.findall(text):
        found.setdefault((_COLOUR_OF[colour], _SHAPE_OF[shape]), _SIZE_OF.get(size, len(SIZES)))
    rows = [(colour, shape, size) for (colour, shape), size in found.items()][:OBJECTS]
    nothing = (len(COLOURS), 0, len(SIZES))
    return torch.tensor(rows + [nothing] * (OBJECTS - len(rows)))


PROPS = ("ramp", "slope", "wall", "screen")
"""Words for props, which have no colour that is told."""

_PROP = re.compile(rf"\b(?:{'|'.join(PROPS)})s?\b", re.IGNORECASE)


def names_prop(text: str) -> bool:
    """Whether `text` names a prop."""
    return _PROP.search(text) is not None


@dataclass(frozen=True)
class Sentences:
    """A Source of `clips` captions of worlds that are never rendered, each with what it names."""

    clips: int
    encode_text: Encode
    seed: int = 0
    text_length: int = 64

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        seeds = clip_seeds(self.seed, step, share(self.clips, rank, world))
        captions = [choose(describe(seed % HELD_OUT, HELD_OUT_PAIRS)[0], seed) for seed in seeds.tolist()]
        return Batch(
            text=token_ids(captions, self.encode_text, self.text_length),
            named=torch.stack([named(caption) for caption in captions]),
            seed=seeds,
        )
