"""One trace from the request to the clip, received by a real collector; and log lines that are JSON."""

from __future__ import annotations

import gzip
import http.server
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving_server import prepare, serving, until

from muybridge.serving.telemetry import JsonLines


class Collector(http.server.ThreadingHTTPServer):
    """Takes spans as the OpenTelemetry collector does: protobuf over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert isinstance(self.server, Collector)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.server.spans += [span for scope in resource.scope_spans for span in scope.spans]
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    pytest.importorskip("opentelemetry.proto", reason="pip install 'muybridge[telemetry]'")
    running = Collector()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def test_a_clip_is_one_trace_and_its_log_is_json(
    collector: Collector, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUYBRIDGE_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}/v1/traces")
    monkeypatch.setenv("MUYBRIDGE_LOG_FORMAT", "json")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    prepare(tmp_path, tiny_model)
    with serving(tmp_path) as server, server.client as api:
        job_id = api.post("/muybridge/v1/clips", json={"model": "testcard", "frames": 5}).json()["id"]
        found = until(lambda: {span.name: span for span in collector.spans}, lambda named: "clips_job" in named)
        token_link = api.get(f"/muybridge/v1/clips/{job_id}").json()["video"]
        assert api.get(token_link).status_code == 200
    (request,) = [span for span in collector.spans if span.name.startswith("POST ")]
    job = found["clips_job"]
    assert job.trace_id == request.trace_id
    assert job.parent_span_id == request.span_id
    assert {found["sample"].parent_span_id, found["write"].parent_span_id} == {job.span_id}
    lines = [json.loads(line) for line in (tmp_path / "serve.log").read_text().splitlines()]
    (asked,) = [line for line in lines if line["message"] == "request" and line["status"] == 202]
    assert asked["job"] == job_id
    assert asked["trace_id"] == request.trace_id.hex()
    assert token_link.split("/")[-2] not in (tmp_path / "serve.log").read_text()
    assert token_link.split("/")[-2] not in str(collector.spans)


def test_a_log_line_holds_what_it_was_given() -> None:
    try:
        raise ValueError("é")
    except ValueError as error:
        record = logging.LogRecord("a.b", logging.WARNING, "", 0, "said %s", ("so",), (ValueError, error, None))
    record.fields = {"job": "1"}
    line = json.loads(JsonLines().format(record))
    assert line["time"].endswith("+00:00")
    assert {name: line[name] for name in ("level", "logger", "message", "job")} == {
        "level": "warning",
        "logger": "a.b",
        "message": "said so",
        "job": "1",
    }
    assert "ValueError: é" in line["traceback"]
