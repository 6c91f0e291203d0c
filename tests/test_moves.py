"""Moves: what is written is read, what is read is kept to by plans, and a clip that has some is made again."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_checkpoint import build_planning_model

import muybridge
from muybridge.cli import obey
from muybridge.data.moves import course_of, move_of
from muybridge.data.naming import COLOURS
from muybridge.sampler import Settings
from muybridge.sampler.plan import plan
from muybridge.transformer.planner import held, written
from muybridge.types import Condition, Move, Tracks

RED = COLOURS.index("red")
OTHER = RED + 1
COLOUR = COLOURS[OTHER]
PROMPT = f"a red ball and a {COLOUR} box"
SHAPE = {"frames": 9, "height": 32, "width": 48}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_planning_model(tmp_path_factory.mktemp("moves") / "model")


@given(st.lists(st.tuples(st.floats(-0.5, 1.5), st.floats(-0.5, 1.5)), min_size=1, max_size=9))
def test_what_is_written_is_read(points: list[tuple[float, float]]) -> None:
    way = " ".join(f"{x!r},{y!r}" for x, y in points)
    assert move_of(f" red ball : {way} ") == Move("red ball", tuple(points))


@given(
    st.text(max_size=40).filter(lambda text: ":" not in text)
    | st.sampled_from(["red ball:", ": 0,0", "a: 1", "a: 1,b"])
)
def test_anything_else_is_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no move: write a thing and its points"):
        move_of(text)


def test_points_are_passed_at_even_times() -> None:
    course = course_of([move_of("red ball: 0,1 0.5,0.5 1,0.5")], 9, len(COLOURS))
    assert course.shape == (3, 4, len(COLOURS) + 1, 2)
    x = course[:, :, RED, 0]
    torch.testing.assert_close(x[0], torch.zeros(4))  # the first latent frame stands for one picture
    torch.testing.assert_close(x[1:].flatten(), torch.arange(1, 9) / 8)
    torch.testing.assert_close(course[1, 3, RED, 1], torch.tensor(0.5))
    torch.testing.assert_close(course[0, 0, RED, 1], torch.tensor(1.0))
    others = [n for n in range(len(COLOURS) + 1) if n != RED]
    assert course[:, :, others].isnan().all()
    still = course_of([move_of("sphere of crimson red ball: 0.3,0.4")], 5, len(COLOURS))
    assert (still[:, :, RED] == torch.tensor([0.3, 0.4])).all()


@pytest.mark.parametrize(
    ("moves", "said"),
    [
        (["ball: 0,0"], "'ball' cannot be moved: name a colour and a shape"),
        (["red ball: 0,0", "red box: 1,1"], "two moves are of red things"),
        (["red ball: 0.5,3"], "x and y are shares of the picture"),
        (["red ball: nan,0"], "x and y are shares of the picture"),
    ],
)
def test_moves_that_cannot_be(moves: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        course_of([move_of(move) for move in moves], 9, len(COLOURS))


def test_numbers_that_are_held_are_those_of_tracks(folder: Path) -> None:
    planner = muybridge.load(folder, dtype=torch.float32).planner
    assert planner is not None
    course = course_of([move_of("red ball: 0.1,0.2 0.6,0.9")], 9, 3)[None]
    place = torch.cat([course.nan_to_num(0.5), torch.ones(*course.shape[:-1], 3)], dim=-1)
    kind = torch.zeros(1, 4, 2, dtype=torch.int64)
    wanted = written(Tracks(place, kind, (torch.arange(4) == RED)[None]), planner.config)
    found = held(course, None, planner.config)
    says = ~found.isnan()
    torch.testing.assert_close(found[says], wanted[says])
    assert says.sum() == 3 * (4 * 2 + 1)
    assert not says[:, :, [n for n in range(4) if n != RED]].any()


@pytest.mark.parametrize("frames", [1, 9, 21])
def test_a_plan_keeps_to_a_course(folder: Path, frames: int) -> None:
    model = muybridge.load(folder, dtype=torch.float32)
    assert model.planner is not None
    moves = (move_of("red ball: 0.1,0.2 0.6,0.9"),)
    asked, plain = (
        model.streams(Condition(PROMPT, moves=some, **{**SHAPE, "frames": frames}), 2)[0] for some in (moves, ())
    )
    course = course_of(moves, frames, 3)
    found = plan(model.planner, asked, 3, 4, [1, 2])
    torch.testing.assert_close(found.place[0, ..., RED, :2], course[..., RED, :], rtol=1e-4, atol=1e-4)
    assert found.is_there[:, RED].all()
    free = plan(model.planner, plain, 3, 4, [1, 2])
    assert not torch.allclose(free.place[..., RED, :2], found.place[..., RED, :2])
    assert not torch.allclose(free.place[..., OTHER, :2], found.place[..., OTHER, :2]), "others follow from it"


def test_a_clip_follows_its_moves(folder: Path) -> None:
    model = muybridge.load(folder, dtype=torch.float32)
    left, right = (
        model.generate(Condition(PROMPT, moves=(Move("red ball", ((x, 0.5),)),), **SHAPE), 1)[0].frames
        for x in (0.1, 0.9)
    )
    assert not np.array_equal(left, right)


def test_who_cannot_move_things_says_so(folder: Path, tiny_model: Path) -> None:
    asked = Condition(PROMPT, moves=(Move("red ball", ((0.5, 0.5),)),), **SHAPE)
    with pytest.raises(ValueError, match="does not take where a thing goes"):
        muybridge.load(tiny_model).generate(asked)
    model = muybridge.load(folder)
    with pytest.raises(ValueError, match="plan_steps is 0"):
        model.generate(asked, settings=Settings(steps=1, plan_steps=0))
    with pytest.raises(ValueError, match="nothing is planned here"):
        model.stream(asked, settings=Settings(steps=1, plan_steps=0))
    with pytest.raises(ValueError, match="cannot be moved"):
        model.generate(Condition(PROMPT, moves=(Move("teapot", ((0.5, 0.5),)),), **SHAPE))


def test_inspect_prints_the_moves(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    moves = ["--move", "red ball: 0.2,0.5 0.8,0.5", "--move", f"{COLOUR} box: 0.5,0.7"]
    assert obey(["generate", PROMPT, "--model", str(folder), "--seed", "3", *moves, "-o", "a.mp4"]) == 0
    capsys.readouterr()
    assert obey(["inspect", "a.mp4"]) == 0
    words = shlex.split(capsys.readouterr().out)
    assert [words[i + 1] for i, word in enumerate(words) if word == "--move"] == moves[1::2]
    assert obey(words[1:]) == 0
    once, again = (muybridge.read_mp4(name).frames for name in ("a.mp4", "a-again.mp4"))
    assert np.array_equal(once, again)
    assert obey(["generate", PROMPT, "--model", str(folder), "--move", "red ball", "-o", "b.mp4"]) == 2
    assert "is no move" in capsys.readouterr().err
