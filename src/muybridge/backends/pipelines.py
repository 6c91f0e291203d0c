"""One adapter for all families: Condition and Settings in, Events out, by calling the pipeline that fits."""

from __future__ import annotations

import copy
import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from muybridge.backends.families import Family, Way, families_with, family_of, in_words
from muybridge.backends.preview import false_colours
from muybridge.backends.turns import Tell, events
from muybridge.sampler.sample import LARGEST_SEED, OWN, Settings
from muybridge.types import Condition, Event, Latent, Progress, Sampled

_LENGTHS = ("num_frames", "video_length", "frames")
_SPEEDS = ("fps", "frame_rate")


class Pipeline:
    """A pipeline of diffusers whose calls can be watched, left off, and made at the same time.

    family    what is known of models of its make
    settings  how its makers sample it
    """

    def __init__(self, pipe: Any, name: str) -> None:
        found = family_of(type(pipe).__name__)
        assert found is not None, f"{type(pipe).__name__} is in no family"
        self.pipe, self.name, self.family = pipe, name, found
        self.settings = Settings(found.steps, OWN, found.guidance, preview_every=4)
        if found.tiled:
            pipe.vae.enable_tiling()
        self._turn = threading.Lock()
        self._others: dict[str, Any] = {type(pipe).__name__: pipe}

    @property
    def ways(self) -> list[Way]:
        """The ways that this checkpoint can be used in."""
        settings = {name: getattr(part, "config", None) for name, part in self.pipe.components.items()}
        parts = {name: config for name, config in settings.items() if isinstance(config, Mapping)}
        loaded = type(self.pipe).__name__
        return [way for way in self.family.ways if way.serves(loaded, {"": self.pipe.config, **parts})]

    def check(self, condition: Condition) -> None:
        """ValueError, naming what would do, for what this checkpoint cannot make."""
        self.way(condition)
        self.check_shape(condition)
        _check_shapes(condition)

    def check_shape(self, condition: Condition) -> None:
        """ValueError, naming the nearest that would do, for a length, size or speed that it cannot make."""
        family = self.family
        nearest = family.frames_near(condition.frames)
        if condition.frames != nearest:
            made = f"{family.name} makes clips of {_rule(family)} frames"
            raise ValueError(f"{made}, not {condition.frames}: take {nearest}")
        sides = (condition.width, condition.height)
        fitting = tuple(max(family.side, round(size / family.side) * family.side) for size in sides)
        if sides != fitting:
            made = f"sides are multiples of {family.side}, the nearest size is {fitting[0]}x{fitting[1]}"
            raise ValueError(f"{sides[0]}x{sides[1]} cannot be made by {family.name}: {made}")
        if not 1 <= condition.fps <= 120:
            raise ValueError(f"fps is {condition.fps:g}: take 1 to 120")

    def way(self, condition: Condition) -> Way:
        """The way that takes all that is given. ValueError, naming the families that can, if there is none."""
        for way in self.ways:
            if way.fits(condition):
                return way
        given = condition.given
        able = [way for way in self.ways if given <= way.takes]
        if able:
            lacking = in_words(min((way.needs - given for way in able), key=len))
            raise ValueError(f"{self.name} ({self.family.name}) also needs {lacking}: give it")
        spare = given - frozenset().union(*(way.takes for way in self.ways))
        what = in_words(spare) if spare else f"{in_words(given)} together"
        others = families_with(given)
        said = f"families that do: {', '.join(others)}" if others else "no family here does"
        raise ValueError(f"{self.name} ({self.family.name}) does not take {what}: leave it out ({said})")

    def check_settings(self, settings: Settings) -> None:
        """ValueError for a setting that would be ignored."""
        known = {
            "solver": (settings.solver, OWN),
            "guidance_interval": (settings.guidance_interval, (0.0, 1.0)),
            "rescale": (settings.guidance_rescale, 0.0),
            "context_noise": (settings.context_noise, 0.0),
        }
        for name, (value, only) in known.items():
            if value != only:
                raise ValueError(f"{name} is {value}, and {self.family.name} samples its own way: leave it at {only}")
        if settings.shift != 1 and self._shift_name() is None:
            raise ValueError(f"shift is {settings.shift:g}, and the scheduler of {self.name} has none: leave it at 1")

    def sample(self, condition: Condition, seeds: Sequence[int], settings: Settings) -> Iterator[Event]:
        """A `Progress` after every step, then one `Sampled`, whose latent is the frames themselves.

        To cancel, stop iterating. ValueError at once for what cannot be made, later if a clip came out spoilt.
        """
        self.check(condition)
        self.check_settings(settings)
        for seed in seeds:
            if not 0 <= seed <= LARGEST_SEED:
                raise ValueError(f"the seed {seed} is out of range: take 0 to {LARGEST_SEED}")
        way = self.way(condition)

        def call(tell: Tell[Event]) -> None:
            watch = _Watch(tell, len(seeds), settings.preview_every, condition)
            made = [self._call(way, condition, seed, settings, watch) for seed in seeds]
            tell(Sampled(Latent(torch.stack(made), condition.fps)))

        yield from events(call, self._turn, way.alone or self._cached)

    def _call(self, way: Way, condition: Condition, seed: int, settings: Settings, watch: _Watch) -> Tensor:
        """One clip: a pipeline of its own, which shares the networks only."""
        pipe = self._fresh(way, settings)
        if self._cached:  # a call that was left off forgot nothing
            for network in pipe.components.values():
                if getattr(network, "is_cache_enabled", False):
                    network._reset_stateful_cache()
        watch.begin(pipe)
        arguments = self._arguments(pipe, way, condition, settings) | watch.arguments(pipe)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            output = pipe(**arguments, generator=generator, output_type="np", return_dict=False)
        frames = _frames(output[0], self.name, seed)
        if self.family.tiled and frames.min() == frames.max():
            raise ValueError(f"{self.name} made nothing: a clip has to fill one of its tiles, take a larger size")
        return frames

    @property
    def _cached(self) -> bool:
        """Whether networks remember something from one step to the next, which no other request may disturb."""
        return any(getattr(part, "is_cache_enabled", False) for part in self.pipe.components.values())

    def _arguments(self, pipe: Any, way: Way, condition: Condition, settings: Settings) -> dict[str, Any]:
        accepted = inspect.signature(type(pipe).__call__).parameters
        fps = round(condition.fps) if float(condition.fps).is_integer() else condition.fps
        shape: dict[str, Any] = {"height": condition.height, "width": condition.width}
        shape |= dict.fromkeys(_LENGTHS, condition.frames) | dict.fromkeys(_SPEEDS, fps)
        arguments = {name: value for name, value in shape.items() if name in accepted}
        if "prompt" in way.takes:
            arguments["prompt"] = condition.prompt
        if condition.negative:
            arguments["negative_prompt"] = condition.negative
        if self.family.guides:
            arguments[self.family.guides] = settings.guidance
        return arguments | {"num_inference_steps": settings.steps, **way.tuned(settings.steps), **way.bind(condition)}

    def _fresh(self, way: Way, settings: Settings) -> Any:
        """The pipeline of this way, with parts of its own where they keep state: scheduler and guider."""
        if way.pipeline not in self._others:
            self._others[way.pipeline] = _converted(self.pipe, way.pipeline)
        pipe = copy.copy(self._others[way.pipeline])
        name = self._shift_name()
        shift = {} if settings.shift == 1 or name is None else {name: settings.shift}
        pipe.scheduler = type(pipe.scheduler).from_config(pipe.scheduler.config, **shift)
        if not self.family.guides:
            pipe.guider = type(pipe.guider).from_config(pipe.guider.config, guidance_scale=settings.guidance)
        return pipe

    def _shift_name(self) -> str | None:
        config = self.pipe.scheduler.config
        return next((name for name in ("flow_shift", "shift") if name in config), None)


class _Watch:
    """Stands where a pipeline has its progress bar, and makes events of what that is told."""

    def __init__(self, tell: Tell[Event], clips: int, preview_every: int, condition: Condition) -> None:
        self.tell, self.clips, self.preview_every, self.condition = tell, clips, preview_every, condition
        self.began, self.done, self.steps = time.perf_counter(), 0, 0
        self.latents: Tensor | None = None

    def begin(self, pipe: Any) -> None:
        """Takes the place of the bar."""
        pipe.progress_bar = self._bar

    def arguments(self, pipe: Any) -> dict[str, Any]:
        """What a pipeline that shows its latents is to be called with."""
        if not self.preview_every or "callback_on_step_end" not in inspect.signature(type(pipe).__call__).parameters:
            return {}
        return {"callback_on_step_end": self._see}

    def update(self, count: int = 1) -> None:
        """A step is done."""
        self.done += count
        self.steps = max(self.steps, self.done)
        due = self.latents is not None and self.done % self.preview_every == 0 and self.done < self.steps
        preview = false_colours(self.latents, self.condition) if due and self.latents is not None else None
        self.tell(Progress(self.done, self.steps, time.perf_counter() - self.began, preview))

    def __enter__(self) -> _Watch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def close(self) -> None:
        """Bars are closed."""

    def _bar(self, iterable: Any = None, total: int | None = None) -> Any:
        total = len(iterable) if total is None else total
        self.steps = max(self.steps, self.done + total, total * self.clips)
        return self if iterable is None else self._through(iterable)

    def _through(self, iterable: Any) -> Iterator[Any]:
        for item in iterable:
            yield item
            self.update()

    def _see(self, pipe: Any, step: int, timestep: Any, tensors: Mapping[str, Any]) -> dict[str, Any]:
        self.latents = tensors.get("latents")
        return {}


def _converted(pipe: Any, name: str) -> Any:
    """The same networks and settings in another pipeline class."""
    import diffusers

    other: Callable[..., Any] = getattr(diffusers, name)
    wanted = [name for name in inspect.signature(other).parameters if name not in ("self", "args", "kwargs")]
    held = pipe.components
    given = {name: held[name] if name in held else pipe.config.get(name) for name in wanted}
    kept = {name: value for name, value in given.items() if name in held or value is not None}
    missing = {name: None for name in wanted if name not in kept and name in getattr(other, "_optional_components", [])}
    return other(**kept, **missing)


def _frames(output: Any, name: str, seed: int) -> Float[Tensor, "t 3 h w"]:
    """What a pipeline returned, (b) t h w 3 in [0, 1], as ours."""
    frames = np.asarray(output, dtype=np.float32)
    frames = frames[0] if frames.ndim == 5 else frames
    if not np.isfinite(frames).all():
        raise ValueError(
            f"{name} made values that are not finite (seed {seed}): load it with --dtype float32, or lower the guidance"
        )
    return rearrange(torch.from_numpy(frames) * 2 - 1, "t h w c -> t c h w").contiguous()


def _check_shapes(condition: Condition) -> None:
    """ValueError for pictures of another size, or more of them than there are frames."""
    for name in ("prefix", "suffix", "video", "control"):
        frames: Tensor | None = getattr(condition, name)
        if frames is None:
            continue
        wanted = (3, condition.height, condition.width)
        whole = name in ("video", "control") and len(frames) != condition.frames
        if tuple(frames.shape[1:]) != wanted or len(frames) > condition.frames or whole:
            made = (condition.frames, *wanted)
            raise ValueError(f"the {name} is {tuple(frames.shape)}, the clip {made}: fit it to the clip")
    if condition.camera is not None and tuple(condition.camera.shape) != (condition.frames, 4, 4):
        wants = f"{condition.frames} frames want as many poses of 4x4"
        raise ValueError(f"the camera path is {tuple(condition.camera.shape)}: {wants}")
    if condition.mask is not None and condition.video is None:
        raise ValueError("the mask says which part of a video is made anew, and there is no video: give one")
    if condition.intrinsics is not None and condition.camera is None:
        raise ValueError("intrinsics belong to a camera path, and there is none: give one, or leave them out")
    if not 0 < condition.strength <= 1:
        raise ValueError(f"strength is {condition.strength:g}: take more than 0 and at most 1")


def _rule(family: Family) -> str:
    return f"{family.first} + {family.stride}k" if family.stride > 1 else f"{family.first} or more"
