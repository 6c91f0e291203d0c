"""Runway's API, as the `runwayml` libraries speak it: tasks, uploads, the organization."""

from __future__ import annotations

import json
import re
import secrets
import uuid
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Request, Response, UploadFile
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy import select

from muybridge.serving.database import Entry, Job, Key, State, Upload, now
from muybridge.serving.desk import Asked, Maker, Reader, base_url, discard, file_url, footage_from, still_from, submit
from muybridge.serving.errors import Refusal, invalid, missing, told_in
from muybridge.serving.footage import Footage, keep_footage, kept_footage
from muybridge.serving.orders import Wish
from muybridge.serving.server import Server
from muybridge.serving.stills import keep_still

NAME = "runway"
UPLOAD_LIVES = 24 * 3600.0
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")
_VIDEO_ENDINGS = (".mp4", ".mov", ".m4v", ".webm", ".mkv")
_VIDEO = "video-"
"""What the id of an upload begins with if it is one of a video."""

_DAY = 86_400.0
_NO_LIMIT = 2**31 - 1
"""Version 5 of the library takes null for "no limit", version 4 wants a number."""

_ELSEWHERE = (
    "video_upscale",
    "image_upscale",
    "video_to_hdr",
    "video_to_audio",
    "character_performance",
    "avatar_videos",
    "robotics_action_to_video",
    "sound_effect",
    "speech_to_speech",
    "text_to_speech",
    "voice_dubbing",
    "voice_isolation",
    "realtime_sessions",
)


class RunwayIssue(BaseModel):
    """One field that is wrong."""

    code: str
    path: list[str]
    message: str


class RunwayError(BaseModel):
    """The body of an answer that is no success."""

    error: str
    issues: list[RunwayIssue] = []


router = APIRouter(prefix="/v1", tags=["Runway"], responses=told_in(RunwayError))


class Positioned(BaseModel):
    """A picture and where it stands in the clip."""

    uri: str = Field(min_length=1)
    position: str = Field(default="first", pattern="^(first|last)$")


class Task(BaseModel):
    """What the generation calls have in common. Fields of models that are not here are let pass."""

    model_config = ConfigDict(extra="ignore")

    model: str = Field(max_length=100)
    promptText: str = ""
    negativePrompt: str = ""
    promptImage: str | list[Positioned] | None = None
    ratio: str | None = Field(default=None, max_length=40)
    duration: Annotated[StrictInt, Field(ge=1, le=3600)] | str | None = None
    seed: StrictInt | None = Field(default=None, ge=0, le=4294967295)


class VideoTask(Task):
    """What `video_to_video` sends: the video is made over ("edit") or carried on ("extend", by `duration`)."""

    videoUri: str = ""
    promptVideo: str = ""
    mode: str = Field(default="edit", pattern="^(edit|extend)$")


class NewUpload(BaseModel):
    """The first step of an upload."""

    filename: str = Field(min_length=3, max_length=255)
    type: str = Field(default="ephemeral", pattern="^ephemeral$")


class Range(BaseModel):
    """Days, UTC; the last one is left out."""

    startDate: date | None = None
    beforeDate: date | None = None


@router.post("/text_to_video")
def text_to_video(request: Request, server: Asked, key: Maker, body: Task) -> dict[str, Any]:
    if not body.promptText:
        raise invalid("promptText is missing: say what the clip shows", "promptText")
    return _begin(request, server, key, body)


@router.post("/image_to_video")
def image_to_video(request: Request, server: Asked, key: Maker, body: Task) -> dict[str, Any]:
    if not body.promptImage:
        raise invalid("promptImage is missing: give a picture, or use text_to_video", "promptImage")
    return _begin(request, server, key, body)


@router.post("/video_to_video")
def video_to_video(request: Request, server: Asked, key: Maker, body: VideoTask) -> dict[str, Any]:
    uri = body.videoUri or body.promptVideo
    if not uri:
        raise invalid("videoUri is missing: give a video", "videoUri")
    return _begin(request, server, key, body, video=(body.mode, _footage(uri, server, key)))


@router.post("/text_to_image")
def text_to_image(request: Request, server: Asked, key: Maker, body: Task) -> dict[str, Any]:
    """A clip of one frame; its output is a JPEG."""
    if not body.promptText:
        raise invalid("promptText is missing: say what the image shows", "promptText")
    return _begin(request, server, key, body, still=True)


def _elsewhere(key: Maker) -> None:
    raise invalid(
        "no model here does this: text_to_video, image_to_video, video_to_video and text_to_image are served",
        "model",
        "unsupported",
    )


for _name in _ELSEWHERE:
    router.add_api_route(f"/{_name}", _elsewhere, methods=["POST"], name=_name)


@router.get("/tasks/{task_id}")
def retrieve(server: Asked, key: Reader, task_id: str) -> dict[str, Any]:
    job = server.jobs.find(key, task_id)
    return answer(job)


@router.delete("/tasks/{task_id}", status_code=204)
@router.post("/tasks/{task_id}/cancel", status_code=204)
def delete(server: Asked, key: Maker, task_id: str) -> Response:
    """Cancels a task, or removes a finished one; it is unknown afterwards."""
    discard(server, key, task_id)
    return Response(status_code=204)


@router.post("/uploads")
def upload(request: Request, server: Asked, key: Maker, body: NewUpload) -> dict[str, Any]:
    """Says where to post a picture or a video, and what to call it afterwards."""
    if not body.filename.lower().endswith(_ENDINGS + _VIDEO_ENDINGS):
        raise invalid(f"{body.filename[-20:]!r} is no picture or video: no model here takes anything else", "filename")
    kind = _VIDEO if body.filename.lower().endswith(_VIDEO_ENDINGS) else ""
    name, token = f"{kind}{uuid.uuid4()}", secrets.token_urlsafe(24)
    made = Upload(id=name, key_id=key.id, token=token, still=None, created_at=now())
    with server.database.write() as session:
        session.add(made)
    fields = {"key": made.id, "token": made.token}
    return {
        "uploadUrl": f"{base_url(request)}/v1/uploads/{made.id}",
        "fields": fields,
        "runwayUri": f"runway://{made.id}",
    }


@router.post("/uploads/{upload_id}", status_code=204)
def receive(
    server: Asked,
    upload_id: str,
    key: Annotated[str, Form(max_length=100)],
    token: Annotated[str, Form(max_length=100)],
    file: Annotated[UploadFile, File()],
) -> Response:
    """The second step: no API key, but the fields that the first one gave, once."""
    with server.database.read() as session:
        found = session.get(Upload, upload_id[:64])
    known = found is not None and key == found.id and secrets.compare_digest(found.token.encode(), token.encode())
    if found is None or not known or found.still is not None or found.created_at < now() - UPLOAD_LIVES:
        raise Refusal(403, "this form is not one that was given out here, or it has been used", "forbidden")
    content = file.file.read()
    if found.id.startswith(_VIDEO):
        name = keep_footage(content, server.settings, "file").name
    else:
        name = keep_still(content, server.settings, "file")
    with server.database.write() as session:
        session.get_one(Upload, found.id).still = name
    return Response(status_code=204)


@router.get("/organization")
def organization(server: Asked, key: Reader) -> dict[str, Any]:
    names = [*server.catalogue.names, *server.catalogue.offers]
    with server.database.read() as session:
        held = session.get_one(Key, key.id)
        today = select(Job).where(Job.key_id == key.id, Job.created_at > now() - _DAY)
        made = [str(job.extra.get("model", job.model)) for job in session.scalars(today)]
    left = _NO_LIMIT if held.credits is None else held.credits
    limits = {"maxConcurrentGenerations": _NO_LIMIT, "maxDailyGenerations": _NO_LIMIT}
    return {
        "creditBalance": left,
        "tier": {"maxMonthlyCreditSpend": left, "models": dict.fromkeys(names, limits)},
        "usage": {"models": {name: {"dailyGenerations": made.count(name)} for name in names}},
    }


@router.post("/organization/usage")
def organization_usage(server: Asked, key: Reader, body: Range) -> dict[str, Any]:
    """Credits charged for what was asked for in this dialect, by day and by the model's name there.

    Its clients know these names and no others; all there is stands in our own usage report.
    """
    today = datetime.now(UTC).date()
    before = body.beforeDate or today + timedelta(days=1)
    start = body.startDate or date.fromordinal(max(1, before.toordinal() - 30))
    if not timedelta(0) < before - start <= timedelta(days=90):
        raise invalid("startDate has to lie 1 to 90 days before beforeDate", "startDate")
    totals: dict[str, dict[str, int]] = {}
    with server.database.read() as session:
        charged = (
            select(Entry.at, Entry.amount, Job)
            .join(Job, Job.id == Entry.job_id)
            .where(
                Entry.key_id == key.id,
                Entry.kind == "charge",
                Job.dialect == NAME,
                Entry.at >= _midnight(start),
                Entry.at < _midnight(before),
            )
        )
        for at, amount, job in session.execute(charged):
            day = totals.setdefault(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d}", {})
            name = str(job.extra.get("model", job.model))
            day[name] = day.get(name, 0) + amount
    results = [
        {"date": day, "usedCredits": [{"model": name, "amount": amount} for name, amount in sorted(used.items())]}
        for day, used in sorted(totals.items())
    ]
    return {"results": results, "models": sorted({name for used in totals.values() for name in used})}


def answer(job: Job) -> dict[str, Any]:
    """A job as a task. Final ones need their `cost`, in whole credits, or the library takes them for pending."""
    task: dict[str, Any] = {"id": job.id, "createdAt": _timestamp(job.created_at)}
    estimated = {"estimatedCost": {"credits": job.price}}
    if job.state == State.QUEUED:
        return task | {"status": "PENDING"} | estimated
    if job.state == State.RUNNING:
        return task | {"status": "RUNNING", "progress": round(job.progress, 4)} | estimated
    if job.state == State.SUCCEEDED:
        url = file_url(job, "thumbnail" if job.extra.get("still") else "video")
        return task | {"status": "SUCCEEDED", "output": [url], "cost": {"credits": job.price}}
    if job.state == State.CANCELLED:
        return task | {"status": "CANCELLED", "cost": {"credits": 0}}
    code = "SAFETY.INPUT.TEXT" if job.state == State.MODERATED else "INTERNAL"
    failure = job.error or "the clip could not be made"
    return task | {"status": "FAILED", "failure": failure, "failureCode": code, "cost": {"credits": 0}}


def tell(job: Job) -> str:
    """The body of a webhook. Runway has none; ours holds the task."""
    return json.dumps({"type": f"task.{job.state}", "data": answer(job)})


def error_body(refusal: Refusal) -> dict[str, Any]:
    if refusal.status != 400 or refusal.param is None:
        return {"error": refusal.message}
    issue = {"code": refusal.code, "path": refusal.param.split("."), "message": refusal.message}
    return {"error": refusal.message, "issues": [issue]}


def _begin(
    request: Request,
    server: Server,
    key: Key,
    body: Task,
    still: bool = False,
    video: tuple[str, Footage] | None = None,
) -> dict[str, Any]:
    first, last = _pictures(body)
    mode, footage = video or ("", None)
    wish = Wish(
        prompt=body.promptText,
        model=body.model,
        negative=body.negativePrompt,
        seconds=None if still else _seconds(body.duration),
        frames=1 if still else None,
        size=None if body.ratio is None else _size(body.ratio),
        seed=body.seed,
        still=None if first is None else _still(first, server, key),
        last=None if last is None else _still(last, server, key),
        extend=footage if mode == "extend" else None,
        video=footage if mode == "edit" else None,
    )
    extra: dict[str, Any] = {"model": body.model} | ({"still": True} if still else {})
    (job,) = submit(request, key, [wish], NAME, extra=extra)[:1]
    return {"id": job.id, "estimatedCost": {"credits": job.price}}


def _pictures(body: Task) -> tuple[str | None, str | None]:
    """The first and the last picture."""
    if body.promptImage is None or isinstance(body.promptImage, str):
        return body.promptImage, None
    placed = {picture.position: picture.uri for picture in body.promptImage}
    if len(placed) != len(body.promptImage):
        raise invalid(
            "promptImage has several pictures at one position: give one first and one last at most", "promptImage"
        )
    return placed.get("first"), placed.get("last")


def _still(uri: str, server: Server, key: Key) -> str:
    if uri.startswith("runway://"):
        return _uploaded(uri, server, key, "promptImage", "")
    return still_from(server, uri, "promptImage")


def _footage(uri: str, server: Server, key: Key) -> Footage:
    """An upload, a video from elsewhere, or the output of a task of this key, which need not be fetched."""
    if uri.startswith("runway://"):
        return kept_footage(_uploaded(uri, server, key, "videoUri", _VIDEO), server.settings)
    return footage_from(server, uri, "videoUri")


def _uploaded(uri: str, server: Server, key: Key, param: str, kind: str) -> str:
    """The name under which an upload is kept. Refusal (400, 404) if it is not there, or of another kind."""
    name = uri.removeprefix("runway://")
    with server.database.read() as session:
        found = session.get(Upload, name[:64])
    if found is None or found.key_id != key.id or found.created_at < now() - UPLOAD_LIVES:
        raise missing("upload", uri)
    if found.id.startswith(_VIDEO) != (kind == _VIDEO):
        raise invalid(f"the upload is {'no ' if kind else 'a '}video: give {'a video' if kind else 'a picture'}", param)
    if found.still is None:
        raise invalid("the upload has not arrived: post the file first", param)
    return found.still


def _seconds(duration: int | str | None) -> float | None:
    if isinstance(duration, str) and duration != "auto":
        raise invalid(f"duration is {duration[:20]!r}: give whole seconds", "duration")
    return float(duration) if isinstance(duration, int) else None


def _size(ratio: str) -> tuple[int, int] | None:
    """Pixels of "1280:720"; about a 720p picture for proportions such as "16:9"; None where the model may choose."""
    if ratio.startswith(("auto", "adaptive")):
        return None
    found = re.fullmatch(r"([0-9]{1,5}):([0-9]{1,5})", ratio)
    if not found or not int(found[1]) or not int(found[2]):
        raise invalid(f"ratio is {ratio!r}: write WIDTH:HEIGHT, such as 1280:720", "ratio")
    width, height = int(found[1]), int(found[2])
    if max(width, height) >= 64:
        return width, height
    scale = 720 / min(width, height)
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def _midnight(day: date) -> float:
    return datetime.combine(day, time(), UTC).timestamp()


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
