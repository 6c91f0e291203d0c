"""Figures for Prometheus: what was asked, how long it took, how the jobs stand."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from muybridge.serving.database import Database, Entry, Job, State


class Metrics(Collector):
    """A registry of its own, so that several servers fit in one process."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "muybridge_requests",
            "Answers, by dialect and status",
            ["dialect", "method", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "muybridge_request_seconds", "Time to the first byte of an answer", ["dialect"], registry=self.registry
        )
        self.registry.register(self)

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read from the database when asked, so that it is true for all processes."""
        with self.database.read() as session:
            by_state = select(Job.state, func.count()).group_by(Job.state)
            by_kind = select(Entry.kind, func.sum(Entry.amount)).group_by(Entry.kind)
            states = {State(state): count for state, count in session.execute(by_state)}
            amounts = {kind: int(amount) for kind, amount in session.execute(by_kind)}
        jobs = GaugeMetricFamily("muybridge_jobs", "Jobs, by state", labels=["state"])
        for state in State:
            jobs.add_metric([state.value], states.get(state, 0))
        credits = GaugeMetricFamily("muybridge_credits", "Credits in the ledger, by kind", labels=["kind"])
        for kind, amount in sorted(amounts.items()):
            credits.add_metric([kind], amount)
        yield jobs
        yield credits

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
