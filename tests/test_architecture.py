"""The shape of the house: rooms, which way imports run, what the command line promises."""

from __future__ import annotations

import ast
import inspect
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_checkpoint import child_environment

import muybridge
from muybridge import cli
from muybridge.commands import admin_verbs, bench_verbs

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "muybridge"

ROOMS = {
    "backends",
    "commands",
    "conditioning",
    "data",
    "distillation",
    "engines",
    "evaluation",
    "flow",
    "lab",
    "recipes",
    "sampler",
    "serving",
    "simulation",
    "storage",
    "tokenizer",
    "training",
    "transformer",
    "weights",
}
PAGES = {"__init__", "__main__", "cli", "distil", "generate", "train", "types"}

VERBS = {
    "admin audit": "days home database_url",
    "admin credits": "key amount home database_url",
    "admin keys": "create revoke scopes credits days rate webhook home database_url",
    "admin usage": "days json home database_url",
    "bench all": "model output quick device json",
    "bench compare": "first second json",
    "bench control": "model output scenes quick seed steps guidance device json",
    "bench export": "folder suites scenes clips others quick full json",
    "bench fidelity": "model output clips seed steps guidance device i3d inception json metric",
    "bench physics": "model output suites scenes clips others quick full seed steps guidance device json",
    "bench score": "folder name json",
    "bench speed": "model rounds steps device json engine",
    "cluster": "home database_url address fewest most gpus cpus fetch_private signing_key",
    "distill": "recipe teacher folder data device workers",
    "export": "model folder format precision size seconds",
    "finetune": "model data folder steps rank lr size frames batch device",
    "generate": "prompt output image seconds size fps seed steps guidance solver variants model negative overwrite "
    "shift guidance_low guidance_high rescale context_noise drafts draft_steps plan_steps tries stream watermark "
    "sign disclose key last_image video strength mask control camera move lora dtype allow_pickle engine fast base "
    "precision cache",
    "inspect": "clip",
    "lab": "model folder port open serve",
    "models": "words base",
    "serve": "home host port database_url public_url devices worker worker_name fetch_private signing_key",
    "simulate": "folder clips seed size frames fps processes truth meshes",
    "train": "recipe folder data device workers rehearse sizes fsdp text effort",
    "verify": "clip trust key json",
    "work": "home database_url devices worker_name fetch_private signing_key",
}
"""What scripts of other people rely on: a verb or an option that is taken away breaks them."""

MODULES = sorted(path.relative_to(SOURCE) for path in SOURCE.rglob("*.py"))


def test_every_file_is_in_a_room() -> None:
    found = {path.parts[0] for path in MODULES if len(path.parts) > 1}
    assert found <= ROOMS
    assert {path.stem for path in MODULES if len(path.parts) == 1} == PAGES


def test_the_readme_names_every_room() -> None:
    readme = ROOT / "README.md"
    if not readme.exists():
        pytest.skip("there is no README.md yet")
    text = readme.read_text(encoding="utf-8")
    assert not [room for room in ROOMS if f"{room}/" not in text]


def test_no_room_is_called_after_nothing() -> None:
    empty = {"utils", "util", "common", "helpers", "misc", "v2", "core"}
    assert not [path for path in MODULES if empty & {*path.parts, path.stem}]


def test_imports_run_one_way() -> None:
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, env=child_environment(), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_contract_knows_every_room() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = config["tool"]["importlinter"]["contracts"][0]["layers"]
    named = {name.strip().removeprefix("muybridge.") for layer in layers for name in layer.replace("|", ":").split(":")}
    assert named == (ROOMS | PAGES) - {"__init__", "__main__", "weights"}


def test_the_command_line_stays_what_it_was() -> None:
    found = {verb: " ".join(inspect.signature(function(verb)).parameters) for verb in VERBS}
    assert found == VERBS
    nested = {"admin": cli.admin, "bench": cli.bench}
    below = {f"{verb} {name}" for verb, app in nested.items() for name in app._subcommands}
    assert {*cli.app._subcommands} - {*nested} | below == {*VERBS}


def function(verb: str) -> Callable[..., None]:
    page: Any = {"admin": admin_verbs, "bench": bench_verbs}.get(verb.split()[0], cli)
    found: Callable[..., None] = getattr(page, verb.replace(" ", "_"))
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_is_explained(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.obey([*verb.split(), "--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for name in VERBS[verb].split():
        assert name.upper() in shown or f"--{name.replace('_', '-')}" in shown
    doc = inspect.getdoc(function(verb)) or ""
    for name in VERBS[verb].split():
        assert f"{name}: " in doc, f"{verb} does not say what {name} is"


def test_what_is_exported_is_explained() -> None:
    for name in muybridge._HOMES:
        if name != "Event":  # a union of types
            assert inspect.getdoc(getattr(muybridge, name)), name


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    tree = ast.parse((SOURCE / path).read_text(encoding="utf-8"))
    assert ast.get_docstring(tree)
    undocumented = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and not ast.get_docstring(node)
    ]
    assert not undocumented


def test_no_import_reads_the_environment() -> None:
    """No environment variable is read anywhere (design, 5.7); one is set by the command line, before torch is there."""
    readers = ("os.environ", "os.getenv", "getenv(")
    found = [
        str(path)
        for path in MODULES
        if any(word in (SOURCE / path).read_text().replace("os.environ.setdefault(", "") for word in readers)
    ]
    assert not [path for path in found if not path.startswith("training/parallel")], "torchrun's own variables apart"
