"""What every dialect does with a request: who asks, may they, and here is the job."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
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
from muybridge.serving.errors import Refusal, invalid
from muybridge.serving.fetching import LONGEST_URL
from muybridge.serving.moderation import Subject, note
from muybridge.serving.orders import Order, Wish, order_of
from muybridge.serving.results import VARIANTS, remove_results, result_name
from muybridge.serving.server import Server
from muybridge.serving.stills import still_path
from muybridge.serving.stores import store_of

_bearer = HTTPBearer(auto_error=False, description="An API key of this server: `muybridge admin keys create NAME`")


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
    for wish in wishes:
        subject = Subject("request", key.id, wish.model or "", wish.prompt, wish.negative, _picture(server, wish))
        finding = server.moderator.find(subject)
        if finding is not None:
            with server.database.write() as session:
                note(session, subject, finding)
            what, mend = ("words", "say it differently") if finding.about == "prompt" else ("a picture", "take another")
            raise invalid(
                f"the request holds {what} that this server does not serve: {mend}", finding.about, "moderated"
            )


def _picture(server: Server, wish: Wish) -> UInt8[np.ndarray, "1 h w 3"] | None:
    if wish.still is None or not server.moderator.looks_at_pictures:
        return None
    with Image.open(still_path(wish.still, server.settings)) as picture:
        return np.asarray(picture.convert("RGB"))[None]
