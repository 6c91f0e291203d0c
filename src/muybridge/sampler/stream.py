"""Latent frames one after the other, for as long as somebody asks for the next one.

Each frame is walked from noise to data while the frames before it stay in the Carry; then it is shown to the model once
more, clean, and remembered. Nothing grows: neither the Carry, which the model rolls, nor anything here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.paths import interpolate
from muybridge.flow.schedules import time_grid
from muybridge.sampler.sample import Settings, walk, without_autograd
from muybridge.types import Carry


@runtime_checkable
class CausalDenoiser(Protocol):
    """What a stream asks of a transformer: the velocity of the frames that follow those in the carry.

    With `remember` they are in the carry that comes back. `told`: what they are told of where things are, if anything.
    """

    def __call__(
        self,
        latent: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        carry: Carry,
        /,
        *,
        span: Float[Tensor, "b t"] | None = None,
        remember: bool = False,
        told: Float[Tensor, "b t s d"] | None = None,
    ) -> tuple[Float[Tensor, "b t c h w"], Carry]: ...


def stream(
    denoiser: CausalDenoiser,
    known: Float[Tensor, "1 t c h w"],
    settings: Settings | Callable[[], Settings],
    seed: int,
    tell: Callable[[], Float[Tensor, "1 1 s d"] | None] = lambda: None,
) -> Iterator[Float[Tensor, "1 1 c h w"]]:
    """Latent frames without an end: first those that are `known` (t may be 0), then those that follow.

    settings  how a frame is made; a function is asked before each one
    tell      what the next frame is told of where things are; asked once for each

    The noise of each frame is the next of one generator, so the same seed gives the same frames however many are
    taken. Made in inference mode.

    ValueError if guidance is not 1, or a frame comes out with NaN or infinity.
    """
    asked = _always(settings) if isinstance(settings, Settings) else settings
    check_streamed(asked())
    return without_autograd(_stream(denoiser, known, asked, seed, tell))


def _always(settings: Settings) -> Callable[[], Settings]:
    return lambda: settings


def check_streamed(settings: Settings) -> None:
    """ValueError if guidance is not 1."""
    if settings.guidance != 1:
        raise ValueError(f"guidance is {settings.guidance:g}: a stream has it built in by distillation; take 1")


def _stream(
    denoiser: CausalDenoiser,
    known: Float[Tensor, "1 t c h w"],
    asked: Callable[[], Settings],
    seed: int,
    tell: Callable[[], Float[Tensor, "1 1 s d"] | None],
) -> Iterator[Float[Tensor, "1 1 c h w"]]:
    generator, shape = torch.Generator().manual_seed(seed), (1, 1, *known.shape[2:])
    carry: Carry = {}
    for number in range(2**63):
        noise, settings, told = torch.randn(shape, generator=generator).to(known.device), asked(), tell()
        levels = time_grid(settings.steps, settings.shift).to(known.device)[:, None, None]
        if number < known.shape[1]:
            frame = known[:, number : number + 1].float()
        else:
            frame = _frame(denoiser, noise, levels, carry, settings.solver, told)
            if not bool(frame.isfinite().all()):
                raise ValueError(
                    f"frame {number} of seed {seed} came out with values that are not finite: the checkpoint may be "
                    "damaged; fetch it anew"
                )
        held = torch.full((1, 1), settings.context_noise, device=known.device)
        _, carry = denoiser(interpolate(frame, noise, held), held, carry, remember=True, told=told)
        yield frame


def _frame(
    denoiser: CausalDenoiser,
    noise: Float[Tensor, "1 1 c h w"],
    levels: Tensor,
    carry: Carry,
    solver: str,
    told: Float[Tensor, "1 1 s d"] | None,
) -> Float[Tensor, "1 1 c h w"]:
    def velocity(x: Tensor, level: Tensor, span: Tensor | None) -> Tensor:
        return denoiser(x, level, carry, span=span, told=told)[0].float()

    *_, last = walk(velocity, noise, levels, solver)
    return last.x
