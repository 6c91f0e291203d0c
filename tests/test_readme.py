"""README and docs say what is true: commands parse, links lead somewhere, the tree is the tree, the Python runs."""

from __future__ import annotations

import functools
import inspect
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tyro

from muybridge import cli
from muybridge.commands import admin_verbs, bench_verbs

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "muybridge"
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
TORCHRUN = re.compile(r"torchrun .*?-m muybridge(\.cli)? ")


def lines_of(page: Path) -> Iterator[str]:
    """Lines of code blocks: indented by four, or fenced with ``` or ```sh."""
    fence: str | None = None
    for line in page.read_text(encoding="utf-8").splitlines():
        if line.startswith("```"):
            fence = line[3:].strip() if fence is None else None
        elif (fence is None and line.startswith("    ")) or fence in ("", "sh", "console"):
            yield line.strip()


def commands(*beginnings: str) -> list[tuple[str, str]]:
    """(page, line) of all commands that begin so, where torchrun is left off."""
    found = []
    for page in PAGES:
        for line in lines_of(page):
            line = TORCHRUN.sub("muybridge ", line)
            if line.startswith(beginnings):
                found.append((page.relative_to(ROOT).as_posix(), line))
    return found


def parse(function: Callable[..., None], words: list[str]) -> dict[str, Any]:
    """The arguments that the verb would be called with. SystemExit for what it does not understand."""

    @functools.wraps(function)
    def bound(*args: Any, **named: Any) -> dict[str, Any]:
        return dict(inspect.signature(function).bind(*args, **named).arguments)

    return tyro.cli(bound, args=words)


@pytest.mark.parametrize(("page", "line"), commands("muybridge ", "./try "), ids=str)
def test_a_command_parses(page: str, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    verb, *words = ["generate", *words] if program == "./try" else words
    assert verb in cli.app._subcommands, f"{page}: {verb} is no verb"
    home: Any = {"admin": admin_verbs, "bench": bench_verbs}.get(verb, cli)
    if verb in ("admin", "bench"):
        assert words[0] in getattr(cli, verb)._subcommands, f"{page}: {verb} has no {words[0]}"
        verb, *words = [f"{verb}_{words[0]}", *words[1:]]
    function: Callable[..., None] = getattr(home, verb)
    needed = [one.name for one in inspect.signature(function).parameters.values() if one.default is one.empty]
    assert parse(function, words) if words else not needed


@pytest.mark.parametrize(("page", "line"), commands("python ", "./"), ids=str)
def test_a_script_is_there(page: str, line: str) -> None:
    program, *words = shlex.split(line, comments=True)
    script = next(word for word in [program, *words] if word != "python")
    if script == "-m":
        script = "src/" + words[1].replace(".", "/") + ".py"
    assert (ROOT / script).is_file(), page


def test_the_two_commands_are_in_the_readme() -> None:
    found = [line for page, line in commands("./") if page == "README.md"]
    assert [line.split()[0] for line in found] == ["./try", "./check"]
    for script in ("try", "check", ".ci/run"):
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} is not executable"
    assert "./check" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_tree_is_the_tree() -> None:
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    entries = re.findall(r"^[├└]── (\S+) +\S", block, re.MULTILINE)
    files = {
        path.relative_to(SOURCE) for path in SOURCE.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    found = {f"{path.parts[0]}/" if len(path.parts) > 1 else path.name for path in files}
    assert len(entries) == len(set(entries))
    assert set(entries) | {"__init__.py", "weights/"} == found | {"weights/"}


def test_files_that_are_named_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`([\w/]+\.py)`", page.read_text(encoding="utf-8")):
            below = [folder for folder in (ROOT, SOURCE, *SOURCE.iterdir()) if (folder / name).is_file()]
            assert below, f"{page.name} names {name}"


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith(("http", "#")):
                assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name


def test_the_python_runs(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a tiny model in the place of the bundled one."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert 'load("nano")' in code
    monkeypatch.chdir(tmp_path)
    exec(compile(code.replace('"nano"', repr(str(tiny_model))), "README.md", "exec"), {})
    assert {file.suffix for file in tmp_path.iterdir()} == {".mp4", ".png"}
