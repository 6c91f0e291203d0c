"""A stream by a model whose frames look at later ones: window after window, each going on from the end of the last.

A window begins with the stream's first frame and the last ones that were made, at positions as if nothing had ever been
between; so it never leaves what the model learnt, however long the stream is, and the first frame keeps colours and
light where they were (the attention sink of Xiao et al. 2309.17453, as latents). Nothing grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

GoOn: TypeAlias = Callable[[Float[Tensor, "1 k c h w"], int], Float[Tensor, "1 n c h w"]]
"""go_on(shown, seed) -> a whole window, whose first frames are those that are shown to it."""


def windows(
    go_on: GoOn, known: Float[Tensor, "1 t c h w"], recent: int, seed: int
) -> Iterator[Float[Tensor, "1 1 c h w"]]:
    """Latent frames without an end: first those that are `known`, at least one, then those that follow.

    Each window is shown the first frame and the `recent` last ones. Its seed is the next that `seed` leads to, so the
    same seed gives the same frames however many are taken.
    """
    assert known.shape[1] >= 1, "a stream of windows goes on from something"
    assert recent >= 1, f"{recent} recent frames"
    generator = torch.Generator().manual_seed(seed)
    first, past = known[:, :1], known
    yield from torch.split(known, 1, dim=1)
    while True:
        shown = past if past.shape[1] <= recent + 1 else torch.cat([first, past[:, -recent:]], dim=1)
        window = go_on(shown, int(torch.randint(2**31, (), generator=generator)))
        yield from torch.split(window[:, shown.shape[1] :], 1, dim=1)
        past = window
