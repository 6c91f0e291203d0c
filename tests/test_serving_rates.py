"""Requests a minute, on a clock that is moved by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muybridge.serving.rates import Rates


class Clock:
    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@given(st.integers(1, 10_000))
def test_a_rested_key_may_ask_a_minutes_worth_at_once_and_no_more(rate: int) -> None:
    rates = Rates(Clock())
    assert [rates.wait("key", rate) for _ in range(rate)] == [0.0] * rate
    assert rates.wait("key", rate) == pytest.approx(60 / rate)
    assert rates.wait("other", rate) == 0.0


def test_what_was_refused_does_not_count() -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(60):
        rates.wait("key", 60)
    assert [rates.wait("key", 60) for _ in range(5)] == pytest.approx([1.0] * 5)
    clock.at += 1.0
    assert rates.wait("key", 60) == 0.0
    assert rates.wait("key", 60) > 0


@given(st.lists(st.floats(0, 5), min_size=1, max_size=200), st.integers(1, 600))
def test_no_minute_sees_more_than_twice_the_rate(pauses: list[float], rate: int) -> None:
    """A minute's worth is there at its beginning, and another comes during it."""
    clock = Clock()
    rates, taken = Rates(clock), []
    for pause in pauses:
        clock.at += pause
        while rates.wait("key", rate) == 0.0:
            taken.append(clock.at)
    for begin in taken:
        assert sum(begin <= at < begin + 60 for at in taken) <= 2 * rate
