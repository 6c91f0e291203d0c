"""Gives out the lab's folder on this machine, with the headers that let the page use threads."""

from __future__ import annotations

from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
"""The first two make the page cross-origin isolated, without which browsers share no memory between threads."""


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder; no lists of what is in it, nothing on the terminal."""

    protocol_version = "HTTP/1.1"
    extensions_map = {  # noqa: RUF012  (the standard library's name, as it declares it)
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript; charset=utf-8",
        ".mjs": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".wasm": "application/wasm",
        ".webp": "image/webp",
        ".onnx": "application/octet-stream",
    }

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *args: Any) -> None:
        pass


def listen(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 that `serve_forever` starts; port 0 takes a free one. ValueError if the port is taken."""
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise ValueError(
            f"cannot listen at port {port} ({error}): give another with --port, or 0 for a free one"
        ) from error
