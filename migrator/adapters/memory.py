"""A store in memory, for tests, dry runs and as the shortest example of the contract.

Keeps the documents of either form by id, with a sequence number for every change, as the real stores do. Knows
nothing of connections and never fails by itself.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
from typing_extensions import override

from migrator.activations import comparing
from migrator.activations.document import Document, Form, read_document
from migrator.activations.part import Part
from migrator.activations.selection import Selection
from migrator.adapters.base import (
    Abilities,
    Batch,
    Completion,
    Description,
    News,
    Plan,
    Reader,
    Slice,
    SupportsCatchUp,
    SupportsCensus,
    SupportsCount,
    SupportsFence,
    SupportsFetch,
    SupportsFollow,
    SupportsNamespaces,
    SupportsParts,
    SupportsStock,
    SupportsStored,
    SupportsTargetCensus,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held, Remover, Space
from migrator.adapters.shared.paging import Page
from migrator.events.watching import Stop
from migrator.settings.stores import Store
from migrator.text.decoding import convert

_LOOK_S = 0.1


class _Entry(msgspec.Struct, frozen=True, gc=False):
    sequence: int
    body: bytes | None  # None: deleted


class MemoryStore:
    """The documents themselves. Every change takes the next sequence number."""

    def __init__(self, name: str, form: Form = Form.COUCHDB) -> None:
        self.name = name
        self.form = form
        self.generation = 1  # changes when the store is emptied
        self.removals = 0  # documents that were deleted or dropped since
        self.lock = threading.Lock()
        self.entries: dict[str, _Entry] = {}
        self.sequence = 0

    def put(self, id: str, body: bytes | None) -> None:
        """Store a document, or with None delete it."""
        with self.lock:
            self._change(id, body)

    def _change(self, id: str, body: bytes | None) -> None:
        self.removals += body is None and self.get(id) is not None
        self.sequence += 1
        self.entries[id] = _Entry(self.sequence, body)

    def drop(self, chosen: Callable[[str], bool]) -> None:
        """Forget every document whose id is chosen, as a store does of which a part is deleted."""
        with self.lock:
            for id in [id for id in self.entries if chosen(id)]:
                self.removals += self.entries.pop(id).body is not None

    def get(self, id: str) -> bytes | None:
        entry = self.entries.get(id)
        return entry.body if entry else None

    def change(self, id: str, body: bytes | None, *, sequence: int) -> bool:
        """Store or delete a document if its last change still is the one of a sequence; whether it was."""
        with self.lock:
            entry = self.entries.get(id)
            if entry is None or entry.body is None or entry.sequence != sequence:
                return False
            self._change(id, body)
            return True

    def clear(self) -> None:
        with self.lock:
            self.entries.clear()
            self.generation += 1


_stores: dict[str, MemoryStore] = {}


def memory_store(name: str, form: Form = Form.COUCHDB) -> MemoryStore:
    """The store of that name in this process, made when it is first requested."""
    return _stores.setdefault(name, MemoryStore(name, form))


def open_reader(store: Store, *, page_bytes: int = 0) -> MemoryReader:  # noqa: ARG001  all is in memory anyway
    return MemoryReader(memory_store(store.location.database), page_documents=100)


def open_writer(store: Store) -> MemoryWriter:
    return MemoryWriter(memory_store(store.location.database))


def open_remover(store: Store) -> MemoryRemover:
    return MemoryRemover(memory_store(store.location.database))


def _describe(store: MemoryStore) -> Description:
    return Description(
        location=f"memory:{store.name}", product="memory", version="1", identity=f"{store.name}#{store.generation}"
    )


class MemoryReader(
    Reader,
    SupportsCatchUp,
    SupportsFollow,
    SupportsCensus,
    SupportsFetch,
    SupportsNamespaces,
    SupportsCount,
    SupportsParts,
):
    abilities = Abilities(rereads_newer=True, unique_ids=True, looks_up=True)
    form = Form.COUCHDB

    def __init__(self, store: MemoryStore, *, page_documents: int = 100, part: Part | None = None) -> None:
        self._store = store
        self._part = part
        if part is not None:
            self.abilities = msgspec.structs.replace(self.abilities, partial=True)
        self._page_documents = page_documents
        self.form = store.form

    def in_part(self, part: Part) -> MemoryReader:
        return MemoryReader(self._store, page_documents=self._page_documents, part=part)

    def _takes(self, id: str) -> bool:
        return self._part is None or self._part.takes_id(id)

    def describe(self) -> Description:
        return _describe(self._store)

    @override
    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        snapshot = self._store.sequence
        ids = sorted(self._store.entries)
        starts = ids[::slice_documents]
        # The first slice begins before every id and the last has no end: what is stored meanwhile falls into one.
        bounds = ["", *starts[1:], None]
        slices = tuple(
            Slice(
                key=f"{low or 'first'}..{high or 'last'}",
                spec={"low": low, "high": high},
                documents=min(slice_documents, len(ids) - number * slice_documents) if ids else 0,
            )
            for number, (low, high) in enumerate(pairwise(bounds))
        )
        return Plan(slices=slices, snapshot=snapshot)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        if "since" in slice.spec:
            yield from self._read_changes(slice, after, selection)
            return
        low, high = slice.spec["low"], slice.spec["high"]
        with self._store.lock:
            ids = sorted(
                id
                for id in self._store.entries
                if self._takes(id) and id >= low and (high is None or id < high) and (after is None or id > str(after))
            )
        for at in range(0, len(ids), self._page_documents):
            page, size_bytes = Page(self.form, selection), 0
            chosen = ids[at : at + self._page_documents]
            for id in chosen:
                body = self._store.get(id)
                if body is not None:
                    page.take(id, body)
                    size_bytes += len(body)
            yield page.batch(chosen[-1], size_bytes=size_bytes)

    def _read_changes(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        since = slice.spec["since"] if after is None else after
        assert isinstance(since, int)
        with self._store.lock:
            changes = sorted(
                (entry.sequence, id, entry.body)
                for id, entry in self._store.entries.items()
                if self._takes(id) and since < entry.sequence <= slice.spec["until"]
            )
        for at in range(0, len(changes), self._page_documents):
            page, size_bytes = Page(self.form, selection), 0
            chosen = changes[at : at + self._page_documents]
            for _, id, body in chosen:
                if body is None:
                    page.delete()
                else:
                    page.take(id, body)
                    size_bytes += len(body)
            yield page.batch(chosen[-1][0], size_bytes=size_bytes)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else convert(after, int)
        for at in range(done, len(ids), self._page_documents):
            chosen = ids[at : at + self._page_documents]
            page, size_bytes = Page(self.form, selection), 0
            for id in chosen:
                body = self._store.get(id)
                if body is not None:
                    page.take(id, body)
                    size_bytes += len(body)
            yield page.batch(at + len(chosen), size_bytes=size_bytes)

    @override
    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        now = self._store.sequence
        changes = Slice(key=f"changes {snapshot}..{now}", spec={"since": snapshot, "until": now}, replaces=True)
        return Plan(slices=(changes,), snapshot=now)

    @override
    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        """As in the contract; looks ten times a second."""
        assert isinstance(snapshot, int)
        until_s = time.monotonic() + wait_s
        while self._store.sequence <= snapshot and (left_s := until_s - time.monotonic()) > 0:
            stop.sleep(min(_LOOK_S, left_s))
        with self._store.lock:
            new = (id for id, entry in self._store.entries.items() if entry.sequence > snapshot)
            return News(pending=sum(map(self._takes, new)))

    @override
    def read_up_to(self, snapshot: Token, positions: Sequence[Token]) -> Token:
        """The changes of a round end where its snapshot stands."""
        return snapshot

    @override
    def census(self, selection: Selection, snapshot: Token) -> int | None:
        assert isinstance(snapshot, int)
        with self._store.lock:
            entries = [entry for id, entry in self._store.entries.items() if self._takes(id)]
        return sum(entry.body is not None and entry.sequence <= snapshot for entry in entries)

    def namespaces(self) -> Mapping[str, int | None]:
        with self._store.lock:
            return Counter(id.partition("/")[0] for id, entry in self._store.entries.items() if entry.body is not None)

    def count(self, selection: Selection) -> int | None:
        return sum(map(self._takes, self._store.entries)) if selection.is_all else None

    def close(self) -> None:
        pass


class MemoryWriter(Writer, SupportsStored, SupportsFence, SupportsTargetCensus, SupportsStock):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.form: Form | None = store.form

    def describe(self) -> Description:
        return _describe(self._store)

    def prepare(self) -> Token:
        return None

    def mark(self) -> Token:
        return self._store.sequence

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        assert isinstance(mark, int)
        entries = self._store.entries
        return frozenset(
            document.id for document in documents if document.id in entries and entries[document.id].sequence > mark
        )

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        found: dict[str, Document] = {}
        for document in documents:
            body = self._store.get(document.id)
            if body is not None:
                there = read_document(document.id, body, self._store.form)
                found[document.id] = (
                    there if isinstance(there, Document) else msgspec.structs.replace(document, body=body)
                )
        return found

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        written: list[Document] = []
        present: list[Document] = []
        differing: list[Document] = []
        for document in documents:
            there = self._store.get(document.id)
            if there is not None and comparing.same(
                document, msgspec.structs.replace(document, body=there), doubles=False
            ):
                present.append(document)
            elif there is not None and not replace:
                differing.append(document)
            else:
                self._store.put(document.id, document.body)
                written.append(document)
        return WriteOutcome(written=tuple(written), present=tuple(present), differing=tuple(differing))

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        newer = self.stored_since(mark, documents)
        stays = self.write([document for document in documents if document.id in newer], replace=False)
        return stays + self.write([document for document in documents if document.id not in newer], replace=True)

    def census(self) -> int | None:
        with self._store.lock:
            return sum(entry.body is not None for entry in self._store.entries.values())

    def stock(self) -> Token:
        removed = self._removed()  # before the count: what goes in between is missing from neither
        documents = self.census()
        return None if documents is None else [documents, *removed]

    def left_of(self, stock: Token) -> int:
        documents, *removed = convert(stock, list[int])
        return documents if removed == self._removed() else 0

    def _removed(self) -> list[int]:
        return [self._store.generation, self._store.removals]

    def flush(self) -> Token:
        return None

    @override
    def finish(self, completion: Completion) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryRemover(Remover):
    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.form = store.form

    def describe(self) -> Description:
        return _describe(self._store)

    def preflight(self) -> Sequence[str]:
        return ()

    def clock_ms(self) -> int | None:
        return None

    def look(self, addresses: Sequence[Address]) -> Sequence[Held]:
        held: list[Held] = []
        for address in addresses:
            entry = self._store.entries.get(address.id)
            if entry is None or entry.body is None:
                continue
            document = read_document(address.id, entry.body, self.form)
            if isinstance(document, Document):
                held.append(Held(document=document, version=entry.sequence))
        return held

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        done: list[Change] = []
        outdated: list[Change] = []
        for change in changes:
            version = convert(change.held.version, int)
            was_done = self._store.change(change.held.document.id, change.body, sequence=version)
            (done if was_done else outdated).append(change)
        return ChangeOutcome(done=tuple(done), outdated=tuple(outdated))

    def space(self) -> Space:
        with self._store.lock:
            bodies = [entry.body for entry in self._store.entries.values()]
        there = [body for body in bodies if body is not None]
        return Space(documents=len(there), deleted=len(bodies) - len(there), size_bytes=sum(map(len, there)))

    def close(self) -> None:
        pass
