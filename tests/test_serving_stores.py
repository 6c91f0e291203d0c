"""Results in a bucket: a real S3 server (moto's) beside the real server; and what happens when it is down."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_server import film, png, prepare
from starlette.testclient import TestClient

from muybridge.serving import engine
from muybridge.serving.app import TELL, build_app
from muybridge.serving.footage import keep_footage, kept_footage, local_footage
from muybridge.serving.jobs import State
from muybridge.serving.keys import create_key
from muybridge.serving.orders import Order
from muybridge.serving.results import remove_results, write_results
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.stills import keep_still, local_still
from muybridge.serving.stores import Bucket, Folder, Store, span_of, store_of

CLIPS = "/muybridge/v1/clips"


class Nobody:
    """A listener for clips that nobody waits for."""

    def progress(self, share: float) -> None: ...

    def wants_preview(self) -> bool:
        return False

    def preview(self, frames: Any) -> None: ...


@pytest.fixture(scope="module")
def s3() -> Iterator[dict[str, str]]:
    """How to reach an S3 server with an empty bucket "clips"."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed: pip install 'moto[s3]' flask-cors")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    httpx.put(f"http://{host}:{port}/clips", timeout=60)
    yield {
        "endpoint": f"http://{host}:{port}",
        "region": "us-east-1",
        "access_key_id": "test",
        "secret_access_key": "test",
    }
    running.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return Folder(tmp_path / "store")
    return Bucket(f"s3://clips/{tmp_path.name}", request.getfixturevalue("s3"))


def test_what_is_put_is_read_until_it_is_removed(store: Store, tmp_path: Path) -> None:
    assert store.read("a/b.txt") is None
    (tmp_path / "file").write_bytes(b"content")
    store.put("a/b.txt", tmp_path / "file")
    assert not (tmp_path / "file").exists()
    found = store.read("a/b.txt")
    assert found is not None
    assert found[1] == b"content"
    assert store.read("a/b.txt", since=found[0]) is None
    store.remove("a/b.txt")
    store.remove("a/b.txt")
    assert store.read("a/b.txt") is None
    assert store.answer("a/b.txt", "text/plain", "b.txt") is None


@pytest.fixture
def bucketed(s3: dict[str, str], tiny_model: Path, tmp_path: Path) -> Iterator[Server]:
    prepare(tmp_path, tiny_model)
    settings = ServerSettings(home=tmp_path, store=f"s3://clips/{tmp_path.name}", store_options=s3)
    built = build_server(settings, TELL)
    yield built
    built.database.engine.dispose()


@pytest.fixture
def api(bucketed: Server) -> Iterator[TestClient]:
    with bucketed.database.write() as session:
        _, token = create_key(session, "tests")
    with TestClient(build_app(bucketed), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def finished(api: TestClient, server: Server) -> str:
    """A clip, made as a worker makes it."""
    job_id = str(api.post(CLIPS, json={"model": "testcard", "frames": 5}).json()["id"])
    job = server.jobs.begin(job_id, 5)
    assert job is not None
    order = Order.model_validate(job.order)
    made = engine.testcard(order, Nobody())
    write_results(made, order, store_of(server.settings), server.settings.making, job_id, None, {})
    server.jobs.end(job_id, State.SUCCEEDED)
    return job_id


def test_clips_come_from_the_bucket_whole_and_in_ranges(api: TestClient, bucketed: Server) -> None:
    job_id = finished(api, bucketed)
    assert not list((bucketed.settings.home / "making").iterdir())
    content = f"{CLIPS}/{job_id}/content"
    whole = api.get(content)
    assert whole.status_code == 200
    assert whole.content[4:8] == b"ftyp"
    assert int(whole.headers["content-length"]) == len(whole.content)
    assert api.get(content, params={"variant": "thumbnail"}).content[:2] == b"\xff\xd8"
    part = api.get(content, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    assert part.headers["content-range"] == f"bytes 4-7/{len(whole.content)}"
    assert api.get(content, headers={"Range": "bytes=-10"}).content == whole.content[-10:]
    assert api.get(content, headers={"Range": f"bytes={len(whole.content)}-"}).status_code == 416
    link = api.get(f"{CLIPS}/{job_id}").json()["video"]
    assert httpx.URL(link).host == "testserver"
    assert api.get(httpx.URL(link).path).content == whole.content
    assert api.delete(f"{CLIPS}/{job_id}").status_code == 204
    assert api.get(httpx.URL(link).path).status_code == 404
    remove_results(store_of(bucketed.settings), job_id)


def test_what_was_handed_in_is_found_on_another_machine(bucketed: Server, tmp_path: Path) -> None:
    name = keep_still(png(), bucketed.settings)
    other = bucketed.settings.model_copy(update={"home": tmp_path / "other"})
    assert local_still(name, other).read_bytes() == local_still(name, bucketed.settings).read_bytes()
    video = keep_footage(film(), bucketed.settings)
    assert local_footage(video.name, other).read_bytes() == film()
    assert kept_footage(video.name, other) == video
    with pytest.raises(OSError, match="gone"):
        local_still("0" * 64, other)


def test_a_store_that_is_down_is_a_503_and_nothing_is_accepted(
    api: TestClient, bucketed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = finished(api, bucketed)
    store = store_of(bucketed.settings)
    away = Bucket("s3://clips", {"endpoint": "http://127.0.0.1:1", "access_key_id": "x", "secret_access_key": "x"})
    monkeypatch.setattr(store, "_store", away._store)
    still = {"file": ("a.png", png())}
    for answer in (
        api.get(f"{CLIPS}/{job_id}/content"),
        api.get("/readyz"),
        api.post("/muybridge/v1/images", files=still),
    ):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert "127.0.0.1" not in answer.text
    assert not list((bucketed.settings.home / "stills").glob("*.png"))
    monkeypatch.undo()
    assert api.get(f"{CLIPS}/{job_id}/content").status_code == 200
    assert api.post("/muybridge/v1/images", files=still).status_code == 201


def test_stills_that_cannot_be_written_are_no_fault_of_the_client(tmp_path: Path) -> None:
    (tmp_path / "stills").write_text("no folder")
    with pytest.raises(OSError, match="stills"):
        keep_still(png(), ServerSettings(home=tmp_path))


def test_a_store_that_makes_no_sense_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot use the store 'ftp://x'"):
        store_of(ServerSettings(home=tmp_path, store="ftp://x"))


@given(st.integers(1, 1000), st.one_of(st.none(), st.integers(0, 1200)), st.one_of(st.none(), st.integers(0, 1200)))
def test_ranges(size: int, first: int | None, last: int | None) -> None:
    numbers = np.arange(size)
    span = span_of(f"bytes={'' if first is None else first}-{'' if last is None else last}", size)
    if first is None and last is None:
        assert span == (0, size)
    elif first is None:
        assert span == ((size - min(last, size), size) if last else None)
    elif first >= size and (last is None or last >= first):
        assert span is None
    elif last is not None and last < first:
        assert span == (0, size)
    else:
        assert span is not None
        assert list(numbers[slice(*span)]) == list(numbers[first : size if last is None else last + 1])


@pytest.mark.parametrize("asked", ["", "bytes=0-1,3-4", "pages=1-2", "bytes=a-b", "bytes=-", "bytes"])
def test_what_is_no_single_range_gets_everything(asked: str) -> None:
    assert span_of(asked, 10) == (0, 10)
