"""The doors of the command line: whatever is typed becomes a value or one sentence."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muybridge.commands.generate import frames_of
from muybridge.commands.options import LARGEST_SEED, MOST_VARIANTS, outputs_of, seeds_of, sheet_of, size_of, slug
from muybridge.sampler import sample

T = TypeVar("T")

SHARED_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)


def refusal_or(door: Callable[[], T]) -> T | str:
    """What comes through a door, or the sentence with which it stays shut."""
    try:
        return door()
    except ValueError as error:
        return str(error)


@given(st.integers(1, 99999), st.integers(1, 99999), st.sampled_from("xX×"), st.sampled_from(["", " "]))
def test_a_size_is_width_then_height(width: int, height: int, sign: str, space: str) -> None:
    assert size_of(f"{space}{width}{sign}{height}{space}") == (width, height)


@given(st.text())
def test_anything_else_is_no_size(text: str) -> None:
    found = refusal_or(lambda: size_of(text))
    if isinstance(found, str):
        assert "write WIDTHxHEIGHT" in found
    else:
        assert found == tuple(int(side) for side in text.strip().lower().replace("×", "x").split("x"))


@pytest.mark.parametrize("text", ["128", "128x", "x128", "128*128", "-1x5", "1.5x2", "1e3x1e3", "１２x３４", "9" * 50])
def test_what_is_no_size_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"write WIDTHxHEIGHT, such as 128x128"):
        size_of(text)


@given(st.floats(0.01, 3600), st.floats(1, 120))
def test_frames_are_the_nearest_that_can_be(seconds: float, fps: float) -> None:
    frames = frames_of(seconds, fps)
    assert frames >= 1
    assert frames % 4 == 1
    assert frames == 1 or abs(frames - seconds * fps) <= 2 + 1e-6


@given(st.integers(0, 300), st.sampled_from([1.0, 10.0, 12.5, 15.0, 24.0, 24000 / 1001, 30000 / 1001, 60.0, 120.0]))
def test_the_seconds_of_a_clip_give_its_frames(k: int, fps: float) -> None:
    frames = 1 + 4 * k
    assert frames_of(float(f"{frames / fps:.6g}"), fps) == frames  # as `inspect` writes them


@pytest.mark.parametrize(("seconds", "fps"), [(0, 15), (-1, 15), (float("nan"), 15), (float("inf"), 15), (3601, 15)])
def test_impossible_lengths(seconds: float, fps: float) -> None:
    with pytest.raises(ValueError, match=r"--seconds is .*: take more than 0 and at most 3600"):
        frames_of(seconds, fps)


@pytest.mark.parametrize("fps", [0, -15, float("nan"), float("inf"), 1001])
def test_impossible_speeds(fps: float) -> None:
    with pytest.raises(ValueError, match=r"--fps is"):
        frames_of(2, fps)


@given(st.integers(0, LARGEST_SEED - MOST_VARIANTS), st.integers(1, MOST_VARIANTS))
def test_seeds_follow_each_other(seed: int, count: int) -> None:
    assert seeds_of(seed, count) == list(range(seed, seed + count))


def test_seeds_end_where_the_sampler_says() -> None:
    assert inspect.unwrap(sample).__globals__["LARGEST_SEED"] == LARGEST_SEED
    assert seeds_of(LARGEST_SEED, 1) == [LARGEST_SEED]
    for seed, count in ((LARGEST_SEED, 2), (-1, 1)):
        with pytest.raises(ValueError, match="--seed is"):
            seeds_of(seed, count)
    for count in (0, -1, MOST_VARIANTS + 1):
        with pytest.raises(ValueError, match="--variants is"):
            seeds_of(0, count)


def test_a_new_seed_each_time() -> None:
    assert len({seeds_of(None, 1)[0] for _ in range(20)}) > 1


ANY_TEXT = st.text(st.characters(codec=None, categories=None), max_size=300)


@given(ANY_TEXT)
def test_any_prompt_gives_a_name_that_disks_take(prompt: str) -> None:
    name = slug(prompt)
    assert 1 <= len(name) <= 60
    assert len(name.encode("utf-8")) <= 120
    assert all(letter.isalnum() or letter in "-_" for letter in name)
    assert name[0] not in "-_"
    assert name[-1] not in "-_"


def test_a_name_says_what_the_prompt_says() -> None:
    assert slug("A small, red ball; rolls!") == "a-small-red-ball-rolls"
    assert slug("Ein Würfel fällt") == "ein-würfel-fällt"
    assert slug("") == slug("🔥🐉") == slug("../..") == "clip"


@SHARED_FOLDER
@given(prompt=ANY_TEXT, count=st.integers(1, 4))
def test_any_prompt_can_be_written(tmp_path: Path, prompt: str, count: int) -> None:
    before = os.getcwd()
    os.chdir(tmp_path)
    try:
        outputs = outputs_of(None, prompt, count, overwrite=False)
        assert len(set(outputs)) == count
        for output in outputs:
            output.touch()
            sheet_of(output).touch()
        again = outputs_of(None, prompt, count, overwrite=False)
        assert not {*again} & {*outputs}, "a name that is taken is not taken again"
        assert outputs_of(None, prompt, count, overwrite=True) == [Path(f"{slug(prompt)}{end}") for end in ends(count)]
        for file in tmp_path.iterdir():
            file.unlink()
    finally:
        os.chdir(before)


def ends(count: int) -> list[str]:
    return [".mp4"] if count == 1 else [f"-{i + 1}.mp4" for i in range(count)]


@SHARED_FOLDER
@given(name=ANY_TEXT)
def test_any_output_is_taken_or_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    output = tmp_path / "in" / f"{name}.mp4"
    found = refusal_or(lambda: outputs_of(output, "", 1, overwrite=False))
    if isinstance(found, str):
        assert found.startswith(("cannot write", repr(str(output)))) or "is no path" in found
    else:
        assert found == [output]
    assert not [file for file in tmp_path.rglob("*") if file.is_file()], "looking writes nothing"


@pytest.mark.parametrize("name", ["clip", "clip.mov", "clip.mp4.gz", "a.png"])
def test_only_mp4_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"is what is written: name it {tmp_path}/{name}\.mp4"):
        outputs_of(tmp_path / name, "", 1, overwrite=False)


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("mine")
    with pytest.raises(ValueError, match=r"a\.png exists: give another name with -o, or --overwrite"):
        outputs_of(tmp_path / "a.mp4", "", 1, overwrite=False)
    assert outputs_of(tmp_path / "a.mp4", "", 1, overwrite=True) == [tmp_path / "a.mp4"]
    assert (tmp_path / "a.png").read_text() == "mine"


def test_what_is_given_is_never_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ball.png", "ball.mp4"):
        Path(name).write_text("mine")
        with pytest.raises(ValueError, match=rf"{name} is what the clip is made from"):
            outputs_of(tmp_path / "ball.mp4", "", 1, overwrite=True, given=(None, Path(name)))
    Path("still.png").symlink_to("ball.png")
    with pytest.raises(ValueError, match=r"ball\.png is what the clip is made from"):
        outputs_of(Path("ball.mp4"), "", 1, overwrite=True, given=(Path("still.png"),))


def test_folders_and_files_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    for output in (tmp_path / "folder.mp4", tmp_path / "file" / "a.mp4", tmp_path / f"{'a' * 300}.mp4"):
        with pytest.raises(ValueError, match="cannot write"):
            outputs_of(output, "", 1, overwrite=True)
