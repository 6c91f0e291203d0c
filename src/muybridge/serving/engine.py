"""An order in, frames out: the one place where the server touches models. One engine a device, one order at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import UInt8

import muybridge
from muybridge.generate import Model, load, to_uint8
from muybridge.sampler.sample import Settings
from muybridge.serving.catalogue import TESTCARD
from muybridge.serving.orders import Order
from muybridge.storage.provenance import Provenance
from muybridge.storage.stills import fit, read_still
from muybridge.types import Condition, Latent, Progress, Sampled

SAMPLING = 0.9
"""Share of the progress that sampling is given; the rest is decoding and writing."""

_PREVIEW_FRAMES = 4
_BARS = ((235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (235, 16, 16), (16, 16, 235))


class Stopped(Exception):
    """Raised by a listener: nobody wants this clip any more."""


class Listener(Protocol):
    """Hears how a clip comes along. Either method may raise `Stopped`."""

    def progress(self, share: float) -> None:
        """A step is done; `share` of the whole, 0 to 1."""

    def wants_preview(self) -> bool:
        """Whether somebody is watching: a preview costs a decoding."""

    def preview(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        """A few frames as they look by now."""


@dataclass(frozen=True)
class Made:
    """A finished clip in memory, and how it was made."""

    frames: UInt8[np.ndarray, "t h w 3"]
    provenance: Provenance


class Engine:
    """Fills orders on one device. Checkpoints are loaded when first asked for, and kept.

    device  "cpu", "cuda:0", …; None: the best there is
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self._models: dict[str, Model] = {}

    def make(self, order: Order, still: Path | None, listener: Listener) -> Made:
        """The clip. `Stopped` at the next step if the listener says so; ValueError for what the model cannot make."""
        if order.checkpoint == TESTCARD:
            return testcard(order, listener)
        model = self._model(order.checkpoint)
        condition = _condition(order, still)
        settings = settings_of(order, model.settings)
        latent: Latent | None = None
        for event in model.sample(condition, [order.seed], settings):
            if isinstance(event, Progress):
                listener.progress(SAMPLING * event.step / event.steps)
                if event.preview is not None and listener.wants_preview():
                    listener.preview(_few(to_uint8(model.decode(event.preview).frames[0])))
            elif isinstance(event, Sampled):
                latent = event.latent
        assert latent is not None, "the sampler ended without its last event"
        return Made(to_uint8(model.decode(latent).frames[0]), model.provenance(condition, order.seed, settings))

    def _model(self, checkpoint: str) -> Model:
        if checkpoint not in self._models:
            self._models[checkpoint] = load(checkpoint, self.device)
        return self._models[checkpoint]


def settings_of(order: Order, best: Settings) -> Settings:
    """The model's own settings, with what the order says instead."""
    said: Mapping[str, Any] = {"steps": order.steps, "guidance": order.guidance, "solver": order.solver}
    return replace(best, **{name: value for name, value in said.items() if value is not None})


def testcard(order: Order, listener: Listener) -> Made:
    """Colour bars that wander to the left, one width in two seconds: no weights, no waiting."""
    columns = np.arange(order.width) * len(_BARS) // order.width
    row = np.array(_BARS, np.uint8)[columns]
    shifts = [round(i / order.fps * order.width / 2) for i in range(order.frames)]
    frames = np.stack(
        [np.broadcast_to(np.roll(row, -shift, axis=0), (order.height, order.width, 3)) for shift in shifts]
    )
    listener.progress(SAMPLING)
    return Made(frames, _unmodelled(order))


def _condition(order: Order, still: Path | None) -> Condition:
    prefix = None if still is None else fit(read_still(still), order.height, order.width)[None]
    return Condition(order.prompt, order.negative, order.frames, order.height, order.width, order.fps, prefix)


def _few(frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "k h w 3"]:
    chosen = np.unique(np.linspace(0, len(frames) - 1, _PREVIEW_FRAMES).round().astype(int))
    few: UInt8[np.ndarray, "k h w 3"] = frames[chosen]
    return few


def _unmodelled(order: Order) -> Provenance:
    return Provenance(
        prompt=order.prompt,
        seed=order.seed,
        model=order.model,
        model_hash="none",
        steps=1,
        guidance=1.0,
        solver="none",
        frames=order.frames,
        height=order.height,
        width=order.width,
        fps=order.fps,
        version=muybridge.__version__,
        negative=order.negative,
    )
