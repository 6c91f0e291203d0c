"""The judge on simulated truth, on false words and on nonsense."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from muybridge.evaluation.judge import Judge, Seen, compare
from muybridge.evaluation.statistics import HELD_OUT
from muybridge.simulation.captions import Fact, prompt_and_facts
from muybridge.simulation.clip import simulate
from muybridge.simulation.worlds import sample_world

SEEDS = range(HELD_OUT + 5000, HELD_OUT + 5012)
RED_BALL = Seen("red", "ball", "small", 1.0)
BLUE_BOX = Seen("blue", "box", "tall", 0.5)


@cache
def judge() -> Judge:
    return Judge()


@cache
def seen(seed: int) -> tuple[Seen, ...]:
    return judge().see(simulate(seed, frames=17, fps=7.5).rgb)


def test_truth_is_true_and_other_words_are_not() -> None:
    own = [compare(seen(seed), prompt_and_facts(seed)[1]) for seed in SEEDS]
    other = [compare(seen(seed), prompt_and_facts(seed + 1)[1]) for seed in SEEDS]
    assert sum(v.right for v in own) >= len(own) - 1, [v for v in own if not v.right]
    assert not any(v.right for v in other)


def test_several_sizes_of_picture_show_the_same() -> None:
    verdict = judge().judge(simulate(SEEDS[0], frames=5, height=192, width=256).rgb, prompt_and_facts(SEEDS[0])[1])
    assert verdict.right, verdict


def test_the_same_clip_gets_the_same_verdict() -> None:
    frames = simulate(SEEDS[1], frames=5).rgb
    assert Judge().see(frames) == Judge().see(frames.copy())


@pytest.mark.parametrize("kind", ["noise", "clouds", "grey", "red"])
def test_nonsense_shows_nothing(kind: str) -> None:
    rng = np.random.default_rng(0)
    clips = {
        "noise": rng.integers(0, 256, (9, 128, 128, 3), np.uint8),
        "clouds": np.kron(rng.integers(0, 256, (9, 8, 8, 3), np.uint8), np.ones((1, 16, 16, 1), np.uint8)),
        "grey": np.full((9, 128, 128, 3), 128, np.uint8),
        "red": np.full((9, 128, 128, 3), (220, 47, 56), np.uint8),
    }
    shown = judge().see(clips[kind])
    verdicts = [compare(shown, prompt_and_facts(seed)[1]) for seed in SEEDS]
    assert not any(v.right for v in verdicts), verdicts


def test_two_objects_of_one_colour_are_two() -> None:
    """Two balls side by side in one colour: one world beside another, cut from clips that have a single ball."""
    world = next(w for w in map(sample_world, range(10**6)) if [(t.shape, t.motion) for t in w.things] == [_DROPPED])
    half = simulate(world.seed, frames=17, fps=7.5).rgb
    found = judge().see(np.concatenate([half, half[:, :, ::-1]], axis=2))
    assert [(s.colour, s.shape) for s in found] == 2 * [(world.things[0].colour, "ball")]


_DROPPED = ("ball", "drop")


def test_a_flash_is_no_object() -> None:
    frames = simulate(SEEDS[1], frames=33).rgb
    lasting = judge().see(frames)
    flash = frames.copy()
    flash[16, 4:24, 4:24] = (45, 96, 216) if all(s.colour != "blue" for s in lasting) else (220, 47, 56)
    assert [s.colour for s in judge().see(flash)] == [s.colour for s in lasting]


def test_facts_need_an_object_each() -> None:
    two_balls = (Fact("red", "ball"), Fact("red", "ball"))
    assert compare((RED_BALL, RED_BALL), two_balls).right
    verdict = compare((RED_BALL, BLUE_BOX), two_balls)
    assert verdict.found.count(True) == 1
    assert verdict.count_right
    assert not verdict.objects_right


def test_colour_and_shape_have_to_meet_in_one_object() -> None:
    assert compare((RED_BALL, BLUE_BOX), (Fact("red", "box"), Fact("blue", "ball"))).found == (False, False)


def test_what_a_text_does_not_say_is_free() -> None:
    assert compare((RED_BALL, BLUE_BOX), (Fact(shape="box"), Fact(colour="red"))).right
    assert compare((RED_BALL,), (Fact(),)).right


def test_the_assignment_meets_as_many_facts_as_possible() -> None:
    assert compare((RED_BALL, Seen("red", "box", "small", 1.0)), (Fact("red"), Fact("red", "ball"))).right


def test_more_objects_than_named_are_a_wrong_count_only() -> None:
    verdict = compare((RED_BALL, BLUE_BOX), (Fact("red", "ball"),))
    assert verdict.objects_right
    assert not verdict.count_right
    assert not verdict.right


def test_size_is_told_where_it_is_named() -> None:
    facts = (Fact("red", "ball", "small"), Fact("blue", "box", "large"), Fact("green", "ball", "small"))
    assert compare((RED_BALL, BLUE_BOX), facts).sized == (True, False, None)
    assert compare((RED_BALL,), (Fact("red", "ball"),)).sized == (None,)


def test_an_empty_prompt_wants_an_empty_clip() -> None:
    assert compare((), ()).right
    assert not compare((RED_BALL,), ()).right


@pytest.mark.parametrize(
    "frames", [np.zeros((3, 8, 8, 3), np.float32), np.zeros((8, 8, 3), np.uint8), np.zeros((0, 8, 8, 3), np.uint8)]
)
def test_what_is_no_clip_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"uint8 of shape \(t, h, w, 3\)"):
        judge().see(frames)
