"""What the server remembers: typed tables, one transaction at a time for whoever writes, SQLite and Postgres alike."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Engine,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    create_engine,
    event,
    text,
)
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SCHEMA = 1
"""Version of the tables. Raised when an older program could not use what a newer one wrote."""


class State(StrEnum):
    """Where a job stands. The last four are final: a job gets to one of them, once."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MODERATED = "moderated"


AWAY = (OperationalError, InterfaceError, PoolTimeout)
"""What is raised while a database is stopped, locked, full or out of reach: trying again later makes sense."""

PATIENCE_MS = 10_000
"""For how long a writer waits for SQLite while another process writes."""

OPEN = (State.QUEUED, State.RUNNING)


class Base(DeclarativeBase):
    """All tables. Times are seconds since 1970, UTC."""

    type_annotation_map = {  # noqa: RUF012
        dict[str, Any]: JSON,
        list[str]: JSON,
        str: String(200),
        int: BigInteger().with_variant(Integer, "sqlite"),  # whose whole numbers are as long as need be
    }


class Meta(Base):
    """Facts about the database itself."""

    __tablename__ = "meta"
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[str]


class Key(Base):
    """An API key. Only its digest is kept; `credits` None is without limit."""

    __tablename__ = "keys"
    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    digest: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    credits: Mapped[int | None]
    requests_per_minute: Mapped[int | None]
    webhook_url: Mapped[str | None] = mapped_column(Text)
    webhook_secret: Mapped[str]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    revoked_at: Mapped[float | None]


class Job(Base):
    """One clip that was accepted.

    order        what is to be made, as `orders.Order` writes it; extra: what the dialect wants to say again
    fingerprint  of the request: equal for a repetition; seen_at, dropped_at: see `retries`
    price        credits, reserved when it was accepted
    """

    __tablename__ = "jobs"
    id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id"))
    dialect: Mapped[str]
    state: Mapped[State] = mapped_column(String(20))
    model: Mapped[str]
    prompt: Mapped[str] = mapped_column(Text)
    order: Mapped[dict[str, Any]]
    extra: Mapped[dict[str, Any]]
    price: Mapped[int]
    priority: Mapped[int]
    progress: Mapped[float]
    attempts: Mapped[int]
    error_code: Mapped[str | None]
    error: Mapped[str | None] = mapped_column(Text)
    batch_id: Mapped[str | None] = mapped_column(index=True)
    fingerprint: Mapped[str]
    idempotency_key: Mapped[str | None]
    attempt: Mapped[int]
    base_url: Mapped[str] = mapped_column(Text)
    callback_url: Mapped[str | None] = mapped_column(Text)
    token: Mapped[str]
    created_at: Mapped[float]
    started_at: Mapped[float | None]
    finished_at: Mapped[float | None]
    seen_at: Mapped[float | None]
    dropped_at: Mapped[float | None]
    watched_at: Mapped[float | None]
    deleted_at: Mapped[float | None]

    __table_args__ = (
        Index("jobs_of_key", "key_id", "created_at"),
        Index("jobs_alike", "key_id", "fingerprint"),
        Index("jobs_by_state", "state"),
        UniqueConstraint("key_id", "idempotency_key"),
    )


class Entry(Base):
    """A line of the ledger. A job is charged once and released once, or the database refuses."""

    __tablename__ = "ledger"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id"), index=True)
    job_id: Mapped[str | None]
    kind: Mapped[str]
    model: Mapped[str]
    amount: Mapped[int]
    at: Mapped[float] = mapped_column(index=True)
    __table_args__ = (UniqueConstraint("job_id", "kind"),)


class Upload(Base):
    """A still that was handed in first and is used later. `still` is its name once it has arrived."""

    __tablename__ = "uploads"
    id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id"))
    token: Mapped[str]
    still: Mapped[str | None]
    created_at: Mapped[float]


class Delivery(Base):
    """A webhook: what is to be told, where, and whether somebody listened."""

    __tablename__ = "deliveries"
    id: Mapped[str] = mapped_column(primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), index=True)
    url: Mapped[str] = mapped_column(Text)
    body: Mapped[str] = mapped_column(Text)
    attempts: Mapped[int]
    status: Mapped[int | None]
    delivered_at: Mapped[float | None]


class Audit(Base):
    """Something an operator may be asked about: who was refused what, and what was changed."""

    __tablename__ = "audit"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[float]
    key_id: Mapped[str | None]
    what: Mapped[str]
    detail: Mapped[str] = mapped_column(Text)


class Database:
    """The engine, and two ways into it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = _engine(url)
        # SQLite has one writer, and those that wait for it look again now and then; threads of ours queue instead.
        self._turn = threading.Lock() if self.engine.dialect.name == "sqlite" else nullcontext()

    def create(self) -> None:
        """Makes the tables that are missing. ValueError if they are a newer program's, or the database is not there."""
        try:
            Base.metadata.create_all(self.engine)
        except AWAY as error:
            said = str(getattr(error, "orig", error)).splitlines()[0]
            raise ValueError(
                f"the database {self.engine.url.render_as_string()} does not answer ({said}): start it, or give another"
            ) from error
        with self.write() as session:
            found = session.get(Meta, "schema")
            if found is None:
                session.add(Meta(name="schema", value=str(SCHEMA)))
            elif int(found.value) != SCHEMA:
                raise ValueError(
                    f"the database {self.engine.url.render_as_string()} has tables of version {found.value}, this "
                    f"program knows {SCHEMA}: update Muybridge, or give another --home"
                )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for looking; nothing is committed."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A session that holds the write lock from its first statement on, and commits when the block ends well."""
        with self._turn, Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                session.execute(text("BEGIN IMMEDIATE"))
            yield session

    def check(self) -> None:
        """Raises SQLAlchemy's error if the database does not answer."""
        with self.read() as session:
            session.execute(text("SELECT 1"))


def now() -> float:
    """Seconds since 1970, UTC."""
    return time.time()


def _engine(url: str) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True, pool_size=20, max_overflow=20)
    engine = create_engine(url, pool_size=20, max_overflow=40, pool_timeout=60)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        # A reader never waits for a writer (WAL); a killed process loses nothing, a power cut the last moments at most.
        connection.isolation_level = "IMMEDIATE"
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={PATIENCE_MS}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return engine
