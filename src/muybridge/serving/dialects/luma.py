"""Luma's Dream Machine API, as the `lumaai` libraries speak it: generations, keyframes, camera concepts, callbacks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from muybridge.serving.database import Job, State
from muybridge.serving.desk import (
    Asked,
    Maker,
    Reader,
    discard,
    file_url,
    footage_from,
    footage_of_clip,
    still_from,
    submit,
)
from muybridge.serving.errors import Refusal, invalid, told_in
from muybridge.serving.orders import Wish

NAME = "luma"
_LARGEST = 4096
_STATES = {
    State.QUEUED: "queued",
    State.RUNNING: "dreaming",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
    State.MODERATED: "failed",
}

CONCEPTS: Mapping[str, str] = MappingProxyType(
    {
        "orbit_left": "the camera orbits left",
        "orbit_right": "the camera orbits right",
        "pan_left": "the camera pans left",
        "pan_right": "the camera pans right",
        "pull_out": "the camera dollies out",
        "push_in": "the camera dollies in",
        "static": "the camera is static",
        "tilt_down": "the camera tilts down",
        "tilt_up": "the camera tilts up",
        "truck_left": "the camera trucks left",
        "truck_right": "the camera trucks right",
        "zoom_in": "the camera zooms in",
        "zoom_out": "the camera zooms out",
    }
)
"""Camera moves that our models have words for, and these words."""


Mode = Literal[
    "adhere_1",
    "adhere_2",
    "adhere_3",
    "flex_1",
    "flex_2",
    "flex_3",
    "reimagine_1",
    "reimagine_2",
    "reimagine_3",
]
STRENGTHS: Mapping[Mode, float] = MappingProxyType({mode: (i + 1) / 10 for i, mode in enumerate(get_args(Mode))})
"""How far a video is changed: 0.1 in the first mode, 0.9 in the last."""


class LumaError(BaseModel):
    """The body of an answer that is no success."""

    detail: str


router = APIRouter(prefix="/dream-machine/v1", tags=["Luma"], responses=told_in(LumaError))


class Keyframe(BaseModel):
    """A picture, or an earlier generation."""

    type: Literal["image", "generation"]
    url: str | None = None
    id: str | None = None


class Keyframes(BaseModel):
    """The first and the last frame."""

    frame0: Keyframe | None = None
    frame1: Keyframe | None = None


class Concept(BaseModel):
    """A camera move."""

    key: str = Field(max_length=60)


class Generation(BaseModel):
    """What `generations.create` sends."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(default="ray-1-6", max_length=100)
    prompt: str = ""
    aspect_ratio: Literal["1:1", "16:9", "9:16", "4:3", "3:4", "21:9", "9:21"] = "16:9"
    duration: str | None = Field(default=None, max_length=10)
    resolution: str | None = Field(default=None, max_length=10)
    loop: bool = False
    keyframes: Keyframes | None = None
    concepts: list[Concept] = Field(default_factory=list, max_length=8)
    callback_url: str | None = Field(default=None, max_length=5000)


class Media(BaseModel):
    """A file elsewhere."""

    url: str = Field(min_length=1)


class Modification(BaseModel):
    """What `generations.video.modify` sends."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(default="ray-2", max_length=100)
    media: Media
    mode: Mode
    prompt: str = ""
    first_frame: Media | None = None
    callback_url: str | None = Field(default=None, max_length=5000)


@router.get("/ping")
def ping(key: Reader) -> dict[str, str]:
    return {"message": "pong"}


@router.get("/credits")
def credits(server: Asked, key: Reader) -> dict[str, float]:
    return {"credit_balance": float(2**31 - 1 if key.credits is None else key.credits)}


@router.post("/generations", status_code=201)
@router.post("/generations/video", status_code=201)
def create(request: Request, server: Asked, key: Maker, body: Generation) -> dict[str, Any]:
    """A clip; one whose frame0 is a generation is carried on by `duration`, in one file."""
    if body.loop:
        raise invalid("no model here loops a clip: leave loop out", "loop", "unsupported")
    first, earlier, last = _ends(body)
    wish = Wish(
        prompt=_with_concepts(body),
        model=body.model,
        seconds=_seconds(body.duration),
        size=_size(body),
        still=None if first is None else still_from(server, first, "keyframes.frame0.url"),
        extend=None if earlier is None else footage_of_clip(server, key, earlier, "keyframes.frame0.id"),
        last=None if last is None else still_from(server, last, "keyframes.frame1.url"),
    )
    echo = body.model_dump(exclude_none=True, exclude_defaults=True) | {"model": body.model}
    extra = {"model": body.model, "request": echo | {"generation_type": "video"}}
    return answer(submit(request, key, [wish], NAME, extra=extra, callback_url=body.callback_url)[0])


@router.get("/generations/concepts/list")
@router.get("/generations/camera_motion/list")
def concepts(key: Reader) -> list[str]:
    """The camera moves that can be had here."""
    return list(CONCEPTS)


@router.get("/generations")
def listing(
    server: Asked,
    key: Reader,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> dict[str, Any]:
    jobs, count = server.jobs.list(key, dialect=NAME, limit=limit, offset=offset)
    page = {"generations": [answer(job) for job in jobs], "count": len(jobs), "limit": limit, "offset": offset}
    return page | {"has_more": offset + len(jobs) < count}


@router.post("/generations/image")
@router.post("/generations/image/reframe")
@router.post("/generations/video/reframe")
def elsewhere(key: Maker) -> None:
    raise invalid(
        "no model here does this: generations/video and video/modify are served", "generation_type", "unsupported"
    )


@router.post("/generations/video/modify", status_code=201)
def modify(request: Request, server: Asked, key: Maker, body: Modification) -> dict[str, Any]:
    """A video made over, further with each mode."""
    first = body.first_frame
    wish = Wish(
        prompt=body.prompt,
        model=body.model,
        video=footage_from(server, body.media.url, "media.url"),
        strength=STRENGTHS[body.mode],
        still=None if first is None else still_from(server, first.url, "first_frame.url"),
    )
    echo = body.model_dump(exclude_none=True, exclude_defaults=True) | {"generation_type": "modify_video"}
    extra = {"model": body.model, "request": echo}
    return answer(submit(request, key, [wish], NAME, extra=extra, callback_url=body.callback_url)[0])


@router.post("/generations/{generation_id}/audio")
@router.post("/generations/{generation_id}/upscale")
def not_improved(key: Maker, generation_id: str) -> None:
    elsewhere(key)


@router.get("/generations/{generation_id}")
def get(server: Asked, key: Reader, generation_id: str) -> dict[str, Any]:
    return answer(server.jobs.find(key, generation_id))


@router.delete("/generations/{generation_id}", status_code=204)
def delete(server: Asked, key: Maker, generation_id: str) -> Response:
    discard(server, key, generation_id)
    return Response(status_code=204)


def answer(job: Job) -> dict[str, Any]:
    """A job as a `Generation`."""
    done = job.state == State.SUCCEEDED
    return {
        "id": job.id,
        "generation_type": "video",
        "state": _STATES[job.state],
        "failure_reason": job.error if _STATES[job.state] == "failed" else None,
        "created_at": datetime.fromtimestamp(job.created_at, UTC).isoformat(),
        "assets": {"video": file_url(job), "image": file_url(job, "thumbnail")} if done else None,
        "model": job.extra.get("model", job.model),
        "request": job.extra.get("request"),
    }


def tell(job: Job) -> str:
    """The body of a callback: the generation itself."""
    return json.dumps(answer(job))


def error_body(refusal: Refusal) -> dict[str, Any]:
    return {"detail": refusal.message}


def _ends(body: Generation) -> tuple[str | None, str | None, str | None]:
    """The first picture's URL, or else the generation that is carried on; and the last picture's URL."""
    frames = body.keyframes or Keyframes()
    for name, frame in (("frame0", frames.frame0), ("frame1", frames.frame1)):
        if frame is not None and frame.type == "image" and not frame.url:
            raise invalid("an image needs its url", f"keyframes.{name}.url")
        if frame is not None and frame.type == "generation" and not frame.id:
            raise invalid("a generation needs its id", f"keyframes.{name}.id")
    if frames.frame1 is not None and frames.frame1.type == "generation":
        said = "no model here makes what comes before a clip: give a generation as frame0 only"
        raise invalid(said, "keyframes.frame1", "unsupported")
    first, last = frames.frame0 or Keyframe(type="image"), frames.frame1
    earlier = first.id if first.type == "generation" else None
    return None if earlier else first.url, earlier, None if last is None else last.url


def _with_concepts(body: Generation) -> str:
    """The prompt, and what the camera does in words."""
    unknown = [concept.key for concept in body.concepts if concept.key not in CONCEPTS]
    if unknown:
        raise invalid(f"the concept {unknown[0]!r} is not known here: take some of {', '.join(CONCEPTS)}", "concepts")
    return ", ".join(filter(None, [body.prompt, *(CONCEPTS[concept.key] for concept in body.concepts)]))


def _seconds(duration: str | None) -> float:
    found = re.fullmatch(r"([0-9]{1,4})s?", duration or "5s")
    if not found or not int(found[1]):
        raise invalid(f"duration is {duration!r}: write seconds, such as 5s", "duration")
    return float(found[1])


def _size(body: Generation) -> tuple[int, int]:
    """Pixels of the file: the resolution is the shorter side of 16:9, and as many pixels in other proportions."""
    said = "2160p" if body.resolution == "4k" else body.resolution or "720p"
    found = re.fullmatch(r"([0-9]{2,4})p", said)
    if not found:
        raise invalid(f"resolution is {said!r}: write 540p, 720p, 1080p, 4k or another height", "resolution")
    height = int(found[1])
    across, down = map(int, body.aspect_ratio.split(":"))
    area = height * height * 16 / 9
    width = (area * across / down) ** 0.5
    scale = min(1.0, _LARGEST / max(width, width * down / across))
    return 2 * round(width * scale / 2), 2 * round(width * scale * down / across / 2)
