"""A thousand jobs while processes are killed and Postgres is stopped: each accepted job ends once and is paid once.

pytest -m slow -s tests/test_serving_kills.py   prints the figures
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
from postgres_server import Postgres, postgres, programs
from serving_server import Live, prepare, process, serving
from sqlalchemy import func, select

from muybridge.serving.database import AWAY, OPEN, Database, Entry, Job, Key, State
from muybridge.serving.results import result_name
from muybridge.serving.settings import ServerSettings

JOBS, CLIENTS, PAUSE, CREDITS = 1000, 8, 0.5, 10_000
WORKER_KILLS, SERVER_KILLS, DATABASE_STOPS = 10, 5, 3
CLIP = {"model": "testcard", "frames": 5, "fps": 5, "width": 32, "height": 32}  # 2 credits


class Machine:
    """A server and a worker, each a process that is started again when it has been killed."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.words = home, ("--database-url", url) if url else ()
        self._stack, self._worker = ExitStack(), ExitStack()
        self.server = self._stack.enter_context(serving(home, "--no-worker", *self.words))
        self.worker = self._start_worker()

    def _start_worker(self) -> subprocess.Popen[str]:
        self._worker = ExitStack()
        return self._worker.enter_context(process("work", self.home, *self.words))[0]

    def kill_worker(self) -> None:
        self.worker.send_signal(signal.SIGKILL)
        self._worker.close()
        self.worker = self._start_worker()

    def kill_server(self) -> None:
        port = str(httpx.URL(self.server.url).port)
        self.server.process.send_signal(signal.SIGKILL)
        self._stack.close()
        again = serving(self.home, "--no-worker", *self.words, port=port, token=self.server.token)
        self.server = self._stack.enter_context(again)

    def close(self) -> None:
        self._worker.close()
        self._stack.close()


def create(server: Live, number: int, answers: Counter[str]) -> str:
    """The id of a new job, as the SDKs get it: asking again, with a count, whenever there is no answer or a 503."""
    with server.client as client:
        for attempt in itertools.count():
            try:
                answer = client.post(
                    "/muybridge/v1/clips",
                    json=CLIP | {"prompt": f"clip {number}"},
                    headers={"x-stainless-retry-count": f"{min(attempt, 99)}"},
                )
            except httpx.TransportError:
                answers["none"] += 1
            else:
                answers[f"{answer.status_code}"] += 1
                if answer.status_code == 202:
                    return str(answer.json()["id"])
                assert answer.status_code in (429, 503), answer.text
            time.sleep(0.5)
    raise AssertionError


@contextmanager
def submitting(machine: Machine, answers: Counter[str]) -> Iterator[dict[int, str]]:
    """All jobs are submitted meanwhile, by clients that know the server's address and nothing of its deaths."""
    ids: dict[int, str] = {}

    def one(number: int) -> None:
        ids[number] = create(machine.server, number, answers)
        time.sleep(PAUSE)

    with ThreadPoolExecutor(CLIENTS) as pool:
        running = [pool.submit(one, number) for number in range(JOBS)]
        yield ids
        for submitted in running:
            submitted.result()


def ended(database: Database) -> int:
    try:
        with database.read() as session:
            return session.scalar(select(func.count()).where(Job.state.not_in(OPEN))) or 0
    except AWAY:
        return 0


def faults(stops: int) -> list[str]:
    """What is done to the machine, in order: the three kinds take turns for as long as they last."""
    left = {"worker": WORKER_KILLS, "server": SERVER_KILLS, "database": stops}
    order: list[str] = []
    while any(left.values()):
        for kind in ("worker", "server", "worker", "database"):
            if left[kind]:
                left[kind] -= 1
                order.append(kind)
    return order


def harass(machine: Machine, cluster: Postgres | None, ids: dict[int, str], database: Database) -> None:
    """Faults, evenly spread over what is submitted and done."""
    order = faults(0 if cluster is None else DATABASE_STOPS)
    for i, kind in enumerate(order):
        while len(ids) + ended(database) < 2 * JOBS * (i + 1) / (len(order) + 2):
            time.sleep(0.5)
        if kind == "worker":
            machine.kill_worker()
        elif kind == "server":
            machine.kill_server()
        else:
            assert cluster is not None
            cluster.stop()
            time.sleep(2)
            cluster.start()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_thousand_jobs(kind: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "postgres" and programs() is None:
        pytest.skip("Postgres is not installed: apt install postgresql")
    prepare(tmp_path, tiny_model)
    monkeypatch.setenv("MUYBRIDGE_SIGN", "false")  # what is counted here is ends and payments
    with ExitStack() as stack:
        cluster = stack.enter_context(postgres()) if kind == "postgres" else None
        url = "" if cluster is None else cluster.new()
        machine = Machine(tmp_path, url)
        stack.callback(machine.close)
        database = Database(url or ServerSettings(home=tmp_path).database)
        stack.callback(database.engine.dispose)
        with database.write() as session:
            session.scalars(select(Key)).one().credits = CREDITS
        answers: Counter[str] = Counter()
        began = time.monotonic()
        with submitting(machine, answers) as ids:
            harasser = threading.Thread(target=harass, args=(machine, cluster, ids, database))
            harasser.start()
        harasser.join()
        while ended(database) < JOBS:
            time.sleep(0.5)
        attempts = assert_all_ended_once(database, ids, machine.server.home)
        print(f"\n{kind}: {JOBS} jobs in {time.monotonic() - began:.0f} s; answers {dict(answers)}; {attempts}")


def assert_all_ended_once(database: Database, ids: dict[int, str], home: Path) -> str:
    """Every prompt one job, every job one end, one payment, one clip. How often jobs were begun, in words."""
    with database.read() as session:
        jobs = list(session.scalars(select(Job)))
        kinds: dict[str, list[str]] = defaultdict(list)
        for entry in session.scalars(select(Entry).where(Entry.job_id.is_not(None)).order_by(Entry.id)):
            kinds[str(entry.job_id)].append(entry.kind)
        left = session.scalars(select(Key)).one().credits
    assert sorted((job.prompt, job.id) for job in jobs) == sorted((f"clip {i}", job_id) for i, job_id in ids.items())
    assert Counter(job.state for job in jobs) == {State.SUCCEEDED: JOBS}
    assert all(kinds[job.id] == ["reserve", "charge"] for job in jobs)
    assert left == CREDITS - sum(job.price for job in jobs)
    assert all((home / result_name(job.id, "video")).stat().st_size for job in jobs)
    begun = Counter(job.attempts for job in jobs)
    return "begun " + ", ".join(f"{times} times: {count}" for times, count in sorted(begun.items()))
