"""A check of the operator's looks at prompts, stills and results; what it refuses is noted and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving_server import png, prepare
from sqlalchemy import select
from starlette.testclient import TestClient

from muybridge.serving.app import TELL, build_app
from muybridge.serving.database import Audit, Key, State
from muybridge.serving.keys import create_key
from muybridge.serving.moderation import Subject, load_check, moderator_of
from muybridge.serving.server import Server, build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.worker import Worker

CLIPS = "/muybridge/v1/clips"
CHECK = '''
def check(subject):
    """No clips of the test card, no stills that are noisy, nothing of Bob."""
    if "Bob" in subject.prompt:
        return "a person"
    if subject.stage == "result":
        assert subject.pictures.shape[0] == 5
        return "bars" if subject.prompt == "bars" else None
    if subject.pictures is not None:
        assert subject.pictures.shape[-1] == 3
        return "noise" if subject.pictures.std() > 50 else None
    return None

broken = 5
'''


@pytest.fixture
def server(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    (tmp_path / "my_checks.py").write_text(CHECK)
    monkeypatch.syspath_prepend(tmp_path)
    prepare(tmp_path, tiny_model)
    settings = ServerSettings(home=tmp_path, check="my_checks:check", blocked_words=("forbidden",), sign=False)
    built = build_server(settings, TELL)
    yield built
    built.database.engine.dispose()


@pytest.fixture
def api(server: Server) -> Iterator[TestClient]:
    with server.database.write() as session:
        _, token = create_key(session, "tests", credits=100)
    with TestClient(build_app(server), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def noted(server: Server) -> list[tuple[str, str]]:
    with server.database.read() as session:
        lines = session.execute(select(Audit.what, Audit.detail).where(Audit.what != "key created"))
        return [(what, detail) for what, detail in lines]


def credits(server: Server) -> int | None:
    with server.database.read() as session:
        return session.scalars(select(Key)).one().credits


def test_requests_are_looked_at(api: TestClient, server: Server) -> None:
    noisy = api.post("/muybridge/v1/images", files={"file": ("a.png", png())}).json()["id"]
    for wish in ({"prompt": "Bob"}, {"prompt": "a Forbidden thing"}, {"prompt": "x", "image": noisy}):
        answer = api.post(CLIPS, json={"model": "testcard"} | wish)
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "moderated")
    assert noted(server) == [
        ("prompt refused", "a person: Bob"),
        ("prompt refused", "forbidden: a Forbidden thing"),
        ("image refused", "noise: x"),
    ]
    assert (credits(server), api.get(CLIPS).json()["count"]) == (100, 0)


def test_a_clip_that_turned_out_wrong_is_withheld_and_free(api: TestClient, server: Server) -> None:
    worker = Worker(server.database, server.jobs, server.settings)
    for prompt, state, left in (("bars", State.MODERATED, 100), ("others", State.SUCCEEDED, 98)):
        wish = {"model": "testcard", "prompt": prompt, "frames": 5, "fps": 5}
        job_id = api.post(CLIPS, json=wish).json()["id"]
        worker.make(job_id)
        assert api.get(f"{CLIPS}/{job_id}").json()["state"] == state
        assert credits(server) == left
        wanted = 404 if state == State.MODERATED else 200
        assert api.get(f"{CLIPS}/{job_id}/content").status_code == wanted
    assert noted(server) == [("clip withheld", "bars: bars")]


def test_pictures_are_not_decoded_for_nobody() -> None:
    assert not moderator_of(("word",), "").looks_at_pictures
    subject = Subject("request", "key", "model", "a Word!", pictures=np.zeros((1, 2, 2, 3), np.uint8))
    finding = moderator_of(("word",), "").find(subject)
    assert finding is not None
    assert finding.about == "prompt"


@pytest.mark.parametrize("name", ["nowhere:check", "my_checks:absent", "my_checks:broken", "my_checks"])
def test_a_check_that_is_not_there_is_one_sentence(server: Server, name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        load_check(name)
