"""One thing ahead: the next item is made in a thread while the last one is being used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], after: int = 0) -> Iterator[T]:
    """The same items in the same order. They are made in one thread, each while the one before is in use.

    after  so many are made first, here, when they are asked for: what is waited for then has the processors to itself

    An error comes where its item would have come. To stop is to close the iterator: nothing more is begun, and what is
    being made is waited for.
    """
    yield from islice(items, after)
    end = object()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="ahead") as thread:
        coming = thread.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = thread.submit(next, items, end)
            yield item  # type: ignore[misc]  # it is not the end
