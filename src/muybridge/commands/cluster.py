"""`muybridge cluster`: the worker on many machines."""

from __future__ import annotations

import logging
import signal

from muybridge.serving.cluster import Replicas, running
from muybridge.serving.settings import ServerSettings


def run(settings: ServerSettings, replicas: Replicas, address: str | None) -> None:
    """Works until it is told to stop (Ctrl-C, SIGTERM)."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with running(settings, replicas, address):
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # after Ray, which sets a handler of its own
        count = f"{replicas.fewest} to {replicas.most}"
        print(f"working      {count} replicas, with {settings.database}", flush=True)
        signal.pause()
