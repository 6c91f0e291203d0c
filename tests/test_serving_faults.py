"""Processes die, jobs do not: SIGKILL while clips are made, and again, and every clip is made and paid for once.

And what a server says while its database is locked or its disk full, and how soon a cancelled clip lets go.
"""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx
import pytest
from serving_server import prepare, process, serving, until
from sqlalchemy import event, func, select, text
from starlette.testclient import TestClient

from muybridge.commands.serve import _alone
from muybridge.serving.app import TELL, build_app
from muybridge.serving.database import Entry, Job, Key, now
from muybridge.serving.keys import create_key
from muybridge.serving.orders import Wish, order_of
from muybridge.serving.retries import Request
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.worker import Worker

CLIPS = "/muybridge/v1/clips"
FINAL = ("succeeded", "failed", "cancelled")


def states(api: httpx.Client) -> list[str]:
    return [clip["state"] for clip in api.get(CLIPS, params={"limit": 200}).json()["clips"]]


SLOW = {"model": "tiny", "frames": 9, "width": 48, "height": 32, "steps": 150}


def order_four(api: httpx.Client) -> None:
    for i in range(4):
        assert api.post(CLIPS, json=SLOW | {"prompt": f"{i}"}).status_code == 202
    until(lambda: states(api), lambda found: "running" in found)


def assert_all_is_made_and_paid(api: httpx.Client) -> None:
    until(lambda: states(api), lambda found: all(state in FINAL for state in found))
    assert states(api) == ["succeeded"] * 4
    used = api.get("/muybridge/v1/usage").json()["used"]
    assert [(line["clips"], line["credits"]) for line in used] == [(4, 24)]


def test_a_killed_server_loses_nothing(tiny_model: Path, tmp_path: Path) -> None:
    prepare(tmp_path, tiny_model)
    with serving(tmp_path) as server, server.client as api:
        order_four(api)
        server.process.send_signal(signal.SIGKILL)
    with serving(tmp_path, token=server.token) as again, again.client as api:
        assert_all_is_made_and_paid(api)


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(tiny_model: Path, tmp_path: Path) -> None:
    prepare(tmp_path, tiny_model)
    with serving(tmp_path, "--no-worker") as server, server.client as api:
        with process("work", tmp_path) as (worker, _):
            order_four(api)
            worker.send_signal(signal.SIGKILL)
        with process("work", tmp_path):
            assert_all_is_made_and_paid(api)


def test_a_signing_key_that_is_not_there_is_not_made(server: Server, tmp_path: Path) -> None:
    absent = tmp_path / "mistyped.pem"
    with pytest.raises(ValueError, match="name another file"):
        Worker(server.database, server.jobs, ServerSettings(home=tmp_path, signing_key=absent))
    assert not absent.exists()


def test_a_job_whose_claim_was_not_heard_is_made_all_the_same(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue takes it for running in this worker, which knows nothing of it."""
    monkeypatch.setattr("muybridge.serving.worker.ALIVE_EVERY", 0.2)
    monkeypatch.setattr("muybridge.serving.worker.LOST_AFTER", 1.0)
    prepare(tmp_path, tiny_model)
    server = build_server(ServerSettings(home=tmp_path, sign=False, poll_seconds=2), TELL)
    with server.database.write() as session:
        key, _ = create_key(session, "tests")
    order, price = order_of(Wish(model="testcard", frames=5), server.catalogue)
    worker = Worker(server.database, server.jobs, server.settings)
    worker.start()
    try:
        (job,) = server.jobs.accept(key, [(order, price)], Request("native", "f", "http://here", now()))
        claimed = text("UPDATE workflow_status SET status='PENDING', executor_id='local' WHERE workflow_uuid=:id")
        with server.database.write() as session:
            session.execute(claimed, {"id": job.id})
        until(lambda: server.jobs.find(key, job.id).state, lambda state: state == "succeeded")
    finally:
        worker.stop()
        server.database.engine.dispose()


def test_two_workers_of_one_name_do_not_run_at_once(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path)
    with _alone(settings), pytest.raises(ValueError, match="--worker-name"), _alone(settings):
        pass


@pytest.fixture
def api(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("muybridge.serving.database.PATIENCE_MS", 200)
    server.database.engine.dispose()  # connections that are new are less patient
    with server.database.write() as session:
        _, token = create_key(session, "tests", credits=100)
    headers = {"Authorization": f"Bearer {token}"}
    with TestClient(build_app(server), headers=headers, raise_server_exceptions=False) as client:
        yield client


BARS = {"model": "testcard", "frames": 5, "fps": 5, "prompt": "x"}  # 2 credits


def assert_refused_for_now_and_nothing_done(api: TestClient, server: Server, jobs: int) -> None:
    answer = api.post(CLIPS, json=BARS)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5"), answer.text
    assert "sqlite" not in answer.text.lower()
    with server.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Job)) == jobs
        assert session.scalar(select(func.count()).where(Entry.kind == "reserve")) == jobs
        assert session.scalars(select(Key)).one().credits == 100 - 2 * jobs


@contextmanager
def locked(server: Server) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    other = sqlite3.connect(server.settings.home / "server.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.close()


@contextmanager
def full(server: Server) -> Iterator[None]:
    """SQLite finds no room for another page, as on a disk that is full."""

    def bounded(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA max_page_count=1")  # which means: no more than there are

    server.database.engine.dispose()
    event.listen(server.database.engine, "connect", bounded)
    yield
    event.remove(server.database.engine, "connect", bounded)
    server.database.engine.dispose()


@pytest.mark.parametrize("database_url", [""])
@pytest.mark.parametrize("broken", [locked, full])
def test_a_database_that_takes_nothing_is_a_503(
    broken: Callable[[Server], AbstractContextManager[None]], server: Server, api: TestClient
) -> None:
    assert api.post(CLIPS, json=BARS).status_code == 202
    jobs = 1
    with broken(server):
        while broken is full and api.post(CLIPS, json=BARS).status_code == 202:
            jobs += 1  # what fits into pages that are there
        assert_refused_for_now_and_nothing_done(api, server, jobs)
    assert api.post(CLIPS, json=BARS).status_code == 202


@pytest.mark.parametrize("database_url", [""])
def test_a_cancelled_clip_lets_go_within_one_step(server: Server, api: TestClient) -> None:
    """No step begins after the answer to a cancellation: the one that runs is the last."""
    worker = Worker(server.database, server.jobs, server.settings)
    engine = worker._engines.get()
    worker._engines.put(engine)
    calls: list[float] = []
    engine._model(server.catalogue.offers["tiny"].checkpoint).transformer.register_forward_hook(
        lambda *words: calls.append(now())
    )
    job_id = api.post(CLIPS, json={"model": "tiny", "frames": 9, "steps": 1000, "guidance": 1}).json()["id"]
    thread = threading.Thread(target=worker.make, args=(job_id,))
    thread.start()
    until(lambda: len(calls), lambda count: count > 3)
    assert api.post(f"{CLIPS}/{job_id}/cancel").json()["state"] == "cancelled"
    until_then = len(calls)
    thread.join()
    assert len(calls) - until_then <= 1
    assert worker._engines.qsize() == 1
