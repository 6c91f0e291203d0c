"""Postgres is stopped, as by a power cut, while clips are made, and comes back: nothing is lost, nothing paid twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from postgres_server import Postgres, postgres, programs
from serving_server import prepare, serving, until

from muybridge.serving.database import Database

CLIPS = "/muybridge/v1/clips"
SLOW = {"model": "tiny", "frames": 9, "width": 48, "height": 32, "steps": 150}


@pytest.fixture
def own() -> Iterator[Postgres]:
    """A cluster that may be stopped."""
    if programs() is None:
        pytest.skip("Postgres is not installed: apt install postgresql")
    with postgres() as running:
        yield running


def test_jobs_outlive_the_database(own: Postgres, tiny_model: Path, tmp_path: Path) -> None:
    prepare(tmp_path, tiny_model)
    with serving(tmp_path, "--database-url", own.new()) as server, server.client as api:
        for i in range(4):
            assert api.post(CLIPS, json=SLOW | {"prompt": f"{i}"}).status_code == 202

        def states() -> list[str]:
            answer = api.get(CLIPS)
            return [clip["state"] for clip in answer.json()["clips"]] if answer.status_code == 200 else []

        until(states, lambda found: "running" in found)
        own.stop()
        for answer in (api.post(CLIPS, json=SLOW), api.get(CLIPS), api.get("/readyz")):
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert api.get("/healthz").status_code == 200
        own.start()
        until(states, lambda found: found == ["succeeded"] * 4)
        used = api.get("/muybridge/v1/usage").json()["used"]
        assert [(line["clips"], line["credits"]) for line in used] == [(4, 24)]


def test_a_database_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"postgresql.*:\*\*\*@.*does not answer \(.*\): start it, or give another"):
        Database("postgresql+psycopg://me:secret@127.0.0.1:1/clips").create()
