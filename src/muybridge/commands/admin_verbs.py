"""The verbs of `muybridge admin`: keys, credits, usage, audit. What they import, they import themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional, arg

admin = tyro.extras.SubcommandApp()


@admin.command(name="keys")
def admin_keys(
    create: str | None = None,
    revoke: str | None = None,
    scopes: tuple[str, ...] = (),
    credits: int | None = None,
    days: float | None = None,
    rate: int | None = None,
    webhook: str | None = None,
    home: Path | None = None,
    database_url: str | None = None,
) -> None:
    """List API keys, make one, or make one useless.

    Example: muybridge admin keys --create "Ada's laptop" --credits 500 --days 30

    Args:
        create: The name of a new key, which is printed, once.
        revoke: The id of a key that shall not work any more.
        scopes: Of a new key: generate (make, cancel, delete), read (look, download), admin; by default the first two.
        credits: Of a new key; by default no limit.
        days: How long a new key works; by default for ever.
        rate: Requests a minute that a new key may make; by default the server's.
        webhook: Where to tell that clips of a new key have ended.
        home: The server's folder.
        database_url: The server's database, if it is not in HOME.
    """
    from muybridge.commands.admin import keys
    from muybridge.serving.settings import settings_of

    settings = settings_of(home=home, database_url=database_url)
    keys(settings, create, revoke, scopes, credits, days, rate, webhook)


@admin.command(name="credits")
def admin_credits(
    key: Annotated[Positional[str], arg(metavar="KEY")],
    amount: Annotated[Positional[int], arg(metavar="AMOUNT")],
    home: Path | None = None,
    database_url: str | None = None,
) -> None:
    """Give a key credits, or take some away.

    Args:
        key: Its id, as `muybridge admin keys` shows it.
        amount: How many; below zero takes away.
        home: The server's folder.
        database_url: The server's database, if it is not in HOME.
    """
    from muybridge.commands.admin import credits
    from muybridge.serving.settings import settings_of

    credits(settings_of(home=home, database_url=database_url), key, amount)


@admin.command(name="usage")
def admin_usage(
    days: float = 30.0, json: Path | None = None, home: Path | None = None, database_url: str | None = None
) -> None:
    """Show the credits that were charged, by day, key and model.

    Args:
        days: How far to look back.
        json: Write the figures here, too.
        home: The server's folder.
        database_url: The server's database, if it is not in HOME.
    """
    from muybridge.commands.admin import report
    from muybridge.serving.settings import settings_of

    report(settings_of(home=home, database_url=database_url), days, json)


@admin.command(name="audit")
def admin_audit(days: float = 30.0, home: Path | None = None, database_url: str | None = None) -> None:
    """Show what was refused, and which keys were made and changed.

    Args:
        days: How far to look back.
        home: The server's folder.
        database_url: The server's database, if it is not in HOME.
    """
    from muybridge.commands.admin import audit
    from muybridge.serving.settings import settings_of

    audit(settings_of(home=home, database_url=database_url), days)
