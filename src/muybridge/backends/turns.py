"""Several requests, one set of weights: each runs for a step, tells of it, and lets the next one go on.

Pipelines are functions that return when the clip is done. Here one becomes an iterator that can be watched and left
off, and the networks are never entered by two threads at a time: some keep state while they run (the caches of causal
autoencoders), and all share the device. Between two steps they hold none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import TypeAlias, TypeVar

T = TypeVar("T")
Tell: TypeAlias = Callable[[T], None]


class Cancelled(Exception):
    """Raised inside a call that nobody listens to any more."""


_END = object()


def events(call: Callable[[Tell[T]], None], turn: threading.Lock, alone: bool = False) -> Iterator[T]:
    """What `call(tell)` tells, while it runs in a thread of its own. To cancel, stop iterating: it ends where it tells.

    turn   held while the call computes, free while the listener has the floor. A call that fails raises here.
    alone  keep it until the end, for calls that leave networks changed from one step to the next
    """
    told: SimpleQueue[T | object] = SimpleQueue()
    go_on = threading.Semaphore(0)
    cancelled = threading.Event()
    failures: list[BaseException] = []

    def tell(event: T) -> None:
        if not alone:
            turn.release()
        told.put(event)
        go_on.acquire()
        if not alone:
            turn.acquire()
        if cancelled.is_set():
            raise Cancelled

    def run() -> None:
        try:
            with turn:
                if not cancelled.is_set():
                    call(tell)
        except Cancelled:
            pass
        except BaseException as error:  # it belongs to the listener's thread
            failures.append(error)
        finally:
            told.put(_END)

    thread = threading.Thread(target=run, name="pipeline", daemon=True)
    thread.start()
    try:
        while (event := told.get()) is not _END:
            yield event  # type: ignore[misc]
            go_on.release()
    finally:
        cancelled.set()
        go_on.release()
        thread.join()
    if failures:
        raise failures[0]
