"""OpenAI's videos API, as `client.videos` of the `openai` libraries speaks it, and other servers' additions to it.

Requests come as JSON or as multipart, with or without a file, fields of objects in brackets:
`input_reference[image_url]`.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.datastructures import UploadFile

from muybridge.serving.database import Job, Key, State
from muybridge.serving.desk import (
    Asked,
    Maker,
    Reader,
    discard,
    download,
    footage_of_clip,
    order,
    size_of,
    still_from,
    submit,
)
from muybridge.serving.errors import Refusal, invalid, told_in
from muybridge.serving.footage import Footage, keep_footage
from muybridge.serving.forms import checked, fields_of, schema_of
from muybridge.serving.orders import LARGEST_SEED_ON_WIRE, MOST_FRAMES, Wish
from muybridge.serving.server import Server
from muybridge.serving.stills import keep_still

NAME = "openai"
DEFAULT_SIZE, DEFAULT_SECONDS, DEFAULT_MODEL = "720x1280", "4", "sora-2"
POLL_AFTER_MS = "1000"
_STATUS = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
    State.MODERATED: "failed",
}


class OpenAIFault(BaseModel):
    """What is wrong, as `openai.APIStatusError` unpacks it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(BaseModel):
    """The body of an answer that is no success."""

    error: OpenAIFault


router = APIRouter(prefix="/v1", tags=["OpenAI videos"], responses=told_in(OpenAIError))


class Remix(BaseModel):
    """What `videos.remix` sends."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = Field(min_length=1, description="what is to be different")


class CreateVideo(BaseModel):
    """What `videos.create` sends, and the extension fields that open servers have agreed on."""

    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)

    prompt: str = Field(min_length=1)
    model: str = DEFAULT_MODEL
    seconds: StrictStr | None = None
    size: str | None = None
    seed: int | None = Field(default=None, ge=0, le=LARGEST_SEED_ON_WIRE)
    negative_prompt: str = ""
    num_frames: int | None = Field(default=None, le=MOST_FRAMES)
    num_inference_steps: int | None = None
    guidance_scale: float | None = Field(default=None, allow_inf_nan=False)
    fps: float | None = Field(default=None, allow_inf_nan=False)


class EditVideo(BaseModel):
    """What `videos.edit` sends beside the video, and how far the video is changed."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = Field(min_length=1)
    model: str | None = None
    strength: float | None = Field(default=None, allow_inf_nan=False)


class ExtendVideo(BaseModel):
    """What `videos.extend` sends beside the video: the seconds are those that are added."""

    model_config = ConfigDict(extra="ignore")

    prompt: str = Field(min_length=1)
    seconds: StrictStr
    model: str | None = None


@router.post("/videos", openapi_extra=schema_of(CreateVideo))
async def create(request: Request, server: Asked, key: Maker) -> dict[str, Any]:
    fields = await fields_of(request)
    body = checked(CreateVideo, fields, "input_reference")
    return await run_sync(_create, request, server, key, body, fields.get("input_reference"))


@router.get("/videos")
def listing(
    server: Asked,
    key: Reader,
    after: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    order: Annotated[str, Query(pattern="^(asc|desc)$")] = "desc",
) -> dict[str, Any]:
    found, _ = server.jobs.list(key, dialect=NAME, after_id=_bare(after), newest_first=order == "desc", limit=limit + 1)
    page = [answer(job) for job in found[:limit]]
    ends = {"first_id": page[0]["id"] if page else None, "last_id": page[-1]["id"] if page else None}
    return {"object": "list", "data": page, "has_more": len(found) > limit, **ends}


@router.post("/videos/edits", openapi_extra=schema_of(EditVideo))
async def edit(request: Request, server: Asked, key: Maker) -> dict[str, Any]:
    """A video made over as the prompt says; which models can, GET /muybridge/v1/models tells."""
    fields = await fields_of(request)
    body = checked(EditVideo, fields, "video")
    return await run_sync(_edit, request, server, key, body, fields.get("video"))


@router.post("/videos/extensions", openapi_extra=schema_of(ExtendVideo))
async def extend(request: Request, server: Asked, key: Maker) -> dict[str, Any]:
    """A video, and what comes after it, in one file."""
    fields = await fields_of(request)
    body = checked(ExtendVideo, fields, "video")
    return await run_sync(_extend, request, server, key, body, fields.get("video"))


@router.post("/videos/characters")
def unsupported(key: Maker) -> None:
    raise invalid("no model here keeps characters: create, remix, edits and extensions work", None, "unsupported")


@router.get("/videos/{video_id}")
def retrieve(request: Request, server: Asked, key: Reader, video_id: str) -> Any:
    from fastapi.responses import JSONResponse

    job = _find(server, key, video_id)
    return JSONResponse(answer(job), headers={"openai-poll-after-ms": POLL_AFTER_MS})


@router.delete("/videos/{video_id}")
def delete(server: Asked, key: Maker, video_id: str) -> dict[str, Any]:
    job = discard(server, key, _find(server, key, video_id).id)
    return {"id": _public(job.id), "object": "video.deleted", "deleted": True}


@router.get("/videos/{video_id}/content", response_class=FileResponse)
def content(server: Asked, key: Reader, video_id: str, variant: str = "video") -> Response:
    return download(server, _find(server, key, video_id), variant)


@router.post("/videos/{video_id}/remix")
def remix(request: Request, server: Asked, key: Maker, video_id: str, body: Remix) -> dict[str, Any]:
    """The same clip under another sentence: same seed, size, length, and what else it was made from."""
    source = _find(server, key, video_id)
    made = order(source)
    wish = Wish(
        prompt=body.prompt,
        model=made.model,
        negative=made.negative,
        frames=None if made.extend else made.frames,
        seconds=(made.frames - made.known) / made.fps if made.extend else None,
        fps=made.fps,
        size=made.size,
        seed=made.seed,
        still=made.still,
        last=made.last,
        extend=made.extend,
        video=made.video,
        strength=made.strength,
        mask=made.mask,
        control=made.control,
        camera=made.camera,
    )
    extra = source.extra | {"remixed_from": _public(source.id)}
    return answer(submit(request, key, [wish], NAME, extra=extra)[0])


@router.get("/models")
def models(server: Asked, key: Reader) -> dict[str, Any]:
    names = [*server.catalogue.offers, *server.catalogue.names]
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "muybridge"} for name in names]
    return {"object": "list", "data": data}


def answer(job: Job) -> dict[str, Any]:
    """A job as a `Video`."""
    video: dict[str, Any] = {
        "id": _public(job.id),
        "object": "video",
        "model": job.extra.get("model", job.model),
        "status": _STATUS[job.state],
        "progress": int(job.progress * 100),
        "created_at": int(job.created_at),
        "seconds": job.extra.get("seconds", f"{order(job).seconds:g}"),
        "size": "{}x{}".format(*order(job).size),
        "prompt": job.prompt,
        "remixed_from_video_id": job.extra.get("remixed_from"),
        "completed_at": int(job.finished_at) if job.state == State.SUCCEEDED and job.finished_at else None,
        "expires_at": None,
        "error": None,
    }
    if _STATUS[job.state] == "failed":
        video["error"] = {"code": job.error_code or "internal", "message": job.error or "the clip could not be made"}
    return video


def tell(job: Job) -> str:
    """The body of a webhook, as `client.webhooks` expects it."""
    kind = "video.completed" if job.state == State.SUCCEEDED else "video.failed"
    event = {"id": f"evt_{job.id}", "object": "event", "created_at": int(job.finished_at or 0), "type": kind}
    return json.dumps(event | {"data": {"id": _public(job.id)}})


def error_body(refusal: Refusal) -> dict[str, Any]:
    kind = "invalid_request_error" if refusal.status < 500 else "server_error"
    return {"error": {"message": refusal.message, "type": kind, "param": refusal.param, "code": refusal.code}}


def _create(request: Request, server: Server, key: Key, body: CreateVideo, reference: Any) -> dict[str, Any]:
    seconds = body.seconds or DEFAULT_SECONDS
    wish = Wish(
        prompt=body.prompt,
        model=body.model,
        negative=body.negative_prompt,
        seconds=None if body.num_frames else _seconds(seconds),
        frames=body.num_frames,
        fps=body.fps,
        size=size_of(body.size or DEFAULT_SIZE),
        seed=body.seed,
        still=None if reference is None else _still(reference, server),
        steps=body.num_inference_steps,
        guidance=body.guidance_scale,
    )
    extra = {"model": body.model} if body.num_frames else {"model": body.model, "seconds": seconds}
    return answer(submit(request, key, [wish], NAME, extra=extra)[0])


def _edit(request: Request, server: Server, key: Key, body: EditVideo, video: Any) -> dict[str, Any]:
    footage, source = _video(video, server, key)
    wish = Wish(prompt=body.prompt, model=body.model, video=footage, strength=body.strength)
    return _derived(request, server, key, wish, source)


def _extend(request: Request, server: Server, key: Key, body: ExtendVideo, video: Any) -> dict[str, Any]:
    footage, source = _video(video, server, key)
    wish = Wish(prompt=body.prompt, model=body.model, seconds=_seconds(body.seconds), extend=footage)
    return _derived(request, server, key, wish, source)


def _derived(request: Request, server: Server, key: Key, wish: Wish, source: Job | None) -> dict[str, Any]:
    """Made by the model that made the source, if it can and no other is asked for."""
    if source is not None and wish.model is None:
        offer = server.catalogue.offers.get(source.model)
        wish = wish if offer is None or not offer.can(wish.given) else replace(wish, model=source.model)
    extra = {} if source is None else {"remixed_from": _public(source.id)}
    return answer(submit(request, key, [wish], NAME, extra=extra)[0])


def _video(given: Any, server: Server, key: Key) -> tuple[Footage, Job | None]:
    """A file, or a video that was made here, by {"id"}; that one's job, too."""
    if isinstance(given, UploadFile):
        return keep_footage(given.file.read(), server.settings, "video"), None
    name = given.get("id") if isinstance(given, dict) else given
    if not isinstance(name, str) or not name:
        raise invalid("the video is neither a file nor the id of one made here: send one of these", "video")
    job = _find(server, key, name)
    return footage_of_clip(server, key, job.id, "video"), job


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}", text):
        raise invalid(f"seconds are {text[:20]!r}: give a whole number, as text, such as '4'", "seconds")
    return float(text)


def _still(reference: Any, server: Server) -> str:
    if isinstance(reference, UploadFile):
        return keep_still(reference.file.read(), server.settings, "input_reference")
    if isinstance(reference, dict):
        if "file_id" in reference:
            raise invalid("files are not kept here: send the image itself, or image_url", "input_reference")
        reference = reference.get("image_url")
    if isinstance(reference, dict):
        reference = reference.get("url")
    if not isinstance(reference, str):
        raise invalid("the image is neither a file nor an image_url: send one of these", "input_reference")
    return still_from(server, reference, "input_reference")


def _find(server: Server, key: Key, video_id: str) -> Job:
    return server.jobs.find(key, _bare(video_id) or "")


def _public(job_id: str) -> str:
    return f"video_{job_id}"


def _bare(video_id: str | None) -> str | None:
    return None if video_id is None else video_id.removeprefix("video_")
