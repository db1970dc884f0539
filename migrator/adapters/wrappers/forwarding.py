"""What every wrapper of a reader or a writer inherits: all is passed on, and a wrapper overrides what it changes.

A wrapper supports exactly what the store in it supports. It has every method of every optional protocol, and those that
the inner one lacks are None in its class, which is how Python says that a class doesn't have a method (`__hash__ =
None`): `isinstance` with the protocol is then False.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, ClassVar, Protocol, Self, cast

from migrator.activations.document import Document, Form
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Abilities,
    Batch,
    Completion,
    Description,
    News,
    Plan,
    Reader,
    Refusal,
    Slice,
    SupportsBuffer,
    SupportsCatchUp,
    SupportsCensus,
    SupportsCount,
    SupportsFence,
    SupportsFetch,
    SupportsFollow,
    SupportsJoining,
    SupportsLimitations,
    SupportsNamespaces,
    SupportsPlaces,
    SupportsPreflight,
    SupportsReceipts,
    SupportsRepeats,
    SupportsStock,
    SupportsStored,
    SupportsTargetCensus,
    SupportsVerificationPlan,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.questions import (
    Finding,
    Found,
    Probe,
    SupportsCustody,
    SupportsLookup,
    SupportsNewest,
    SupportsProbe,
    SupportsReasons,
    SupportsVolume,
    Volume,
    WantedId,
)
from migrator.events.watching import Stop


class AnyReader(
    Reader,
    SupportsFollow,
    SupportsCatchUp,
    SupportsVerificationPlan,
    SupportsCensus,
    SupportsRepeats,
    SupportsFetch,
    SupportsNamespaces,
    SupportsCount,
    SupportsProbe,
    SupportsLookup,
    SupportsNewest,
    SupportsReasons,
    SupportsVolume,
    SupportsCustody,
    Protocol,
):
    """What a wrapper calls: of a method that the inner reader lacks it is sure that nobody can call its own."""


class _AnyWriter(
    Writer,
    SupportsReceipts,
    SupportsBuffer,
    SupportsStored,
    SupportsFence,
    SupportsJoining,
    SupportsTargetCensus,
    SupportsStock,
    SupportsPlaces,
    SupportsPreflight,
    SupportsLimitations,
    Protocol,
):
    """The same of a writer."""


READER_PROTOCOLS = tuple(each for each in AnyReader.__bases__ if each not in (Reader, Protocol))
WRITER_PROTOCOLS = tuple(each for each in _AnyWriter.__bases__ if each not in (Writer, Protocol))


def methods(protocol: type) -> frozenset[str]:
    """The names of an optional protocol's methods."""
    return frozenset(name for name, value in vars(protocol).items() if callable(value) and not name.startswith("_"))


@cache
def _without(wrapper: Any, names: frozenset[str]) -> Any:
    return type(wrapper.__name__, (wrapper,), dict.fromkeys(names)) if names else wrapper


def _make(wrapper: Any, inner: object, protocols: Sequence[type]) -> Any:
    """A new instance of a wrapper that supports what the inner store supports, but for what the wrapper withholds."""
    lacking = [each for each in protocols if each in wrapper.withholds or not isinstance(inner, each)]
    names = frozenset(name for each in lacking if each not in wrapper.provides for name in methods(each))
    return object.__new__(_without(wrapper, names))


class ForwardingReader:
    """A reader that does what the inner one does."""

    withholds: ClassVar[Collection[type]] = ()  # what it doesn't offer, whatever is in it
    provides: ClassVar[Collection[type]] = ()  # what it does by itself

    def __new__(cls, inner: Reader, *_: Any, **__: Any) -> Self:
        return cast(Self, _make(cls, inner, READER_PROTOCOLS))

    def __init__(self, inner: Reader) -> None:
        self._inner = cast(AnyReader, inner)
        self.abilities: Abilities = inner.abilities

    @property
    def form(self) -> Form:
        return self._inner.form

    def describe(self) -> Description:
        return self._inner.describe()

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.plan(selection, slice_documents=slice_documents)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        return self._inner.read(slice, after, selection)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.catch_up(snapshot, selection, slice_documents=slice_documents)

    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        return self._inner.news(snapshot, selection, wait_s=wait_s, stop=stop)

    def read_up_to(self, snapshot: Token, positions: Sequence[Token]) -> Token:
        return self._inner.read_up_to(snapshot, positions)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self._inner.plan_verification(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        return self._inner.census(selection, snapshot)

    def repeats_ids(self, snapshot: Token) -> bool:
        return self._inner.repeats_ids(snapshot)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        return self._inner.fetch(ids, after, selection)

    def namespaces(self) -> Mapping[str, int | None]:
        return self._inner.namespaces()

    def count(self, selection: Selection) -> int | None:
        return self._inner.count(selection)

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        return self._inner.probe(exact=exact, stop=stop)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[Found]:
        return self._inner.look_up(wanted)

    def newest(self, selection: Selection, limit: int) -> Iterator[Document]:
        return self._inner.newest(selection, limit)

    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return self._inner.reasons(wanted)

    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return self._inner.volume(selection, exact=exact, stop=stop)

    def lost(self) -> str | None:
        return self._inner.lost()

    def busy(self) -> str | None:
        return self._inner.busy()

    def close(self) -> None:
        self._inner.close()


class ForwardingWriter:
    """A writer that does what the inner one does."""

    withholds: ClassVar[Collection[type]] = ()  # what it doesn't offer, whatever is in it
    provides: ClassVar[Collection[type]] = ()  # what it does by itself

    def __new__(cls, inner: Writer, *_: Any, **__: Any) -> Self:
        return cast(Self, _make(cls, inner, WRITER_PROTOCOLS))

    def __init__(self, inner: Writer) -> None:
        self._inner = cast(_AnyWriter, inner)
        self.form: Form | None = inner.form
        self.abilities: Abilities = inner.abilities

    def describe(self) -> Description:
        return self._inner.describe()

    def prepare(self) -> Token:
        return self._inner.prepare()

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        return self._inner.write(documents, replace=replace)

    def flush(self) -> Token:
        return self._inner.flush()

    def finish(self, completion: Completion) -> None:
        self._inner.finish(completion)

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        return self._inner.resume(prepared, receipts)

    def due(self) -> bool:
        return self._inner.due()

    def mark(self) -> Token:
        return self._inner.mark()

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        return self._inner.replace_before(documents, mark)

    def highest_number(self) -> int:
        return self._inner.highest_number()

    def join(self, prepared: Token) -> None:
        self._inner.join(prepared)

    def allot(self, numbers: Sequence[int]) -> None:
        self._inner.allot(numbers)

    def sweep(self, receipts: Sequence[tuple[int, Token]]) -> None:
        self._inner.sweep(receipts)

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return self._inner.stored_since(mark, documents)

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return self._inner.stored(documents)

    def census(self) -> int | None:
        return self._inner.census()

    def stock(self) -> Token:
        return self._inner.stock()

    def left_of(self, stock: Token) -> int:
        return self._inner.left_of(stock)

    def concerned(self, identity: Token, namespaces: Collection[str]) -> Token:
        return self._inner.concerned(identity, namespaces)

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return self._inner.preflight(namespaces)

    def limitations(self) -> Sequence[str]:
        return self._inner.limitations()

    def close(self) -> None:
        self._inner.close()
