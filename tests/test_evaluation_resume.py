"""Going through clips, interrupted and resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from muybridge.evaluation.resume import Record, go_through
from muybridge.types import Progress


class Squares:
    """Evaluates a clip to its seed's square; gives up at `until`."""

    def __init__(self, until: int = 10**9) -> None:
        self.until, self.asked = until, list[list[int]]()

    def __call__(self, seeds: Sequence[int]) -> list[Record]:
        if max(seeds) >= self.until:
            raise KeyboardInterrupt
        self.asked.append(list(seeds))
        return [{"square": seed**2} for seed in seeds]


def test_every_seed_once_in_order_and_in_batches() -> None:
    squares, seen = Squares(), list[Progress]()
    found = go_through([5, 3, 4], squares, batch=2, watch=seen.append)
    assert [r["square"] for r in found] == [25, 9, 16]
    assert squares.asked == [[5, 3], [4]]
    assert [(p.step, p.steps) for p in seen] == [(2, 3), (3, 3)]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Squares(until=4)
    with pytest.raises(KeyboardInterrupt):
        go_through(range(6), first, batch=2, folder=tmp_path / "new")
    second = Squares()
    resumed = go_through(range(6), second, batch=2, folder=tmp_path / "new")
    assert first.asked + second.asked == [[0, 1], [2, 3], [4, 5]]
    assert resumed == go_through(range(6), Squares())


def test_a_damaged_record_is_named(tmp_path: Path) -> None:
    go_through([7], Squares(), folder=tmp_path)
    for damage in ("{", "[]"):
        (tmp_path / "7.json").write_text(damage)
        with pytest.raises(ValueError, match=r"7\.json.*delete it"):
            go_through([7], Squares(), folder=tmp_path)


def test_a_seed_stands_once() -> None:
    with pytest.raises(ValueError, match="twice"):
        go_through([1, 1], Squares())
