"""Fetching what a client points at, without being pointed at what is none of its business.

The guard sits where connections are made: a name is resolved once, every address it has must be a public one, and the
connection goes to one of exactly these. So a name that resolves differently the second time (DNS rebinding), a redirect
to an inner machine, and a number in any notation all meet the same check. TLS still proves the name.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import socket
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import httpcore

from muybridge.serving.errors import invalid
from muybridge.serving.settings import ServerSettings

MOST_REDIRECTS = 3
LONGEST_URL = 5000
_AGENT = b"muybridge"
_WANTED = b"image/*, video/*, */*;q=0.1"
_HARMLESS = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)


class GuardedBackend(httpcore.SyncBackend):
    """Connects to public addresses only, unless `private` is allowed. Raises `httpcore.ConnectError` otherwise."""

    def __init__(self, private: bool) -> None:
        super().__init__()
        self.private = private

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        address = public_address(host, port, self.private)
        return super().connect_tcp(address, port, timeout, local_address, socket_options)

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        raise httpcore.ConnectError("no sockets of this machine")


def public_address(host: str, port: int, private: bool = False) -> str:
    """An address of `host`, all of whose addresses are public ones. `httpcore.ConnectError` otherwise."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise httpcore.ConnectError(f"{host} cannot be found") from error
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(address) for address in addresses):
        raise httpcore.ConnectError(f"{host} is not on the public internet")
    return addresses[0]


def is_public(address: str) -> bool:
    """False for private, local, link-local (clouds' metadata), multicast, reserved ones, also wrapped in IPv6."""
    number = ipaddress.ip_address(address.split("%")[0])
    if isinstance(number, ipaddress.IPv6Address):
        inner = number.ipv4_mapped or number.sixtofour or (number.teredo or (None, None))[1]
        if inner is not None:
            return is_public(str(inner))
        if number in ipaddress.ip_network("64:ff9b::/96"):
            return is_public(str(ipaddress.IPv4Address(int(number) & 0xFFFFFFFF)))
        if number not in ipaddress.ip_network("2000::/3"):  # all that is handed out; other ranges translate and tunnel
            return False
    return number.is_global and not number.is_multicast


def given(reference: str, what: str, most_bytes: int, settings: ServerSettings, param: str | None = None) -> bytes:
    """What a data: URI or a URL holds. Refusal (400) if there is nothing; `what` it should be is said in it."""
    if reference[:5].lower() == "data:":
        return decode_data(reference, most_bytes)
    if reference[:8].lower().startswith(("http://", "https://")):
        return fetch(reference, most_bytes, settings.fetch_seconds, settings.fetch_private)
    known = "a data: URI or an https URL"
    raise invalid(f"the {what} {reference[:40]!r} is neither uploaded here nor {known}: give one of these", param)


def fetch(url: str, most_bytes: int, seconds: float, private: bool = False) -> bytes:
    """What lies at a https URL (http too where `private` is allowed). Refusal (400) for anything else."""
    deadline = time.monotonic() + seconds
    with httpcore.ConnectionPool(network_backend=GuardedBackend(private)) as pool:
        for _ in range(MOST_REDIRECTS + 1):
            target = _checked(url, private)
            try:
                answer = _get(pool, url, most_bytes, deadline)
            except _HARMLESS as error:
                said = str(error) or type(error).__name__
                raise invalid(
                    f"cannot fetch {target}: {said[:120]}: give another URL, or upload the file", "url"
                ) from error
            if isinstance(answer, bytes):
                return answer
            url = urljoin(url, answer)
    raise invalid("the URL leads on and on: give the one where the file lies", "url")


def decode_data(uri: str, most_bytes: int) -> bytes:
    """What a data: URI holds. Refusal (400) if it is damaged or too large."""
    head, comma, body = uri.partition(",")
    if not comma:
        raise invalid("the data URI has no comma: write data:image/png;base64,…", "url")
    if len(body) > 4 * most_bytes:
        raise invalid(f"the data URI holds over {most_bytes:,} bytes: make the file smaller", "url")
    try:
        if head.lower().endswith(";base64"):
            content = base64.b64decode("".join(unquote_to_bytes(body).decode("ascii").split()), validate=True)
        else:
            content = unquote_to_bytes(body)
    except (binascii.Error, ValueError) as error:
        raise invalid("the data URI is not base64: encode the file again", "url") from error
    if len(content) > most_bytes:
        raise invalid(f"the data URI holds over {most_bytes:,} bytes: make the file smaller", "url")
    return content


def _checked(url: str, private: bool) -> str:
    """The host, for messages, of a URL that may be asked for."""
    if len(url) > LONGEST_URL:
        raise invalid(f"the URL has {len(url)} letters: take at most {LONGEST_URL}", "url")
    if any(letter <= " " or letter > "~" for letter in url):
        raise invalid("the URL holds spaces, control characters or letters beyond ASCII: encode them", "url")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise invalid("the URL cannot be understood: give https://host/path", "url") from error
    if parts.scheme != "https" and not (private and parts.scheme == "http"):
        raise invalid(f"the URL begins with {parts.scheme[:20]!r}: give an https URL, or upload the file", "url")
    if not parts.hostname or parts.username is not None or port == 0:
        raise invalid("the URL needs a host, and no name or password: give https://host/path", "url")
    return parts.hostname


def _get(pool: httpcore.ConnectionPool, url: str, most_bytes: int, deadline: float) -> bytes | str:
    """The content, or where it is said to lie instead."""
    left = max(0.1, deadline - time.monotonic())
    extensions = {"timeout": {"connect": min(5.0, left), "read": left, "write": left, "pool": left}}
    headers = [
        (b"Host", urlsplit(url).netloc.encode()),
        (b"User-Agent", _AGENT),
        (b"Accept", _WANTED),
    ]
    with pool.stream("GET", url, headers=headers, extensions=extensions) as answer:
        fields = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        if answer.status in (301, 302, 303, 307, 308) and b"location" in fields:
            return fields[b"location"]
        if answer.status != 200:
            raise invalid(f"the URL answers {answer.status}: give one that anybody can read", "url")
        content = bytearray()
        for chunk in answer.iter_stream():
            content += chunk
            if len(content) > most_bytes:
                raise invalid(f"the file is over {most_bytes:,} bytes: make it smaller", "url")
            if time.monotonic() > deadline:
                raise invalid("the file takes too long to arrive: upload it instead", "url")
        return bytes(content)
