"""The `lumaai` library as shipped, with strict validation, against a server in another process."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import lumaai
import numpy as np
import pytest
from serving_server import Live, png, until
from standardwebhooks import Webhook

from muybridge.storage.video import read_mp4


@pytest.fixture(scope="module")
def client(live: Live) -> Iterator[lumaai.LumaAI]:
    url = f"{live.url}/dream-machine/v1"
    with lumaai.LumaAI(base_url=url, auth_token=live.token, _strict_response_validation=True) as client:
        yield client


class Ear:
    """Listens on this machine: hears POSTs (and refuses the first), shows a picture to who asks."""

    def __init__(self) -> None:
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.asked = 0
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                ear.asked += 1
                if ear.asked > 1:
                    ear.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
                self.send_response(500 if ear.asked == 1 else 200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Length", str(len(png())))
                self.end_headers()
                self.wfile.write(png())

            def log_message(self, *words: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def ear() -> Iterator[Ear]:
    listening = Ear()
    yield listening
    listening.server.shutdown()
    listening.server.server_close()


def finished(client: lumaai.LumaAI, generation_id: str | None) -> lumaai.types.Generation:
    assert generation_id
    return until(lambda: client.generations.get(generation_id), lambda found: found.state in ("completed", "failed"))


def test_a_generation(client: lumaai.LumaAI) -> None:
    created = client.generations.create(
        model="ray-2", prompt="a red ball", aspect_ratio="1:1", resolution="90p", concepts=[{"key": "pan_left"}]
    )
    assert created.state in ("queued", "dreaming")
    made = finished(client, created.id)
    assert made.state == "completed", made.failure_reason
    assert made.assets
    assert made.assets.video
    assert httpx.get(made.assets.video).content[4:8] == b"ftyp"
    assert made.request
    assert made.request.model == "ray-2"


def test_a_callback_is_signed_and_tried_again(client: lumaai.LumaAI, live: Live, ear: Ear) -> None:
    key, token = live.new_key()
    mine = client.with_options(auth_token=token)
    created = mine.generations.create(
        model="ray-2", prompt="x", resolution="90p", duration="1s", callback_url=f"{ear.url}/told"
    )
    told = until(lambda: [json.loads(body) for _, body in ear.heard], lambda found: len(found) == 2)
    assert {one["state"] for one in told} == {"dreaming", "completed"}
    assert {one["id"] for one in told} == {created.id}
    for headers, body in ear.heard:
        assert Webhook(key.webhook_secret).verify(body, headers)
    assert ear.asked == 3


def test_a_keyframe(client: lumaai.LumaAI, ear: Ear) -> None:
    frame = {"frame0": {"type": "image", "url": f"{ear.url}/still.png"}}
    created = client.generations.create(model="ray-flash-2", prompt="x", keyframes=frame)  # type: ignore[arg-type]
    assert created.id
    client.generations.delete(created.id)


def test_a_generation_is_carried_on(client: lumaai.LumaAI) -> None:
    small = {"model": "ray-flash-2", "resolution": "90p", "duration": "1s", "aspect_ratio": "1:1"}
    first = finished(client, client.generations.create(prompt="a ball", **small).id)  # type: ignore[arg-type]
    frame = {"frame0": {"type": "generation", "id": first.id}}
    made = finished(client, client.generations.create(prompt="on", keyframes=frame, **small).id)  # type: ignore[arg-type]
    assert made.state == "completed", made.failure_reason
    assert made.assets
    assert made.assets.video
    assert len(read_frames(made.assets.video)) == 2 * 17 - 1


def read_frames(url: str) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "clip.mp4"
        file.write_bytes(httpx.get(url).content)
        return read_mp4(file).frames


def test_list_and_delete(client: lumaai.LumaAI) -> None:
    ids = [
        client.generations.create(model="ray-2", prompt=f"clip {i}", resolution="90p", duration="1s").id
        for i in range(3)
    ]
    page = client.generations.list(limit=2)
    assert [one.id for one in page.generations] == ids[:0:-1]
    assert page.has_more
    client.generations.delete(ids[0] or "")
    with pytest.raises(lumaai.NotFoundError):
        client.generations.get(ids[0] or "")


def test_concepts_credits_ping(client: lumaai.LumaAI) -> None:
    assert "pan_left" in client.generations.concepts.list()
    assert client.credits.get().credit_balance > 0
    assert client.ping.check().message == "pong"


def test_what_cannot_be_made_is_said(client: lumaai.LumaAI) -> None:
    with pytest.raises(lumaai.BadRequestError, match="no model here loops"):
        client.generations.create(model="ray-2", prompt="x", loop=True)
    with pytest.raises(lumaai.BadRequestError, match="pan_left"):
        client.generations.create(model="ray-2", prompt="x", concepts=[{"key": "bolt_cam"}])
    with pytest.raises(lumaai.NotFoundError):
        client.generations.create(model="ray-2", keyframes={"frame0": {"type": "generation", "id": "x"}})
    with pytest.raises(lumaai.BadRequestError, match="what comes before"):
        client.generations.create(model="ray-2", keyframes={"frame1": {"type": "generation", "id": "x"}})
    with pytest.raises(lumaai.BadRequestError, match="no model here does this"):
        client.generations.upscale("x", resolution="4k")
