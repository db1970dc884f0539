"""What a reader can be asked besides reading, and that its wrappers pass it on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from migrator.adapters.base import Reader
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.adapters.questions import Found, Probe, SupportsLookup, SupportsProbe, WantedId
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.errors import Unavailable
from migrator.events.watching import Stop
from migrator.testing.documents import activation


class Knowing(MemoryReader):
    """Tells of itself, after it was unavailable so many times."""

    def __init__(self, fails: int) -> None:
        super().__init__(MemoryStore("knowing"), page_documents=10)
        self._fails = fails

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        if self._fails:
            self._fails -= 1
            raise Unavailable("not now")
        return Probe(product="memory", activations=3, is_exact=exact)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        yield activation(1)
        if self._fails:
            self._fails -= 1
            raise Unavailable("not now")
        yield activation(2)


def retrying(reader: Reader) -> RetryingReader:
    return RetryingReader(reader, Policy(sleep=lambda _: None))


def test_a_reader_without_the_protocol_does_not_support_it() -> None:
    """Neither by itself nor in a wrapper, whose own methods are no answer."""
    plain = MemoryReader(MemoryStore("plain"), page_documents=10)
    assert not isinstance(plain, SupportsProbe)
    assert not isinstance(retrying(retrying(plain)), SupportsProbe)


def test_a_question_is_asked_again() -> None:
    """By the wrapper that does so for reading."""
    asked = retrying(Knowing(2))
    assert isinstance(asked, SupportsProbe)
    assert asked.probe(exact=False) == Probe(product="memory", activations=3, is_exact=False)
    bare = Knowing(1)
    assert isinstance(bare, SupportsProbe)
    with pytest.raises(Unavailable):
        bare.probe(exact=False)


def test_what_is_looked_up_again_is_given_once() -> None:
    """The answer starts over, and the one before is dropped."""
    asked = retrying(Knowing(2))
    assert isinstance(asked, SupportsLookup)
    assert [found.id for found in asked.look_up([])] == [activation(1).id, activation(2).id]


def test_what_was_found_before_the_patience_ended_is_given() -> None:
    """And then the exception."""
    asked = RetryingReader(Knowing(1), Policy(patience_s=0, sleep=lambda _: None))
    assert isinstance(asked, SupportsLookup)
    found = asked.look_up([])
    assert next(found).id == activation(1).id
    with pytest.raises(Unavailable):
        next(found)
