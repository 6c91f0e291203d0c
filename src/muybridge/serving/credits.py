"""What a clip costs, and who has paid: reserved when a job is accepted, charged when it succeeds, else given back.

A balance is what may still be spent: reserving takes from it, releasing adds to it, charging only writes it down. The
ledger's uniqueness of (job, kind) is what makes "once" true, whatever runs twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlalchemy.orm import Session

from muybridge.serving.database import Audit, Entry, Job, Key, now
from muybridge.serving.errors import Refusal

_KEYS: Any = Key.__table__
_ADD = insert(Entry.__table__)  # type: ignore[arg-type]
_TAKE = (
    update(_KEYS)
    .where(_KEYS.c.id == bindparam("key"), or_(_KEYS.c.credits.is_(None), _KEYS.c.credits >= bindparam("price")))
    .values(credits=_KEYS.c.credits - bindparam("price"))
)
"""No credits (NULL) is no limit, and stays so: NULL less a price is NULL."""


class Used(NamedTuple):
    """Credits that were charged to a key for clips of a model on one day (UTC, YYYY-MM-DD)."""

    date: str
    key_id: str
    model: str
    credits: int
    clips: int


def price_of(seconds: float, credits_per_second: float) -> int:
    """Whole credits for a clip that plays so long, rounded up; what costs nothing costs nothing."""
    return math.ceil(round(seconds * credits_per_second, 6))


def reserve(session: Session, jobs: Sequence[Job]) -> None:
    """Sets aside what the jobs of a key cost. Refusal (402) if the key does not have it."""
    key_id, price = jobs[0].key_id, sum(job.price for job in jobs)
    connection = session.connection()
    if connection.execute(_TAKE, {"key": key_id, "price": price}).rowcount != 1:
        has = session.get_one(Key, key_id).credits
        what = "this clip costs" if len(jobs) == 1 else f"these {len(jobs)} clips cost"
        raise Refusal(402, f"{what} {price} credits, the key has {has}: add some", "no_credits")
    connection.execute(_ADD, [_line(job, "reserve") for job in jobs])


def charge(session: Session, job: Job) -> None:
    """The clip is there: what was reserved is spent."""
    _write(session, job, "charge")


def release(session: Session, job: Job) -> None:
    """There is no clip: what was reserved goes back."""
    back = update(Key).where(Key.id == job.key_id, Key.credits.is_not(None)).values(credits=Key.credits + job.price)
    session.execute(back.execution_options(synchronize_session=False))
    _write(session, job, "release")


def grant(session: Session, key_id: str, amount: int) -> Key:
    """Adds to (or, below zero, takes from) a key's credits. ValueError if there is no such key or too little."""
    key = session.get(Key, key_id, with_for_update=True)
    if key is None:
        raise ValueError(f"there is no key {key_id!r}: `muybridge admin keys` shows them")
    if (key.credits or 0) + amount < 0:
        raise ValueError(f"{key.name} has {key.credits or 0} credits: take at most that many away")
    key.credits = (key.credits or 0) + amount
    session.add(Entry(key_id=key.id, job_id=None, kind="grant", model="", amount=amount, at=now()))
    session.add(Audit(at=now(), key_id=key.id, what="credits granted", detail=str(amount)))
    return key


def usage(session: Session, since: float, until: float, key_id: str | None = None) -> list[Used]:
    """What was charged between two times, by day, key and model."""
    query = select(Entry).where(Entry.kind == "charge", Entry.at >= since, Entry.at < until)
    if key_id is not None:
        query = query.where(Entry.key_id == key_id)
    totals: dict[tuple[str, str, str], tuple[int, int]] = {}
    for entry in session.scalars(query):
        at = (f"{datetime.fromtimestamp(entry.at, UTC):%Y-%m-%d}", entry.key_id, entry.model)
        credits, clips = totals.get(at, (0, 0))
        totals[at] = credits + entry.amount, clips + 1
    return [Used(*at, *totals[at]) for at in sorted(totals)]


def balances(session: Session) -> Mapping[str, int]:
    """What each key has spent in all, by its id."""
    query = select(Entry.key_id, func.sum(Entry.amount)).where(Entry.kind == "charge").group_by(Entry.key_id)
    return {key_id: int(total) for key_id, total in session.execute(query)}


def _write(session: Session, job: Job, kind: str) -> None:
    session.connection().execute(_ADD, _line(job, kind))


def _line(job: Job, kind: str) -> dict[str, Any]:
    return {
        "key_id": job.key_id,
        "job_id": job.id,
        "kind": kind,
        "model": job.model,
        "amount": job.price,
        "at": now(),
    }
