"""Processes that make clips: in order, few at a time, quiet at Ctrl-C, gone with the one that started them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import count, islice
from pathlib import Path

import pytest

from muybridge.data.processes import in_order, pool_of

SCRIPT = """
import os, sys
from test_data_processes import slowly
from muybridge.data.processes import in_order, pool_of

if __name__ == "__main__":
    with pool_of(2, "--workers") as pool:
        for worker in in_order(pool, slowly, range(1000), 8):
            print(os.getpid(), worker, flush=True)
"""


def slowly(number: int) -> int:
    """Says who made it."""
    time.sleep(0.05)
    return os.getpid()


def killed(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def started(folder: Path) -> subprocess.Popen[str]:
    (folder / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    pipe = subprocess.PIPE
    command = [sys.executable, str(folder / "script.py")]
    return subprocess.Popen(command, env=environment, text=True, stdout=pipe, stderr=pipe, start_new_session=True)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_clips_come_in_order_and_few_are_made_ahead() -> None:
    with pool_of(1, "--workers") as pool:
        numbers = count()
        assert list(islice(in_order(pool, abs, numbers, 4), 10)) == list(range(10))
        assert next(numbers) <= 14


def test_a_killed_process_is_a_sentence() -> None:
    with (
        pytest.raises(ValueError, match=r"one of the processes was killed.* fewer --workers"),
        pool_of(1, "--workers") as pool,
    ):
        list(in_order(pool, killed, range(8), 2))


def test_ctrl_c_is_the_parents_alone(tmp_path: Path) -> None:
    """As a terminal sends it, to all processes: only the one that waits says something of it."""
    with started(tmp_path) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        os.killpg(parent.pid, signal.SIGINT)
        _, err = parent.communicate(timeout=60)
    assert err.count("Traceback") == 1
    assert "KeyboardInterrupt" in err


def test_processes_end_with_a_killed_parent(tmp_path: Path) -> None:
    with started(tmp_path) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline().split()[1])
        parent.kill()
    end = time.monotonic() + 20
    while alive(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(worker)
