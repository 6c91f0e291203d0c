"""The worker as replicas of Ray Serve.

First in Serve's testing mode, where both deployments are objects of this process. Then (pytest -m slow) with Ray
itself: two replicas, one of which is killed, and `muybridge serve --no-worker` beside them.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_server import Live, prepare, process, serving, until
from tiny_checkpoint import child_environment

pytest.importorskip("ray", reason="the extra `cluster` is not installed")

slow = pytest.mark.slow
CLIPS = "/muybridge/v1/clips"
LONG = {"prompt": "a red ball", "model": "tiny", "frames": 9, "steps": 1000}
SHORT = {"prompt": "a red ball", "model": "testcard", "seconds": 1}


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    home = tmp_path_factory.mktemp("cluster")
    prepare(home, tiny_model)
    words = ("--fewest", "2", "--most", "2", "--gpus", "0", "--cpus", "0.5")
    with serving(home, "--no-worker") as live, process("cluster", home, *words) as (running, said):
        assert said[-1].startswith("working"), (home / "cluster.log").read_text()
        try:
            yield live
        finally:
            running.send_signal(signal.SIGTERM)  # Ray's own processes go with it
            running.wait(600)


def replicas() -> set[int]:
    """Ids of the processes that are replicas; Ray calls them so."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if title.startswith(b"ray::ServeReplica:muybridge:Replica"):
            found.add(int(folder.name))
    return found


def clip(live: Live, wish: dict[str, Any]) -> str:
    with live.client as client:
        created = client.post(CLIPS, json=wish)
        assert created.status_code == 202, created.text
        name: str = created.json()["id"]
        return name


def state(live: Live, name: str) -> dict[str, Any]:
    with live.client as client:
        found: dict[str, Any] = client.get(f"{CLIPS}/{name}").json()
        return found


def finished(live: Live, name: str) -> dict[str, Any]:
    return until(lambda: state(live, name), lambda one: one["state"] not in ("queued", "running"), 600)


@slow
def test_two_replicas_make_clips_at_a_time(served: Live) -> None:
    assert len(replicas()) == 2
    names = [clip(served, LONG) for _ in range(2)]
    made = [finished(served, name) for name in names]
    assert [one["state"] for one in made] == ["succeeded"] * 2, made
    assert max(one["started_at"] for one in made) < min(one["finished_at"] for one in made)
    with served.client as client:
        assert client.get(f"{CLIPS}/{names[0]}/content").content[4:8] == b"ftyp"


@slow
def test_a_clip_that_is_cancelled_gives_its_replica_back(served: Live) -> None:
    names = [clip(served, LONG | {"frames": 33}) for _ in range(2)]
    for name in names:
        until(lambda name=name: state(served, name), lambda one: one["progress"] > 0, 600)
        with served.client as client:
            assert client.post(f"{CLIPS}/{name}/cancel").json()["state"] == "cancelled"
    assert finished(served, clip(served, SHORT))["state"] == "succeeded"


@slow
def test_a_replica_that_is_killed_is_replaced(served: Live) -> None:
    before = replicas()
    names = [clip(served, LONG) for _ in range(2)]
    for name in names:
        until(lambda name=name: state(served, name), lambda one: one["state"] == "running", 600)
    os.kill(min(before), signal.SIGKILL)
    assert [finished(served, name)["state"] for name in names] == ["succeeded"] * 2
    after = until(replicas, lambda found: len(found) == 2 and found != before, 600)
    assert min(before) not in after


IN_ONE_PROCESS = """
import sys, time
from pathlib import Path
from ray import serve
from muybridge.serving.app import TELL
from muybridge.serving.cluster import NAME, Replicas, application
from muybridge.serving.keys import create_key
from muybridge.serving.catalogue import read_catalogue
from muybridge.serving.orders import Wish, order_of
from muybridge.serving.retries import Request
from muybridge.serving.server import build_server
from muybridge.serving.settings import ServerSettings

settings = ServerSettings(home=Path(sys.argv[1]))
server = build_server(settings, TELL)
with server.database.write() as session:
    key, _ = create_key(session, "tests", credits=100)
serve.run(application(settings, Replicas(gpus=0, most=2)), name=NAME, route_prefix=None, _local_testing_mode=True)
wishes = [Wish(prompt="a red ball", model=name, seconds=1) for name in ("tiny", "testcard", "testcard")]
asked = [Request("native", str(number), "http://here", time.time()) for number in range(3)]
orders = [order_of(wish, server.catalogue) for wish in wishes]
jobs = [server.jobs.accept(key, [order], one)[0] for order, one in zip(orders, asked, strict=True)]
end = time.monotonic() + 300
while any((found := server.jobs.find(key, job.id)).state in ("queued", "running") for job in jobs):
    assert time.monotonic() < end, found.state
    time.sleep(0.1)
print([str(server.jobs.find(key, job.id).state) for job in jobs])
sys.stdout.flush()
import os
os._exit(0)
"""


def test_the_application_makes_clips(tiny_model: Path, tmp_path: Path) -> None:
    prepare(tmp_path, tiny_model)
    command = [sys.executable, "-W", "ignore", "-c", IN_ONE_PROCESS, str(tmp_path)]
    run = subprocess.run(command, env=child_environment(), capture_output=True, text=True, timeout=600)
    assert run.stdout.strip().endswith("['succeeded', 'succeeded', 'succeeded']"), run.stdout + run.stderr
