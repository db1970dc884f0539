"""What a reader can be asked besides reading, and that its wrappers pass it on."""

from __future__ import annotations

import pytest

from migrator.adapters.base import Reader, supported
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.adapters.questions import Probe, SupportsProbe
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader
from migrator.errors import Unavailable


class Knowing(MemoryReader):
    """Tells of itself, after it was unavailable so many times."""

    def __init__(self, fails: int) -> None:
        super().__init__(MemoryStore("knowing"), page_documents=10)
        self._fails = fails

    def probe(self, *, exact: bool) -> Probe:
        if self._fails:
            self._fails -= 1
            raise Unavailable("not now")
        return Probe(product="memory", activations=3, is_exact=exact)


def retrying(reader: Reader) -> RetryingReader:
    return RetryingReader(reader, Policy(sleep=lambda _: None))


def test_a_reader_without_the_protocol_does_not_support_it() -> None:
    """Neither by itself nor in a wrapper, whose own methods are no answer."""
    plain = MemoryReader(MemoryStore("plain"), page_documents=10)
    assert supported(plain, SupportsProbe) is None
    assert supported(retrying(retrying(plain)), SupportsProbe) is None


def test_a_question_is_asked_again() -> None:
    """By the wrapper that does so for reading."""
    asked = supported(retrying(Knowing(2)), SupportsProbe)
    assert asked
    assert asked.probe(exact=False) == Probe(product="memory", activations=3, is_exact=False)
    bare = supported(Knowing(1), SupportsProbe)
    assert bare
    with pytest.raises(Unavailable):
        bare.probe(exact=False)


def test_a_protocol_that_has_no_retries_is_no_silent_no() -> None:
    """Whoever adds one is told."""

    with pytest.raises(AssertionError, match="has no retries"):
        supported(retrying(Knowing(0)), Knowing)
