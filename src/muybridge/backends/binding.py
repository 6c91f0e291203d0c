"""From a Condition to the arguments of somebody's pipeline: pictures in, camera poses in, under the names it uses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from muybridge.types import Condition

Arguments: TypeAlias = dict[str, Any]
Bind: TypeAlias = Callable[[Condition], Arguments]


def picture(frame: Float[Tensor, "3 h w"]) -> Image.Image:
    """[-1, 1] to an 8-bit picture, which every pipeline takes."""
    pixels = ((frame.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).cpu().numpy())


def pictures(frames: Float[Tensor, "t 3 h w"]) -> list[Image.Image]:
    return [picture(frame) for frame in frames]


def first(name: str) -> Bind:
    """The first frame as the argument `name`."""
    return lambda condition: {} if condition.prefix is None else {name: picture(condition.prefix[0])}


def last(name: str) -> Bind:
    """The last frame as the argument `name`."""
    return lambda condition: {} if condition.suffix is None else {name: picture(condition.suffix[-1])}


def opening(name: str) -> Bind:
    """The first frames, a video, as the argument `name`."""
    return lambda condition: {} if condition.prefix is None else {name: pictures(condition.prefix)}


def film(name: str = "video") -> Bind:
    """The video to make over as the argument `name`, and how much of it becomes noise."""

    def bind(condition: Condition) -> Arguments:
        return {} if condition.video is None else {name: pictures(condition.video), "strength": condition.strength}

    return bind


def control(name: str) -> Bind:
    """The control video as the argument `name`."""
    return lambda condition: {} if condition.control is None else {name: pictures(condition.control)}


def camera(condition: Condition) -> Arguments:
    """SANA-WM: poses and lens as arrays."""
    if condition.camera is None:
        return {}
    middle = torch.tensor([condition.width, condition.width, condition.width / 2, condition.height / 2])
    lens = middle if condition.intrinsics is None else condition.intrinsics
    return {"c2w": condition.camera.double().cpu().numpy(), "intrinsics": lens.double().cpu().numpy()}


def together(*binds: Bind) -> Bind:
    """All of them, one after another."""

    def bind(condition: Condition) -> Arguments:
        found: Arguments = {}
        for one in binds:
            found |= one(condition)
        return found

    return bind


def always(arguments: Mapping[str, Any]) -> Bind:
    """The same whatever is asked for."""
    return lambda condition: dict(arguments)


def ltx_conditions(condition: Condition) -> Arguments:
    """LTX: any frames, each with its place."""
    from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

    def one(frames: Float[Tensor, "t 3 h w"], at: int) -> object:
        given = pictures(frames)
        return LTXVideoCondition(frame_index=at, **({"image": given[0]} if len(given) == 1 else {"video": given}))

    return {"conditions": [one(frames, at) for frames, at in _placed(condition)]}


def ltx2_conditions(condition: Condition) -> Arguments:
    """LTX-2: the same, with places counted in latent frames, where the last is -1."""
    from diffusers.pipelines.ltx2.pipeline_ltx2_condition import LTX2VideoCondition

    placed = [(pictures(frames), 0 if at == 0 else -1) for frames, at in _placed(condition)]
    return {"conditions": [LTX2VideoCondition(frames=frames, index=at) for frames, at in placed]}


def vace(condition: Condition) -> Arguments:
    """Wan VACE: one film of all that is known, grey elsewhere, and a mask that is white where pictures are made."""
    if not condition.given & {"image", "opening", "ending", "video", "control"}:
        return {}
    shape = (condition.frames, 3, condition.height, condition.width)
    frames, made = torch.zeros(shape), torch.ones(shape, dtype=torch.bool)
    if condition.control is not None:
        frames = condition.control.clone()
    if condition.video is not None:
        made = _everywhere(condition.mask, shape)
        frames = condition.video.masked_fill(made, 0.0)
    if condition.prefix is not None:
        frames[: len(condition.prefix)], made[: len(condition.prefix)] = condition.prefix, False
    if condition.suffix is not None:
        frames[-len(condition.suffix) :], made[-len(condition.suffix) :] = condition.suffix, False
    mask = [one.convert("L") for one in pictures(made.float() * 2 - 1)]
    return {"video": pictures(frames), "mask": mask}


def _everywhere(mask: Bool[Tensor, "t h w"] | None, shape: tuple[int, ...]) -> Bool[Tensor, "t 3 h w"]:
    whole = torch.ones(shape, dtype=torch.bool)
    return whole if mask is None else mask[:, None].expand(shape).clone()


def _placed(condition: Condition) -> list[tuple[Float[Tensor, "t 3 h w"], int]]:
    """The frames that are given, and which frame of the clip they begin at."""
    found = [] if condition.prefix is None else [(condition.prefix, 0)]
    if condition.suffix is not None:
        found.append((condition.suffix, condition.frames - len(condition.suffix)))
    return found
