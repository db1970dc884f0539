"""Reading ahead: the next item is made while the last one is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from migrator.engine.executors import threads
from migrator.engine.executors.threads import read_ahead

WAIT_S = 10.0


@pytest.fixture
def ahead() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as found:
        yield found


def test_the_next_item_is_made_while_the_last_is_used(ahead: ThreadPoolExecutor) -> None:
    begun = [Event(), Event()]

    def items() -> Iterator[int]:
        for number, event in enumerate(begun):
            event.set()
            yield number

    found = read_ahead(items(), ahead)
    assert next(found) == 0
    assert begun[1].wait(WAIT_S)
    assert list(found) == [1]


def test_an_item_that_takes_long_is_announced_by_nones(
    ahead: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threads, "_LONG_S", 0.001)
    waits = Event()

    def items() -> Iterator[int]:
        yield 1
        assert waits.wait(WAIT_S)
        yield 2

    found: list[int] = []
    nones = 0
    for item in read_ahead(items(), ahead):
        if item is not None:
            found.append(item)
        elif found == [1]:
            nones += 1
            if nones == 3:
                waits.set()
    assert found == [1, 2]
    assert nones >= 3


@pytest.mark.parametrize("error", [TimeoutError("of the reader"), ValueError("of the reader")])
def test_what_the_reader_raises_is_raised_in_its_place(ahead: ThreadPoolExecutor, error: Exception) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise error

    found = read_ahead(items(), ahead)
    assert next(found) == 1
    with pytest.raises(type(error), match="of the reader"):
        next(found)
