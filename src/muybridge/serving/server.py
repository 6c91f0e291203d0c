"""The parts of a running server, put together once; whatever needs one of them is handed this."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from dbos import DBOS, DBOSClient

from muybridge.serving.catalogue import Catalogue, read_catalogue
from muybridge.serving.database import Database, Key
from muybridge.serving.errors import Refusal
from muybridge.serving.jobs import Jobs, Tell
from muybridge.serving.keys import Keyring
from muybridge.serving.metrics import Metrics
from muybridge.serving.moderation import Moderator, moderator_of
from muybridge.serving.rates import Rates
from muybridge.serving.retries import Excuses
from muybridge.serving.settings import ServerSettings
from muybridge.serving.stores import store_of


@dataclass(frozen=True)
class Server:
    """What requests and workers share."""

    settings: ServerSettings
    database: Database
    catalogue: Catalogue
    jobs: Jobs
    keys: Keyring
    excuses: Excuses
    metrics: Metrics
    rates: Rates
    moderator: Moderator

    def check_rate(self, key: Key) -> None:
        """Refusal (429) for a key that asks too often."""
        rate = self.settings.requests_per_minute if key.requests_per_minute is None else key.requests_per_minute
        wait = self.rates.wait(key.id, rate) if rate else 0.0
        if wait:
            said = f"this key may ask {rate} times a minute: slow down"
            raise Refusal(429, said, "rate_limit_exceeded", None, math.ceil(wait))


def build_server(settings: ServerSettings, tell: Mapping[str, Tell]) -> Server:
    """Opens or makes the database and reads the catalogue. ValueError, with the mend, for what cannot be used."""
    for folder in (settings.home, settings.making):
        folder.mkdir(parents=True, exist_ok=True)
    store_of(settings)  # says now what is wrong with it
    moderator = moderator_of(settings.blocked_words, settings.check)
    catalogue = read_catalogue(settings.home / "models.toml")
    database = Database(settings.database)
    database.create()
    DBOS.migrate(settings.database)
    client = DBOSClient(
        system_database_engine=database.engine, application_name="muybridge", retry_connection_errors=False
    )
    jobs = Jobs(database, client, dict(tell), settings.most_queued, settings.retry_seconds)
    return Server(
        settings, database, catalogue, jobs, Keyring(database), Excuses(), Metrics(database), Rates(), moderator
    )
