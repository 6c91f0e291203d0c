"""An order in, frames out: the one place where the server touches models. One engine a device, one order at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

import muybridge
from muybridge.data.moves import move_of
from muybridge.generate import Model, load, to_uint8
from muybridge.sampler.sample import Settings
from muybridge.serving.catalogue import TESTCARD
from muybridge.serving.orders import Order
from muybridge.storage.provenance import Provenance
from muybridge.storage.stills import fit, read_still
from muybridge.storage.video import read_mp4
from muybridge.types import Condition, Latent, Progress, Sampled

SAMPLING = 0.9
"""Share of the progress that sampling is given; the rest is decoding and writing."""

_PREVIEW_FRAMES = 4
_BARS = ((235, 235, 235), (235, 235, 16), (16, 235, 235), (16, 235, 16), (235, 16, 235), (235, 16, 16), (16, 16, 235))


Files = Mapping[str, Path]
"""What a clip is made from besides words, by the field of the order that names it."""


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

    def make(self, order: Order, files: Files, listener: Listener) -> Made:
        """The clip, of what is carried on its last frames only. `Stopped` at the next step if the listener says so;
        ValueError for what the model cannot make.
        """
        if order.checkpoint == TESTCARD:
            return testcard(order, listener)
        model = self._model(order.checkpoint)
        condition = condition_of(order, files)
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
    guidance = {"guidance": order.guidance, "given_guidance": order.guidance}
    said: Mapping[str, Any] = {"steps": order.steps, **guidance, "solver": order.solver}
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


def condition_of(order: Order, files: Files) -> Condition:
    """The order as the model is told it: each picture cropped to the clip's proportions, each video at its rate."""
    shape = order.height, order.width
    condition = Condition(order.prompt, order.negative, order.frames, *shape, order.fps)
    known: dict[str, Any] = {}
    if "still" in files:
        known["prefix"] = fit(read_still(files["still"]), *shape)[None]
    if "extend" in files:
        known["prefix"] = _footage(files["extend"], order, slice(-order.known, None))
    if "last" in files:
        known["suffix"] = fit(read_still(files["last"]), *shape)[None]
    if "video" in files:
        strength = condition.strength if order.strength is None else order.strength
        known |= {"video": _footage(files["video"], order, slice(order.frames)), "strength": strength}
    if "mask" in files:
        known["mask"] = _mask(files["mask"], order)
    if "control" in files:
        known["control"] = _footage(files["control"], order, slice(order.frames))
    if order.moves:
        known["moves"] = tuple(move_of(move) for move in order.moves)
    if order.camera is not None:
        lens = order.camera.intrinsics
        known["camera"] = torch.tensor(order.camera.camera_to_world)
        known["intrinsics"] = None if lens is None else torch.tensor(lens)
    return replace(condition, **known)


def _footage(path: Path, order: Order, part: slice) -> Float[Tensor, "t 3 h w"]:
    frames = read_mp4(path, fps=order.fps, max_pixels=4 * order.height * order.width).frames[part]
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return torch.stack([fit(frame, order.height, order.width) for frame in pixels])


def _mask(path: Path, order: Order) -> Bool[Tensor, "t h w"]:
    """White is made anew, in all frames."""
    white = fit(read_still(path), order.height, order.width).mean(dim=0) > 0
    return white[None].expand(order.frames, -1, -1)


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
