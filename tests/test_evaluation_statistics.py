"""Means, intervals, JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from muybridge.evaluation.statistics import Mean, mean, means, to_json


def test_a_mean_of_equal_numbers_has_no_spread() -> None:
    assert mean([2.0, 2.0, 2.0]) == Mean(2.0, 2.0, 2.0, 3)


def test_the_interval_is_the_normal_one_where_that_holds() -> None:
    right = [True] * 360 + [False] * 40
    found = mean(right)
    half = 1.96 * math.sqrt(0.9 * 0.1 / 400)
    assert found.value == 0.9
    assert (found.low, found.high) == pytest.approx((0.9 - half, 0.9 + half), abs=0.005)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    intervals = [mean(rng.normal(3, 1, 60).tolist()) for _ in range(200)]
    assert 0.9 <= np.mean([m.low <= 3 <= m.high for m in intervals]) <= 0.99


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="one clip at least"):
        mean([])


def test_groups_are_sorted_and_become_json() -> None:
    found = means({"red": [True, False], "blue": [True]})
    assert list(found) == ["blue", "red"]
    assert json.loads(to_json(found["red"])) == {"value": 0.5, "low": 0.0, "high": 1.0, "n": 2}
