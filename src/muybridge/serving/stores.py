"""Where results and stills lie: the server's folder, or a bucket (S3, GCS, Azure; extra `s3`).

Both know a file by a name such as "results/0f/0f3c….mp4". In a bucket, what is made is uploaded when it is whole, and
downloads are streamed through the server, so that links stay ours and the bucket need not be reached by clients.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from muybridge.serving.settings import ServerSettings

_CHUNK = 1 << 20


class Store(Protocol):
    """Files by name. Whatever cannot be reached or written is an OSError: the client hears 503, and may try again."""

    def put(self, name: str, file: Path) -> None:
        """Moves a file there, whole or not at all."""

    def read(self, name: str, since: float = 0.0) -> tuple[float, bytes] | None:
        """When a file was written (seconds since 1970), and what it holds; None if there is none newer than `since`."""

    def remove(self, name: str) -> None:
        """Forgets a file, if it is there."""

    def answer(self, name: str, media: str, shown_as: str) -> Response | None:
        """A download, ranges of bytes included; None if there is no such file."""

    def check(self) -> None:
        """Raises OSError if the store does not answer."""


class Folder:
    """A folder that the server and its workers share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, file: Path) -> None:
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)

    def read(self, name: str, since: float = 0.0) -> tuple[float, bytes] | None:
        path = self.root / name
        try:
            at = path.stat().st_mtime
            return None if at <= since else (at, path.read_bytes())
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        (self.root / name).unlink(missing_ok=True)

    def answer(self, name: str, media: str, shown_as: str) -> Response | None:
        path = self.root / name
        return FileResponse(path, media_type=media, filename=shown_as) if path.is_file() else None

    def check(self) -> None:
        self.root.stat()


class Bucket:
    """A bucket, by its URL: s3://bucket/prefix, gs://…, az://…

    options  for obstore: endpoint, region, access_key_id, …; what is not said is looked for where the cloud's own tools
             look (AWS_ACCESS_KEY_ID, a machine's role)
    """

    def __init__(self, url: str, options: dict[str, str]) -> None:
        from obstore import store

        plain = options.get("endpoint", "").startswith("http://")
        self.url = url
        open_store: Any = store.from_url  # its options have one type for each cloud
        try:
            self._store = open_store(
                url,
                config=options,
                client_options={"allow_http": plain, "connect_timeout": timedelta(seconds=5)},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=10)},
            )
        except Exception as error:  # of obstore's own kinds
            raise ValueError(f"cannot use the store {url!r}: {_said(error)}: see `store` in docs/serving.md") from error

    def put(self, name: str, file: Path) -> None:
        import obstore

        with self._within(name):
            obstore.put(self._store, name, file)
        file.unlink()

    def read(self, name: str, since: float = 0.0) -> tuple[float, bytes] | None:
        import obstore

        with self._within(name):
            try:
                at = obstore.head(self._store, name)["last_modified"].timestamp()
                return None if at <= since else (at, bytes(obstore.get(self._store, name).bytes()))
            except FileNotFoundError:
                return None

    def remove(self, name: str) -> None:
        import obstore

        with self._within(name):
            try:
                obstore.delete(self._store, name)
            except FileNotFoundError:
                return

    def answer(self, name: str, media: str, shown_as: str) -> Response | None:
        import obstore

        with self._within(name):
            try:
                size = obstore.head(self._store, name)["size"]
            except FileNotFoundError:
                return None
        return _Stream(self, name, size, media, shown_as)

    def check(self) -> None:
        self.read("is-the-store-there")

    async def parts(self, name: str, start: int, end: int) -> AsyncIterator[bytes]:
        """The bytes from `start` up to `end`."""
        import obstore

        with self._within(name):
            found = await obstore.get_async(self._store, name, options={"range": (start, end)})
            async for part in found.stream(min_chunk_size=_CHUNK):
                yield bytes(part)

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        """obstore's errors as what they mean: the store is down, or says no."""
        from obstore.exceptions import BaseError

        try:
            yield
        except BaseError as error:
            raise OSError(f"the store {self.url} does not take or give {name}: {_said(error)}") from error


class _Stream(StreamingResponse):
    """An object, or the one range of it that the request asks for (RFC 9110, section 14)."""

    def __init__(self, bucket: Bucket, name: str, size: int, media: str, shown_as: str) -> None:
        headers = {"Accept-Ranges": "bytes", "Content-Disposition": f'attachment; filename="{shown_as}"'}
        super().__init__(iter(()), media_type=media, headers=headers)
        self._bucket, self._name, self._size = bucket, name, size

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = dict(scope["headers"]).get(b"range", b"").decode("latin-1")
        span = span_of(asked, self._size)
        if span is None:
            self.status_code, self.body_iterator = 416, _nothing()
            self.headers["Content-Range"] = f"bytes */{self._size}"
        else:
            start, end = span
            if end - start != self._size:
                self.status_code = 206
                self.headers["Content-Range"] = f"bytes {start}-{end - 1}/{self._size}"
            self.headers["Content-Length"] = str(end - start)
            parts = self._bucket.parts(self._name, start, end) if scope["method"] != "HEAD" else _nothing()
            self.body_iterator = parts
        await super().__call__(scope, receive, send)


def span_of(asked: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last for a Range header; all of it for none, and for what need not be obeyed
    (several ranges, other units). None if there are no such bytes.
    """
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", asked.strip())
    if found is None or not (found[1] or found[2]):
        return 0, size
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
        if found[2] and int(found[2]) < start:
            return 0, size  # no range at all: to be ignored
    return (start, end) if start < end else None


def store_of(settings: ServerSettings) -> Store:
    """The store that settings name; one for each, so that its connections are kept. ValueError if it makes no sense."""
    return _store(settings.store, tuple(sorted(settings.store_options.items())), settings.home)


@lru_cache(maxsize=16)
def _store(url: str, options: tuple[tuple[str, str], ...], home: Path) -> Store:
    return Bucket(url, dict(options)) if url else Folder(home)


async def _nothing() -> AsyncIterator[bytes]:
    parts: tuple[bytes, ...] = ()
    for part in parts:
        yield part


def _said(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
