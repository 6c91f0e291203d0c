"""`muybridge generate --stream` from end to end: a whole file, however the stream ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import UInt8
from tiny_checkpoint import (
    JUMPS,
    build_causal_model,
    build_planning_model,
    build_tiny_model,
    build_whole_model,
    child_environment,
)
from tiny_models import TRANSFORMER

from muybridge.cli import obey
from muybridge.commands.generate import Wish, unread, warnings
from muybridge.commands.stream import SHOWN, Sheet, cut, dialled, dials_of, led, made_of
from muybridge.commands.typed import MOST, Typed, source
from muybridge.engines.engine import Engine
from muybridge.engines.kinds import CLIP, eager
from muybridge.generate import Model, load
from muybridge.sampler import Settings
from muybridge.storage.provenance import from_metadata
from muybridge.storage.video import read_mp4
from muybridge.types import Condition

PROMPT = "a small red ball rolls"


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_causal_model(tmp_path_factory.mktemp("models") / "causal")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A pipe into standard input."""
    end, begin = os.pipe()
    with os.fdopen(end) as stdin:
        monkeypatch.setattr("sys.stdin", stdin)
        yield begin


def frame(number: int) -> UInt8[np.ndarray, "h w 3"]:
    return np.full((2, 2, 3), number % 256, np.uint8)


def test_so_many_seconds_and_the_command_that_makes_them_again(
    causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = ["generate", PROMPT, "--stream", "--seconds", "1", "--model", str(causal), "--seed", "3", "-o", "a.mp4"]
    assert obey(asked) == 0
    first = read_mp4("a.mp4")
    assert first.frames.shape == (17, 32, 48, 3)
    assert first.fps == 15
    assert Path("a.png").exists()
    assert from_metadata(first.metadata).stream
    out = capsys.readouterr().out
    assert "17 frames of 48x32" in out
    assert out.endswith("frames a second), torch\n")
    assert obey(["inspect", "a.mp4"]) == 0
    again = shlex.split(capsys.readouterr().out)
    assert "--stream" in again
    assert obey(again[1:]) == 0
    np.testing.assert_array_equal(read_mp4("a-again.mp4").frames, first.frames)


def test_ctrl_c_leaves_a_whole_clip(causal: Path, tmp_path: Path) -> None:
    output = tmp_path / "endless.mp4"
    command = [sys.executable, "-m", "muybridge.cli", "generate", PROMPT, "--stream"]
    command += ["--model", str(causal), "--seed", "3", "-o", str(output)]
    silent, kept = os.pipe()  # somebody who could type, and does not
    with subprocess.Popen(command, env=child_environment(), stdin=silent, stdout=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)  # until the file is begun
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    os.close(silent)
    os.close(kept)
    assert process.returncode == 0, out
    clip = read_mp4(output)
    made = from_metadata(clip.metadata)
    assert f"{len(clip.frames)} frames of 48x32" in out
    assert len(clip.frames) % 4 == 1
    assert (made.stream, made.frames) == (True, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["endless.mp4", "endless.png"]


@pytest.mark.parametrize("looks_ahead", [False, True])
def test_what_comes_through_a_pipe_is_the_prompt_from_then_on(
    looks_ahead: bool, causal: Path, tiny_model: Path, tmp_path: Path, sent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said beforehand, and words that were never seen are said, too; the end of the pipe ends nothing."""
    words = ["generate", PROMPT, "--stream", "--seconds", "2.2", "--model", str(tiny_model if looks_ahead else causal)]
    assert obey([*words, "--seed", "3", "-o", str(tmp_path / "a.mp4")]) == 0
    out, err = capsys.readouterr()
    following = "window" if looks_ahead else "frame"
    assert err.startswith(
        f"note: a line typed here is the prompt from the next {following} on, or turns dials (--steps"
    )
    assert err.count("\n") == 1
    assert "asked anew" not in out
    os.write(sent, b"\na zebra\n\n\xff\n")
    os.write(sent, b"a blue box and a zebra")
    os.close(sent)
    assert obey([*words, "--seed", "3", "-o", str(tmp_path / "b.mp4")]) == 0
    out, err = capsys.readouterr()
    assert "after 0.1 s" not in err
    assert "asked for after 0.3 s: a blue box and a zebra\n" in err
    assert "the prompt holds what is no text" in err
    assert "'zebra'" in err
    assert "asked anew     once" in out
    one, other = (read_mp4(tmp_path / name).frames for name in ("a.mp4", "b.mp4"))
    assert len(one) == len(other) == 33
    np.testing.assert_array_equal(one[0], other[0])
    assert np.abs(one[-1].astype(int) - other[-1]).max() > 8


def test_dials_are_turned_by_lines(
    tiny_model: Path, tmp_path: Path, sent: int, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", PROMPT, "--stream", "--seconds", "2.2", "--model", str(tiny_model), "--seed", "3"]
    assert obey([*words, "-o", str(tmp_path / "a.mp4")]) == 0
    os.write(sent, b"--steps 1 --guidance 7\n")
    os.close(sent)
    assert obey([*words, "-o", str(tmp_path / "b.mp4")]) == 0
    out, err = capsys.readouterr()
    assert "asked for after 0.1 s: --steps 1 --guidance 7" in err
    assert "asked anew     once" in out
    one, other = (read_mp4(tmp_path / name).frames for name in ("a.mp4", "b.mp4"))
    np.testing.assert_array_equal(one[0], other[0])
    assert np.abs(one[-1].astype(int) - other[-1]).max() > 8


def test_a_thing_is_moved_by_a_line(tmp_path: Path, sent: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = build_whole_model(tmp_path / "whole")
    words = ["generate", PROMPT, "--stream", "--seconds", "1.4", "--model", str(model), "--seed", "3"]
    assert obey([*words, "-o", str(tmp_path / "a.mp4")]) == 0
    os.write(sent, b'--move "red ball: 0.1,0.2 0.9,0.8" --steps 2\n')
    os.close(sent)
    assert obey([*words, "-o", str(tmp_path / "b.mp4")]) == 0
    out, err = capsys.readouterr()
    assert 'or moves a thing (--move "red ball: 0.2,0.5 0.8,0.5")' in err
    assert 'asked for after 0.1 s: --move "red ball: 0.1,0.2 0.9,0.8" --steps 2' in err
    assert "asked anew     once" in out
    one, other = (read_mp4(tmp_path / name).frames for name in ("a.mp4", "b.mp4"))
    np.testing.assert_array_equal(one[0], other[0])
    assert np.abs(one[-1].astype(int) - other[-1]).max() > 8


@pytest.mark.parametrize(
    "line", ["--move", '--move "red ball 0.1"', '--move "red ball: 0.1,0.2', "--move ball: 0.1,0.2"]
)
def test_what_moves_nothing(line: str) -> None:
    with pytest.raises(ValueError, match=r"is no move|No closing quotation|turns no dial"):
        dialled(Settings(), led(line)[1])


@pytest.mark.parametrize(
    "line", ["--steps", "--steps two", "--seed 3", "--steps 0", "--guidance nan", "--", "--steps 1 2"]
)
def test_what_is_no_dial(line: str) -> None:
    with pytest.raises(ValueError, match=r"turns no dial: type some of --steps, --g|steps is 0|guidance is nan"):
        dialled(Settings(), line)


def test_models_have_the_dials_that_change_them(tmp_path: Path, tiny_model: Path) -> None:
    models = (tiny_model, build_planning_model(tmp_path / "plans"), build_causal_model(tmp_path / "causal"))
    found = [list(dials_of(load(model))) for model in models]
    assert found == [["--steps", "--guidance"], ["--steps", "--guidance", "--plan-steps"], ["--steps"]]
    assert list(dials_of(load(build_whole_model(tmp_path / "both", causal=True)))) == ["--steps", "--plan-steps"]
    jumps = build_tiny_model(tmp_path / "jumps", transformer=replace(TRANSFORMER, spans=True), sampling=JUMPS)
    assert list(dials_of(load(jumps))) == ["--steps"]
    with pytest.raises(ValueError, match="turns no dial: type some of --steps, each"):
        dialled(Settings(), "--guidance 2", dials_of(load(jumps)))


def test_a_dial() -> None:
    assert dialled(Settings(), "--plan-steps 3 --steps 2") == Settings(plan_steps=3, steps=2)
    begun = Settings(guidance=3.0, given_guidance=1.0)
    still = Condition("a red ball", prefix=torch.zeros(1, 3, 8, 8))
    assert dialled(begun, "--guidance 2").of(still).guidance == 2


def test_lines_that_come_are_read_and_not_waited_for() -> None:
    end, begin = os.pipe()
    lines = Typed(end)
    assert (bool(lines), lines.newest()) == (True, "")
    for came, newest in ((b"one\n \ntwo\nthr", "two"), (b"ee\n", "three"), (b"\n\n", ""), (b"x" * MOST, "")):
        os.write(begin, came)
        assert lines.newest() == newest
    os.write(begin, b"y" * MOST)
    assert lines.newest() == ""
    os.write(begin, b"\nthe end")
    os.close(begin)
    assert lines.newest() == "x" * MOST
    assert (lines.newest(), bool(lines)) == ("the end", False)
    assert (lines.newest(), Typed(None).newest()) == ("", "")
    os.close(end)


def test_a_file_is_no_place_to_wait_for_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/null").open() as nothing, Path(__file__).open() as file:
        for stdin in (nothing, file, None):
            monkeypatch.setattr("sys.stdin", stdin)
            assert source() is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--variants", "2"], "--variants is 2"),
        (["--guidance", "3"], "guidance built in"),
        (["--seconds", "0"], "--seconds is 0"),
        (["--solver", "euler", "--guidance", "3"], "a stream has it built in"),
    ],
)
def test_what_cannot_be_streamed(
    causal: Path, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert obey(["generate", PROMPT, "--stream", "--model", str(causal), "-o", str(tmp_path / "a.mp4"), *more]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_looks_ahead_streams_too(tiny_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "a.mp4"
    assert obey(["generate", PROMPT, "--stream", "--seconds", "1.2", "--model", str(tiny_model), "-o", str(out)]) == 0
    assert len(read_mp4(out).frames) == 17


def test_an_engine_runs_the_windows_of_a_model_that_looks_ahead(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Sequence[str]] = []

    def made(model: Model, kind: str, folder: Path | None, threads: int, names: Sequence[str]) -> Engine:
        asked.append(names)
        whole = eager(model)
        parts = {name: part for name, part in whole.parts.items() if name in names}
        return Engine(kind, parts, {name: whole.functions[name] for name in parts})

    monkeypatch.setattr("muybridge.engines.choice.kind_of", lambda asked, dtype: asked)
    monkeypatch.setattr("muybridge.engines.choice.make", made)
    words = ["generate", PROMPT, "--stream", "--seconds", "1.2", "--model", str(tiny_model), "--engine", "abacus"]
    assert obey([*words, "-o", str(tmp_path / "a.mp4")]) == 0
    assert asked == [CLIP]
    assert capsys.readouterr().out.endswith("frames a second), abacus\n")


@pytest.mark.parametrize("length", [1, 2, 9, 10, 18, 19, 100, 1000])
def test_a_sheet_of_any_length_is_even_and_small(length: int) -> None:
    sheet = Sheet()
    for number in range(length):
        sheet.see(number, frame(number))
        assert len(sheet._kept) <= 2 * SHOWN
    numbers = sheet.numbers
    assert numbers[0] == 0
    assert len(numbers) == min(length, SHOWN)
    assert length - numbers[-1] <= max(1, sheet.stride)
    assert [int(picture[0, 0, 0]) for picture in sheet.frames] == [number % 256 for number in numbers]


@pytest.mark.parametrize(("length", "sizes"), [(0, [1, 4, 4]), (1, [1]), (5, [1, 4]), (7, [1, 4, 2]), (99, [1, 4, 4])])
def test_a_stream_is_cut_where_it_was_asked_to_be(length: int, sizes: list[int]) -> None:
    chunks = [np.zeros((size, 2, 2, 3), np.uint8) for size in (1, 4, 4)]
    assert [len(chunk) for chunk in cut(chunks, length)] == sizes


def test_a_negative_prompt_that_nothing_reads_is_said() -> None:
    wish = Wish(PROMPT, negative="a blue box")
    assert "not read" in unread(wish, Settings(guidance=1))[0]
    assert unread(wish, Settings(guidance=2)) == []
    assert unread(Wish(PROMPT), Settings(guidance=1)) == []


def test_a_solver_that_asks_for_what_was_not_learnt_is_said(causal: Path, tiny_model: Path) -> None:
    """Of a model that jumps; what `inspect` prints names its own."""
    jumps, plain = load(causal), load(tiny_model)
    condition = Condition(PROMPT, frames=9, height=32, width=48)
    assert "not the velocities that heun asks for" in warnings(Wish(PROMPT, solver="heun"), condition, jumps)[0]
    for wish, model in (
        (Wish(PROMPT), jumps),
        (Wish(PROMPT, solver="jump"), jumps),
        (Wish(PROMPT, solver="heun"), plain),
    ):
        assert warnings(wish, condition, model) == []


def test_a_stream_says_before_it_begins_whether_it_is_marked(causal: Path) -> None:
    model = load(causal)
    for size, mark, marked in ((256, True, True), (256, False, False), (32, True, False)):
        plain = model.provenance(Condition(PROMPT, height=size, width=size), 1, model.settings)
        made = made_of(Wish(PROMPT, watermark=mark), plain)
        assert made.stream
        assert bool(made.watermark) == marked
