"""The control suite: truth passes as a file, what goes the other way or stands still does not."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from muybridge.evaluation.control import Control, broken, going, resting
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Suite, Task
from muybridge.simulation.cameras import MOVES
from muybridge.storage.video import read_mp4, write_mp4

SUITE = Control()
ALL = range(2 * len(MOVES))
"""Every move of the camera once, and as many ways across."""


@cache
def task(number: int) -> Task:
    return SUITE.task("in distribution", number)


def test_it_is_a_suite() -> None:
    assert isinstance(SUITE, Suite)
    with pytest.raises(ValueError, match="numbered from 0"):
        SUITE.task("in distribution", -1)


@pytest.mark.parametrize("number", ALL)
def test_tasks_are_held_out_and_say_what_they_ask(number: int) -> None:
    one = task(number)
    asked, clip = one.groups["asked"], one.truth
    assert one.seed >= HELD_OUT
    if number % 2:
        assert asked == "way"
        assert clip.world.move.kind == "static"
        assert going(clip).any()
        assert any(side in one.prompt for side in ("left", "right"))
    else:
        assert asked == clip.world.move.kind == MOVES[number // 2]
        assert resting(clip).any()


@pytest.mark.parametrize("number", ALL)
def test_truth_passes_as_a_file(number: int, tmp_path: Path) -> None:
    truth = task(number).truth
    write_mp4(tmp_path / "clip.mp4", truth.rgb, truth.fps)
    verdict = SUITE.judge(task(number), read_mp4(tmp_path / "clip.mp4").frames)
    assert verdict.score == 1, verdict.why


@pytest.mark.parametrize("number", ALL)
def test_what_was_not_asked_for_fails(number: int) -> None:
    for name, frames in broken(task(number)):
        verdict = SUITE.judge(task(number), np.ascontiguousarray(frames))
        assert verdict.score == 0, name
        assert verdict.why, name


def test_an_empty_picture_fails() -> None:
    for number in (0, 1, 2):
        verdict = SUITE.judge(task(number), np.zeros_like(task(number).truth.rgb))
        assert verdict.score == 0
        assert "not found" in verdict.why
