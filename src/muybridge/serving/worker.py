"""The worker: takes jobs off the queue, one for each device, and tells the database how they went.

The queue is DBOS's, in the same database as the jobs. A worker that is killed leaves its workflows pending; it takes
them up again when it is back, or another worker does when it has not been seen for a while. What runs twice because of
that changes nothing: `Jobs.begin` and `Jobs.end` only ever move a job forward.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal, TypeVar

import numpy as np
from dbos import DBOS, WorkflowStatus
from jaxtyping import UInt8
from sqlalchemy import select

from muybridge.serving.database import AWAY, Database, Job, Meta, State, now
from muybridge.serving.engine import Engine, Files, Made, Stopped
from muybridge.serving.footage import local_footage
from muybridge.serving.jobs import CLIPS, WEBHOOKS, Jobs
from muybridge.serving.moderation import Subject, moderator_of, note
from muybridge.serving.orders import Order
from muybridge.serving.results import remove_results, result_name, strip, write_jpeg, write_results
from muybridge.serving.settings import ServerSettings
from muybridge.serving.stills import local_still
from muybridge.serving.stores import store_of
from muybridge.serving.telemetry import span
from muybridge.serving.webhooks import PAUSES, deliver
from muybridge.storage.credentials import Credentials, default_path, load, load_or_create

T = TypeVar("T")

log = logging.getLogger("muybridge.serving")

APPLICATION, VERSION = "muybridge", "1"
"""Names to DBOS; the version is ours, so that jobs survive an update of the program."""

ALIVE_EVERY, LOST_AFTER = 5.0, 60.0
"""Seconds between signs of life, and without one until a worker's jobs are given to others."""

_AT_ONCE = 8
_SEEN = "worker:"


class Worker:
    """Runs in this process from `start` to `stop`."""

    def __init__(self, database: Database, jobs: Jobs, settings: ServerSettings) -> None:
        self.database, self.jobs, self.settings = database, jobs, settings
        self.credentials = _credentials(settings)
        self.store = store_of(settings)
        self.moderator = moderator_of(settings.blocked_words, settings.check)
        devices: tuple[str | None, ...] = settings.devices or (None,)
        self._engines: queue.SimpleQueue[Engine] = queue.SimpleQueue()
        self._count = len(devices)
        for device in devices:
            self._engines.put(Engine(device))
        self._held: set[str | None] = set()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Registers the workflows and begins to take jobs, first those that were left behind under this name."""
        DBOS(
            config={
                "name": APPLICATION,
                "application_version": VERSION,
                "executor_id": self.settings.worker_name,
                "system_database_url": self.database.url,
                "system_database_engine": self.database.engine,
                "use_listen_notify": False,
                "notification_listener_polling_interval_sec": 60.0,
                "log_level": "ERROR",
                "enable_otlp": bool(self.settings.otlp_endpoint),
                "otel_attribute_format": "semconv",
            }
        )
        self._register()
        self._seen()
        DBOS.launch()
        poll = self.settings.poll_seconds
        conflict: Literal["always_update"] = "always_update"
        # One job more than devices is taken, so that no device waits for the next poll.
        DBOS.register_queue(CLIPS, worker_concurrency=self._count + 1, polling_interval_sec=poll, on_conflict=conflict)
        DBOS.register_queue(WEBHOOKS, worker_concurrency=_AT_ONCE, polling_interval_sec=1.0, on_conflict=conflict)
        threading.Thread(target=self._live, name="signs of life", daemon=True).start()

    def stop(self) -> None:
        """Takes no more jobs. One that is being made is given up at its next step, and waits again."""
        self._stopping.set()
        DBOS.destroy(workflow_completion_timeout_sec=30)

    def _register(self) -> None:
        """Names the functions that DBOS calls; it wants plain ones."""

        def clip(job_id: str) -> None:
            with self._in_hand():
                self.make(job_id)

        def webhook(delivery_id: str) -> None:
            with self._in_hand():
                for pause in PAUSES:
                    if pause:
                        DBOS.sleep(pause)  # outlives the process
                    if attempt(delivery_id):
                        return

        def once(delivery_id: str) -> bool:
            return insist(lambda: deliver(self.database, delivery_id, self.settings.fetch_private))

        attempt = DBOS.step(name="deliver")(once)
        DBOS.workflow(name=f"{CLIPS}_job", max_recovery_attempts=None)(clip)
        DBOS.workflow(name=f"{WEBHOOKS}_job", max_recovery_attempts=None)(webhook)

    def make(self, job_id: str) -> None:
        """One job from its order to its files. Whatever happens, the job has ended, or will be begun again."""
        with self._engine() as engine:
            job = insist(lambda: self.jobs.begin(job_id, self.settings.most_attempts))
            if job is None:
                return
            try:
                self._fill(engine, job)
            except Stopped:
                insist(lambda: self.jobs.hand_back(job_id))
            except Exception as error:  # a job's fault must not end the worker, whatever it is
                log.exception("job %s failed", job_id)
                self._end(job_id, State.FAILED, *_worded(error))

    def _fill(self, engine: Engine, job: Job) -> None:
        order = Order.model_validate(job.order)
        files = handed_in(order, self.settings)
        try:
            with span("sample", model=order.model, frames=order.frames, width=order.width, height=order.height):
                made = engine.make(order, files, _Listener(self, job.id))
        except ValueError as error:
            self._end(job.id, State.FAILED, "cannot_be_made", str(error))
            return
        if self._withheld(job, order, made):
            return
        with span("write"):
            write_results(made, order, self.store, self.settings.making, job.id, self.credentials, files)
        self.store.remove(result_name(job.id, "preview"))
        if not self._end(job.id, State.SUCCEEDED) and not self.jobs.succeeded(job.id):
            remove_results(self.store, job.id)  # cancelled while it was written

    def _withheld(self, job: Job, order: Order, made: Made) -> bool:
        """Whether a check finds the clip to be what this server does not serve; then the job has ended."""
        if not self.moderator.looks_at_pictures:
            return False
        subject = Subject("result", job.key_id, order.model, order.prompt, order.negative, made.frames)
        finding = self.moderator.find(subject)
        if finding is None:
            return False

        def withhold() -> None:
            with self.database.write() as session:
                note(session, subject, finding)

        insist(withhold)
        self._end(job.id, State.MODERATED, "moderated", "the clip turned out as this server does not serve them")
        return True

    def _end(self, job_id: str, state: State, code: str | None = None, error: str | None = None) -> bool:
        return insist(lambda: self.jobs.end(job_id, state, code, error))

    @contextmanager
    def _engine(self) -> Iterator[Engine]:
        engine = self._engines.get()
        try:
            yield engine
        finally:
            self._engines.put(engine)

    @contextmanager
    def _in_hand(self) -> Iterator[None]:
        """While this process is at the workflow that calls."""
        workflow_id = DBOS.workflow_id
        self._held.add(workflow_id)
        try:
            yield
        finally:
            self._held.discard(workflow_id)

    def _live(self) -> None:
        patient_until = 0.0
        while not self._stopping.wait(ALIVE_EVERY):
            try:
                self._seen()
                if now() > patient_until:
                    self._take_over()
            except Exception as error:  # whatever it is, signs of life go on
                log.warning("no sign of life could be given: %s", error, exc_info=not isinstance(error, AWAY))
                patient_until = now() + LOST_AFTER  # the others could not give any, either

    def _take_over(self) -> None:
        """What nobody would begin: jobs of workers that are gone, and claims of our own that we never heard of."""
        lost = self._lost()
        if lost:
            log.warning("taking over the jobs of %s", ", ".join(lost))
            DBOS._recover_pending_workflows(lost)  # DBOS leaves this to its hosted service otherwise
        for stray in self._strays():
            log.warning("%s was given to this worker, which never heard of it: back to its queue", stray.workflow_id)
            DBOS.resume_workflow(stray.workflow_id, queue_name=stray.queue_name)

    def _seen(self) -> None:
        with self.database.write() as session:
            session.merge(Meta(name=f"{_SEEN}{self.settings.worker_name}", value=str(now())))

    def _strays(self) -> list[WorkflowStatus]:
        """Workflows that this worker claimed in a transaction whose answer got lost."""
        name = self.settings.worker_name
        claimed = DBOS.list_workflows(status="PENDING", executor_id=name, load_input=False, load_output=False)
        long_ago = 1000 * (now() - LOST_AFTER)
        return [one for one in claimed if one.workflow_id not in self._held and (one.dequeued_at or 0) < long_ago]

    def _lost(self) -> list[str]:
        """Workers that have not been seen for long; they are forgotten, so that one of us asks for their jobs."""
        with self.database.write() as session:
            seen = session.scalars(select(Meta).where(Meta.name.startswith(_SEEN, autoescape=True)).with_for_update())
            lost = [row for row in seen if float(row.value) < now() - LOST_AFTER]
            for row in lost:
                session.delete(row)
            return [row.name.removeprefix(_SEEN) for row in lost]


class _Listener:
    """Writes progress and previews where the API process, which may be another, finds them."""

    def __init__(self, worker: Worker, job_id: str) -> None:
        self._worker, self._job_id = worker, job_id

    def progress(self, share: float) -> None:
        with suppress(*AWAY):  # how far it is can be told later, the sampler does not wait for that
            if not self._worker.jobs.advance(self._job_id, share):
                raise Stopped
        if self._worker._stopping.is_set():
            raise Stopped

    def wants_preview(self) -> bool:
        with suppress(*AWAY), self._worker.database.read() as session:
            watched = session.scalar(select(Job.watched_at).where(Job.id == self._job_id))
            return watched is not None and watched > now() - 10
        return False

    def preview(self, frames: UInt8[np.ndarray, "t h w 3"]) -> None:
        making = self._worker.settings.making
        write_jpeg(strip(frames), self._worker.store, making, self._job_id, "preview")


def insist(write: Callable[[], T]) -> T:
    """What `write` returns, however long the database takes to be there again. A clip is worth waiting for.

    What was committed although the answer got lost is done twice: fit for what only ever moves a job forward.
    """
    while True:
        try:
            return write()
        except AWAY as error:
            log.warning("the database does not answer, trying again: %s", error)
            time.sleep(1.0)


def handed_in(order: Order, settings: ServerSettings) -> Files:
    """The files that an order speaks of, on this machine."""
    stills = {"still": order.still, "last": order.last, "mask": order.mask}
    videos = {"extend": order.extend, "video": order.video, "control": order.control}
    found = {field: local_still(name, settings) for field, name in stills.items() if name is not None}
    return found | {field: local_footage(one.name, settings) for field, one in videos.items() if one is not None}


def _credentials(settings: ServerSettings) -> Credentials | None:
    """What signs results. A key that the operator names has to be there: a name mistyped must not make another."""
    if not settings.sign:
        return None
    return load_or_create(default_path()) if settings.signing_key is None else load(settings.signing_key)


def _worded(error: Exception) -> tuple[str, str]:
    """What a client is told of a fault: its kind, nothing of our insides."""
    if isinstance(error, MemoryError) or "out of memory" in str(error).lower():
        return "out_of_memory", "the device has too little memory for this clip: make it smaller or shorter"
    return "internal", "the clip could not be made, through no fault of the request"
