"""Which engine is fastest on this machine and exact enough: tried once for each model, remembered.

Exact enough: of one step, what differs from PyTorch in float32 is at most `LARGEST_ERROR` of the velocity, and a
decoded clip comes to `LEAST_PSNR` or more. What the engines came to stands, measured, in docs/engines.md.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from torch import Tensor

from muybridge.engines.engine import Engine, Function
from muybridge.engines.kinds import AUTO, CLIP, KINDS, STREAM, TORCH, Runnable, eager, home_of, kind_of, make, present
from muybridge.engines.parts import Sizes
from muybridge.sampler.sample import Settings
from muybridge.storage.atomic import new_file
from muybridge.types import latent_frames

LARGEST_ERROR = 0.02
LEAST_PSNR = 40.0
TRIED = ("transformer", "decoder")
"""The parts that decide: a planner's steps are small beside theirs."""
ROUNDS = 3
"""Times each is run after it has been warmed up; the least counts, which is what a busy machine disturbs least."""


@dataclass(frozen=True)
class Trial:
    """What was measured of an engine: seconds of a step and of a decode, and how far both are from float32."""

    engine: str
    step: float
    decode: float
    error: float
    psnr: float

    @property
    def exact(self) -> bool:
        return self.error <= LARGEST_ERROR and self.psnr >= LEAST_PSNR

    def seconds(self, evaluations: int) -> float:
        """Of a clip of so many evaluations of the transformer."""
        return evaluations * self.step + self.decode


def machine() -> str:
    """What the choice depends on, the model apart: processor, cores, threads, versions."""
    cores = (platform.machine(), platform.processor(), os.cpu_count(), torch.get_num_threads())
    engines = sorted((package, _version(package)) for package in {KINDS[kind] for kind in present()})
    said = (*cores, torch.backends.cpu.get_cpu_capability(), torch.__version__, *engines)
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def _version(package: str) -> str:
    """Of what is installed; "" of a build that goes by another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def chosen(
    model: Runnable,
    asked: str,
    settings: Settings,
    folder: Path | None = None,
    hear: Callable[[str], None] = lambda engine: None,
    threads: int | None = None,
    names: Sequence[str] = CLIP + STREAM,
) -> Engine | None:
    """The engine that was asked for; for "auto" the fastest, sampling so, that is exact enough. None if it is PyTorch.

    threads  that it may take, for each of its parts; as torch has them unless said
    names    of the parts that will be asked for

    ValueError for what is no engine, ModuleNotFoundError for what is not installed.
    """
    kind = asked
    if asked == AUTO:
        if model.device.type != "cpu" or not present(model.dtype):
            return None
        trials = remembered(model, folder) or rehearse(model, folder, hear)
        kind = fastest(trials, evaluations(settings))
    return None if kind == TORCH else make(model, kind_of(kind, model.dtype), folder, threads, names)


def evaluations(settings: Settings) -> int:
    """How often sampling so asks the transformer."""
    each = 2 if settings.solver == "heun" else 1
    return settings.steps * each * (1 if settings.guidance == 1 else 2)


def sizes_of(model: Runnable) -> Sizes:
    """Those of the clips that the model learnt from."""
    trained, stride = model.config["trained"], model.autoencoder.config.spatial_stride
    frames, height, width = (int(trained[name]) for name in ("frames", "height", "width"))
    return {"batch": 1, "frames": latent_frames(frames), "height": height // stride, "width": width // stride}


def remembered(model: Runnable, folder: Path | None = None) -> list[Trial]:
    """What was measured here before; nothing if that was of another machine, or cannot be read."""
    try:
        said = json.loads(_file(model, folder).read_text(encoding="utf-8"))
        return [Trial(**trial) for trial in said["trials"]] if said["machine"] == machine() else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def rehearse(
    model: Runnable, folder: Path | None = None, hear: Callable[[str], None] = lambda engine: None
) -> list[Trial]:
    """Tries PyTorch and every engine that is installed, on drawn inputs, and remembers what it found.

    Of a model in float32 only those that multiply so are tried. One that fails here is left out, with a warning.

    hear  is told which one is being tried
    """
    exact, sizes = eager(model), sizes_of(model)
    inputs = {name: exact.parts[name].example(sizes) for name in TRIED}
    wanted = {name: exact.functions[name](given)[0] for name, given in inputs.items()}
    hear(TORCH)
    trials = [_trial(TORCH, eager(model, model.dtype), inputs, wanted)]
    for kind in present(model.dtype):
        hear(kind)
        try:
            trials.append(_trial(kind, make(model, kind, folder, names=TRIED), inputs, wanted))
        except Exception as error:  # of whatever kind: each runtime has its own
            first = next(iter(str(error).splitlines()), type(error).__name__)
            warnings.warn(f"{kind} fails on this machine and is left out: {first}", stacklevel=1)
    with new_file(_file(model, folder)) as temporary:
        said = {"machine": machine(), "sizes": dict(sizes), "trials": [asdict(trial) for trial in trials]}
        temporary.write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return trials


def fastest(trials: Sequence[Trial], evaluations: int) -> str:
    """Of PyTorch and those that are exact enough, what makes a clip soonest. PyTorch where nothing was tried."""
    fit = [trial for trial in trials if trial.exact or trial.engine == TORCH]
    return min(fit, key=lambda trial: trial.seconds(evaluations)).engine if fit else TORCH


def _trial(kind: str, engine: Engine, inputs: dict[str, tuple[Tensor, ...]], wanted: dict[str, Tensor]) -> Trial:
    seconds, found = {}, {}
    for name, given in inputs.items():
        seconds[name], found[name] = _least(engine.functions[name], given)
    velocity, pixels = wanted["transformer"], wanted["decoder"].clamp(-1, 1)
    error = float((found["transformer"].float() - velocity).norm() / velocity.norm())
    square = float((found["decoder"].float().clamp(-1, 1) - pixels).square().mean()) / 4
    return Trial(kind, seconds["transformer"], seconds["decoder"], error, -10 * math.log10(max(square, 1e-12)))


def _least(function: Function, inputs: Sequence[Tensor]) -> tuple[float, Tensor]:
    """The least seconds of some runs, and what came out."""
    found, least = function(inputs)[0], math.inf
    for _ in range(ROUNDS):
        began = time.perf_counter()
        function(inputs)
        least = min(least, time.perf_counter() - began)
    return least, found


def _file(model: Runnable, folder: Path | None) -> Path:
    return home_of(model, folder) / f"trials-{str(model.dtype).removeprefix('torch.')}.json"
