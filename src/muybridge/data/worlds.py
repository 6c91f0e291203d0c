"""Which of the simulated worlds training keeps away from, so that tests can ask for them."""

from __future__ import annotations

from muybridge.simulation import Pairs

HELD_OUT = 2**40
"""Worlds with this seed or a larger one are never trained on."""

HELD_OUT_PAIRS: Pairs = frozenset({("red", "cylinder"), ("yellow", "box"), ("teal", "ball"), ("purple", "cylinder")})
"""Colours with shapes that are never trained on; each colour and each shape comes in other pairs."""
