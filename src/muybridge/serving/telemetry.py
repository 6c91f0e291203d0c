"""What an operator's other programs read: log lines as JSON, and traces (OpenTelemetry, extra `telemetry`).

A trace begins with the request and goes on in the worker that takes its job, whichever process that is: FastAPI makes
the first span, DBOS carries its context and makes the job's, and `span` adds what the job does.
"""

from __future__ import annotations

import json
import logging
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

from opentelemetry import context, trace

import muybridge

_NOT_TRACED = ("/files/", "/healthz", "/readyz", "/metrics")
"""Beginnings of paths: links that open without a key are no collector's business, probes are nobody's."""


class JsonLines(logging.Formatter):
    """A line an event: time, level, logger, message, the `fields` it was given, the trace it belongs to."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        belongs = trace.get_current_span().get_span_context()
        if belongs.is_valid:
            line["trace_id"] = trace.format_trace_id(belongs.trace_id)
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def log_to_stderr(form: str) -> None:
    """Logs go to stderr, as "text" or "json"; as JSON there is a line for each request."""
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s")
    handler.setFormatter(JsonLines() if form == "json" else text)
    logging.getLogger("muybridge.requests").setLevel(logging.INFO if form == "json" else logging.WARNING)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    queue = logging.getLogger("dbos")  # which would format its own
    queue.handlers[:], queue.propagate = [handler], False
    queue.setLevel(logging.WARNING)


def trace_to(endpoint: str) -> None:
    """Sends all spans of this process to a collector (OTLP over HTTP), in the background."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    about = Resource.create({"service.name": "muybridge", "service.version": muybridge.__version__})
    provider = TracerProvider(resource=about)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    trace.set_tracer_provider(provider)


def fastapi_settings() -> dict[str, Any]:
    """What FastAPI is told about telemetry."""
    return {"exclude": lambda scope: str(scope.get("path", "")).startswith(_NOT_TRACED), "operation_spans": False}


def current() -> context.Context:
    """The trace that goes on here, to be handed to another process."""
    return context.get_current()


def span(name: str, **facts: str | int | float) -> AbstractContextManager[trace.Span]:
    """A part of the current trace; nothing at all where traces go nowhere."""
    attributes = {f"muybridge.{fact}": value for fact, value in facts.items()}
    return trace.get_tracer("muybridge").start_as_current_span(name, attributes=attributes)
