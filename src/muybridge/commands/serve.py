"""`muybridge serve`: the server, its worker, and how to begin with it."""

from __future__ import annotations

import fcntl
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from sqlalchemy import select

from muybridge.serving.app import TELL, build_app
from muybridge.serving.database import Key
from muybridge.serving.keys import create_key
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.telemetry import log_to_stderr, trace_to
from muybridge.serving.worker import Worker

_UNAVAILABLE = "a worker called {name} runs already with {home}: give this one another --worker-name"


def run(settings: ServerSettings) -> None:
    """Serves until it is told to stop (Ctrl-C, SIGTERM)."""
    _prepare(settings)
    server = build_server(settings, TELL)
    with _working(server, settings):
        config = uvicorn.Config(
            build_app(server),
            host=settings.host,
            port=settings.port,
            log_level="warning",
            access_log=False,
            log_config=None,  # what it says goes where ours goes
            server_header=False,
            timeout_graceful_shutdown=5,
            timeout_keep_alive=75,  # clients ask again every six seconds, over the same connection
        )
        listener = config.bind_socket()
        listener.listen(2048)  # from the greeting on, nobody is turned away
        url = settings.public_url or f"http://{settings.host}:{listener.getsockname()[1]}"
        _greet(server, url)
        uvicorn.Server(config).run(sockets=[listener])


def work(settings: ServerSettings) -> None:
    """Works without serving, until it is told to stop."""
    _prepare(settings)
    server = build_server(settings, TELL)
    with _working(server, settings.model_copy(update={"worker": True})):
        print(f"working      {settings.worker_name}, with {settings.database}", flush=True)
        signal.pause()


def _prepare(settings: ServerSettings) -> None:
    """Logs and traces; SIGTERM ends things as Ctrl-C does, with jobs handed back."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    log_to_stderr(settings.log_format)
    if settings.otlp_endpoint:
        trace_to(settings.otlp_endpoint)


@contextmanager
def _working(server: Server, settings: ServerSettings) -> Iterator[None]:
    """With a worker in this process, if there is to be one; one of a name at a time."""
    if not settings.worker:
        yield
        return
    with _alone(settings):
        worker = Worker(server.database, server.jobs, settings)
        worker.start()
        try:
            yield
        finally:
            worker.stop()


@contextmanager
def _alone(settings: ServerSettings) -> Iterator[None]:
    """A lock that goes when the process does, however it ends."""
    path = Path(settings.home) / f"worker-{settings.worker_name}.lock"
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(_UNAVAILABLE.format(name=settings.worker_name, home=settings.home)) from error
        yield


def _greet(server: Server, url: str) -> None:
    """Says where the server is, and at its first start gives a key and three lines to try."""
    print(f"serving      {url}  (Ctrl-C stops)")
    print(f"API          {url}/docs")
    print(f"kept in      {server.settings.home}; models and prices: {server.settings.home / 'models.toml'}")
    with server.database.write() as session:
        if session.scalar(select(Key).limit(1)) is not None:
            print("API keys     as before; `muybridge admin keys` lists them, and makes more", flush=True)
            return
        key, token = create_key(session, "first key", ("generate", "read", "admin"))
    print(f"API key      {token}  (shown once)")
    print(f"webhooks     signed with {key.webhook_secret}")
    print("try")
    clips, header = f"{url}/muybridge/v1/clips", f'-H "Authorization: Bearer {token}"'
    wish = '{"prompt": "a small red ball rolls behind a tall blue box"}'
    print(f"    curl {clips} {header} -H 'Content-Type: application/json' -d '{wish}'")
    print(f"    curl -N {clips}/ID/events {header}")
    print(f"    curl -o clip.mp4 {clips}/ID/content {header}", flush=True)
