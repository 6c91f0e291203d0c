"""OpenAI's videos API, as `client.videos` of the `openai` libraries speaks it, and other servers' additions to it.

Requests come as JSON or as multipart, with or without a file, fields of objects in brackets:
`input_reference[image_url]`.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError
from starlette.datastructures import UploadFile
from starlette.requests import ClientDisconnect

from muybridge.serving.database import Job, Key, State
from muybridge.serving.desk import Asked, Maker, Reader, discard, download, order, size_of, submit
from muybridge.serving.errors import Refusal, invalid, told_in
from muybridge.serving.orders import LARGEST_SEED_ON_WIRE, MOST_FRAMES, Wish
from muybridge.serving.server import Server
from muybridge.serving.stills import keep_still, still_of

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


_FORMS: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            kind: {"schema": CreateVideo.model_json_schema()} for kind in ("application/json", "multipart/form-data")
        },
    }
}


@router.post("/videos", openapi_extra=_FORMS)
async def create(request: Request, server: Asked, key: Maker) -> dict[str, Any]:
    fields = await _fields(request)
    body = _checked(fields)
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


@router.post("/videos/edits")
@router.post("/videos/extensions")
@router.post("/videos/characters")
def unsupported(key: Maker) -> None:
    raise invalid(
        "no model here edits or extends videos or keeps characters: create and remix work", None, "unsupported"
    )


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
    """The same clip under another sentence: same seed, size, length and first frame."""
    source = _find(server, key, video_id)
    made = order(source)
    wish = Wish(
        prompt=body.prompt,
        model=made.model,
        negative=made.negative,
        frames=made.frames,
        fps=made.fps,
        size=made.size,
        seed=made.seed,
        still=made.still,
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
    return still_of(reference, server.settings, "input_reference")


async def _fields(request: Request) -> dict[str, Any]:
    """The fields of a request, JSON or form; `a[b]` of a form becomes {"a": {"b": …}}."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            form = await request.form(max_files=8, max_fields=100)
            return _nested(list(form.multi_items()))
        content = json.loads(await request.body())
    except ClientDisconnect as error:
        raise invalid("the request was cut off") from error
    except (ValueError, RecursionError) as error:
        raise invalid("the body is neither JSON nor a form: send one of these") from error
    if not isinstance(content, dict):
        raise invalid('the body is no JSON object: send {"prompt": …}')
    return content


def _nested(items: list[tuple[str, Any]]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in items:
        outer, bracket, inner = name.partition("[")
        if bracket and isinstance(fields.setdefault(outer, {}), dict):
            fields[outer][inner.rstrip("]")] = value
        elif not bracket:
            fields[name] = value
    return fields


def _checked(fields: dict[str, Any]) -> CreateVideo:
    plain = {name: value for name, value in fields.items() if name != "input_reference"}
    if isinstance(plain.get("seconds"), int):  # many clients send the number
        plain["seconds"] = str(plain["seconds"])
    try:
        return CreateVideo.model_validate(plain)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise invalid(f"{name}: {first['msg']}", name or None) from error


def _find(server: Server, key: Key, video_id: str) -> Job:
    return server.jobs.find(key, _bare(video_id) or "")


def _public(job_id: str) -> str:
    return f"video_{job_id}"


def _bare(video_id: str | None) -> str | None:
    return None if video_id is None else video_id.removeprefix("video_")
