"""Processes die, jobs do not: SIGKILL while clips are made, and again, and every clip is made and paid for once."""

from __future__ import annotations

import signal
from pathlib import Path

import httpx
import pytest
from serving_server import prepare, process, serving, until

from muybridge.commands.serve import _alone
from muybridge.serving.server import Server
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


def test_two_workers_of_one_name_do_not_run_at_once(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path)
    with _alone(settings), pytest.raises(ValueError, match="--worker-name"), _alone(settings):
        pass
