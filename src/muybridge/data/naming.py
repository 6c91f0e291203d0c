"""What captions and prompts name: things with a colour, a shape and a size, and props.

Here is nothing but words: who makes a clip of them need not wait for a simulator.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from jaxtyping import Int64
from torch import Tensor

from muybridge.simulation.lexicon import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS

OBJECTS = 5
"""Objects of a sentence that are told apart; worlds have four, one of which may be an occluder beside them."""

COLOURS, SHAPES, SIZES = tuple(COLOUR_WORDS), tuple(SHAPE_WORDS), tuple(SIZE_WORDS)


def _said(table: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
    return {word: i for i, words in enumerate(table.values()) for word in words}


COLOUR_OF, SHAPE_OF, SIZE_OF = _said(COLOUR_WORDS), _said(SHAPE_WORDS), _said(SIZE_WORDS)
"""What words stand for: numbers of COLOURS, SHAPES and SIZES."""

_NOUN = re.compile(rf"(?:({'|'.join(SIZE_OF)}) )?({'|'.join(COLOUR_OF)}) ({'|'.join(SHAPE_OF)})\b")


def named(text: str) -> Int64[Tensor, "5 3"]:
    """Colour, shape and size (numbers of COLOURS, SHAPES, SIZES) of the objects that `text` names, as they come up.

    Rows beyond the last object have colour len(COLOURS); a size that is not said is len(SIZES).
    """
    found: dict[tuple[int, int], int] = {}
    for size, colour, shape in _NOUN.findall(text):
        found.setdefault((COLOUR_OF[colour], SHAPE_OF[shape]), SIZE_OF.get(size, len(SIZES)))
    rows = [(colour, shape, size) for (colour, shape), size in found.items()][:OBJECTS]
    nothing = (len(COLOURS), 0, len(SIZES))
    return torch.tensor(rows + [nothing] * (OBJECTS - len(rows)))


PROPS = ("ramp", "slope", "wall", "screen")
"""Words for props, which have no colour that is told."""

_PROP = re.compile(rf"\b(?:{'|'.join(PROPS)})s?\b", re.IGNORECASE)


def names_prop(text: str) -> bool:
    """Whether `text` names a prop."""
    return _PROP.search(text) is not None
