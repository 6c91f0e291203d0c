"""What every dialect does with a request: who asks, may they, and here is the job."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, Any

import numpy as np
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.responses import Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jaxtyping import UInt8
from PIL import Image

from muybridge.serving import retries
from muybridge.serving.database import Job, Key, State
from muybridge.serving.errors import Refusal, invalid, missing
from muybridge.serving.fetching import LONGEST_URL
from muybridge.serving.footage import Footage, footage_of, keep_footage, looked_at
from muybridge.serving.moderation import Subject, note
from muybridge.serving.orders import Order, Wish, order_of
from muybridge.serving.results import VARIANTS, remove_results, result_name
from muybridge.serving.server import Server
from muybridge.serving.stills import keep_still, local_still, still_of
from muybridge.serving.stores import store_of

_bearer = HTTPBearer(auto_error=False, description="An API key of this server: `muybridge admin keys --create NAME`")


async def server_of(request: Request) -> Server:
    """The server that the application was built with."""
    return _server(request)


def _server(request: Request) -> Server:
    server: Server = request.app.state.server
    return server


def _allowed(scope: str) -> Callable[..., Awaitable[Key]]:
    # Not in a thread: a change of threads costs more than looking up a key that was here a moment ago.
    async def check(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> Key:
        if given is None:
            raise Refusal(401, "an API key is missing: send it as `Authorization: Bearer KEY`", "missing_api_key")
        server = _server(request)
        key = server.keys.recent(given.credentials)
        if key is None:
            key = await run_sync(server.keys.find, given.credentials)
        request.state.key_id = key.id
        if scope not in key.scopes and "admin" not in key.scopes:
            raise Refusal(403, f"this API key may not {scope}: ask for one with that scope", "forbidden")
        server.check_rate(key)
        return key

    return check


Asked = Annotated[Server, Depends(server_of)]
Maker = Annotated[Key, Depends(_allowed("generate"))]
Reader = Annotated[Key, Depends(_allowed("read"))]


def submit(
    request: Request,
    key: Key,
    wishes: Sequence[Wish],
    dialect: str,
    *,
    extra: dict[str, Any] | None = None,
    callback_url: str | None = None,
    priority: str = "normal",
    batch: bool = False,
) -> list[Job]:
    """The jobs for some wishes. Refusal for what cannot be made, must not be made, or is not paid for."""
    server = _server(request)
    _moderate(server, key, wishes)
    if callback_url is not None and not re.fullmatch(r"https?://[!-~]+", callback_url[: LONGEST_URL + 1]):
        raise invalid("the webhook's address is no URL: give https://host/path", "webhook_url")
    if callback_url is not None and not (callback_url.startswith("https:") or server.settings.fetch_private):
        raise invalid("webhooks are sent over https only: give https://host/path", "webhook_url")
    orders = [order_of(wish, server.catalogue) for wish in wishes]
    attempt = _attempt(request)
    idempotency = request.headers.get("idempotency-key")
    asked = retries.Request(
        dialect=dialect,
        fingerprint=_fingerprint(wishes, dialect, extra or {}),
        base_url=base_url(request),
        arrived_at=request.state.arrived_at,
        attempt=attempt,
        excused=attempt > 0 and server.excuses.explains(key.id, attempt),
        idempotency_key=idempotency[:200] if idempotency else None,
        priority=priority,
        callback_url=callback_url,
        batch=batch,
        extra=extra or {},
    )
    jobs = server.jobs.accept(key, orders, asked)
    request.state.job_id = jobs[0].id
    return jobs


def base_url(request: Request) -> str:
    """How clients reach this server, without a slash at the end."""
    configured = _server(request).settings.public_url
    return (configured or str(request.base_url)).rstrip("/")


def file_url(job: Job, variant: str = "video") -> str:
    """An absolute URL that needs no key: who knows it may download."""
    ending = VARIANTS[variant][0]
    return f"{job.base_url}/files/{job.id}/{job.token}/clip{ending}"


def download(server: Server, job: Job, variant: str) -> Response:
    """A result. Refusal 404 while there is none, 400 for a variant that does not exist."""
    if variant not in VARIANTS:
        raise invalid(f"there is no variant {variant[:40]!r}: take one of {', '.join(VARIANTS)}", "variant")
    found: Response | None = None
    if job.state == State.SUCCEEDED:
        ending, media = VARIANTS[variant]
        found = store_of(server.settings).answer(result_name(job.id, variant), media, f"{job.id}{ending}")
    if found is None:
        raise Refusal(404, f"the clip {job.id} is {job.state}: there is nothing to download", "not_ready")
    return found


def discard(server: Server, key: Key, job_id: str) -> Job:
    """Cancels what has not ended, forgets the job, and removes its files."""
    job = server.jobs.delete(key, job_id)
    remove_results(store_of(server.settings), job.id)
    return job


def footage_of_clip(server: Server, key: Key, job_id: str, param: str | None = None) -> Footage:
    """A clip of this key, to be made something of. Refusal 404 if there is none, 400 while it is not finished."""
    job = server.jobs.find(key, job_id)
    found = store_of(server.settings).read(result_name(job.id, "video")) if job.state == State.SUCCEEDED else None
    if found is None:
        raise invalid(f"the clip {job.id} is {job.state}: take one that has succeeded", param, "not_ready")
    return keep_footage(found[1], server.settings, param)


def still_from(server: Server, reference: str, param: str | None = None) -> str:
    """The name of the still that a data: URI, a URL or a link to a result of ours holds, kept. Refusal (400)."""
    own = _result(server, reference)
    return still_of(reference, server.settings, param) if own is None else keep_still(own, server.settings, param)


def footage_from(server: Server, reference: str, param: str | None = None) -> Footage:
    """The video that a data: URI, a URL or a link to a result of ours holds, kept. Refusal (400)."""
    own = _result(server, reference)
    return footage_of(reference, server.settings, param) if own is None else keep_footage(own, server.settings, param)


def result_of_link(server: Server, job_id: str, token: str, name: str) -> tuple[Job, str]:
    """The job and the variant that a link speaks of. Refusal (404) unless it is one that was given out."""
    with server.database.read() as session:
        job = session.get(Job, job_id[:64])
    variant = next((key for key, (ending, _) in VARIANTS.items() if name == f"clip{ending}"), None)
    known = job is not None and job.deleted_at is None and secrets.compare_digest(job.token.encode(), token.encode())
    if job is None or not known or variant is None:
        raise missing("file", name)
    return job, variant


def _result(server: Server, url: str) -> bytes | None:
    """What a link to a result of ours holds; None for any other: nobody should have to fetch from themselves."""
    found = re.fullmatch(r"(https?://[^?#]{1,2000})/files/([0-9a-f-]{36})/([\w-]{1,100})/(clip[.a-z0-9]{1,20})", url)
    if found is None:
        return None
    try:
        job, variant = result_of_link(server, found[2], found[3], found[4])
    except Refusal:
        return None
    if job.state != State.SUCCEEDED or job.base_url != found[1]:
        return None
    held = store_of(server.settings).read(result_name(job.id, variant))
    return None if held is None else held[1]


def order(job: Job) -> Order:
    """A job's order."""
    return Order.model_validate(job.order)


def size_of(text: str, param: str = "size", sign: str = "x") -> tuple[int, int]:
    """Width and height of "WIDTHxHEIGHT". Refusal (400) for anything else."""
    found = re.fullmatch(rf"([0-9]{{1,5}}){re.escape(sign)}([0-9]{{1,5}})", text)
    if not found:
        raise invalid(f"{param} is {text[:40]!r}: write WIDTH{sign}HEIGHT in pixels, such as 1280{sign}720", param)
    return int(found[1]), int(found[2])


def _attempt(request: Request) -> int:
    said = request.headers.get("x-stainless-retry-count", "0")
    return int(said) if re.fullmatch(r"[0-9]{1,2}", said) else 0


def _fingerprint(wishes: Sequence[Wish], dialect: str, extra: dict[str, Any]) -> str:
    parts = [wish.fingerprint(dialect) for wish in wishes]
    return hashlib.sha256(repr((parts, sorted(extra.items()))).encode("utf-8", "surrogatepass")).hexdigest()


def _moderate(server: Server, key: Key, wishes: Sequence[Wish]) -> None:
    """Refusal (400) for what a check finds wrong; noted, and nothing is charged."""
    passed: set[tuple[str, ...]] = set()
    for wish in wishes:
        names = _handed_in(wish) if server.moderator.looks_at_pictures else ()
        asked = (wish.prompt, wish.negative, wish.model or "", *names)
        if asked in passed:  # variants of one another
            continue
        passed.add(asked)
        for pictures in _pictures(server, names):
            subject = Subject("request", key.id, wish.model or "", wish.prompt, wish.negative, pictures)
            finding = server.moderator.find(subject)
            if finding is None:
                continue
            with server.database.write() as session:
                note(session, subject, finding)
            what, mend = ("words", "say it differently") if finding.about == "prompt" else ("a picture", "take another")
            raise invalid(
                f"the request holds {what} that this server does not serve: {mend}", finding.about, "moderated"
            )


def _handed_in(wish: Wish) -> tuple[str, ...]:
    """Names of all stills, then of all videos, a colon before each."""
    stills = (wish.still, wish.last, wish.mask)
    videos = (wish.extend, wish.video, wish.control)
    return (*(name for name in stills if name), *(f":{video.name}" for video in videos if video))


def _pictures(server: Server, names: Sequence[str]) -> Iterator[UInt8[np.ndarray, "t h w 3"] | None]:
    """What a check is to look at, one picture or video after the other; None once where there is nothing to see."""
    for name in names:
        if name.startswith(":"):
            yield looked_at(name[1:], server.settings)
        else:
            with Image.open(local_still(name, server.settings)) as picture:
                yield np.asarray(picture.convert("RGB"))[None]
    if not names:
        yield None
