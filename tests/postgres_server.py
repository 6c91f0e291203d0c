"""A Postgres of the tests' own: a cluster in a temporary folder, reached through a socket, that can be stopped."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import NullPool, create_engine, text

_TABLES = """
    SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
    WHERE schemaname NOT IN ('pg_catalog', 'information_schema') AND tablename <> 'dbos_migrations'
"""
_DEBIAN = Path("/usr/lib/postgresql")


@dataclass
class Postgres:
    """A running cluster. Postgres refuses to be root's, so root runs it as `postgres`."""

    programs: Path
    folder: Path
    _names: Iterator[int] = field(default_factory=itertools.count)

    def start(self) -> None:
        # No disk is waited for, and nothing listens but a socket in the folder.
        options = f"-c listen_addresses='' -c fsync=off -c max_connections=200 -k {self.folder}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", str(self.folder / "data"), "-l", log, "-o", options)

    def stop(self) -> None:
        """At once, as a power cut has it: connections break, transactions are lost."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self.folder / "data"))

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"

    def new(self) -> str:
        """The URL of a new database."""
        name = f"database{next(self._names)}"
        self._run("createdb", "-h", str(self.folder), "-U", "postgres", name)
        return self.url(name)

    def emptied(self) -> str:
        """The URL of a database that tests share one after the other: losing rows is faster than making tables."""
        engine = create_engine(self.url("postgres"), poolclass=NullPool)
        with engine.begin() as connection:
            connection.execute(text("SET session_replication_role = replica"))  # foreign keys do not mind the order
            for table in connection.scalars(text(_TABLES)).all():
                connection.execute(text(f"DELETE FROM {table}"))
        return self.url("postgres")

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [*_as_postgres(), self.programs / program, *words], cwd="/", stdout=subprocess.DEVNULL, check=False
        )
        log = self.folder / "log"
        assert done.returncode == 0, f"{program}: {log.read_text()[-2000:] if log.exists() else 'see above'}"


def programs() -> Path | None:
    """Where initdb, pg_ctl and createdb are; None where there are none."""
    found = sorted(_DEBIAN.glob("*/bin/pg_ctl"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("pg_ctl")
    return None if on_path is None else Path(on_path).parent


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A new cluster, gone at the end."""
    where = programs()
    assert where is not None
    with tempfile.TemporaryDirectory(prefix="mb-pg") as name:  # short: a socket's path has at most 107 letters
        folder = Path(name)
        if os.getuid() == 0:
            shutil.chown(folder, "postgres")
        cluster = Postgres(where, folder)
        cluster._run("initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop()


def _as_postgres() -> list[str]:
    return ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
