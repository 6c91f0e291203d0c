"""Processes die, jobs do not: SIGKILL while clips are made, and again, and every clip is made and paid for once."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
from serving_server import prepare, process, serving, until
from sqlalchemy import text

from muybridge.commands.serve import _alone
from muybridge.serving.app import TELL
from muybridge.serving.database import now
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
