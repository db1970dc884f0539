"""Adds documents up as they go by: by namespace, action and day, with what of their size is logs and results.

Documents enter, each with the number of those that it stands for; sums leave. Memory is bounded whatever goes by.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

import msgspec

from migrator.activations.document import Document, activation_path
from migrator.text.decoding import UNREADABLE, decoder
from migrator.text.units import DAY_S

DAY_MS = 1000 * DAY_S
REST = "(others)"
_NAMES = 20_000  # that are distinguished
_LARGEST = 10


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """The activations of a namespace, an action or a day."""

    name: str  # a day as 2026-11-24, an action by its path
    activations: int
    size_bytes: int  # of their JSON
    errors: int  # with a status code other than 0

    @property
    def error_rate(self) -> float:
        return self.errors / self.activations if self.activations else 0.0


class Large(msgspec.Struct, frozen=True, kw_only=True):
    """One of the largest activations."""

    id: str
    name: str
    start_ms: int
    size_bytes: int
    logs_bytes: int
    result_bytes: int


class Sum(msgspec.Struct):
    """Amounts, which are no whole numbers where one document stands for several."""

    activations: float = 0
    size_bytes: float = 0
    errors: float = 0

    def add(self, activations: float, size_bytes: float, errors: float) -> None:
        self.activations += activations
        self.size_bytes += size_bytes
        self.errors += errors

    def scale(self, factor: float) -> None:
        self.activations *= factor
        self.size_bytes *= factor
        self.errors *= factor

    @property
    def mean_bytes(self) -> float:
        return self.size_bytes / self.activations if self.activations else 0.0


class Sums:
    """Amounts by name; beyond very many names, what comes under new ones is one sum."""

    def __init__(self) -> None:
        self.by_name: dict[str, Sum] = {}

    def of(self, name: str) -> Sum:
        found = self.by_name.get(name)
        if found is None:
            found = self.by_name.setdefault(name if len(self.by_name) < _NAMES else REST, Sum())
        return found

    def groups(self, most: int) -> tuple[Group, ...]:
        """The names with the most activations, and the rest as one."""
        ranked = sorted(
            ((name, each) for name, each in self.by_name.items() if name != REST),
            key=lambda each: (-each[1].activations, each[0]),
        )
        found = [_group(name, each) for name, each in ranked[:most]]
        rest = Sum()
        for each in [*(each for _, each in ranked[most:]), *filter(None, [self.by_name.get(REST)])]:
            rest.add(each.activations, each.size_bytes, each.errors)
        return (*found, _group(REST, rest)) if rest.activations else tuple(found)


def _group(name: str, each: Sum) -> Group:
    return Group(
        name=name,
        activations=round(each.activations),
        size_bytes=round(each.size_bytes),
        errors=round(each.errors),
    )


class _Response(msgspec.Struct, gc=False):
    result: msgspec.Raw = msgspec.Raw(b"")
    status: float = msgspec.field(name="statusCode", default=0)


class _Seen(msgspec.Struct, gc=False):
    response: _Response | None = None
    logs: msgspec.Raw = msgspec.Raw(b"")
    annotations: msgspec.Raw = msgspec.Raw(b"")
    path: str | None = None


_seen = decoder(_Seen)


def _look(document: Document) -> tuple[_Seen, str]:
    """What is looked at in a document, and its path."""
    try:
        seen = _seen.decode(document.body)
    except UNREADABLE:
        seen = _Seen()  # something in it is odd; its size counts all the same
    return seen, seen.path or activation_path(document.namespace, document.name, seen.annotations)


def _large(document: Document) -> Large:
    seen, path = _look(document)
    return Large(
        id=document.id,
        name=path,
        start_ms=document.start_ms,
        size_bytes=document.size_bytes,
        logs_bytes=len(bytes(seen.logs)),
        result_bytes=len(bytes(seen.response.result)) if seen.response else 0,
    )


class Amounts:
    """What was seen so far."""

    def __init__(self) -> None:
        self.total = Sum()
        self.namespaces = Sums()
        self.actions = Sums()
        self.days: dict[int, Sum] = {}
        self.logs_bytes = 0.0
        self.results_bytes = 0.0
        self.unreadable = 0.0
        self.sampled = 0
        self.first_ms: int | None = None
        self.last_ms: int | None = None
        self._largest: list[tuple[int, str, Large]] = []

    def take(self, documents: Iterable[Document], *, weight: float = 1) -> None:
        """Add documents, each of which stands for `weight` of them."""
        for document in documents:
            self._take(document, weight)

    def _take(self, document: Document, weight: float) -> None:
        seen, path = _look(document)
        response = seen.response or _Response()
        size_bytes, errors = document.size_bytes * weight, weight if response.status else 0
        self.sampled += 1
        self.total.add(weight, size_bytes, errors)
        self.namespaces.of(document.namespace).add(weight, size_bytes, errors)
        self.actions.of(path).add(weight, size_bytes, errors)
        self.day_of(document.start_ms).add(weight, size_bytes, errors)
        self.logs_bytes += len(bytes(seen.logs)) * weight
        self.results_bytes += len(bytes(response.result)) * weight
        self.spans(document.start_ms)
        self.rank([document])

    def day_of(self, start_ms: int) -> Sum:
        """Of a day; one that lies beyond very many others counts for the last of them."""
        day = start_ms // DAY_MS
        if day not in self.days and len(self.days) >= _NAMES:
            day = max(self.days)
        return self.days.setdefault(day, Sum())

    def spans(self, start_ms: int) -> None:
        """Note that an activation started then."""
        self.first_ms = start_ms if self.first_ms is None else min(self.first_ms, start_ms)
        self.last_ms = start_ms if self.last_ms is None else max(self.last_ms, start_ms)

    def rank(self, documents: Iterable[Document]) -> None:
        """Keep those that are among the largest, without counting them."""
        for document in documents:
            if len(self._largest) == _LARGEST and document.size_bytes <= self._largest[0][0]:
                continue
            if not any(id == document.id for _, id, _ in self._largest):
                heapq.heappush(self._largest, (document.size_bytes, document.id, _large(document)))
            if len(self._largest) > _LARGEST:
                heapq.heappop(self._largest)

    def scale(self, factor: float) -> None:
        """Let every document stand for `factor` times as many."""
        for sums in (self.namespaces.by_name.values(), self.actions.by_name.values(), self.days.values()):
            for each in sums:
                each.scale(factor)
        self.total.scale(factor)
        self.logs_bytes *= factor
        self.results_bytes *= factor
        self.unreadable *= factor

    @property
    def largest(self) -> tuple[Large, ...]:
        """The largest first."""
        return tuple(large for _, _, large in sorted(self._largest, reverse=True))
