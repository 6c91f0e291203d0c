"""Our own API, with what the dialects lack: every field of a Condition, grids, search, live previews, priorities."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, File, Query, Request, UploadFile
from fastapi.responses import FileResponse, Response, StreamingResponse
from pydantic import BaseModel

from muybridge.serving.credits import usage
from muybridge.serving.database import OPEN, Job, Key, State, Upload, now
from muybridge.serving.desk import Asked, Maker, Reader, discard, download, file_url, order, submit
from muybridge.serving.errors import Refusal, told_in
from muybridge.serving.footage import keep_footage
from muybridge.serving.results import result_name
from muybridge.serving.server import Server
from muybridge.serving.stills import keep_still
from muybridge.serving.stores import store_of
from muybridge.serving.wishes import BatchRequest, ClipRequest, Handed, spread, wish_of

PREFIX = "/muybridge/v1"
_LOOK_EVERY = 0.2


class Fault(BaseModel):
    """What is wrong with a request, or with us."""

    code: str
    message: str
    param: str | None


class Faulty(BaseModel):
    """The body of an answer that is no success."""

    error: Fault


router = APIRouter(prefix=PREFIX, tags=["muybridge"], responses=told_in(Faulty))


class ClipAnswer(BaseModel):
    """A clip and how far it is."""

    id: str
    state: State
    progress: float
    model: str
    prompt: str
    negative: str
    seed: int
    seconds: float
    frames: int
    fps: float
    width: int
    height: int
    size: str
    price: int
    batch: str | None
    error: str | None
    error_code: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    video: str | None
    thumbnail: str | None


class BatchAnswer(BaseModel):
    """Clips that were asked for together."""

    batch: str
    clips: list[ClipAnswer]


class ClipList(BaseModel):
    """A page of clips, newest first, and how many there are in all."""

    clips: list[ClipAnswer]
    count: int


@router.post("/clips", status_code=202)
def create(request: Request, server: Asked, key: Maker, body: ClipRequest) -> ClipAnswer:
    """Accepts a clip. It is made when a device is free; `state` tells."""
    wishes = [wish_of(body, Handed(server, key))]
    return answer(submit(request, key, wishes, "native", callback_url=body.webhook_url, priority=body.priority)[0])


@router.post("/batches", status_code=202)
def create_batch(request: Request, server: Asked, key: Maker, body: BatchRequest) -> BatchAnswer:
    """Accepts many clips at once."""
    handed = Handed(server, key)
    wishes = [wish_of(one, handed) for one in spread(body)]
    jobs = submit(request, key, wishes, "native", callback_url=body.webhook_url, priority=body.priority, batch=True)
    return BatchAnswer(batch=jobs[0].batch_id or "", clips=[answer(job) for job in jobs])


@router.post("/images", status_code=201)
def upload(server: Asked, key: Maker, file: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Keeps a still, to be named as `image`, `last_image` or `mask` of clips."""
    return _kept(server, key, "image", keep_still(file.file.read(), server.settings, "file"))


@router.post("/videos", status_code=201)
def upload_video(server: Asked, key: Maker, file: Annotated[UploadFile, File()]) -> dict[str, str]:
    """Keeps a video, to be named as `extend`, `video` or `control` of clips."""
    return _kept(server, key, "video", keep_footage(file.file.read(), server.settings, "file").name)


@router.get("/clips")
def search(
    server: Asked,
    key: Reader,
    words: Annotated[str | None, Query(max_length=200, description="in the prompt")] = None,
    state: Annotated[list[State] | None, Query()] = None,
    batch: Annotated[str | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
    offset: Annotated[int, Query(ge=0, le=10**9)] = 0,
) -> ClipList:
    """This key's clips, whatever dialect they were asked for in."""
    jobs, count = server.jobs.list(
        key, words=words, states=tuple(state or ()), batch_id=batch, limit=limit, offset=offset
    )
    return ClipList(clips=[answer(job) for job in jobs], count=count)


@router.get("/clips/{clip_id}")
def get(server: Asked, key: Reader, clip_id: str) -> ClipAnswer:
    return answer(server.jobs.find(key, clip_id))


@router.post("/clips/{clip_id}/cancel")
def cancel(server: Asked, key: Maker, clip_id: str) -> ClipAnswer:
    """Ends a clip that has not ended; a device that samples it is free at its next step."""
    return answer(server.jobs.cancel(key, clip_id))


@router.delete("/clips/{clip_id}", status_code=204)
def delete(server: Asked, key: Maker, clip_id: str) -> None:
    """Cancels if need be, and removes the clip and its files."""
    discard(server, key, clip_id)


@router.get("/clips/{clip_id}/content", response_class=FileResponse)
def content(server: Asked, key: Reader, clip_id: str, variant: str = "video") -> Response:
    """The MP4, or its `thumbnail` or `spritesheet` (JPEG)."""
    return download(server, server.jobs.find(key, clip_id), variant)


@router.get("/clips/{clip_id}/events", response_class=StreamingResponse)
async def events(server: Asked, key: Reader, clip_id: str, previews: bool = False) -> StreamingResponse:
    """Server-sent events until the clip has ended: `clip` (as GET says it) and `preview` ({"jpeg": data: URI})."""
    await run_sync(server.jobs.find, key, clip_id)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(server, key, clip_id, previews), media_type="text/event-stream", headers=headers)


@router.get("/models")
def models(server: Asked, key: Reader) -> dict[str, Any]:
    """What is served, what it costs, and which names of other services stand for it."""
    return {
        "models": [
            {
                "name": offer.name,
                "credits_per_second": offer.credits_per_second,
                "longest_seconds": offer.longest_seconds,
                "best": {"frames": offer.frames, "width": offer.width, "height": offer.height, "fps": offer.fps},
                "multiple": offer.side,
                "takes": sorted(offer.takes),
            }
            for offer in server.catalogue.offers.values()
        ],
        "names": dict(server.catalogue.names),
    }


@router.get("/usage")
def used(
    server: Asked, key: Reader, days: Annotated[float, Query(gt=0, le=366)] = 30, every_key: bool = False
) -> dict[str, Any]:
    """Credits charged in the last days, and what is left (null: no limit)."""
    if every_key and "admin" not in key.scopes:
        raise Refusal(403, "only a key with the scope admin sees the usage of all keys", "forbidden")
    with server.database.read() as session:
        found = usage(session, now() - days * 86_400, now() + 1, None if every_key else key.id)
        left = session.get_one(Key, key.id).credits
    return {"credits": left, "used": [line._asdict() for line in found]}


def answer(job: Job) -> ClipAnswer:
    """A job in our own words."""
    made, done = order(job), job.state == State.SUCCEEDED
    width, height = made.size
    return ClipAnswer(
        id=job.id,
        state=job.state,
        progress=round(job.progress, 4),
        model=job.model,
        prompt=made.prompt,
        negative=made.negative,
        seed=made.seed,
        seconds=made.seconds,
        frames=made.length,
        fps=made.fps,
        width=made.width,
        height=made.height,
        size=f"{width}x{height}",
        price=job.price,
        batch=job.batch_id,
        error=job.error,
        error_code=job.error_code,
        created_at=_time(job.created_at),
        started_at=None if job.started_at is None else _time(job.started_at),
        finished_at=None if job.finished_at is None else _time(job.finished_at),
        video=file_url(job) if done else None,
        thumbnail=file_url(job, "thumbnail") if done else None,
    )


def tell(job: Job) -> str:
    """The body of a webhook."""
    return json.dumps({"type": f"clip.{job.state}", "data": answer(job).model_dump(mode="json")})


def error_body(refusal: Refusal) -> dict[str, Any]:
    return {"error": {"code": refusal.code, "message": refusal.message, "param": refusal.param}}


def _kept(server: Server, key: Key, kind: str, name: str) -> dict[str, str]:
    kept = Upload(id=f"{kind}_{name[:32]}_{key.id}", key_id=key.id, token="", still=name, created_at=now())
    with server.database.write() as session:
        session.merge(kept)
    return {"id": kept.id}


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


async def _events(server: Server, key: Key, clip_id: str, previews: bool) -> AsyncIterator[str]:
    """One event when something has changed, a comment now and then so that the connection is not taken for dead."""
    said, shown, looks = "", 0.0, 0
    while True:
        if previews and looks % 20 == 0:
            await run_sync(server.jobs.watch, clip_id)
        job = await run_sync(lambda: server.jobs.find(key, clip_id, seen=False))
        text = answer(job).model_dump_json()
        if text != said:
            said = text
            yield f"event: clip\ndata: {text}\n\n"
        elif looks % 75 == 0:
            yield ": still here\n\n"
        if previews:
            found = await run_sync(store_of(server.settings).read, result_name(clip_id, "preview"), shown)
            if found is not None:
                shown, jpeg = found
                picture = f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
                yield f"event: preview\ndata: {json.dumps({'jpeg': picture})}\n\n"
        if job.state not in OPEN:
            return
        looks += 1
        await asyncio.sleep(_LOOK_EVERY)
