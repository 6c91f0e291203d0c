"""One thing ahead: the same items, made in a thread while the last is in use; errors and ends come in their place."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from itertools import islice, product

import pytest

from muybridge.sampler.ahead import ahead


def counted(begun: list[int], most: int) -> Iterator[int]:
    for number in range(most):
        begun.append(number)
        yield number


def test_all_items_come_in_order() -> None:
    for count, after in product((0, 1, 5), (0, 1, 7)):
        assert list(ahead(counted([], count), after)) == list(range(count))


def test_what_is_waited_for_is_made_alone() -> None:
    begun: list[int] = []
    items = ahead(counted(begun, 9), after=2)
    for number in range(2):
        assert next(items) == number
        assert begun == list(range(number + 1))
    assert next(items) == 2


def test_the_next_is_begun_while_this_one_is_in_use() -> None:
    second, threads = threading.Event(), []

    def items() -> Iterator[str]:
        threads.append(threading.current_thread())
        yield "first"
        second.set()
        yield "second"

    for item in ahead(items()):
        assert item == "second" or second.wait(timeout=30)
    assert threads != [threading.current_thread()]


def test_an_error_comes_where_its_item_would_have() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise ValueError("the second is broken")

    items = ahead(broken())
    assert next(items) == 1
    with pytest.raises(ValueError, match="the second is broken"):
        next(items)


def test_to_close_is_to_begin_nothing_more() -> None:
    begun: list[int] = []
    before = threading.active_count()
    items = ahead(counted(begun, 1000))
    assert list(islice(items, 3)) == [0, 1, 2]
    assert isinstance(items, Generator)
    items.close()
    assert begun == [0, 1, 2, 3]
    assert threading.active_count() == before


def test_an_error_of_who_uses_them_ends_them() -> None:
    begun: list[int] = []
    before = threading.active_count()

    def use() -> None:
        for item in ahead(counted(begun, 1000)):
            if item == 2:
                raise ValueError("enough")

    with pytest.raises(ValueError, match="enough"):
        use()
    assert len(begun) == 4
    assert threading.active_count() == before
