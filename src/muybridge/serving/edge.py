"""Around the application: how large a request may be, how long it took, whether anybody heard the answer."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from muybridge.serving.database import now
from muybridge.serving.retries import RETRIED
from muybridge.serving.server import Server

log = logging.getLogger("muybridge.requests")

Refuse = Callable[[str, int, str], tuple[bytes, list[tuple[bytes, bytes]]]]
"""(path, status, sentence) -> body and headers, in the dialect of that path."""


class TooLarge(Exception):
    """The body went over the limit while it was read."""


class Edge:
    """Pure ASGI, so that bodies and answers stream through it.

    - a body over `max_body_bytes` is refused (413) by its declared length, or when it has come to that
    - an accepted job whose client has gone away before the answer is sent is marked (see `retries`)
    - a retryable answer is remembered as an excuse for the retry that follows (see `retries`)
    """

    def __init__(self, app: ASGIApp, server: Server, dialect_of: Callable[[str], str], refuse: Refuse) -> None:
        self.app, self.server, self.dialect_of, self.refuse = app, server, dialect_of, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state: dict[str, Any] = scope.setdefault("state", {})
        state["arrived_at"] = now()
        began, status = time.perf_counter(), 0

        async def heard(message: Message) -> None:
            nonlocal status
            if state.get("too_large"):
                raise TooLarge  # whatever the application made of a body that was cut off
            if message["type"] == "http.response.start":
                status = message["status"]
                await self._note(state, scope, receive, status)
                request_id = secrets.token_hex(8)
                self._measure(scope, status, time.perf_counter() - began, request_id)
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        limit = self.server.settings.max_body_bytes
        declared = dict(scope["headers"]).get(b"content-length", b"0")
        if not declared.isdigit() or int(declared[:18]) > limit:
            await self._refuse(scope, heard, limit)
            return
        try:
            await self.app(scope, _limited(receive, limit, state), heard)
        except TooLarge:
            state.pop("too_large")
            if status == 0:
                await self._refuse(scope, heard, limit)

    async def _note(self, state: dict[str, Any], scope: Scope, receive: Receive, status: int) -> None:
        if status in RETRIED and "key_id" in state and scope["method"] == "POST":
            said = dict(scope["headers"]).get(b"x-stainless-retry-count", b"0")
            self.server.excuses.note(state["key_id"], int(said) if said.isdigit() and len(said) < 3 else 0)
        if "job_id" in state and await _gone(receive):
            await run_sync(self.server.jobs.dropped, state["job_id"])

    def _measure(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        dialect = self.dialect_of(scope["path"])
        method = scope["method"] if scope["method"] in ("GET", "POST", "DELETE") else "other"
        self.server.metrics.requests.labels(dialect, method, str(status)).inc()
        self.server.metrics.seconds.labels(dialect).observe(seconds)
        if log.isEnabledFor(logging.INFO):
            state, path = scope["state"], scope["path"]
            fields = {"request": request_id, "method": scope["method"], "status": status, "ms": round(1e3 * seconds, 2)}
            known = {"key": state.get("key_id"), "job": state.get("job_id")}
            # A link that opens without a key is as good as one.
            fields |= {"path": "/files/…" if path.startswith("/files/") else path, "dialect": dialect}
            log.info("request", extra={"fields": fields | {name: value for name, value in known.items() if value}})

    async def _refuse(self, scope: Scope, send: Callable[[Message], Awaitable[None]], limit: int) -> None:
        body, headers = self.refuse(scope["path"], 413, f"the request is over {limit:,} bytes: make it smaller")
        await send({"type": "http.response.start", "status": 413, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})


def _limited(receive: Receive, limit: int, state: dict[str, Any]) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        if message["type"] == "http.request":
            read += len(message.get("body", b""))
            if read > limit:
                state["too_large"] = True
                raise TooLarge
        return message

    return counted


async def _gone(receive: Receive) -> bool:
    """Whether the client has closed its connection, as far as can be known without waiting."""
    message: Message = {}
    with anyio.CancelScope() as scope:
        scope.cancel()
        message = await receive()
    return message.get("type") == "http.disconnect"
