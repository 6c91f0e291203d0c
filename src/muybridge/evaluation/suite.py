"""The contract of a suite: numbered tasks for a video model, and a judge of the clips that it makes of them.

A task hands out words and the first frames of a simulated clip; what happens next in it is the truth that the model's
clip is held against. Whoever made a clip, it is judged in the same way: by its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from muybridge.simulation import Clip

Split: TypeAlias = Literal["in distribution", "speed", "size", "gravity", "count", "combination", "occluders"]
"""What a scene has that training had not: faster or slower, larger or smaller things, another gravity, more objects,
colours with shapes that were never seen together, several walls or one that moves; or nothing."""

Frames: TypeAlias = UInt8[np.ndarray, "t h w 3"]
Times: TypeAlias = Float[np.ndarray, " t"]


@dataclass(frozen=True)
class Task:
    """One clip to be made.

    name    says suite, split and number, and is a file name without its ending
    prompt  what the clip shows
    known   so many of the truth's first frames are given, 1 + 4k of them
    truth   the simulated clip, as long as the one that is asked for
    groups  by what the results are told apart: {"law": "bounce", "hidden": "0.3 to 0.6 s"}
    """

    name: str
    seed: int
    split: Split
    prompt: str
    known: int
    truth: Clip
    groups: Mapping[str, str] = field(default_factory=dict)

    @property
    def given(self) -> Frames:
        """The frames that are handed out."""
        return self.truth.rgb[: self.known]


@dataclass(frozen=True)
class Verdict:
    """What is made of one clip.

    score   from 0 to 1: 1 if it passes, or the share of its frames that do
    why     the first thing that is wrong, as a sentence with frame, object and numbers; "" where nothing is
    errors  measured quantities by name, with their unit in it ("place, radii"); what could not be measured is left out
    """

    score: float
    why: str = ""
    errors: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Suite(Protocol):
    """Tasks are numbered from 0; number n is the same in every process, and its seed is held out from training."""

    @property
    def name(self) -> str: ...

    @property
    def splits(self) -> tuple[Split, ...]: ...

    def task(self, split: Split, number: int) -> Task: ...

    def judge(self, task: Task, frames: Frames, times: Times | None = None) -> Verdict:
        """`frames` have the truth's size, speed and length, see `fitted`.

        times  seconds at which each was shown, of a clip of another speed; None: at the truth's moments
        """
        ...


def fitted(frames: Frames, fps: float, task: Task) -> tuple[Frames, Times] | None:
    """A clip of any speed, size and length as its task asks for, and when each frame was shown, in seconds.

    They are the nearest frames in time, their pixels by area. A longer clip is cut, one of another aspect ratio is
    cropped in the middle; None if it is shorter by more than a tenth of a second, for then there is nothing to judge
    its end by. A clip shorter by less repeats its last frame.
    """
    count, height, width = task.truth.rgb.shape[:3]
    times = np.arange(count) / task.truth.fps
    if len(frames) == 0 or len(frames) / fps < count / task.truth.fps - 0.1:
        return None
    numbers = np.minimum(np.rint(times * fps).astype(int), len(frames) - 1)
    picked: Frames = frames[numbers]
    if picked.shape[1:3] != (height, width):
        picked = np.stack([_resized(frame, height, width) for frame in picked])
    return picked, numbers / fps


def _resized(frame: UInt8[np.ndarray, "y x 3"], height: int, width: int) -> UInt8[np.ndarray, "h w 3"]:
    rows, columns = frame.shape[:2]
    scale = min(rows / height, columns / width)
    across, down = scale * width, scale * height
    left, top = (columns - across) / 2, (rows - down) / 2
    box = (left, top, left + across, top + down)
    return np.asarray(Image.fromarray(frame).resize((width, height), Image.Resampling.BOX, box=box))
