"""What somebody with bad intentions sends, over the wire and to the application: each gets its 4xx."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from serving_server import Live, png, prepare
from starlette.testclient import TestClient

from muybridge.serving.app import TELL, build_app
from muybridge.serving.errors import Refusal
from muybridge.serving.fetching import is_public
from muybridge.serving.keys import create_key
from muybridge.serving.orders import Wish, order_of
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings

CLIPS = "/muybridge/v1/clips"
HUGE = 10**400 + 1
"""1 + 4k, a number for JSON and Python, and none for a float."""


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    home = tmp_path_factory.mktemp("attacks")
    prepare(home, tiny_model)
    return build_server(ServerSettings(home=home, requests_per_minute=0, blocked_words=("forbidden",)), TELL)


@pytest.fixture(scope="module")
def clients(server: Server) -> Iterator[tuple[TestClient, TestClient]]:
    """Two keys."""
    app = build_app(server)
    with server.database.write() as session:
        tokens = [create_key(session, name)[1] for name in ("one", "other")]
    one, other = (TestClient(app, headers={"Authorization": f"Bearer {token}"}) for token in tokens)
    with one, other:
        yield one, other


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CLIPS, {"model": "testcard", "frames": HUGE}),
        (CLIPS, {"model": "testcard", "frames": -HUGE}),
        (CLIPS, {"model": "testcard", "steps": HUGE}),
        (CLIPS, {"model": "testcard", "width": HUGE, "height": HUGE}),
        (CLIPS, {"model": "testcard", "seed": HUGE}),
        ("/v1/videos", {"prompt": "x", "num_frames": HUGE}),
        ("/v1/videos", {"prompt": "x", "seconds": "9" * 400}),
        ("/v1/videos", {"prompt": "x", "seconds": "٤"}),
        ("/v1/text_to_video", {"model": "gen4.5", "promptText": "x", "duration": HUGE}),
        ("/v1/text_to_video", {"model": "gen4.5", "promptText": "x", "duration": -HUGE}),
        ("/v1/organization/usage", {"beforeDate": "0001-01-01"}),
        ("/v1/organization/usage", {"startDate": "0001-01-01", "beforeDate": "9999-12-31"}),
        ("/dream-machine/v1/generations", {"model": "ray-2", "prompt": "x", "duration": "9" * 9 + "s"}),
    ],
)
def test_numbers_that_no_float_or_calendar_holds(
    clients: tuple[TestClient, TestClient], path: str, body: dict[str, Any]
) -> None:
    assert clients[0].post(path, json=body).status_code == 400


def test_a_body_of_many_brackets(clients: tuple[TestClient, TestClient]) -> None:
    for path in (CLIPS, "/v1/videos", "/v1/text_to_video", "/dream-machine/v1/generations"):
        for body in ("[" * 100_000, '{"prompt":' * 100_000, "9" * 100_000):
            answer = clients[0].post(path, content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 400, (path, body[:10])


def test_half_a_letter_in_a_remix_with_a_blocked_word(clients: tuple[TestClient, TestClient]) -> None:
    made = clients[0].post("/v1/videos", json={"prompt": "x"}).json()["id"]
    headers = {"Content-Type": "application/json"}
    for text in ('"\\ud800 forbidden"', '"\\u0000"', '""', "[]", "null"):
        answer = clients[0].post(f"/v1/videos/{made}/remix", content=f'{{"prompt": {text}}}', headers=headers)
        assert answer.status_code == 400, text


def test_another_keys_jobs_and_pictures_are_unknown(clients: tuple[TestClient, TestClient]) -> None:
    one, other = clients
    job = one.post(CLIPS, json={"model": "testcard", "frames": 1}).json()["id"]
    for name, paths in {
        job: [CLIPS, "/v1/tasks", "/v1/videos", "/dream-machine/v1/generations"],
        f"video_{job}": ["/v1/videos"],
        job.upper(): [CLIPS],
        f"{job}%00": [CLIPS],
        f"{job}' OR '1'='1": [CLIPS],
    }.items():
        for path in paths:
            for ask in (other.get, other.delete):
                assert ask(f"{path}/{name}").status_code == 404, (path, name)
    assert other.get(f"{CLIPS}/{job}/events").status_code == 404
    assert other.post(f"{CLIPS}/{job}/cancel").status_code == 404
    assert other.post(f"/v1/videos/video_{job}/remix", json={"prompt": "x"}).status_code == 404
    assert other.get("/v1/videos", params={"after": f"video_{job}"}).status_code == 404
    assert other.get(CLIPS).json()["count"] == 0
    assert one.get(f"{CLIPS}/{job}").json()["state"] == "queued"
    image = one.post("/muybridge/v1/images", files={"file": ("a.png", png())}).json()["id"]
    assert other.post(CLIPS, json={"image": image}).status_code == 404
    upload = one.post("/v1/uploads", json={"filename": "a.png"}).json()
    assert one.post(upload["uploadUrl"], data=upload["fields"], files={"file": ("a.png", png())}).status_code == 204
    wish = {"model": "gen4_turbo", "promptImage": upload["runwayUri"], "ratio": "160:90"}
    assert other.post("/v1/image_to_video", json=wish).status_code == 404


def test_a_form_of_another_upload_is_forged(clients: tuple[TestClient, TestClient]) -> None:
    first, second = (clients[0].post("/v1/uploads", json={"filename": "a.png"}).json() for _ in range(2))
    file = {"file": ("../../a.png", png())}
    for fields in (first["fields"], second["fields"] | {"token": first["fields"]["token"]}, {"key": "x", "token": "x"}):
        assert clients[1].post(second["uploadUrl"], data=fields, files=file).status_code == 403
    assert clients[1].post(second["uploadUrl"], files=file).status_code == 400


def test_webhooks_go_over_https(clients: tuple[TestClient, TestClient]) -> None:
    for url in ("http://example.com/told", "file:///etc/passwd", "https://exa mple.com", "gopher://x"):
        body = {"model": "testcard", "frames": 1, "webhook_url": url}
        assert clients[0].post(CLIPS, json=body).status_code == 400, url


def test_a_batch_looks_at_each_picture_once(
    clients: tuple[TestClient, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    from muybridge.serving import wishes

    looked, look = [], wishes.still_from
    monkeypatch.setattr(wishes, "still_from", lambda *words: looked.append(words) or look(*words))
    uri = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    grid = {"images": [uri, uri], "seeds": list(range(50))}
    answer = clients[0].post("/muybridge/v1/batches", json={"model": "tiny", "frames": 1, "grid": grid})
    assert answer.status_code == 202
    assert len(answer.json()["clips"]) == 100
    assert len(looked) == 1


def test_no_clip_is_free_because_it_is_short(server: Server) -> None:
    order, price = order_of(Wish("x", "tiny", seconds=1e-9), server.catalogue)
    assert (order.frames, price) == (1, 1)
    with pytest.raises(Refusal):
        order_of(Wish("x", "tiny", seconds=-1), server.catalogue)


@pytest.mark.parametrize(
    "address", ["::7f00:1", "::ffff:0:7f00:1", "64:ff9b:1::7f00:1", "100::1", "4000::1", "5f00::1"]
)
def test_addresses_that_only_a_translator_understands_are_private(address: str) -> None:
    assert not is_public(address)


def spoken(live: Live, request: bytes) -> bytes:
    """What the server answers to these bytes until it closes, or says no more for a second."""
    where = urlsplit(live.url)
    answer = b""
    with socket.create_connection((where.hostname or "", where.port or 0), timeout=10) as connection:
        connection.sendall(request)
        connection.settimeout(3)
        try:
            while part := connection.recv(65536):
                answer += part
        except (TimeoutError, ConnectionResetError):
            pass
    return answer


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 5\r\nContent-Length: 60", b"{}   "),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"0\r\n\r\nGET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"),
        (b"Transfer-Encoding: chunked", b"zz\r\n{}\r\n0\r\n\r\n"),
        (b"Transfer-Encoding: chunked, identity", b"0\r\n\r\n"),
        (b"Content-Length: -1", b"{}"),
        (b"Content-Length: 4_0", b"{}"),
        (b"X: a\0b\r\nContent-Length: 2", b"{}"),
        (b"Bad Name: x\r\nContent-Length: 2", b"{}"),
        (b"Content-Length: 4000000000", b"x" * 1000),
    ],
    ids=["lengths", "length and chunks", "no chunk", "codings", "negative", "underscore", "NUL", "name", "4 GB"],
)
def test_requests_that_may_be_read_in_two_ways(live: Live, head: bytes, body: bytes) -> None:
    begin = b"POST /muybridge/v1/clips HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    key = f"Authorization: Bearer {live.token}\r\n".encode()
    answer = spoken(live, begin + key + head + b"\r\n\r\n" + body)
    statuses = [line.split()[1] for line in answer.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]
    assert len(statuses) <= 1, answer
    assert not statuses or statuses[0] in (b"400", b"413"), answer
    assert b"Traceback" not in answer


@pytest.mark.parametrize("host", [b"[::1", b"a b", b'x"><script>', b"evil.example\\@here", b""])
def test_a_host_that_is_none(live: Live, host: bytes) -> None:
    body = b'{"model": "testcard", "frames": 1}'
    lines = [
        b"POST /muybridge/v1/clips HTTP/1.1",
        b"Host: " + host,
        f"Authorization: Bearer {live.token}".encode(),
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
    ]
    answer = spoken(live, b"\r\n".join(lines) + b"\r\n\r\n" + body)
    assert answer.split()[1] in (b"202", b"400"), answer
