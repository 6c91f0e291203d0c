"""Processes that make clips: they leave Ctrl-C to the one that waits for them, and end with it."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import TypeVar

T = TypeVar("T")


@contextmanager
def pool_of(count: int, option: str) -> Iterator[ProcessPoolExecutor]:
    """So many processes, which finish the clips at hand when the run is stopped, and begin no other.

    option  by which users say how many they want. ValueError names it if one of them is killed
    """
    pool = ProcessPoolExecutor(count, get_context("spawn"), _end_with_the_parent)
    try:
        yield pool
    except BrokenProcessPool as error:
        said = "one of the processes was killed, perhaps for lack of memory"
        raise ValueError(f"{said}: the same command, with fewer {option}, goes on where it stopped") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Inside, SIGINT is: by the processes that start here, too, which inherit it for good."""
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def in_order(pool: ProcessPoolExecutor, make: Callable[[int], T], numbers: Iterable[int], most: int) -> Iterator[T]:
    """What `pool` makes of the numbers, `most` at a time: its own map would fill the memory with all of them."""
    left = iter(numbers)
    with interrupts_ignored():  # the pool starts its processes with its first tasks
        waiting: deque[Future[T]] = deque(pool.submit(make, number) for number in islice(left, most))
    while waiting:
        yield waiting.popleft().result()
        waiting.extend(pool.submit(make, number) for number in islice(left, 1))


def _end_with_the_parent() -> None:
    """A pool's process waits for tasks for ever if the one that gives them is killed."""

    def watch() -> None:
        parent = parent_process()
        assert parent is not None, "not in a process of a pool"
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
