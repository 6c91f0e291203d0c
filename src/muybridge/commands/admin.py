"""`muybridge admin`: keys, credits, usage, what was refused. Works on the database, whether the server runs or not."""

from __future__ import annotations

import json as jsons
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table
from sqlalchemy import select

from muybridge.serving.credits import balances, grant, usage
from muybridge.serving.database import Audit, Database, Key, now
from muybridge.serving.keys import SCOPES, create_key, revoke_key
from muybridge.serving.settings import ServerSettings


def keys(
    settings: ServerSettings,
    create: str | None,
    revoke: str | None,
    scopes: Sequence[str],
    credits: int | None,
    days: float | None,
    rate: int | None,
    webhook: str | None,
) -> None:
    """Lists keys, after making or revoking one."""
    database = _database(settings)
    if create is not None:
        with database.write() as session:
            key, token = create_key(session, create, scopes or SCOPES[:2], credits, days, rate, webhook)
        print(f"API key      {token}  (shown once)")
        print(f"id           {key.id}")
        print(f"webhooks     signed with {key.webhook_secret}")
        return
    if revoke is not None:
        with database.write() as session:
            print(f"revoked      {revoke_key(session, revoke).name}")
        return
    with database.read() as session:
        found, spent = list(session.scalars(select(Key).order_by(Key.created_at))), balances(session)
    table = Table(_key_column(), "name", "scopes", "credits left", "spent", "a minute", "until")
    for key in found:
        left = "no limit" if key.credits is None else str(key.credits)
        rate_said = "" if key.requests_per_minute is None else str(key.requests_per_minute)
        table.add_row(key.id, key.name, " ".join(key.scopes), left, str(spent.get(key.id, 0)), rate_said, _until(key))
    _console().print(table)


def credits(settings: ServerSettings, key_id: str, amount: int) -> None:
    """Gives a key credits, or takes some away."""
    with _database(settings).write() as session:
        key = grant(session, key_id, amount)
    print(f"{key.name} has {key.credits} credits")


def report(settings: ServerSettings, days: float, json: Path | None) -> None:
    """What was charged, by day, key and model."""
    with _database(settings).read() as session:
        lines = usage(session, now() - days * 86_400, now() + 1)
        names = {key.id: key.name for key in session.scalars(select(Key))}
    table = Table("day", "key", "model", "clips", "credits")
    for line in lines:
        table.add_row(line.date, names[line.key_id], line.model, str(line.clips), str(line.credits))
    _console().print(table)
    if json is not None:
        json.write_text(jsons.dumps([line._asdict() for line in lines], indent=1), encoding="utf-8")


def audit(settings: ServerSettings, days: float) -> None:
    """What was refused and changed."""
    with _database(settings).read() as session:
        found = list(session.scalars(select(Audit).where(Audit.at > now() - days * 86_400).order_by(Audit.at)))
    table = Table("when", _key_column(), "what", "detail")
    for line in found:
        table.add_row(_day(line.at), line.key_id or "", line.what, line.detail)
    _console().print(table)


def _database(settings: ServerSettings) -> Database:
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    database.create()
    return database


def _key_column() -> Column:
    """Whole on the narrowest terminal: other verbs want it typed."""
    return Column("key", min_width=20)


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _until(key: Key) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "" if key.expires_at is None else _day(key.expires_at)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
