"""The folder that goes out and comes back: what it holds and must not hold, and what is wrong with others."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny_suite import Tiny

from muybridge.evaluation.exchange import MANIFEST, entries_of, export, stray, submission
from muybridge.evaluation.pictures import psnr
from muybridge.evaluation.running import Entry, run
from muybridge.storage.video import read_mp4, write_mp4

SUITE = Tiny()
SUITES = {"tiny": SUITE}
ENTRIES = [Entry(SUITE, split, number) for split in SUITE.splits for number in range(2)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    export(ENTRIES, tmp_path / "out")
    return tmp_path / "out"


def test_what_goes_out_is_what_a_maker_needs(folder: Path) -> None:
    tasks = json.loads((folder / MANIFEST).read_text())["tasks"]
    assert [row["name"] for row in tasks] == [entry.name for entry in ENTRIES]
    for row, entry in zip(tasks, ENTRIES, strict=True):
        task = entry.task()
        assert (row["prompt"], row["fps"], row["frames"], row["known"]) == (task.prompt, 15.0, 9, 5)
        assert (row["width"], row["height"], row["seed"]) == (48, 32, task.seed)
        still = np.asarray(Image.open(folder / "given" / f"{row['name']}.png"))
        assert (still == task.truth.rgb[0]).all()
        clip = read_mp4(folder / "given" / f"{row['name']}.mp4")
        assert clip.fps == 15
        assert psnr(clip.frames, task.given) > 35
    assert "bench score" in (folder / "README.txt").read_text()


def test_the_truth_stays_here(folder: Path) -> None:
    """No picture of the folder is one that is to be made."""
    pictures = [read_mp4(path).frames for path in folder.rglob("*.mp4")]
    assert {len(frames) for frames in pictures} == {5}
    assert {path.suffix for path in folder.rglob("*.*") if path.is_file()} == {".json", ".txt", ".png", ".mp4"}
    assert list((folder / "clips").iterdir()) == []


def test_it_comes_back_as_it_went_and_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    assert entries_of(folder, SUITES) == ENTRIES
    export(ENTRIES, tmp_path / "again")
    first, again = (
        {p.name: p.read_bytes() for p in f.rglob("*.*") if p.is_file()} for f in (folder, tmp_path / "again")
    )
    assert first == again


def test_clips_that_were_filled_in_are_scored_and_stay(folder: Path) -> None:
    write_mp4(folder / "clips" / f"{ENTRIES[1].name}.mp4", ENTRIES[1].task().truth.rgb, 15)
    (folder / "clips" / f"{ENTRIES[2].name}.mp4").write_bytes(b"nothing")
    (folder / "clips" / "tiny-0001.mp4").write_bytes(b"misspelt")
    found = run(entries_of(folder, SUITES), [submission(folder, "they")])
    assert [result.score for result in found] == [0, 1, 0, 0]
    assert [result.read for result in found] == [False, True, False, False]
    assert stray(folder, ENTRIES) == ["tiny-0001.mp4"]
    export(ENTRIES, folder)
    assert len(list((folder / "clips").iterdir())) == 3


def test_other_tasks_do_not_overwrite_a_folder(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match=r"is of other tasks: export to a new folder"):
        export(ENTRIES[:1], folder)
    with pytest.raises(ValueError, match=r"is of other tasks: export to a new folder"):
        export(ENTRIES[1:], folder)
    assert {path: path.read_bytes() for path in folder.rglob("*.*") if path.is_file()} == before


def test_a_damaged_manifest_is_mended_by_exporting_again(folder: Path) -> None:
    whole = (folder / MANIFEST).read_bytes()
    (folder / MANIFEST).write_bytes(whole[:50])
    export(ENTRIES, folder)
    assert (folder / MANIFEST).read_bytes() == whole


def test_clips_may_get_another_name(folder: Path) -> None:
    write_mp4(folder / "clips" / f"{ENTRIES[1].name}.mp4", ENTRIES[1].task().truth.rgb, 15)
    for name in ("they", "others"):
        assert {result.contestant for result in run(ENTRIES, [submission(folder, name)])} == {name}


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / MANIFEST).read_text())
    change(content)
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.update(format=7), "is of format 7"),
        (lambda m: m.update(tasks=[]), "lists no tasks"),
        (lambda m: m.update(tasks="all"), "lists no tasks"),
        (lambda m: m["tasks"].append(3), "task 4 is '3', not a task"),
        (lambda m: m["tasks"][1].pop("prompt"), "task 1 has 'None' for its prompt"),
        (lambda m: m["tasks"][1].update(number="one"), "task 1 has 'one' for its number"),
        (lambda m: m["tasks"][1].update(number=True), "task 1 has 'True' for its number"),
        (lambda m: m["tasks"][1].update(number=-1), "numbered from 0"),
        (lambda m: m["tasks"][0].update(suite="chess"), "suite 'chess': known are tiny"),
        (lambda m: m["tasks"][0].update(split="colour"), "split 'colour': tiny has in distribution, count"),
        (lambda m: m["tasks"].append(m["tasks"][0]), "lists tiny-in-distribution-0000 twice"),
        (lambda m: m["tasks"][0].update(seed=3), "another version, or was changed: .* seed '3'"),
        (lambda m: m["tasks"][0].update(given="00"), "another version, or was changed"),
        (lambda m: m["tasks"][0].update(fps=24), "fps '24', here it is '15.0'"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_said(folder: Path, change: Callable[[Any], object], sentence: str) -> None:
    changed(folder, change)
    with pytest.raises(ValueError, match=sentence) as error:
        entries_of(folder, SUITES)
    assert str(folder / MANIFEST) in str(error.value)


def test_an_empty_folder_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read .*manifest.json: No such file .* muybridge bench export"):
        entries_of(tmp_path, SUITES)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=100) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_whatever_a_manifest_holds_the_answer_is_a_sentence(tmp_path: Path, content: bytes | str) -> None:
    (tmp_path / MANIFEST).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / MANIFEST))):
        entries_of(tmp_path, SUITES)
