"""Reads captions back: by rules of its own, so that it tells of the grammar and of what else reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from muybridge.simulation.captions import Fact
from muybridge.simulation.lexicon import COLOUR_WORDS, SHAPE_WORDS, SIZE_WORDS


def mentioned(text: str) -> tuple[Fact, ...]:
    """The objects that a text names by colour, each once, in the order of their first mention."""
    found: dict[tuple[str, str], Fact] = {}
    for size, colour, shape in re.findall(_NAME, text.lower()):
        fact = Fact(_COLOUR_OF[colour], _SHAPE_OF[shape], _SIZE_OF[size.strip()] if size else None)
        found.setdefault((_COLOUR_OF[colour], _SHAPE_OF[shape]), fact)
    return tuple(found.values())


def _meanings(table: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {word: meaning for meaning, options in table.items() for word in options}


_SIZE_OF, _COLOUR_OF, _SHAPE_OF = _meanings(SIZE_WORDS), _meanings(COLOUR_WORDS), _meanings(SHAPE_WORDS)
_NAME = rf"\b(?:({'|'.join(_SIZE_OF)}) )?({'|'.join(_COLOUR_OF)}) ({'|'.join(_SHAPE_OF)})\b"
