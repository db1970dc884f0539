"""A wrapper offers what the store in it offers: nothing is hidden, and nothing is invented."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Collection
from importlib import import_module
from itertools import combinations
from typing import Any, get_type_hints

import pytest

from migrator.activations.document import Form
from migrator.adapters import base, questions, wrappers
from migrator.adapters.base import (
    Abilities,
    SupportsBuffer,
    SupportsCount,
    SupportsCreation,
    SupportsFence,
    SupportsFetch,
    SupportsJoining,
    SupportsNamespaces,
    SupportsParts,
    SupportsReceipts,
    SupportsStock,
)
from migrator.adapters.questions import SupportsLookup, SupportsNewest
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.by_ids import ChosenReader
from migrator.adapters.wrappers.dry_run import DryRunWriter
from migrator.adapters.wrappers.forwarding import (
    READER_PROTOCOLS,
    WRITER_PROTOCOLS,
    ForwardingReader,
    ForwardingWriter,
    methods,
)
from migrator.adapters.wrappers.mending import MendingReader
from migrator.adapters.wrappers.rates import Timetable
from migrator.adapters.wrappers.retrying import RetryingReader, RetryingWriter
from migrator.adapters.wrappers.throttled import Throttle, ThrottledReader
from migrator.adapters.wrappers.watched import Watch, WatchedReader
from migrator.events.watching import Stop

POLICY = Policy(sleep=lambda _: None)
READERS: dict[type, Callable[[Any], Any]] = {
    ForwardingReader: ForwardingReader,
    RetryingReader: lambda inner: RetryingReader(inner, POLICY),
    ThrottledReader: lambda inner: ThrottledReader(inner, Throttle(Timetable())),
    MendingReader: MendingReader,
    WatchedReader: lambda inner: WatchedReader(inner, Watch(Stop(), lambda _: None)),
    ChosenReader: lambda inner: ChosenReader(inner, ["guest/1"]),
}
WRITERS: dict[type, Callable[[Any], Any]] = {
    ForwardingWriter: ForwardingWriter,
    RetryingWriter: lambda inner: RetryingWriter(inner, POLICY),
    DryRunWriter: DryRunWriter,
}
HIDDEN: dict[type, set[type]] = {
    ChosenReader: {*READER_PROTOCOLS} - {SupportsFetch, SupportsNamespaces, SupportsCount},  # it reads given ids
    MendingReader: {SupportsLookup, SupportsNewest},  # the store would answer with its own ids
    DryRunWriter: {
        SupportsReceipts,
        SupportsBuffer,
        SupportsFence,
        SupportsJoining,
        SupportsStock,
    },  # it writes nothing
}
GIVEN: dict[type, set[type]] = {ChosenReader: {SupportsCount}}  # it was given the ids, and counts them
ASKED_BARE = {SupportsParts, SupportsCreation}  # before anything is put around the store
GATHERED = {"fetch", "look_up", "newest", "replace_before"}  # by a wrapper that retries
CASES = [
    *((wrapper, READER_PROTOCOLS) for wrapper in READERS),
    *((wrapper, WRITER_PROTOCOLS) for wrapper in WRITERS),
]


def store_with(protocols: Collection[type], called: list[Any] | None = None) -> Any:
    """A store that supports these protocols and no other; each method gives its name and what it was called with."""

    def answer(name: str) -> Callable[..., Any]:
        def call(_: Any, *values: Any, **named: Any) -> Any:
            if called is not None:
                called.append((name, values, named))
            return name, values, named

        return call

    names = [name for protocol in protocols for name in methods(protocol)]
    return type(
        "Store", (), {"form": Form.COUCHDB, "abilities": Abilities(), **{each: answer(each) for each in names}}
    )()


def supported(store: object, protocols: Collection[type]) -> set[type]:
    return {each for each in protocols if isinstance(store, each)}


def wrap(wrapper: type, inner: object) -> Any:
    return {**READERS, **WRITERS}[wrapper](inner)


def test_every_wrapper_and_every_protocol_is_tried() -> None:
    """A new wrapper, or a new optional protocol, has to be added above."""
    declared = {
        each for module in (base, questions) for name, each in vars(module).items() if name.startswith("Supports")
    }
    assert declared - ASKED_BARE == {*READER_PROTOCOLS, *WRITER_PROTOCOLS}
    modules = [import_module(f"{wrappers.__name__}.{each.name}") for each in pkgutil.iter_modules(wrappers.__path__)]
    found = {
        each
        for module in modules
        for each in vars(module).values()
        if inspect.isclass(each) and issubclass(each, (ForwardingReader, ForwardingWriter))
    }
    assert found == {*READERS, *WRITERS}


@pytest.mark.parametrize(("wrapper", "protocols"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_wrapper_supports_what_its_store_supports(wrapper: type, protocols: tuple[type, ...]) -> None:
    """For none, each, each two, nearly all and all protocols; what it hides or gives by itself stands above."""
    for size in (0, 1, 2, len(protocols) - 1, len(protocols)):
        for some in combinations(protocols, size):
            inner = store_with(some)
            assert supported(inner, protocols) == set(some)
            expected = ({*some} - HIDDEN.get(wrapper, set())) | GIVEN.get(wrapper, set())
            assert supported(wrap(wrapper, inner), protocols) == expected


@pytest.mark.parametrize(("wrapper", "protocols"), CASES, ids=lambda each: getattr(each, "__name__", ""))
def test_wrappers_around_wrappers_keep_it(wrapper: type, protocols: tuple[type, ...]) -> None:
    """A wrapped store is wrapped like any other."""
    outer = ForwardingReader if protocols is READER_PROTOCOLS else ForwardingWriter
    for some in ((), protocols, *((each,) for each in protocols)):
        inside = wrap(wrapper, store_with(some))
        assert supported(outer(inside), protocols) == supported(inside, protocols)


@pytest.mark.parametrize("wrapper", [ForwardingReader, ForwardingWriter, RetryingReader, RetryingWriter])
def test_calls_reach_the_store_as_they_were_made(wrapper: type) -> None:
    """Every optional method is called with the same values, and its result comes back."""
    protocols = READER_PROTOCOLS if wrapper in READERS else WRITER_PROTOCOLS
    called: list[Any] = []
    wrapped = wrap(wrapper, store_with(protocols, called))
    for protocol in protocols:
        for name in methods(protocol) - (GATHERED if wrapper in (RetryingReader, RetryingWriter) else set()):
            parameters = [*inspect.signature(getattr(protocol, name)).parameters.values()][1:]
            values = tuple(each.name for each in parameters if each.kind is not each.KEYWORD_ONLY)
            named = {each.name: each.name for each in parameters if each.kind is each.KEYWORD_ONLY}
            result = getattr(wrapped, name)(*values, **named)
            assert called.pop() == (name, values, named)
            assert result == (name, values, named) or get_type_hints(getattr(protocol, name))["return"] is type(None)
