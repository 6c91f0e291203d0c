"""The parts of a running server, put together once; whatever needs one of them is handed this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dbos import DBOS, DBOSClient
from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from muybridge.serving.catalogue import Catalogue, read_catalogue
from muybridge.serving.database import Database, Key
from muybridge.serving.errors import Refusal
from muybridge.serving.jobs import Jobs, Tell
from muybridge.serving.metrics import Metrics
from muybridge.serving.retries import Excuses
from muybridge.serving.settings import ServerSettings


@dataclass(frozen=True)
class Server:
    """What requests and workers share."""

    settings: ServerSettings
    database: Database
    catalogue: Catalogue
    jobs: Jobs
    excuses: Excuses
    metrics: Metrics
    limiter: MovingWindowRateLimiter

    def check_rate(self, key: Key) -> None:
        """Refusal (429) for a key that asks too often. Counted in this process: N of them allow N times as much."""
        rate = self.settings.requests_per_minute if key.requests_per_minute is None else key.requests_per_minute
        if rate and not self.limiter.hit(RateLimitItemPerMinute(rate), key.id):
            raise Refusal(429, f"this key may ask {rate} times a minute: slow down", "rate_limit_exceeded", None, 5)


def build_server(settings: ServerSettings, tell: Mapping[str, Tell]) -> Server:
    """Opens or makes the database and reads the catalogue. ValueError, with the mend, for what cannot be used."""
    for folder in (settings.home, settings.stills, settings.results):
        folder.mkdir(parents=True, exist_ok=True)
    catalogue = read_catalogue(settings.home / "models.toml")
    database = Database(settings.database)
    database.create()
    DBOS.migrate(settings.database)
    client = DBOSClient(
        system_database_engine=database.engine, application_name="muybridge", retry_connection_errors=False
    )
    jobs = Jobs(database, client, dict(tell), settings.most_queued, settings.retry_seconds)
    limiter = MovingWindowRateLimiter(MemoryStorage())
    return Server(settings, database, catalogue, jobs, Excuses(), Metrics(database), limiter)
