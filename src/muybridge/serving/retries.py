"""Is this request a new wish, or an old one whose answer got lost?

The SDKs repeat a POST after a dropped connection or a 408, 409, 429 or 5xx, with the same body, no idempotency key, and
`x-stainless-retry-count: 1`. A request counts as a repetition, and gets the job that is there already, if a job of the
same key has the same content, is young enough, the client has never used its id (it would have, had it got it), and

    - we saw the connection drop before the answer was sent, whoever asks again, or
    - the request says it is a retry, and no retryable answer of ours (429, 503, …) explains it, or
    - a retry of this request has overtaken it.

Two equal wishes that do not say so are two jobs: people ask for variants.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from muybridge.serving.database import Job, now

RETRIED = frozenset({408, 409, 429, 500, 502, 503, 504})
"""Answers after which the SDKs try again by themselves."""

_REMEMBERED = 150.0
"""Seconds: the SDKs wait at most 120 before they try again."""


PRIORITIES = {"high": 1, "normal": 100, "low": 10_000}


@dataclass(frozen=True)
class Request:
    """What is known of a request beside its wish.

    fingerprint  equal for requests of equal content
    base_url     how the client calls this server
    attempt      0 for a first try, n for a client's nth retry (`x-stainless-retry-count`)
    excused      that retry follows an answer of ours that asked for it
    arrived_at   seconds since 1970
    batch        several wishes in one
    """

    dialect: str
    fingerprint: str
    base_url: str
    arrived_at: float
    attempt: int = 0
    excused: bool = False
    idempotency_key: str | None = None
    priority: str = "normal"
    callback_url: str | None = None
    batch: bool = False
    extra: dict[str, Any] = field(default_factory=dict)


class Excuses:
    """The retryable answers that each key was given of late: as many retries are no sign of a lost answer."""

    def __init__(self) -> None:
        self._given: dict[tuple[str, int], deque[float]] = {}
        self._lock = threading.Lock()

    def note(self, key_id: str, attempt: int) -> None:
        """A request that was the client's `attempt`th (0 = first) was answered with something retryable."""
        with self._lock:
            self._given.setdefault((key_id, attempt), deque(maxlen=10_000)).append(time.monotonic())

    def explains(self, key_id: str, attempt: int) -> bool:
        """Whether this attempt follows one that we turned away. Each is an excuse once."""
        with self._lock:
            given = self._given.get((key_id, attempt - 1), deque())
            while given and given[0] < time.monotonic() - _REMEMBERED:
                given.popleft()
            return bool(given and given.popleft())


_JOBS: Any = Job.__table__
_ALIKE = (
    select(_JOBS.c.id)
    .where(_JOBS.c.key_id == bindparam("key"), _JOBS.c.fingerprint == bindparam("fingerprint"))
    .where(_JOBS.c.created_at > bindparam("since"), _JOBS.c.seen_at.is_(None), _JOBS.c.deleted_at.is_(None))
    .order_by(_JOBS.c.dropped_at.is_(None), _JOBS.c.created_at.desc())
    .limit(1)
)
_OVERTAKEN = (_JOBS.c.attempt > bindparam("attempt")) & (_JOBS.c.created_at > bindparam("arrived"))
_LOST_OR_OVERTAKEN = _ALIKE.where(_JOBS.c.dropped_at.is_not(None) | _OVERTAKEN)
"""Built once: every create asks one of the two."""


def repeated(session: Session, key_id: str, request: Request, seconds: float) -> Job | None:
    """The job that a request asks for again, if it does. Jobs whose answers we saw fail come first, then the newest."""
    certain = request.attempt > 0 and not request.excused
    asked = {"key": key_id, "fingerprint": request.fingerprint, "since": now() - seconds}
    if not certain:
        asked |= {"attempt": request.attempt, "arrived": request.arrived_at}
    job_id = session.connection().scalar(_ALIKE if certain else _LOST_OR_OVERTAKEN, asked)
    return None if job_id is None else session.get(Job, job_id)
