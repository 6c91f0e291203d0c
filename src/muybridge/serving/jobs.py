"""The life of a job: accepted, begun, ended; once each. Every step is one transaction, with its credits in it."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from dbos import DBOSClient, EnqueueOptions
from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from muybridge.serving import credits
from muybridge.serving.database import AWAY, OPEN, Database, Delivery, Job, Key, State, now
from muybridge.serving.errors import Refusal, missing
from muybridge.serving.orders import Order
from muybridge.serving.retries import PRIORITIES, Request, repeated
from muybridge.serving.telemetry import current

CLIPS, WEBHOOKS = "clips", "webhooks"
"""Names of the two queues, and (with `_job`) of the workflows in them."""

_JOBS: Any = Job.__table__
_COLUMNS = tuple(_JOBS.columns.keys())
_ADD = insert(_JOBS)
_HOLD = select(Key.__table__.c.id).where(Key.__table__.c.id == bindparam("key")).with_for_update()
_WAITING = select(func.count()).where(_JOBS.c.key_id == bindparam("key"), _JOBS.c.state == State.QUEUED.value)

Tell = Callable[[Job], str]
"""The body of the webhook for a job, in its dialect."""


class Jobs:
    """All jobs of a database. `tell` words webhooks, by dialect."""

    def __init__(
        self, database: Database, client: DBOSClient, tell: dict[str, Tell], most_queued: int, window: float
    ) -> None:
        self.database, self.client, self.tell = database, client, tell
        self.most_queued, self.window = most_queued, window
        self._unheard: list[str] = []
        self._room: dict[str, tuple[int, float]] = {}

    def accept(self, key: Key, orders: Sequence[tuple[Order, int]], request: Request) -> list[Job]:
        """A job for each order (and its price), with their credits set aside, all or none; or those that this request
        asks for again.

        Refusal 402 without credits, 422 if an idempotency key comes with another wish, 429 if too many wait.
        """
        batch_id = f"batch_{uuid.uuid4().hex}" if request.batch else None
        accepted = [_new_job(key, order, price, request, batch_id) for order, price in orders]
        accepted[0].idempotency_key = request.idempotency_key
        unheard, written = list(self._unheard), False
        try:
            with self.database.write() as session:
                session.connection().execute(_HOLD, {"key": key.id})  # equal requests come one after the other
                if unheard:
                    session.execute(update(_JOBS).where(_JOBS.c.id.in_(unheard)).values(dropped_at=now()))
                known = self._known(session, key.id, request)
                if known:
                    for job in known:
                        job.dropped_at = None
                else:
                    self._check_room(session, key.id, len(accepted))
                    self._add(session, accepted)
                written = not known
        except AWAY:
            if written:  # perhaps committed all the same: an answer that nobody heard, as soon as that can be noted
                self._unheard.extend(job.id for job in accepted)
            raise
        for job_id in unheard:
            with suppress(ValueError):  # another request was faster
                self._unheard.remove(job_id)
        return known or accepted

    def _add(self, session: Session, accepted: list[Job]) -> None:
        """Statements that are built once, and rows instead of objects: this is what a request waits for."""
        session.connection().execute(_ADD, [_row(job) for job in accepted])
        credits.reserve(session, accepted)
        for job in accepted:
            self._enqueue(session, CLIPS, job.id, job.id, job.priority)

    def _check_room(self, session: Session, key_id: str, wanted: int) -> None:
        """Refusal (429) if too many wait. Counted once a second, and whenever those accepted since may be too many."""
        room, counted_at = self._room.get(key_id, (0, 0.0))
        if room < wanted or counted_at < now() - 1:
            counted_at = now()
            waiting = session.connection().scalar(_WAITING, {"key": key_id}) or 0
            room = self.most_queued - waiting
            if room <= 0:
                raise Refusal(429, f"{waiting} jobs of this key wait already: wait for some", "too_many_jobs", None, 30)
        self._room[key_id] = room - wanted, counted_at

    def _known(self, session: Session, key_id: str, request: Request) -> list[Job]:
        if request.idempotency_key is None:
            job = repeated(session, key_id, request, self.window)
        else:
            same = select(Job).where(Job.key_id == key_id, Job.idempotency_key == request.idempotency_key)
            job = session.scalar(same)
            if job is not None and job.fingerprint != request.fingerprint:
                raise Refusal(
                    422, "this Idempotency-Key came with another request before: take a new one", "idempotency"
                )
        if job is None or job.batch_id is None:
            return [] if job is None else [job]
        return list(session.scalars(select(Job).where(Job.batch_id == job.batch_id).order_by(Job.created_at)))

    def begin(self, job_id: str, most_attempts: int) -> Job | None:
        """The job, now running; None if it has ended, or has been begun too often and now counts as failed."""
        with self.database.write() as session:
            job = session.get_one(Job, job_id, with_for_update=True)
            if job.state not in OPEN:
                return None
            if job.attempts >= most_attempts:
                self._end(session, job, State.FAILED, "worker_lost", "the worker died with it, again and again")
                return None
            job.attempts += 1
            job.progress = 0.0
            if job.state == State.QUEUED:
                job.state, job.started_at = State.RUNNING, now()
                self._notify(session, job)
            return job

    def advance(self, job_id: str, progress: float) -> bool:
        """Notes how far a job is; False if it has been cancelled and its device is wanted back."""
        with self.database.write() as session:
            running = update(Job).where(Job.id == job_id, Job.state == State.RUNNING).values(progress=progress)
            done = session.execute(running.execution_options(synchronize_session=False))
            return bool(done.rowcount)  # type: ignore[attr-defined]

    def end(self, job_id: str, state: State, code: str | None = None, error: str | None = None) -> bool:
        """Brings a job to its end and settles its credits; False if it had ended already, and nothing was changed."""
        with self.database.write() as session:
            job = session.get_one(Job, job_id, with_for_update=True)
            return self._end(session, job, state, code, error)

    def _end(self, session: Session, job: Job, state: State, code: str | None = None, error: str | None = None) -> bool:
        if job.state not in OPEN:
            return False
        job.state, job.finished_at, job.error_code, job.error = state, now(), code, error
        if state == State.SUCCEEDED:
            job.progress = 1.0
            credits.charge(session, job)
        else:
            credits.release(session, job)
        self._notify(session, job)
        return True

    def hand_back(self, job_id: str) -> None:
        """The worker stops before the job is done: it waits again, and this attempt does not count."""
        with self.database.write() as session:
            job = session.get_one(Job, job_id, with_for_update=True)
            if job.state == State.RUNNING:
                job.state, job.progress, job.attempts = State.QUEUED, 0.0, job.attempts - 1
                self._enqueue(session, CLIPS, f"{job.id}:{uuid.uuid4().hex[:8]}", job.id, job.priority)

    def succeeded(self, job_id: str) -> bool:
        """Whether there is a clip, and somebody who may have it."""
        with self.database.read() as session:
            job = session.get_one(Job, job_id)
            return job.state == State.SUCCEEDED and job.deleted_at is None

    def find(self, key: Key, job_id: str, seen: bool = True) -> Job:
        """A job of this key. Refusal (404) if there is none: another's is not told from one that never was."""
        with self.database.read() as session:
            job = session.get(Job, job_id[:64])
        if job is None or job.key_id != key.id or job.deleted_at is not None:
            raise missing("job", job_id)
        if seen and job.seen_at is None:
            self._mark(job_id, seen_at=now())
        return job

    def list(
        self,
        key: Key,
        *,
        dialect: str | None = None,
        words: str | None = None,
        states: tuple[State, ...] = (),
        batch_id: str | None = None,
        before: float | None = None,
        after_id: str | None = None,
        newest_first: bool = True,
        limit: int = 20,
        offset: int = 0,
    ) -> tuple[list[Job], int]:
        """Jobs of this key, filtered, and how many there are in all. `after_id`: those after the last page's last."""
        query = select(Job).where(Job.key_id == key.id, Job.deleted_at.is_(None))
        if dialect is not None:
            query = query.where(Job.dialect == dialect)
        if words:
            escaped = words.replace("\\", "\\\\").replace("%", r"\%").replace("_", r"\_")
            query = query.where(Job.prompt.ilike(f"%{escaped}%", escape="\\"))
        if states:
            query = query.where(Job.state.in_(states))
        if batch_id is not None:
            query = query.where(Job.batch_id == batch_id)
        if before is not None:
            query = query.where(Job.created_at < before)
        with self.database.read() as session:
            count = session.scalar(select(func.count()).select_from(query.subquery())) or 0
            if after_id is not None:
                at = self.find(key, after_id)
                later = Job.created_at < at.created_at if newest_first else Job.created_at > at.created_at
                beside = Job.id > at.id
                query = query.where(or_(later, (Job.created_at == at.created_at) & beside))
            order = Job.created_at.desc() if newest_first else Job.created_at.asc()
            return list(session.scalars(query.order_by(order, Job.id).limit(limit).offset(offset))), count

    def cancel(self, key: Key, job_id: str) -> Job:
        """Ends a job that has not ended; one that runs lets go of its device at the sampler's next step."""
        self.find(key, job_id)
        self.end(job_id, State.CANCELLED, "cancelled", "cancelled by the client")
        return self.find(key, job_id)

    def delete(self, key: Key, job_id: str) -> Job:
        """Cancels what has not ended, and forgets the job: its id is unknown from now on."""
        job = self.cancel(key, job_id)
        self._mark(job_id, deleted_at=now())
        return job

    def watch(self, job_id: str) -> None:
        """Somebody looks at previews: worth decoding some, for the next seconds."""
        self._mark(job_id, watched_at=now())

    def dropped(self, job_id: str) -> None:
        """The client went away before it could hear that its job was accepted."""
        self._mark(job_id, dropped_at=now())

    def _mark(self, job_id: str, **values: float) -> None:
        with self.database.write() as session:
            session.execute(
                update(Job).where(Job.id == job_id).values(**values).execution_options(synchronize_session=False)
            )

    def _enqueue(self, session: Session, queue: str, workflow_id: str, about: str, priority: int = 100) -> None:
        options: EnqueueOptions = {
            "queue_name": queue,
            "workflow_name": f"{queue}_job",
            "workflow_id": workflow_id,
            "priority": priority,
            "otel_context": current(),
        }
        self.client.enqueue_in_transaction(session, options, about)

    def _notify(self, session: Session, job: Job) -> None:
        """A webhook to be delivered, if the client wants one: enqueued in the transaction that it tells of."""
        if job.callback_url is None or (job.state == State.RUNNING and job.dialect != "luma"):
            return
        delivery = Delivery(
            id=f"msg_{uuid.uuid4().hex}",
            job_id=job.id,
            url=job.callback_url,
            body=self.tell[job.dialect](job),
            attempts=0,
            status=None,
            delivered_at=None,
        )
        session.add(delivery)
        session.flush()
        self._enqueue(session, WEBHOOKS, delivery.id, delivery.id)


def _row(job: Job) -> dict[str, Any]:
    """What is written of a job, by column."""
    return {name: getattr(job, name) for name in _COLUMNS}


def _new_job(key: Key, order: Order, price: int, request: Request, batch_id: str | None) -> Job:
    return Job(
        id=str(uuid.uuid4()),
        key_id=key.id,
        dialect=request.dialect,
        state=State.QUEUED,
        model=order.model,
        prompt=order.prompt,
        order=order.model_dump(mode="json", exclude_none=True),
        extra=request.extra,
        price=price,
        priority=PRIORITIES[request.priority],
        progress=0.0,
        attempts=0,
        batch_id=batch_id,
        fingerprint=request.fingerprint,
        attempt=request.attempt,
        base_url=request.base_url,
        callback_url=request.callback_url or key.webhook_url,
        token=secrets.token_urlsafe(16),
        created_at=now(),
    )
