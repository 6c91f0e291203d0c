"""Text fidelity of a generator that knows the truth, and of one that does not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from muybridge.evaluation.judge import Seen, compare
from muybridge.evaluation.statistics import HELD_OUT, to_json
from muybridge.evaluation.text import JudgedPrompt, summary, text_fidelity
from muybridge.simulation.captions import Fact, prompt_and_facts
from muybridge.simulation.clip import simulate

SEEDS = range(HELD_OUT + 6000, HELD_OUT + 6006)


def knowing(prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    """The simulator itself: the clips that the prompts are about."""
    assert list(prompts) == [prompt_and_facts(seed)[0] for seed in seeds]
    return np.stack([simulate(seed, frames=17, fps=7.5).rgb for seed in seeds])


def blind(prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    return np.full((len(prompts), 5, 128, 128, 3), 150, np.uint8)


def test_the_simulator_does_what_is_said_and_grey_does_not(tmp_path: Path) -> None:
    good = text_fidelity(knowing, SEEDS, batch=4, folder=tmp_path)
    assert good.objects_right.value >= 5 / 6
    assert good.count_right.value >= 5 / 6
    assert good == text_fidelity(blind, SEEDS, folder=tmp_path), "a finished run is read, not made again"
    bad = text_fidelity(blind, SEEDS)
    assert (bad.objects_right.value, bad.count_right.value) == (0, 0)


def test_shares_add_up() -> None:
    red, blue = Seen("red", "ball", "small", 1.0), Seen("blue", "box", "large", 1.0)
    both = (Fact("red", "ball", "small"), Fact("blue", "box", "small"))
    rows = [((red, blue), both), ((red,), both), ((red, blue), both[:1]), ((), both[1:])]
    found = summary([JudgedPrompt(i, "", compare(seen, facts)) for i, (seen, facts) in enumerate(rows)])
    assert found.objects_right.value == 2 / 4
    assert found.count_right.value == 1 / 4
    assert found.right.value == 1 / 4
    assert {name: (m.value, m.n) for name, m in found.by_colour.items()} == {"blue": (1 / 3, 3), "red": (1, 3)}
    assert {name: m.value for name, m in found.by_shape.items()} == {"ball": 1, "box": 1 / 3}
    assert {name: m.value for name, m in found.by_count.items()} == {"1": 0, "2": 0.5}
    assert {name: m.value for name, m in found.by_pairs.items()} == {"known": found.right.value}
    assert found.sizes_right is not None
    assert found.sizes_right.value == 3 / 4
    assert json.loads(to_json(found))["clips"][1]["verdict"]["found"] == [True, False]


def test_a_model_that_makes_too_few_clips_is_found_out() -> None:
    with pytest.raises(ValueError, match="made 1 clips"):
        text_fidelity(lambda prompts, seeds: blind(prompts[:1], seeds[:1]), SEEDS)
