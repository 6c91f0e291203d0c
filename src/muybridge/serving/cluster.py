"""The worker on a cluster: Ray Serve keeps engines running on as many machines as there is work for.

Two deployments. The dispatcher is the `Worker` that a single machine has, queue and webhooks and all, except that it
hands each job to a replica. A replica is the same `Worker`, not started: it has the engines, writes progress and
results itself, and sees in the database whether its job has been cancelled. So a job's code is one, whoever runs it.

A replica that dies is replaced, and its job is begun again by another; a dispatcher that dies is replaced, and takes
its jobs up again, as any worker does. All machines need the database and the stills and results.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from muybridge.serving.app import TELL
from muybridge.serving.database import State
from muybridge.serving.server import build_server
from muybridge.serving.settings import ServerSettings
from muybridge.serving.worker import Worker
from muybridge.storage.credentials import load_or_create

log = logging.getLogger("muybridge.serving")

NAME = "muybridge"
_PAUSE = 2.0
"""Seconds until a job whose replica was lost is handed to another."""

_UPSCALE, _DOWNSCALE, _GRACE = 5.0, 600.0, 120.0
"""Seconds of too much and too little work until replicas are added and removed, and that a removed one is given."""


@dataclass(frozen=True)
class Replicas:
    """How many replicas there are, and what each is given.

    fewest, most  in between, as many as there are jobs for
    gpus, cpus    of each, as Ray counts them: 0.5 puts two replicas on one GPU, 2 gives one two engines
    """

    fewest: int = 1
    most: int = 4
    gpus: float = 1.0
    cpus: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.fewest <= self.most or self.most < 1:
            raise ValueError(f"{self.fewest} to {self.most} replicas make no sense: take 0 or more to 1 or more")
        if not 0 <= self.gpus < 1 and self.gpus != int(self.gpus):
            raise ValueError(f"{self.gpus:g} GPUs a replica: take a part of one, or a whole number")
        if min(self.gpus, self.cpus) < 0:
            raise ValueError(f"{self.gpus:g} GPUs and {self.cpus:g} CPUs a replica: take 0 or more")

    @property
    def devices(self) -> tuple[str, ...]:
        """Where one replica has an engine, each of which makes a job at a time. Ray shows it its own GPUs only."""
        return tuple(f"cuda:{index}" for index in range(math.ceil(self.gpus))) or ("cpu",)


class Replica:
    """Engines in a process that Ray has given its GPUs."""

    def __init__(self, settings: ServerSettings) -> None:
        server = build_server(settings, TELL)
        self.worker = Worker(server.database, server.jobs, settings)

    async def make(self, job_id: str) -> None:
        """One job from its order to its files; in a thread, so that Ray goes on hearing from the replica."""
        await asyncio.to_thread(self.worker.make, job_id)


class Dispatcher:
    """Takes jobs off the queue, for all replicas."""

    def __init__(self, settings: ServerSettings, replicas: DeploymentHandle, most: int) -> None:
        server = build_server(settings, TELL)
        # Each job that it has in hand is an engine to this worker: as many as can be made at once.
        settings = settings.model_copy(update={"devices": ("elsewhere",) * most})
        self.worker = _Handing(server.database, server.jobs, settings)
        self.worker.replicas = replicas
        _apart(self.worker.start)

    def __del__(self) -> None:
        if hasattr(self, "worker"):
            _apart(self.worker.stop)


class _Handing(Worker):
    """A worker whose jobs are made elsewhere."""

    replicas: DeploymentHandle

    def make(self, job_id: str) -> None:
        """Waits until a replica has made it. A job that loses one replica after the other has failed."""
        for _ in range(self.settings.most_attempts):
            try:
                self.replicas.make.remote(job_id).result()
            except (RayError, RayServeException):
                log.exception("job %s: its replica is lost: handing it to another", job_id)
                time.sleep(_PAUSE)
            else:
                return
        self._end(job_id, State.FAILED, "worker_lost", "the worker died with it, again and again")


def _apart(call: Callable[[], None]) -> None:
    """Calls in a thread of its own: Serve makes and unmakes deployments in its event loop, where DBOS does not work."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(call).result()


def from_environment(replicas: dict[str, Any]) -> serve.Application:
    """What a Serve config file names as `import_path`; its `args` are the fields of `Replicas`."""
    return application(ServerSettings(), Replicas(**replicas))


def application(settings: ServerSettings, replicas: Replicas) -> serve.Application:
    """Both deployments, for `serve.run`.

    The tables, and a key that signs where none is given, are made here, once, before many want to. That key lies in
    HOME, so that all machines sign with it.
    """
    home = settings.home.resolve()
    settings = settings.model_copy(update={"home": home, "worker_name": NAME})
    build_server(settings, TELL).database.engine.dispose()
    if settings.sign and settings.signing_key is None:
        load_or_create(home / "signing.pem")
        settings = settings.model_copy(update={"signing_key": home / "signing.pem"})
    jobs = len(replicas.devices)
    options = {
        "max_ongoing_requests": jobs,
        "graceful_shutdown_timeout_s": _GRACE,
        "ray_actor_options": {"num_gpus": replicas.gpus, "num_cpus": replicas.cpus},
        "autoscaling_config": {
            "min_replicas": replicas.fewest,
            "max_replicas": replicas.most,
            "target_ongoing_requests": jobs,
            "upscale_delay_s": _UPSCALE,
            "downscale_delay_s": _DOWNSCALE,
        },
    }
    engines = serve.deployment(**options)(Replica).bind(settings.model_copy(update={"devices": replicas.devices}))
    dispatcher = serve.deployment(num_replicas=1, ray_actor_options={"num_cpus": 0})(Dispatcher)
    return dispatcher.bind(settings, engines, replicas.most * jobs)


@contextmanager
def running(settings: ServerSettings, replicas: Replicas, address: str | None = None) -> Iterator[None]:
    """The application runs on the cluster at this address, or on one of this machine alone, while the block does.

    Nothing listens on HTTP, and nothing is reported to anybody.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    wanted = application(settings, replicas)
    alone = {"include_dashboard": False} if address is None else {}
    try:
        ray.init(address=address or "local", namespace=NAME, **alone)
    except Exception as error:  # Ray's own, among them plain ones
        where = f"join the cluster at {address}" if address else "start Ray on this machine"
        raise ValueError(f"cannot {where}: {error}: see its logs, in /tmp/ray") from error
    try:
        serve.start(proxy_location="Disabled")
        serve.run(wanted, name=NAME, route_prefix=None)
        yield
        serve.delete(NAME)
    finally:
        ray.shutdown()
