"""Every setting of the server, in one place: options of `muybridge serve`, or variables that begin with MUYBRIDGE_."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

MEGABYTE = 1_000_000


class ServerSettings(BaseSettings):
    """How a server is run. Each field may come from the environment: MUYBRIDGE_PORT=9000 and so on.

    home                 folder of everything the server keeps: database, stills, results, the table of models
    host, port           where it listens; the default is reachable from this machine only
    database_url         SQLAlchemy's URL; empty: a SQLite file in `home`. Postgres: postgresql+psycopg://…
    public_url           how clients reach the server, for links in answers; empty: as they called it
    devices              where models run, one job each at a time; empty: the best device there is
    worker               work in this process; without it, `muybridge serve` only answers and others work
    worker_name          unique among workers that share a database; a worker takes up its namesake's jobs
    poll_seconds         how often a worker looks for jobs
    sign                 sign results (C2PA)
    signing_key          PEM file of key and certificates, which has to be there; None: the user's own, made if need be
    most_attempts        times a job is begun before it counts as failed (a worker that dies with it, each time)
    max_body_bytes       of one request, uploads included
    max_image_bytes      of one still; max_video_bytes  of one video
    fetch_seconds        for the whole of one still or video that is fetched from a URL
    fetch_private        fetch stills and videos from, and send webhooks to, private and local addresses, and plain http
    retry_seconds        for how long a request counts as a repetition of one whose answer may have been lost
    requests_per_minute  for a key that has no rate of its own; 0: no limit
    most_queued          jobs of one key that may wait; above it, 429
    store                where results, stills and videos lie: s3://bucket/prefix, gs://…, az://…; empty: in `home`
    store_options        for that store: endpoint, region, access_key_id, secret_access_key, … (JSON)
    keep_hours           results are said to expire after this long (nothing is deleted by itself)
    blocked_words        prompts that hold one of these are refused, not charged, and noted in the audit log
    check                package.module:callable that looks at prompts, stills and results; see `moderation`
    log_format           text, or json: a line an event, with one for each request
    otlp_endpoint        where traces go: http://collector:4318/v1/traces; empty: nowhere (extra `telemetry`)
    """

    model_config = SettingsConfigDict(env_prefix="MUYBRIDGE_", frozen=True, extra="forbid")

    home: Path = Path("runs/server")
    host: str = "127.0.0.1"
    port: int = Field(default=8642, ge=0, le=65535)
    database_url: str = ""
    public_url: str = ""
    devices: tuple[str, ...] = ()
    worker: bool = True
    worker_name: str = Field(default="local", pattern=r"^[A-Za-z0-9._-]{1,64}$")
    poll_seconds: float = Field(default=0.1, gt=0)
    sign: bool = True
    signing_key: Path | None = None
    most_attempts: int = Field(default=5, ge=1)
    max_body_bytes: int = Field(default=64 * MEGABYTE, gt=0)
    max_image_bytes: int = Field(default=16 * MEGABYTE, gt=0)
    max_video_bytes: int = Field(default=48 * MEGABYTE, gt=0)
    fetch_seconds: float = Field(default=20.0, gt=0)
    fetch_private: bool = False
    retry_seconds: float = Field(default=900.0, ge=0)
    requests_per_minute: int = Field(default=1200, ge=0)
    most_queued: int = Field(default=10_000, ge=1)
    store: str = ""
    store_options: dict[str, str] = Field(default_factory=dict)
    keep_hours: float = Field(default=24.0, gt=0)
    blocked_words: tuple[str, ...] = ()
    check: str = Field(default="", pattern=r"^([\w.]+:\w+)?$")
    log_format: Literal["text", "json"] = "text"
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://.+)?$")

    @property
    def database(self) -> str:
        """The URL of the database that is used."""
        return self.database_url or f"sqlite:///{self.home.resolve()}/server.sqlite"

    @property
    def making(self) -> Path:
        """Of files that are not whole yet."""
        return self.home / "making"


def settings_of(**said: Any) -> ServerSettings:
    """Settings from the environment and from what was typed, which wins. ValueError in one sentence.

    What was left as the command line has it (None, and flags that nobody touched) is not said.
    """
    untouched = {"worker": True, "fetch_private": False}
    typed = {name: value for name, value in said.items() if value != untouched.get(name)}
    try:
        return ServerSettings(**typed)
    except ValidationError as error:
        first = error.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise ValueError(f"--{name}: {first['msg']}: give another value") from error
