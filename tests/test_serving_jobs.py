"""Jobs, credits, repetitions: what has to be true whatever dies and whoever asks twice, on SQLite and Postgres.

No worker runs here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from serving_server import prepare
from sqlalchemy import func, select, update
from sqlalchemy.exc import OperationalError
from starlette.testclient import TestClient

from muybridge.serving.app import build_app
from muybridge.serving.catalogue import Catalogue, read_catalogue
from muybridge.serving.credits import price_of
from muybridge.serving.database import Entry, Job, Key, Meta, State, now
from muybridge.serving.errors import Refusal
from muybridge.serving.keys import create_key, find_key, revoke_key
from muybridge.serving.orders import Order, Wish, order_of
from muybridge.serving.retries import Excuses, Request
from muybridge.serving.server import Server

CLIPS = "/muybridge/v1/clips"
WISH = {"model": "testcard", "seconds": 1, "prompt": "x"}


def key_of(server: Server, credits: int | None = 100) -> tuple[Key, str]:
    with server.database.write() as session:
        return create_key(session, "tests", credits=credits)


def accept(server: Server, key: Key, price: int = 10, fingerprint: str = "f", **more: Any) -> Job:
    order, _ = order_of(Wish(prompt="x", model="testcard", seconds=1), server.catalogue)
    request = Request("native", fingerprint, "http://here", now(), **more)
    (job,) = server.jobs.accept(key, [(order, price)], request)
    return job


def left(server: Server, key: Key) -> int | None:
    with server.database.read() as session:
        return session.get_one(Key, key.id).credits


def kinds(server: Server, job: Job) -> list[str]:
    with server.database.read() as session:
        return list(session.scalars(select(Entry.kind).where(Entry.job_id == job.id).order_by(Entry.id)))


def test_success_is_charged_once_however_often_it_is_told(server: Server) -> None:
    key, _ = key_of(server)
    job = accept(server, key)
    assert left(server, key) == 90
    assert server.jobs.begin(job.id, 5)
    told: list[bool] = []
    threads = [threading.Thread(target=lambda: told.append(server.jobs.end(job.id, State.SUCCEEDED))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 5 + [True]
    assert (kinds(server, job), left(server, key)) == (["reserve", "charge"], 90)


@pytest.mark.parametrize("end", [State.FAILED, State.CANCELLED, State.MODERATED])
def test_what_does_not_succeed_is_given_back_once(server: Server, end: State) -> None:
    key, _ = key_of(server)
    job = accept(server, key)
    assert server.jobs.end(job.id, end)
    assert not server.jobs.end(job.id, State.SUCCEEDED)
    assert (kinds(server, job), left(server, key)) == (["reserve", "release"], 100)


def test_nobody_spends_more_than_there_is(server: Server) -> None:
    key, _ = key_of(server, credits=25)
    outcomes: list[str] = []

    def one(i: int) -> None:
        try:
            accept(server, key, fingerprint=f"{i}")
            outcomes.append("accepted")
        except Refusal as refusal:
            outcomes.append(refusal.code)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["accepted"] * 2 + ["no_credits"] * 4
    assert left(server, key) == 5


def test_a_job_that_cannot_be_queued_was_never_accepted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    key, _ = key_of(server)

    def locked(*words: object) -> None:
        raise OperationalError("INSERT", {}, Exception("database is locked"))

    monkeypatch.setattr(server.jobs.client, "enqueue_in_transaction", locked)
    with pytest.raises(OperationalError):
        accept(server, key)
    assert (left(server, key), server.jobs.list(key)[1]) == (100, 0)
    with server.database.read() as session:
        assert session.scalar(select(func.count()).select_from(Entry).where(Entry.kind == "reserve")) == 0


def test_a_batch_is_accepted_whole_or_not_at_all(server: Server) -> None:
    key, _ = key_of(server, credits=25)
    order, _ = order_of(Wish(prompt="x", model="testcard"), server.catalogue)
    with pytest.raises(Refusal, match="credits"):
        server.jobs.accept(key, [(order, 10)] * 3, Request("native", "f", "", now(), batch=True))
    assert (left(server, key), server.jobs.list(key)[1]) == (25, 0)


def test_a_job_that_kills_its_worker_is_given_up(server: Server) -> None:
    key, _ = key_of(server)
    job = accept(server, key)
    for _ in range(3):
        assert server.jobs.begin(job.id, most_attempts=3)
    assert server.jobs.begin(job.id, most_attempts=3) is None
    found = server.jobs.find(key, job.id)
    assert (found.state, found.error_code, left(server, key)) == (State.FAILED, "worker_lost", 100)


def test_a_job_that_is_handed_back_is_begun_again(server: Server) -> None:
    key, _ = key_of(server)
    job = accept(server, key)
    server.jobs.begin(job.id, 1)
    server.jobs.hand_back(job.id)
    assert server.jobs.find(key, job.id).state == State.QUEUED
    assert server.jobs.begin(job.id, 1)
    assert server.jobs.advance(job.id, 0.5)
    server.jobs.cancel(key, job.id)
    assert not server.jobs.advance(job.id, 0.6)
    assert server.jobs.begin(job.id, 1) is None


def test_too_many_waiting(server: Server) -> None:
    key, _ = key_of(server, credits=None)
    for i in range(20):
        accept(server, key, fingerprint=f"{i}")
    with pytest.raises(Refusal) as caught:
        accept(server, key)
    assert (caught.value.status, caught.value.retry_after) == (429, 30)


@pytest.fixture
def api(server: Server) -> Iterator[TestClient]:
    _, token = key_of(server, credits=None)
    with TestClient(build_app(server), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def post(api: TestClient, attempt: int = 0, wish: dict[str, Any] | None = None, **headers: str) -> str:
    headers = {"x-stainless-retry-count": str(attempt)} | {name.replace("_", "-"): one for name, one in headers.items()}
    return str(api.post(CLIPS, json=wish or WISH, headers=headers).json()["id"])


def test_equal_wishes_are_two_clips_unless_one_repeats_the_other(api: TestClient) -> None:
    first = post(api)
    assert post(api) != first
    assert post(api, wish=WISH | {"prompt": "another"}, attempt=1) != first


def test_a_retry_after_a_lost_answer_gets_the_clip_that_is_there(api: TestClient) -> None:
    first = post(api)
    assert post(api, attempt=1) == first
    assert post(api, attempt=2) == first
    api.get(f"{CLIPS}/{first}")  # now the client knows its clip
    assert post(api, attempt=1) != first


def test_a_retry_that_we_asked_for_is_a_new_wish(api: TestClient, server: Server) -> None:
    first = post(api)
    (key_id,) = {job.key_id for job in [server_job(server, first)]}
    server.excuses.note(key_id, 0)
    second = post(api, attempt=1)
    assert second != first
    assert post(api, attempt=1) == second


def test_a_dropped_connection_is_enough(api: TestClient, server: Server) -> None:
    first = post(api)
    server.jobs.dropped(first)
    assert post(api) == first
    assert post(api) != first  # taken back once


def test_a_commit_whose_answer_got_lost_is_no_second_job(
    api: TestClient, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = server.database.engine.dialect.do_commit

    def commit_and_break(connection: Any) -> None:
        commit(connection)
        monkeypatch.undo()
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    monkeypatch.setattr(server.database.engine.dialect, "do_commit", commit_and_break)
    assert api.post(CLIPS, json=WISH).status_code == 503
    (there,) = api.get(CLIPS).json()["clips"]
    assert post(api, attempt=1) == there["id"]
    assert post(api) != there["id"]


def test_a_first_try_that_its_own_retry_has_overtaken(server: Server) -> None:
    key, _ = key_of(server)
    arrived = now()
    retry = accept(server, key, attempt=1)
    order, _ = order_of(Wish(prompt="x", model="testcard"), server.catalogue)
    (late,) = server.jobs.accept(key, [(order, 10)], Request("native", "f", "", arrived, attempt=0))
    assert late.id == retry.id
    assert left(server, key) == 90


def test_repetitions_are_forgotten_after_a_while(api: TestClient, server: Server) -> None:
    first = post(api)
    with server.database.write() as session:
        session.execute(update(Job).values(created_at=now() - 2 * server.settings.retry_seconds))
    assert post(api, attempt=1) != first


def test_idempotency_keys(api: TestClient) -> None:
    first = post(api, idempotency_key="a")
    assert post(api, idempotency_key="a") == first
    assert post(api, idempotency_key="b") != first
    other = api.post(CLIPS, json=WISH | {"prompt": "y"}, headers={"Idempotency-Key": "a"})
    assert other.status_code == 422


def test_a_repeated_batch_is_the_same_batch(api: TestClient) -> None:
    body = {"model": "testcard", "grid": {"prompts": ["a", "b"]}}
    first = api.post("/muybridge/v1/batches", json=body).json()
    again = api.post("/muybridge/v1/batches", json=body, headers={"x-stainless-retry-count": "1"}).json()
    assert again == first


def server_job(server: Server, job_id: str) -> Job:
    with server.database.read() as session:
        return session.get_one(Job, job_id)


def test_excuses_are_used_up() -> None:
    excuses = Excuses()
    excuses.note("k", 0)
    assert excuses.explains("k", 1)
    assert not excuses.explains("k", 1)
    excuses.note("k", 1)
    assert not excuses.explains("k", 1)
    assert not excuses.explains("other", 2)
    assert excuses.explains("k", 2)


@pytest.mark.parametrize(("seconds", "price", "credits"), [(1, 5, 5), (1.01, 5, 6), (0.1 + 0.2, 10, 3), (4, 0, 0)])
def test_prices(seconds: float, price: float, credits: int) -> None:
    assert price_of(seconds, price) == credits


def test_keys_are_hashed_expire_and_are_revoked(server: Server) -> None:
    key, token = key_of(server)
    with server.database.write() as session:
        assert find_key(session, token).id == key.id
        _, old = create_key(session, "old", days=-1)
        for stranger in (old, token + "x", "", "\ud800"):
            with pytest.raises(Refusal) as caught:
                find_key(session, stranger)
            assert caught.value.status == 401
        revoke_key(session, key.id)
        with pytest.raises(Refusal):
            find_key(session, token)
    with server.database.read() as session:
        kept = str(session.execute(select(Key.__table__)).all())
    assert key.digest in kept
    assert token not in kept


def test_what_a_database_cannot_keep_is_refused(api: TestClient) -> None:
    """Postgres takes no NUL, SQLite takes anything."""
    assert api.get(CLIPS, params={"words": "a\0b"}).status_code in (200, 400)
    for path in (f"{CLIPS}/a%00b", "/v1/videos/a%00b", "/v1/tasks/a%00b", "/dream-machine/v1/generations/a%00b"):
        assert api.get(path).status_code in (400, 404)


def test_a_key_may_have_many_credits(server: Server) -> None:
    key, _ = key_of(server, credits=10**15)
    accept(server, key)
    assert left(server, key) == 10**15 - 10


def test_scopes_have_to_exist(server: Server) -> None:
    with server.database.write() as session, pytest.raises(ValueError, match="scopes are generate, read, admin"):
        create_key(session, "x", ["everything"])


def test_a_newer_database_is_left_alone(server: Server) -> None:
    with server.database.write() as session:
        session.get_one(Meta, "schema").value = "99"
    with pytest.raises(ValueError, match="update Muybridge"):
        server.database.create()


@pytest.fixture
def catalogue(tiny_model: Path, tmp_path: Path) -> Catalogue:
    prepare(tmp_path, tiny_model)
    return read_catalogue(tmp_path / "models.toml")


def test_orders_survive_json(catalogue: Catalogue) -> None:
    wish = Wish(prompt="é", model="tiny", size=(1280, 720), seconds=2, seed=5)
    order, price = order_of(wish, catalogue)
    assert Order.model_validate_json(order.model_dump_json()) == order
    assert (order.width % 16, order.height % 16, order.file_size, price) == (0, 0, (1280, 720), 20)
    assert abs(order.width / order.height - 16 / 9) < 0.6


@pytest.mark.parametrize(
    "wish",
    [
        Wish(model="nobody"),
        Wish(seconds=9),
        Wish(seconds=0),
        Wish(seconds=float("nan")),
        Wish(frames=2),
        Wish(fps=0.5),
        Wish(size=(15, 15)),
        Wish(size=(4096, 16)),
        Wish(size=(1281, 720)),
        Wish(render=(50, 50)),
        Wish(render=(4096, 4096), frames=33),
        Wish(seed=-1),
        Wish(steps=0),
        Wish(guidance=-1),
        Wish(solver="magic"),
        Wish(prompt="\0"),
        Wish(prompt="x" * 9000),
        Wish(model="tiny", last="0" * 64),
    ],
    ids=lambda wish: repr(wish)[:60],
)
def test_what_cannot_be_made_is_a_400_with_a_mend(catalogue: Catalogue, wish: Wish) -> None:
    with pytest.raises(Refusal) as caught:
        order_of(wish, catalogue)
    assert caught.value.status == 400
    assert ":" in caught.value.message
