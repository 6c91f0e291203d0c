"""From noise to a latent clip, in steps that can be watched and left off.

`sample` is the whole of it: draw the noise, hold what is known, walk the guided field down the grid, and tell of each
step. Known frames are elements whose level never changes, so no solver moves them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.flow.guidance import Guidance, guided_field
from muybridge.flow.maps import jump
from muybridge.flow.paths import expand_level, interpolate
from muybridge.flow.schedules import hold_levels, time_grid
from muybridge.flow.solvers import Field, Solver, Step, euler, heun, multistep
from muybridge.types import Condition, Event, Latent, Progress, Sampled, Streams

SOLVERS: Mapping[str, Solver] = MappingProxyType({"euler": euler, "heun": heun, "multistep": multistep})

JUMP = "jump"
"""No solver of a velocity: the model itself tells the mean velocity of every step, however long."""

OWN = "own"
"""No solver of ours: the scheduler that came with a model of others."""

LARGEST_SEED = 2**64 - 1

T = TypeVar("T")

Velocity: TypeAlias = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""velocity(x, level, span) -> that of the moment where the span is None, else the mean on the way to level - span."""


@runtime_checkable
class Denoiser(Protocol):
    """What the sampler asks of a transformer: the velocity (noise - data) of a latent whose frames have levels.

    A `span` is given only if the solver is "jump": the velocity is then the mean one from level down to level - span.
    """

    def __call__(
        self,
        latent: Float[Tensor, "b t c h w"],
        level: Float[Tensor, "b t"],
        streams: Streams,
        /,
        *,
        span: Float[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t c h w"]: ...


Draw: TypeAlias = Callable[[Streams, Streams | None, "Settings", Sequence[int]], Iterator[Event]]
"""`sample` with its denoiser, and whatever else goes into a clip that is drawn once."""


@dataclass(frozen=True)
class Settings:
    """How a clip is sampled. ValueError, naming the field, for a value that makes no sense.

    steps              steps from noise to data
    solver             "euler", "heun" (two evaluations a step) or "multistep" (Adams-Bashforth 2, one evaluation);
                       "jump": the model tells the mean velocity of each step itself, as distilled students do;
                       "own": the scheduler that an open model came with
    guidance           scale of classifier-free guidance; 1 = off, at half the cost
    given_guidance     the same for clips that go on from given frames, which say most of it; None: no other
    guidance_interval  (low, high]: guidance is applied at times t in it, off outside, at half the cost there
    guidance_rescale   0 … 1: how far the contrast that guidance adds is taken back
    shift              resolution shift of the grid: above 1, more of the steps at high noise; 1 = even steps
    context_noise      level that known frames are given, 0 = clean; a little of it keeps long extensions from drifting
    preview_every      steps from one preview to the next, 0 = none
    drafts             first frames that are drawn at most before the clip, which goes on from the one that shows best
                       what was asked for; 0 = none, the clip is drawn at once. Only for a model with a witness
    draft_steps        steps from noise to a draft
    plan_steps         steps from noise to a plan of where things go, which the clip then follows; 0 = none. Only for a
                       model with a planner
    tries              times that a clip is drawn at most, until one shows what was asked for all along; the best is
                       kept. Like drafts only for a model with a witness, and where no frame is given
    """

    steps: int = 32
    solver: str = "multistep"
    guidance: float = 4.0
    given_guidance: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    guidance_rescale: float = 0.0
    shift: float = 1.0
    context_noise: float = 0.0
    preview_every: int = 4
    drafts: int = 0
    draft_steps: int = 16
    plan_steps: int = 0
    tries: int = 1

    def __post_init__(self) -> None:
        low, high = self.guidance_interval
        _require(self.steps >= 1, f"steps is {self.steps}: take at least 1")
        solvers = [*SOLVERS, JUMP, OWN]
        _require(self.solver in solvers, f"solver is {self.solver!r}: take one of {', '.join(solvers)}")
        _require(0 <= self.guidance < math.inf, f"guidance is {self.guidance}: take 0 or more (1 is off)")
        _require(
            self.solver != JUMP or self.guidance == 1,
            f"guidance is {self.guidance}, but a model that jumps was taught with guidance built in: "
            "take 1, or another solver",
        )
        _require(0 <= low <= high <= 1, f"guidance_interval is {low, high}: take 0 <= low <= high <= 1")
        _require(0 <= self.guidance_rescale <= 1, f"guidance_rescale is {self.guidance_rescale}: take 0 to 1")
        _require(0 < self.shift < math.inf, f"shift is {self.shift}: take a positive number (1 is none)")
        _require(0 <= self.context_noise < 1, f"context_noise is {self.context_noise}: take 0 or more, less than 1")
        _require(0 <= self.drafts <= 64, f"drafts is {self.drafts}: take 0 (none) to 64")
        given = self.guidance if self.given_guidance is None else self.given_guidance
        _require(0 <= given < math.inf, f"given_guidance is {given}: take 0 or more (1 is off)")
        _require(self.draft_steps >= 1, f"draft_steps is {self.draft_steps}: take at least 1")
        _require(self.plan_steps >= 0, f"plan_steps is {self.plan_steps}: take 0 (none) or more")
        _require(1 <= self.tries <= 64, f"tries is {self.tries}: take 1 to 64")
        _require(self.preview_every >= 0, f"preview_every is {self.preview_every}: take 0 (none) or more")

    def of(self, condition: Condition) -> Settings:
        """Those for such a clip: with or without given frames."""
        if condition.prefix is None or self.given_guidance is None:
            return replace(self, given_guidance=None)
        return replace(self, guidance=self.given_guidance, given_guidance=None)


def sample(
    denoiser: Denoiser, streams: Streams, negative: Streams | None, settings: Settings, seeds: Sequence[int]
) -> Iterator[Event]:
    """Yields a `Progress` after every step, then one `Sampled`. To cancel, stop iterating: nothing more is evaluated.

    denoiser  the model, in eval mode; runs under `torch.inference_mode` (as do the tensors that come out)
    streams   what is known of each clip of the batch, on the model's device
    negative  the same with the negative (or empty) prompts; may be None only if guidance is 1. Known frames are taken
              from `streams` in either case
    seeds     one a clip. A clip's noise depends on its seed alone, not on the batch or device

    The two passes of guidance are two calls, not one of a doubled batch: half the memory, and no slower where the
    processor is the limit, as CPUs are at any batch size.

    Raises ValueError at once for what cannot be sampled, and before `Sampled` if a clip came out with NaN or infinity.
    """
    _check(streams, negative, settings, seeds)
    return without_autograd(_sample(denoiser, streams, negative, settings, seeds))


def without_autograd(events: Iterator[T]) -> Iterator[T]:
    """The same events, each made in inference mode. A `with` around a yield would leave the caller in that mode too."""
    while True:
        with torch.inference_mode():
            event = next(events, None)
        if event is None:
            return
        yield event


def walk(velocity: Velocity, x: Float[Tensor, "*x"], levels: Float[Tensor, "..."], solver: str) -> Iterator[Step]:
    """The solver of that name on its way down the `levels`."""
    if solver == JUMP:
        return jump(lambda x, level, after: velocity(x, level, level - after), x, levels)
    return SOLVERS[solver](lambda x, level: velocity(x, level, None), x, levels)


def _sample(
    denoiser: Denoiser, streams: Streams, negative: Streams | None, settings: Settings, seeds: Sequence[int]
) -> Iterator[Event]:
    began = time.perf_counter()
    is_known = streams.is_known
    levels = _levels(streams, settings)
    given = torch.where(expand_level(is_known, streams.known), streams.known.float(), 0)
    velocity = _velocity(denoiser, streams, negative, settings)
    x = interpolate(given, _noise(streams, seeds), levels[0])

    def finish(x: Tensor) -> Latent:
        return Latent(torch.where(expand_level(is_known, x), given, x), float(streams.fps[0]))

    for index, step in enumerate(walk(velocity, x, levels, settings.solver), start=1):
        x = step.x
        due = settings.preview_every > 0 and index % settings.preview_every == 0 and index < settings.steps
        seconds = time.perf_counter() - began
        yield Progress(index, settings.steps, seconds, finish(step.data) if due else None)
    _check_finite(x, settings, seeds)
    yield Sampled(finish(x))


def _noise(streams: Streams, seeds: Sequence[int]) -> Float[Tensor, "b t c h w"]:
    """One generator a clip, on the CPU in float32: the same numbers in any batch, on any device."""
    shape = streams.known.shape[1:]
    drawn = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
    return torch.stack(drawn).to(streams.known.device)


def _levels(streams: Streams, settings: Settings) -> Float[Tensor, "k b t"]:
    """The grid, spread over clips and frames; known frames stay at the level of context noise."""
    grid = time_grid(settings.steps, settings.shift).to(streams.is_known.device)
    spread = grid[:, None, None].expand(-1, *streams.is_known.shape)
    return hold_levels(spread, streams.is_known, settings.context_noise)


def _velocity(denoiser: Denoiser, streams: Streams, negative: Streams | None, settings: Settings) -> Velocity:
    """What the solver follows, in float32 whatever the model computes in."""

    def under(condition: Streams) -> Field:
        return lambda x, level: denoiser(x, level, condition).float()

    if settings.solver == JUMP:
        return lambda x, level, span: denoiser(x, level, streams, span=span).float()
    if negative is None:
        return lambda x, level, span: denoiser(x, level, streams).float()
    guidance = Guidance(settings.guidance, settings.guidance_interval, settings.guidance_rescale)
    unwanted = replace(negative, known=streams.known, is_known=streams.is_known)
    field = guided_field(under(streams), under(unwanted), guidance, held=streams.is_known)
    return lambda x, level, span: field(x, level)


def _check(streams: Streams, negative: Streams | None, settings: Settings, seeds: Sequence[int]) -> None:
    clips = len(streams.known)
    assert clips == len(seeds), f"{clips} clips, {len(seeds)} seeds"
    assert negative is None or len(negative.text) == clips, f"{clips} clips, other negatives"
    assert negative is not None or settings.guidance == 1, f"guidance {settings.guidance} without negative streams"
    for seed in seeds:
        _require(0 <= seed <= LARGEST_SEED, f"the seed {seed} is out of range: take 0 to {LARGEST_SEED}")
    speeds = streams.fps.tolist()
    _require(min(speeds) == max(speeds), f"clips of one batch play at {speeds} fps: sample those of one speed together")
    finite = streams.known[streams.is_known].isfinite().all()
    _require(bool(finite), "the given frames hold values that are not finite: encode them anew, from sound pictures")


def _check_finite(x: Float[Tensor, "b t c h w"], settings: Settings, seeds: Sequence[int]) -> None:
    finite = x.flatten(1).isfinite().all(dim=1).tolist()
    spoilt = [seed for seed, sound in zip(seeds, finite, strict=True) if not sound]
    _require(
        not spoilt,
        f"the clips of seeds {spoilt} came out with values that are not finite: the checkpoint may be damaged, or "
        f"a guidance of {settings.guidance} too much for it; try a lower guidance, or fetch the checkpoint anew",
    )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
