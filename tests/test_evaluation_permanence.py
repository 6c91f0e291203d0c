"""The permanence suite: its scenes are what it says, truth passes as a file, and what breaks permanence does not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from muybridge.evaluation.baselines import PLAIN
from muybridge.evaluation.breaking import BREAKS
from muybridge.evaluation.permanence import (
    KINDS,
    KNOWN,
    LATE,
    OCCLUDERS,
    SEES,
    Permanence,
    broken,
    radii,
    spells,
    verdict,
)
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.evaluation.suite import Split, Suite, Task
from muybridge.evaluation.tracking import Extra, Track, Tracks, true_tracks
from muybridge.simulation.cameras import project
from muybridge.storage.video import read_mp4, write_mp4

SUITE = Permanence()
RETURNS, STAYS, BEHIND_ANOTHER = 1, 2, 4


@cache
def task(number: int, split: Split = "in distribution") -> Task:
    return SUITE.task(split, number)


def as_file(frames: np.ndarray, folder: Path) -> np.ndarray:
    write_mp4(folder / "clip.mp4", frames, 15.0)
    return read_mp4(folder / "clip.mp4").frames


def judged(one: Task, change: dict[int, Track], extras: Iterable[Extra] = ()) -> tuple[float, str]:
    """The verdict on the truth's own masks, those of some objects replaced."""
    tracks = tuple(change.get(i, true) for i, true in enumerate(true_tracks(one.truth)))
    made = verdict(one, Tracks(tracks, tuple(extras)))
    return made.score, made.why


def late(true: Track, known: int, frames: int) -> Track:
    """A track that waits for some frames after the known ones."""
    count = np.arange(len(true.seen))
    then = np.where(count < known, count, np.maximum(count - frames, known - 1))
    return Track(*(getattr(true, field)[then] for field in Track.__dataclass_fields__))


def test_it_is_a_suite() -> None:
    assert isinstance(SUITE, Suite)
    with pytest.raises(ValueError, match="numbered from 0"):
        SUITE.task("in distribution", -1)


def test_tasks_are_numbered_held_out_and_of_their_kind() -> None:
    for number, (then, by) in enumerate(KINDS):
        one = task(number)
        assert one.seed >= HELD_OUT
        assert (one.groups["then"], one.known) == (then, KNOWN[then])
        assert by in ("", one.groups["by"])
        assert one.groups["camera"] == ("still" if one.truth.world.move.kind == "static" else "moving")
        assert one.truth.rgb.shape == (33, 128, 128, 3)
    assert {task(number).groups["camera"] for number in range(6)} == {"still", "moving"}
    assert SUITE.task("in distribution", 2).truth.rgb.tobytes() == task(2).truth.rgb.tobytes()


def test_what_hides_was_seen_before_and_comes_back_elsewhere() -> None:
    for number in (RETURNS, BEHIND_ANOTHER):
        clip = task(number).truth
        for spell in spells(clip, task(number).known):
            visible = clip.states.visible[:, spell.subject]
            assert spell.back is not None
            assert spell.back > spell.last >= spell.first + 1
            assert visible[: KNOWN["returns"]].max() >= 0.9
            assert visible[spell.first : spell.last + 1].max() < 0.1
            assert visible[spell.back] >= 0.5
            place = project(clip.camera, clip.states.position)[:, spell.subject, :2]
            assert np.linalg.norm(place[spell.back] - place[8]) > 1.5 * radii(clip)[8, spell.subject]
    (spell,) = spells(task(STAYS).truth, KNOWN["stays"])
    assert spell.back is None
    assert spell.last == 32


@pytest.mark.parametrize("split", [split for split in SUITE.splits if split not in ("in distribution", "count")])
def test_the_truth_of_other_splits_passes(split: Split) -> None:
    one = task(RETURNS, split)
    assert judged(one, {}) == (1.0, "")


def test_truth_passes_as_a_file(tmp_path: Path) -> None:
    for number in range(6):
        made = SUITE.judge(task(number), as_file(task(number).truth.rgb, tmp_path))
        assert (made.score, made.why) == (1.0, "")
        if task(number).groups["then"] == "returns":
            assert made.errors["place of return, radii"] < 0.2
            assert made.errors["time of return, seconds"] <= 1.01 / 15


@pytest.mark.parametrize("number", [RETURNS, STAYS])
def test_breaks_fail(number: int) -> None:
    made = {name: SUITE.judge(task(number), frames) for name, frames in broken(task(number))}
    assert set(made) == set(SEES)
    assert [name for name, verdict in made.items() if verdict.score > 0] == []
    assert all(verdict.why for verdict in made.values())


@pytest.mark.parametrize("number", range(3))
def test_several_and_moving_occluders(number: int) -> None:
    one = task(number, "occluders")
    assert (one.groups["then"], one.groups["by"]) == OCCLUDERS[number]
    found = spells(one.truth, one.known)
    assert len(found) == (2 if one.groups["by"] == "wall" else 1)
    assert len({spell.by for spell in found}) == len(found)
    assert judged(one, {}) == (1.0, "")
    made = {name: SUITE.judge(one, frames) for name, frames in broken(one)}
    assert set(SEES) - set(made) <= {"wrong side"}
    assert [name for name, verdict in made.items() if verdict.score > 0] == []
    assert SUITE.judge(one, PLAIN["static copy"](one.given, len(one.truth.rgb))).score == 0


def test_a_box_that_slides_past_hides_what_rests() -> None:
    one = task(1, "occluders")
    (spell,) = spells(one.truth, one.known)
    path = one.truth.states.position
    assert np.ptp(path[:, spell.subject], axis=0).max() < 0.01
    assert np.linalg.norm(np.ptp(path[:, spell.by], axis=0)) > 1
    assert one.truth.objects[spell.by].size == "tall"


def test_copies_fail_and_other_laws_are_not_asked() -> None:
    one = task(RETURNS)
    assert SUITE.judge(one, PLAIN["static copy"](one.given, len(one.truth.rgb))).score == 0
    assert SUITE.judge(one, PLAIN["last-frame repeat"](one.given, len(one.truth.rgb))).score == 0
    (spell,) = spells(one.truth, one.known)
    assert SUITE.judge(one, BREAKS["half gravity"](one.truth, spell.subject, one.known)).score == 1


def test_one_frame_late_passes_and_five_do_not() -> None:
    one = task(RETURNS)
    (spell,) = spells(one.truth, one.known)
    true = true_tracks(one.truth)[spell.subject]
    assert judged(one, {spell.subject: late(true, one.known, 1)}) == (1.0, "")
    score, why = judged(one, {spell.subject: late(true, one.known, LATE + 3)})
    assert score == 0
    assert one.truth.objects[spell.subject].name in why


def test_place_size_shape_and_presence_are_asked_of_what_comes_back() -> None:
    one = task(RETURNS)
    (spell,) = spells(one.truth, one.known)
    i, true = spell.subject, true_tracks(one.truth)[spell.subject]
    again = np.arange(33) > spell.last
    radius = radii(one.truth)[:, [i]]
    reasons = {
        "radii from where": replace(true, centre=true.centre + np.where(again, 1.2, 0.0)[:, None] * radius),
        "times its size": replace(true, area=np.where(again, 1.7, 1.0) * true.area),
        "looks like a": replace(true, shape=np.where(again[:, None], np.roll(true.shape, 1, axis=1), true.shape)),
        "is not seen from": replace(true, seen=true.seen & ~again, area=np.where(again, 0, true.area)),
        "should be hidden": replace(true, area=np.where(true.area < 9, 200.0, true.area)),
        "known frames": replace(true, centre=true.centre + np.where(again, 0.0, 1.5)[:, None] * radius),
    }
    for reason, track in reasons.items():
        score, why = judged(one, {i: track})
        assert score == 0
        assert reason in why
    near = replace(true, centre=true.centre + np.where(again, 0.6, 0.0)[:, None] * radius)
    assert judged(one, {i: near}) == (1.0, "")


def test_extras_count_when_they_last() -> None:
    one = task(RETURNS)
    extras = [Extra(frame, "red", (5.0, 5.0), 100.0) for frame in (12, 13, 14)]
    assert judged(one, {}, extras[:2]) == (1.0, "")
    score, why = judged(one, {}, extras)
    assert score == 0
    assert why == "something red that should not be there shows from frame 12 on, at (5, 5)"


@pytest.mark.slow
def test_two_hundred_truths_pass_and_their_breaks_fail(tmp_path: Path) -> None:
    passed = dict.fromkeys(("truth", *SEES), 0.0)
    for number in range(200):
        one = SUITE.task("in distribution", number)
        passed["truth"] += SUITE.judge(one, as_file(one.truth.rgb, tmp_path)).score
        for name, frames in broken(one):
            passed[name] += SUITE.judge(one, as_file(frames, tmp_path)).score
    assert passed.pop("truth") >= 0.99 * 200
    assert {name: score for name, score in passed.items() if score > 0.05 * 200} == {}
