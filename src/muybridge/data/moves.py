"""Moves as a planner is told of them: which of its things is meant, and where that is at each frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.data.naming import COLOURS, named
from muybridge.types import TEMPORAL_STRIDE, Move, of_latents

OUTSIDE = 1.0
"""How far beyond the picture's edge a thing may go, in pictures."""


def move_of(text: str) -> Move:
    """The move that "red ball: 0.2,0.5 0.8,0.5" says. ValueError for what says none."""
    thing, colon, way = text.partition(":")
    try:
        points = tuple((float(x), float(y)) for x, y in (point.split(",") for point in way.split()))
    except ValueError:
        points = ()
    if not colon or not thing.strip() or not points:
        raise ValueError(
            f"{text!r} is no move: write a thing and its points, x,y from 0 to 1, like 'red ball: 0.2,0.5 0.8,0.5'"
        )
    return Move(thing.strip(), points)


def course_of(moves: Sequence[Move], frames: int, colours: int) -> Float[Tensor, "t p k 2"]:
    """Where the moves have things at each pixel frame of each latent frame; NaN for things that nobody moves.

    colours  how many the planner knows; what has one stands at its number, see `material.tracks_of`

    ValueError for a thing that it does not know, or that is moved twice, and for points far outside of the picture.
    """
    course = np.full((frames, colours + 1, 2), np.nan, np.float32)
    for move in moves:
        colour = int(named(move.thing)[0, 0])
        if colour >= colours:
            known = ", ".join(COLOURS[:colours])
            raise ValueError(f"{move.thing!r} cannot be moved: name a colour and a shape, like 'red ball' ({known})")
        if not np.isnan(course[0, colour, 0]):
            raise ValueError(f"two moves are of {COLOURS[colour]} things: give one, with all of its points")
        points = np.array(move.points, np.float32).reshape(-1, 2)
        if not len(points) or not (np.abs(points - 0.5) <= 0.5 + OUTSIDE).all():
            raise ValueError(
                f"the points of {move.thing!r} are {move.points}: x and y are shares of the picture, 0 to 1"
            )
        course[:, colour] = _between(points, frames)
    return torch.from_numpy(of_latents(course, TEMPORAL_STRIDE))


def _between(points: Float[np.ndarray, "n 2"], frames: int) -> Float[np.ndarray, "t 2"]:
    """The points at even times, and straight lines between them."""
    when, at = np.linspace(0, 1, frames), np.linspace(0, 1, len(points))
    return np.stack([np.interp(when, at, points[:, axis]) for axis in range(2)], axis=1)
