"""What comes in through the doors: addresses, images, bodies, forms of requests; without a network and a worker."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpcore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving_server import png, prepare
from sqlalchemy import select
from starlette.testclient import TestClient

from muybridge.serving.app import TELL, build_app
from muybridge.serving.database import Audit
from muybridge.serving.errors import Refusal
from muybridge.serving.fetching import decode_data, fetch, is_public, public_address
from muybridge.serving.keys import create_key
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.stills import keep_still, local_still

CLIPS = "/muybridge/v1/clips"
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "::",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "ff02::1",
]


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Server:
    home = tmp_path_factory.mktemp("doors")
    prepare(home, tiny_model)
    limits = {"max_body_bytes": 300_000, "max_image_bytes": 100_000, "blocked_words": ("forbidden",)}
    return build_server(ServerSettings(home=home, requests_per_minute=0, **limits), TELL)


@pytest.fixture(scope="module")
def api(server: Server) -> Iterator[TestClient]:
    with server.database.write() as session:
        _, token = create_key(session, "tests", ("generate", "read"), credits=1_000_000)
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(build_app(server), headers=headers, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0x7f000001", "2130706433", "127.1", "[::1]", "0"])
def test_no_notation_of_this_machine_gets_through(host: str) -> None:
    with pytest.raises(Refusal, match="cannot fetch") as caught:
        fetch(f"https://{host}/still.png", 1000, 5)
    assert caught.value.status == 400


def test_an_address_is_used_as_it_was_checked() -> None:
    assert public_address("127.0.0.1", 80, private=True) == "127.0.0.1"
    with pytest.raises(httpcore.ConnectError, match="public"):
        public_address("localhost", 80)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/a.png",
        "file:///etc/passwd",
        "ftp://example.com/a",
        "gopher://x",
        "https://user:pass@example.com/",
        "https://",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://exa mple.com/",
        "https://example.com/\r\nHost: inner",
        "https://[::1",
        "https://" + "a" * 6000,
    ],
)
def test_only_plain_https_is_fetched(url: str) -> None:
    with pytest.raises(Refusal) as caught:
        fetch(url, 1000, 5)
    assert caught.value.status == 400


@pytest.fixture
def site() -> Iterator[str]:
    """A site that leads on for ever, or says too much."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/long":
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"x" * 5000)
            else:
                self.send_response(302)
                self.send_header("Location", {"/inside": "file:///etc/passwd", "/to": "/long"}.get(self.path, "/again"))
                self.send_header("Content-Length", "0")
                self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    listening = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def test_redirects_end_and_stay_https(site: str) -> None:
    assert len(fetch(f"{site}/to", 5000, 5, private=True)) == 5000
    for path, said in (("/round", "on and on"), ("/inside", "begins with 'file'"), ("/long", "over 4,999 bytes")):
        with pytest.raises(Refusal, match=said):
            fetch(site + path, 4999, 5, private=True)


@given(st.text(max_size=60))
def test_data_uris_are_decoded_or_refused(text: str) -> None:
    with contextlib.suppress(Refusal):  # anything else is a fault
        assert len(decode_data(f"data:{text}", 40)) <= 40


def test_data_uris_round_trip() -> None:
    content = bytes(range(256))
    assert decode_data(f"data:image/png;base64,{base64.b64encode(content).decode()}", 256) == content
    with pytest.raises(Refusal, match="over 255 bytes"):
        decode_data(f"data:image/png;base64,{base64.b64encode(content).decode()}", 255)


def bomb() -> bytes:
    """A PNG whose header promises 30000 x 30000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 90_000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("content", [b"", b"no picture", png()[:60], bomb(), b"<svg/>", b"%PDF-1.4", b"x" * 200_000])
def test_what_is_no_fair_image_is_refused(server: Server, content: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        keep_still(content, server.settings)
    assert caught.value.status == 400
    assert "/tmp" not in caught.value.message


def test_a_still_is_kept_clean_and_once(server: Server) -> None:
    name = keep_still(png(), server.settings)
    kept = local_still(name, server.settings).read_bytes()
    assert keep_still(png(), server.settings) == name
    assert kept.startswith(b"\x89PNG")
    assert b"tEXt" not in kept


def test_bodies_over_the_limit(api: TestClient) -> None:
    big = b"x" * 300_001
    assert api.post(CLIPS, content=big).status_code == 413
    assert api.post(CLIPS, content=iter([big[:200_000], big[:200_000]])).status_code == 413
    assert api.post("/v1/videos", content=big).json()["error"]["code"] == "too_large"
    form = {"file": ("a.png", b"x" * 350_000)}
    assert api.post("/muybridge/v1/images", files=form).status_code == 413


@pytest.mark.parametrize(
    "name", ["..%2f..%2fetc%2fpasswd", "clip.mp4%00.png", "....//", "%2e%2e/%2e%2e/server.sqlite", "clip.sqlite"]
)
def test_paths_lead_nowhere_else(api: TestClient, name: str) -> None:
    for path in (f"/files/a/b/{name}", f"{CLIPS}/{name}/content", f"/v1/videos/{name}/content", f"/v1/tasks/{name}"):
        assert api.get(path).status_code == 404


def test_the_pages_for_people_need_no_network(api: TestClient) -> None:
    for page in ("/docs", "/redoc"):
        text = api.get(page).text
        named = re.findall(r"""(?:src|href)=["']([^"']+)|url: '([^']+)""", text)
        assert len(named) >= 2, text
        for one in named:
            (address,) = filter(None, one)
            assert address.startswith("/"), text
            assert api.get(address).status_code == 200, address


def test_each_dialect_has_its_own_no(api: TestClient) -> None:
    assert api.get("/v1/videos/x").json()["error"]["code"] == "not_found"
    assert set(api.get("/v1/tasks/x").json()) == {"error"}
    assert set(api.get("/dream-machine/v1/generations/x").json()) == {"detail"}
    assert api.get(f"{CLIPS}/x").json()["error"]["code"] == "not_found"
    for path in ("/v1/nowhere", "/v1/videos/x/nowhere", "/dream-machine/v1/nowhere", "/nowhere"):
        assert api.get(path).status_code == 404
    assert api.put("/v1/videos").status_code == 405


def test_blocked_words_are_refused_noted_and_free(api: TestClient, server: Server) -> None:
    before = api.get("/muybridge/v1/usage").json()["credits"]
    answer = api.post(CLIPS, json={"prompt": "something Forbidden"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "moderated")
    assert api.get("/muybridge/v1/usage").json()["credits"] == before
    with server.database.read() as session:
        noted = session.scalars(select(Audit.detail).where(Audit.what == "prompt refused"))
        assert list(noted) == ["forbidden: something Forbidden"]


def test_a_fault_shows_nothing_of_the_inside(api: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*words: object, **more: object) -> None:
        raise RuntimeError("secret of the inside")

    monkeypatch.setattr(server.jobs, "accept", broken)
    for path in (CLIPS, "/v1/videos", "/v1/text_to_video", "/dream-machine/v1/generations"):
        wish = {"promptText" if "text_to" in path else "prompt": "x", "model": "testcard"}
        answer = api.post(path, json=wish)
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert "Traceback" not in answer.text


def test_a_full_disk_is_a_503(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: object) -> None:
        raise OSError(28, "No space left on device", "/secret/path")

    monkeypatch.setattr("muybridge.serving.native.keep_still", full)
    answer = api.post("/muybridge/v1/images", files={"file": ("a.png", png())})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert "secret" not in answer.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = {
    CLIPS: (
        "prompt",
        "model",
        "seconds",
        "frames",
        "fps",
        "width",
        "height",
        "size",
        "seed",
        "image",
        "steps",
        "solver",
        "last_image",
        "extend",
        "video",
        "strength",
        "mask",
        "control",
        "camera",
        "moves",
    ),
    "/muybridge/v1/batches": ("prompt", "clips", "grid", "priority", "webhook_url"),
    "/v1/videos": ("prompt", "model", "seconds", "size", "input_reference", "seed", "num_frames", "fps"),
    "/v1/videos/edits": ("prompt", "model", "video", "strength"),
    "/v1/videos/extensions": ("prompt", "model", "video", "seconds"),
    "/v1/video_to_video": ("promptText", "model", "videoUri", "promptVideo", "mode", "duration", "ratio"),
    "/dream-machine/v1/generations/video/modify": ("prompt", "model", "media", "mode", "first_frame"),
    "/v1/text_to_video": ("promptText", "model", "ratio", "duration", "seed", "negativePrompt"),
    "/v1/image_to_video": ("promptText", "promptImage", "model", "ratio", "duration"),
    "/v1/uploads": ("filename", "type"),
    "/v1/organization/usage": ("startDate", "beforeDate"),
    "/dream-machine/v1/generations": ("prompt", "model", "aspect_ratio", "duration", "keyframes", "concepts", "loop"),
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_sent_is_answered(api: TestClient, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(FIELDS)))
    fair: dict[str, Any] = {"prompt": "x", "promptText": "x", "model": "testcard", "frames": 1}
    drawn = data.draw(st.dictionaries(st.sampled_from(FIELDS[path]), JSON, max_size=4))
    whole = data.draw(st.just({**fair, **drawn}) | st.just(drawn) | JSON)
    body = (
        json.dumps(whole).encode("utf-8", "surrogatepass")
        if data.draw(st.booleans())
        else data.draw(st.binary(max_size=40))
    )
    answer = api.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code < 500, (path, body, answer.text)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.text(max_size=30), after=st.text(max_size=30), number=st.integers())
def test_whatever_is_looked_for_is_answered(api: TestClient, words: str, after: str, number: int) -> None:
    asked = {"words": words, "after": after, "limit": number, "offset": number, "variant": words, "state": words}
    for path in (CLIPS, "/v1/videos", "/dream-machine/v1/generations", "/muybridge/v1/usage"):
        assert api.get(path, params=asked).status_code < 500
