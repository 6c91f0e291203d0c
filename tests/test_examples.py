"""Every example runs, on a tiny model, and writes what it says."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from muybridge import read_mp4

EXAMPLES = Path(__file__).parents[1] / "examples"

WRITES = {
    "custom_solver": [],
    "drop_a_mesh": ["jack.mp4", "jack.png"],
    "extend": ["extended.mp4", "extended.png"],
    "generate_from_image": ["from-still.mp4", "from-still.png"],
    "generate_text": ["clip.mp4", "clip.png"],
    "inspect_clip": ["again.mp4", "made.mp4"],
    "measure": [],
    "sign_and_verify": ["changed.mp4", "key.pem", "signed.mp4"],
    "simulate_worlds": [f"world-{seed}.{kind}" for seed in range(3) for kind in ("mp4", "png")],
    "stream": ["stream.mp4", "stream.png"],
    "train_tiny": ["toy", "toy.mp4"],
    "variants": [*(f"variant-{seed}.mp4" for seed in range(4)), "variants.mp4", "variants.png"],
    "watch_sampling": ["sampling.png"],
}
"""What each example leaves in an empty folder."""


def run(name: str, *words: str) -> int:
    """Run an example as a script of its own, in this process: torch is loaded once for all of them."""
    script = EXAMPLES / f"{name}.py"
    before, sys.argv = sys.argv, [str(script), *words]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.argv = before
    return 0


@pytest.mark.parametrize("name", WRITES)
def test_example(
    name: str,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(name, "toy" if name == "train_tiny" else str(tiny_model)) == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(WRITES[name])
    assert capsys.readouterr().out
    for file in tmp_path.glob("*.mp4"):
        assert len(read_mp4(file).frames) >= 9


def test_a_clip_is_carried_on(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run("extend", str(tiny_model))
    assert len(read_mp4(tmp_path / "extended.mp4").frames) == 9 + 9 - 5


def test_what_is_signed_is_told_from_what_was_changed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run("sign_and_verify", str(tiny_model))
    signed, changed, mark = capsys.readouterr().out.splitlines()
    assert "valid" in signed
    assert "trusted: True" in signed
    assert "changed, " in changed
    assert mark.startswith("the pixels name this very clip")  # noise, which a tiny model makes, may drown it


def test_each_example_is_tested_and_short() -> None:
    scripts = {script.stem: script.read_text().splitlines() for script in EXAMPLES.glob("*.py")}
    assert scripts.keys() == WRITES.keys()
    assert all(len(lines) <= 40 for lines in scripts.values())
