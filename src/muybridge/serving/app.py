"""The application: routes, answers to what goes wrong in the dialect that was spoken, health, metrics, files."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from fastapi_offline import FastAPIOffline
from sqlalchemy.exc import DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

import muybridge
from muybridge.serving import native
from muybridge.serving.desk import download, result_of_link
from muybridge.serving.dialects import luma, openai, runway
from muybridge.serving.edge import Edge
from muybridge.serving.errors import Refusal, busy, invalid, told_in
from muybridge.serving.jobs import Tell
from muybridge.serving.server import Server
from muybridge.serving.stores import store_of
from muybridge.serving.telemetry import fastapi_settings

log = logging.getLogger("muybridge.serving")

TELL: dict[str, Tell] = {"native": native.tell, "openai": openai.tell, "runway": runway.tell, "luma": luma.tell}
"""How each dialect words a webhook."""

_BODIES: dict[str, Callable[[Refusal], dict[str, Any]]] = {
    "native": native.error_body,
    "openai": openai.error_body,
    "runway": runway.error_body,
    "luma": luma.error_body,
}
_BEGINNINGS = {
    "/dream-machine/": "luma",
    "/v1/videos": "openai",
    "/v1/models": "openai",
    "/v1/": "runway",
}


def build_app(server: Server) -> FastAPI:
    """The ASGI application of a server."""
    app = FastAPIOffline(  # /docs and its scripts come from here, not from somebody's network
        static_url="/docs-files",
        telemetry=fastapi_settings(),
        title="Muybridge",
        version=muybridge.__version__,
        description="Video generation on machines of your own. `/v1` speaks Runway and OpenAI videos, "
        "`/dream-machine/v1` Luma, `/muybridge/v1` has everything.",
        responses=told_in(native.Faulty),
    )
    app.state.server = server
    for router in (native.router, openai.router, runway.router, luma.router):
        app.include_router(router)
    _add_handlers(app)
    _add_own_routes(app, server)
    app.add_middleware(Edge, server=server, dialect_of=dialect_of, refuse=_refused)
    return app


def dialect_of(path: str) -> str:
    """The dialect of a path: our own where it is nobody else's."""
    return next((dialect for beginning, dialect in _BEGINNINGS.items() if path.startswith(beginning)), "native")


def refusal_answer(path: str, refusal: Refusal) -> JSONResponse:
    """A refusal in the dialect of a path."""
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    if refusal.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(_BODIES[dialect_of(path)](refusal), refusal.status, headers)


def _add_handlers(app: FastAPI) -> None:
    def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        return refusal_answer(request.url.path, error)

    def malformed(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        return refusal_answer(request.url.path, invalid(f"{name or 'the body'}: {first['msg']}", name or None))

    def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        said = {404: "there is no such path here: GET /docs lists them", 405: "this path does not take that method"}
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "invalid_request")
        answer = refusal_answer(
            request.url.path, Refusal(error.status_code, said.get(error.status_code, "the request is malformed"), code)
        )
        answer.headers.update(error.headers or {})
        return answer

    def database(request: Request, error: Exception) -> Response:
        log.error("the database does not answer: %s", error)
        return refusal_answer(request.url.path, busy("the server cannot reach its database: try again soon"))

    def unkeepable(request: Request, error: Exception) -> Response:
        said = "the request holds what no database keeps (NUL, or a number beyond all bounds): leave it out"
        return refusal_answer(request.url.path, invalid(said))

    def storage(request: Request, error: Exception) -> Response:
        log.error("storage fails: %s", error)
        return refusal_answer(request.url.path, busy("the server cannot store anything just now: try again later", 30))

    def fault(request: Request, error: Exception) -> Response:
        return refusal_answer(request.url.path, Refusal(500, "a fault of this server: it has been noted", "internal"))

    app.add_exception_handler(Refusal, refused)
    app.add_exception_handler(RequestValidationError, malformed)
    app.add_exception_handler(HTTPException, framework)
    for kind in (DBAPIError, PoolTimeout):
        app.add_exception_handler(kind, database)
    app.add_exception_handler(DataError, unkeepable)
    app.add_exception_handler(OSError, storage)
    app.add_exception_handler(Exception, fault)


def _add_own_routes(app: FastAPI, server: Server) -> None:
    @app.get("/healthz", tags=["operation"], response_class=PlainTextResponse)
    async def healthz() -> str:
        """The process is alive."""
        return "ok"

    @app.get("/readyz", tags=["operation"], response_class=PlainTextResponse)
    def readyz() -> str:
        """The database and the store answer, too."""
        server.database.check()
        store_of(server.settings).check()
        return "ok"

    @app.get("/metrics", tags=["operation"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """For Prometheus."""
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/files/{job_id}/{token}/{name}", tags=["operation"], response_class=FileResponse)
    def file(job_id: str, token: str, name: str) -> Response:
        """A result, for whoever was given its address."""
        return download(server, *result_of_link(server, job_id, token, name))


def _refused(path: str, status: int, sentence: str) -> tuple[bytes, list[tuple[bytes, bytes]]]:
    """An answer for what does not get as far as the application."""
    body = json.dumps(_BODIES[dialect_of(path)](Refusal(status, sentence, "too_large"))).encode()
    return body, [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
