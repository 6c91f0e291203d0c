"""schemathesis over the whole OpenAPI: what fits a schema, and what just does not, gets an answer that the schema has.

pytest -m slow tests/test_schemathesis.py  sends twenty times as much, which takes minutes.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from serving_server import prepare
from starlette.testclient import TestClient

from muybridge.serving.app import TELL, build_app
from muybridge.serving.keys import create_key
from muybridge.serving.server import build_server
from muybridge.serving.settings import ServerSettings

CLIPS = "/muybridge/v1/clips"
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module")
def client(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    home = tmp_path_factory.mktemp("schemathesis")
    prepare(home, tiny_model)
    server = build_server(ServerSettings(home=home, requests_per_minute=0), TELL)
    with server.database.write() as session:
        _, token = create_key(session, "tests", ("generate", "read", "admin"))
    with TestClient(build_app(server), headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def real(client: TestClient, names: list[str]) -> dict[str, Any]:
    """Values of a path's parameters that lead somewhere: to an upload, or to a clip that has ended."""
    if "upload_id" in names:
        return {"upload_id": client.post("/v1/uploads", json={"filename": "a.png"}).json()["fields"]["key"]}
    if not any(name.endswith("_id") for name in names):
        return {}
    clip = client.post(CLIPS, json={"prompt": "x", "model": "testcard", "frames": 1}).json()["id"]
    assert client.post(f"{CLIPS}/{clip}/cancel").json()["state"] == "cancelled"
    return {name: clip for name in names if name.endswith("_id")}


@pytest.mark.parametrize("examples", [5, pytest.param(100, marks=pytest.mark.slow)])
def test_whatever_is_sent_is_answered_as_documented(client: TestClient, examples: int) -> None:
    schema = schemathesis.openapi.from_asgi("/openapi.json", client.app)
    headers = {"Authorization": client.headers["Authorization"]}
    asked: list[str] = []

    def tried(operation: Any) -> None:
        known = real(client, [parameter.name for parameter in operation.path_parameters])
        places = [None, known] if known else [None]
        cases = [operation.as_strategy(mode, path_parameters=place) for mode in MODES for place in places]

        @settings(
            max_examples=examples,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(st.one_of(cases))
        def send(case: Case) -> None:
            asked.append(operation.label)
            case.call_and_validate(headers=headers, checks=CHECKS)

        send()

    operations = [found.ok() for found in schema.get_all_operations()]
    for operation in operations:
        tried(operation)
    assert set(asked) == {operation.label for operation in operations}
    assert len(operations) > 60
