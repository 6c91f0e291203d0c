"""The coherence suite: ten seconds of truth are whole, what breaks them shows from where it breaks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from muybridge.evaluation.baselines import PLAIN
from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.coherence import FLICKER, KNOWN, SEES, Coherence, _way, broken
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Suite, Task
from muybridge.evaluation.tracking import true_tracks
from muybridge.storage.video import read_mp4, write_mp4

SUITE = Coherence()
MADE = 153 - KNOWN
UNTIL = "until first break, seconds"


@cache
def task(number: int) -> Task:
    return SUITE.task("in distribution", number)


def as_file(frames: np.ndarray, folder: Path) -> np.ndarray:
    write_mp4(folder / "clip.mp4", frames, 15.0)
    return read_mp4(folder / "clip.mp4").frames


def brighter(frames: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Frame n brighter by `levels[n]`."""
    return (frames + levels[:, None, None, None]).clip(0, 255).astype(np.uint8)


def test_it_is_a_suite() -> None:
    assert isinstance(SUITE, Suite)
    with pytest.raises(ValueError, match="numbered from 0"):
        SUITE.task("in distribution", -1)


def test_tasks_are_held_out_ten_seconds_and_have_a_still_camera() -> None:
    for number in range(2):
        assert task(number).seed >= HELD_OUT
        assert task(number).truth.world.move.kind == "static"
        assert task(number).truth.rgb.shape == (153, 128, 128, 3)
        assert len(task(number).given) == KNOWN


def test_truth_is_whole_as_a_file(tmp_path: Path) -> None:
    for number in range(2):
        made = SUITE.judge(task(number), as_file(task(number).truth.rgb, tmp_path))
        assert (made.score, made.why) == (1.0, "")
        assert made.errors[UNTIL] == pytest.approx(MADE / 15)
        assert made.errors["flicker, levels"] < 0.2


def test_breaks_fail() -> None:
    made = {name: SUITE.judge(task(0), frames) for name, frames in broken(task(0))}
    assert set(made) == set(SEES)
    assert {name: verdict.score for name, verdict in made.items() if verdict.score > 0.1} == {}  # it may be hidden
    assert all(verdict.why for verdict in made.values())


def test_copies_fail() -> None:
    for name in ("static copy", "last-frame repeat"):
        assert SUITE.judge(task(0), PLAIN[name](task(0).given, len(task(0).truth.rgb))).score == 0


def test_what_stops_dead_later_is_broken_from_there_on() -> None:
    """All the while that the truth moves on for a second: what has come to rest may rest."""
    one = task(0)
    truth = true_tracks(one.truth)
    starts = [n for n in range(KNOWN + 8, len(one.truth.rgb) - 15) if _way(one.truth, truth, n).max() > 2]
    assert starts
    for start in (starts[0], starts[-1]):
        made = SUITE.judge(one, BREAKS["freezes"](one.truth, 0, start))
        assert made.score == pytest.approx((start - KNOWN) / MADE, abs=6 / MADE)
        assert "stops" in made.why


def test_what_leaves_though_the_truth_shows_it_is_missed() -> None:
    """At constant velocity things are themselves as long as they are there."""
    found = []
    for number in range(2):
        one = task(number)
        made = SUITE.judge(one, PLAIN["constant velocity"](one.given, len(one.truth.rgb)))
        found.append((made.score, made.why))
    assert min(found)[0] < 0.5, found
    assert "has left the picture" in min(found)[1]


def test_the_score_is_the_share_of_frames_before_a_break_that_lasts() -> None:
    one, start = task(0), 100
    there = [i for i in range(len(one.truth.objects)) if (one.truth.instance[start] == i + 1).sum() > 100]
    made = SUITE.judge(one, BREAKS["changes colour"](one.truth, there[0], start))
    assert made.score == pytest.approx((start - KNOWN) / MADE, abs=1 / MADE)
    assert made.errors[UNTIL] == pytest.approx((start - KNOWN) / 15, abs=1 / 15)
    assert one.truth.objects[there[0]].name in made.why or "should not be there" in made.why


def test_flicker_breaks_the_frames_that_flicker() -> None:
    one, count = task(0), np.arange(153)
    pumping = np.where((count >= 53) & (count % 2 == 0), 3 * FLICKER, 0)
    made = SUITE.judge(one, brighter(one.truth.rgb, pumping))
    assert made.score == pytest.approx((53 - KNOWN) / MADE, abs=2 / MADE)
    assert "flickers" in made.why
    slight = SUITE.judge(one, brighter(one.truth.rgb, np.where(count % 2, 0.4 * FLICKER, 0).round()))
    assert slight.score == 1
    assert 0 < slight.errors["flicker, levels"] < FLICKER


def test_a_background_that_drifts_away_is_seen() -> None:
    one = task(0)
    drift = np.maximum(np.arange(153) - KNOWN, 0) / MADE * 40
    made = SUITE.judge(one, brighter(one.truth.rgb, -drift))
    assert 0.2 < made.score < 0.6
    assert "background is not as it was" in made.why


@pytest.mark.slow
def test_fifty_truths_are_whole_and_their_breaks_are_not(tmp_path: Path) -> None:
    scores = dict.fromkeys(("truth", *SEES), 0.0)
    for number in range(50):
        one = SUITE.task("in distribution", number)
        scores["truth"] += SUITE.judge(one, as_file(one.truth.rgb, tmp_path)).score
        for name, frames in broken(one):
            scores[name] += SUITE.judge(one, as_file(frames, tmp_path)).score
    assert scores.pop("truth") >= 0.99 * 50
    assert {name: score for name, score in scores.items() if score > 0.05 * 50} == {}
