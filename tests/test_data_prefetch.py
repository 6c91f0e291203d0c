"""Workers give the same batches, report what went wrong, and are gone afterwards."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from tiny_training import Points

from muybridge.data.prefetch import Prefetch
from muybridge.types import Batch


@dataclass(frozen=True)
class Breaks:
    """Points, up to a step."""

    at: int

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        if step == self.at:
            raise ValueError(f"clip {step} is broken")
        return Points().batch(step, rank, world)


@dataclass(frozen=True)
class Who:
    """Says in `seed` who works with how many threads."""

    def batch(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        return Batch(seed=torch.tensor([os.getpid(), torch.get_num_threads()]))


def seeds(batch: Batch) -> list[int]:
    assert batch.seed is not None
    return list(batch.seed.tolist())


def assert_no_children() -> None:
    end = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


def test_workers_give_the_same_batches_at_any_step() -> None:
    source = Points()
    with Prefetch(source, workers=1, depth=3) as ahead:
        for step in (5, 6, 7, 8, 2, 3):  # goes on, then jumps back as a resumed training may
            batch, expected = ahead.batch(step), source.batch(step)
            assert batch.latent is not None
            assert expected.latent is not None
            assert torch.equal(batch.latent, expected.latent)
            assert seeds(batch) == seeds(expected)
    assert_no_children()


def test_without_workers_everything_happens_here() -> None:
    assert seeds(Prefetch(Who(), workers=0).batch(0))[0] == os.getpid()


def test_what_goes_wrong_in_a_worker_is_raised_here() -> None:
    with Prefetch(Breaks(at=2), workers=1) as ahead:
        ahead.batch(0)
        ahead.batch(1)
        with pytest.raises(ValueError, match=r"^clip 2 is broken$"):
            ahead.batch(2)
    assert_no_children()


def test_impossible_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="workers >= 0"):
        Prefetch(Points(), workers=-1)


SCRIPT = """
import torch
from test_data_prefetch import Prefetch, Who

if __name__ == "__main__":
    with Prefetch(Who(), workers=1) as ahead:
        print(ahead.batch(0).seed.tolist(), flush=True)
        input()
"""


def test_no_worker_outlives_a_killed_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, script], env=environment, text=True, stdin=pipe, stdout=pipe) as parent:
        assert parent.stdout is not None
        worker, threads = json.loads(parent.stdout.readline())
        assert worker != parent.pid
        assert threads == 1
        parent.kill()
    end = time.monotonic() + 20
    while _alive(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_leaves_the_trainer_its_batch(number: signal.Signals) -> None:
    with Prefetch(Who(), workers=1) as ahead:
        worker = seeds(ahead.batch(0))[0]
        assert worker != os.getpid()
        os.kill(worker, number)
        assert [seeds(ahead.batch(step))[0] for step in range(1, 6)] == [worker] * 5
    assert_no_children()
