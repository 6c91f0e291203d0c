"""What a clip is made from besides words: files that were named on the command line, as fields of a Condition."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from muybridge.data.moves import move_of
from muybridge.storage.stills import fit, read_still
from muybridge.storage.video import read_mp4
from muybridge.types import Condition


@dataclass(frozen=True)
class Given:
    """The options that name them, and how the model is opened; None where nothing was said."""

    last_image: Path | None = None
    video: Path | None = None
    strength: float | None = None
    mask: Path | None = None
    control: Path | None = None
    camera: Path | None = None
    move: tuple[str, ...] = ()
    lora: tuple[str, ...] = ()
    dtype: str | None = None
    base: str | None = None
    precision: str | None = None
    cache: str | None = None

    @property
    def files(self) -> tuple[Path | None, ...]:
        """Those that are read for the clip itself."""
        return self.last_image, self.video, self.mask, self.control, self.camera

    def options(self) -> str:
        """The words that say the same again, as Provenance keeps them."""
        said = {name: value for name, value in asdict(self).items() if value is not None}
        several = [(name, one) for name in ("move", "lora") for one in said.pop(name)]
        pairs = [*((name.replace("_", "-"), str(value)) for name, value in said.items()), *several]
        words = [word for name, value in pairs for word in (f"--{name}", value)]
        return json.dumps(words) if words else ""


def filled(condition: Condition, given: Given) -> Condition:
    """The condition with what the files hold, each cropped to the clip's shape and as long as the clip."""
    if given.strength is not None and given.video is None:
        raise ValueError("--strength says how far a video is changed, and there is none: add --video")
    if given.mask is not None and given.video is None:
        raise ValueError("--mask says which part of a video is made anew, and there is none: add --video")
    height, width = condition.height, condition.width
    found: dict[str, Any] = {}
    if given.last_image is not None:
        found["suffix"] = fit(read_still(given.last_image), height, width)[None]
    if given.video is not None:
        found["video"] = _frames(given.video, condition)
        found["strength"] = condition.strength if given.strength is None else given.strength
    if given.mask is not None:
        white = fit(read_still(given.mask), height, width).mean(dim=0) > 0
        found["mask"] = white[None].expand(condition.frames, -1, -1)
    if given.control is not None:
        found["control"] = _frames(given.control, condition)
    if given.move:
        found["moves"] = tuple(move_of(one) for one in given.move)
    if given.camera is not None:
        found |= _camera(given.camera, condition.frames)
    return replace(condition, **found)


def _frames(path: Path, condition: Condition) -> Float[Tensor, "t 3 h w"]:
    """A video file at the clip's rate and shape; ValueError if it is shorter than the clip."""
    frames = read_mp4(path, fps=condition.fps).frames[: condition.frames]
    if len(frames) < condition.frames:
        playing = len(frames) / condition.fps
        raise ValueError(
            f"{path} plays {playing:.2f} s, {len(frames)} frames at {condition.fps:g} fps, and the clip has "
            f"{condition.frames}: give a longer one, or --seconds {playing:.2f}"
        )
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
    return torch.stack([fit(frame, condition.height, condition.width) for frame in pixels])


def _camera(path: Path, frames: int) -> dict[str, Tensor]:
    """JSON: {"camera_to_world": one 4x4 matrix a frame, "intrinsics": [fx, fy, cx, cy] in pixels, or left out}."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        poses = torch.from_numpy(np.array(content["camera_to_world"], np.float32))
        lens = content.get("intrinsics")
        found = {"camera": poses} | ({} if lens is None else {"intrinsics": torch.tensor(lens, dtype=torch.float32)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        form = '{"camera_to_world": [[[...]]], "intrinsics": [fx, fy, cx, cy]}'
        raise ValueError(f"{path} is no camera path ({error}): write JSON like {form}") from error
    if tuple(poses.shape) != (frames, 4, 4):
        raise ValueError(f"{path} holds poses of shape {tuple(poses.shape)}, and the clip wants {(frames, 4, 4)}")
    return found
