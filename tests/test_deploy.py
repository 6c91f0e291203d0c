"""The files in docs/deploy.md: they parse, their commands are ours, and what they refer to is there."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_readme import parse

from muybridge import cli
from muybridge.serving.settings import ServerSettings

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    return content


def manifests() -> dict[str, Any]:
    return {one["kind"]: one for one in yaml.safe_load_all(blocks("yaml")[1])}


def texts(value: Any) -> Iterator[str]:
    """All texts in nested lists and dictionaries, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in [*value, *value.values()] if isinstance(value, dict) else value:
            yield from texts(one)


def command_lines() -> list[list[str]]:
    services = [shlex.split(one["command"]) for one in compose()["services"].values() if "command" in one]
    (container,) = manifests()["Deployment"]["spec"]["template"]["spec"]["containers"]
    (started,) = re.findall(r"^CMD (\[.*\])$", blocks("dockerfile")[0], re.MULTILINE)
    return [*services, container["command"], yaml.safe_load(started)]


@pytest.mark.parametrize("words", command_lines(), ids=" ".join)
def test_a_command_is_ours(words: list[str]) -> None:
    program, verb, *options = words
    assert program == "muybridge"
    assert parse(getattr(cli, verb), options)


def test_variables_are_settings() -> None:
    names = set(re.findall(r"MUYBRIDGE_(\w+)", PAGE))
    assert {"HOME", "DATABASE_URL"} <= names
    assert names <= {name.upper() for name in ServerSettings.model_fields}


def test_compose_refers_to_what_it_has() -> None:
    file = compose()
    assert set(file) == {"services", "volumes"}
    known = {"image", "command", "environment", "ports", "volumes", "depends_on", "restart", "healthcheck"}
    for name, service in file["services"].items():
        assert set(service) <= known, name
        assert {volume.split(":")[0] for volume in service["volumes"]} <= set(file["volumes"]), name
        for needed in service.get("depends_on", {}):
            assert "healthcheck" in file["services"][needed], name
    database, api = file["services"]["database"]["environment"], file["services"]["api"]["environment"]
    user, password, base = (database[f"POSTGRES_{name}"] for name in ("USER", "PASSWORD", "DB"))
    assert api["MUYBRIDGE_DATABASE_URL"] == f"postgresql+psycopg://{user}:{password}@database/{base}"


def test_the_extras_of_the_image_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    wanted = re.findall(r"/muybridge\[(.+?)\]", blocks("dockerfile")[0])[0].split(",")
    assert set(wanted) <= set(extras)


def test_the_api_is_found_and_looked_after() -> None:
    deployment, service = manifests()["Deployment"]["spec"], manifests()["Service"]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == deployment["selector"]["matchLabels"] == service["selector"]
    (container,) = deployment["template"]["spec"]["containers"]
    port = container["ports"][0]["containerPort"]
    assert port == service["ports"][0]["targetPort"] == ServerSettings.model_fields["port"].default
    source = (ROOT / "src" / "muybridge" / "serving" / "app.py").read_text()
    for probe in ("livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] == port
        assert f'"{container[probe]["httpGet"]["path"]}"' in source


def test_every_pod_has_the_folder_and_the_secret() -> None:
    service = manifests()["RayService"]["spec"]["rayClusterConfig"]
    groups = [service["headGroupSpec"], *service["workerGroupSpecs"], manifests()["Deployment"]["spec"]]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert [volume["name"] for volume in pod["volumes"]] == [one["name"] for one in container["volumeMounts"]]
        assert container["envFrom"] == [{"secretRef": {"name": "muybridge"}}]
        assert container["image"] == "muybridge"


def test_the_application_is_the_one_that_is_there() -> None:
    (application,) = yaml.safe_load(manifests()["RayService"]["spec"]["serveConfigV2"])["applications"]
    module, _, name = application["import_path"].partition(":")
    source = (ROOT / "src" / module.replace(".", "/")).with_suffix(".py").read_text()
    assert f"\ndef {name}(" in source
    fields = re.findall(
        r"^    (\w+): (?:int|float) =", source.split("class Replicas:")[1].split("def ")[0], re.MULTILINE
    )
    assert set(application["args"]) == set(fields)
    assert application["name"] == re.findall(r'^NAME = "(.+)"$', source, re.MULTILINE)[0]


def test_no_text_is_left_to_fill_in() -> None:
    words = [text for file in (compose(), *manifests().values()) for text in texts(file)]
    assert not [word for word in words if re.search(r"<[^>]+>|TODO|\.\.\.", word)]
