"""Reads CouchDB: key ranges of `_all_docs` in bulk, and `_changes` for what was stored meanwhile.

A slice enters, batches of documents with their own bytes leave. Only reads: no view is asked, since that would build
it. Design documents are read with the rest and filtered.

A page's size follows the bytes seen; one that grows beyond its bound is given up while it arrives. A page that can't
be decoded (a lone surrogate, deep nesting) is asked for again in halves until the document that is the cause stands
alone; that one is fetched by itself and rejected with its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

import msgspec

from migrator import canonical
from migrator.adapters.base import Abilities, Batch, Description, Plan, Slice, Token
from migrator.adapters.couchdb.client import Client, TooLarge, Undecodable
from migrator.adapters.couchdb.ranges import Look, cut, spans
from migrator.adapters.pages import Page, PageSize
from migrator.records import Form, Selection


class _Row(msgspec.Struct, gc=False):
    id: str = ""
    doc: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None


class _Rows(msgspec.Struct):
    rows: list[_Row]


class _Value(msgspec.Struct, gc=False):
    deleted: bool = False


class _KeyRow(msgspec.Struct, gc=False):
    key: str
    value: _Value | None = None
    doc: msgspec.Raw = msgspec.Raw(b"")
    error: str | None = None


class _KeyRows(msgspec.Struct):
    rows: list[_KeyRow]


class _LookRow(msgspec.Struct, gc=False):
    id: str


class _LookRows(msgspec.Struct):
    rows: list[_LookRow]
    total_rows: int | None = None
    offset: int | None = None


class _Change(msgspec.Struct, gc=False):
    id: str
    deleted: bool = False
    doc: msgspec.Raw = msgspec.Raw(b"")


class _Changes(msgspec.Struct):
    results: list[_Change]
    last_seq: str | int
    pending: int | None = None


class _Found(NamedTuple):
    """A page as it was read: who is in it, how many rows, where it ends."""

    page: Page
    rows: int
    position: Token
    size_bytes: int
    is_last: bool


_rows = msgspec.json.Decoder(_Rows)
_key_rows = msgspec.json.Decoder(_KeyRows)
_changes = msgspec.json.Decoder(_Changes)
_NULL = b"null"


class CouchDBReader:
    """Reads the activations of a database."""

    form = Form.COUCHDB
    abilities = Abilities(catches_up=True, rereads_newer=True, doubles=True, unique_ids=True)

    def __init__(self, client: Client, *, page_bytes: int) -> None:
        self._client = client
        self._page_size = PageSize(aim_bytes=page_bytes)

    def describe(self) -> Description:
        return describe(self._client)

    # -- plans --------------------------------------------------------------------------------------------------

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        """As in the contract. A selection of namespaces looks only where ids begin with them."""
        snapshot = self._client.sequence()
        ranges = cut(spans(selection), self._look, slice_documents=slice_documents)
        slices = tuple(
            Slice(key=piece.key, spec={"low": piece.low, "high": piece.high}, documents=piece.documents)
            for piece in ranges
        )
        return Plan(slices=slices, snapshot=snapshot)

    def catch_up(
        self,
        snapshot: Token,
        selection: Selection,  # noqa: ARG002  part of the contract
        *,
        slice_documents: int,  # noqa: ARG002  part of the contract
    ) -> Plan:
        """One slice, since sequences have no order that could be cut; the selection is looked at page by page."""
        now = self._client.sequence()
        # A sequence is some hundred opaque characters: its number and a digest stand for it.
        text = str(snapshot)
        digest = blake2b(text.encode(), digest_size=4).hexdigest()
        changes = Slice(
            key=f"changes after {text.partition('-')[0]} ({digest})", spec={"since": snapshot}, replaces=True
        )
        return Plan(slices=(changes,), snapshot=now)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        return self.plan(selection, slice_documents=slice_documents)

    def census(self, selection: Selection, snapshot: Token) -> int | None:  # noqa: ARG002  the contract's
        return None

    def count(self, selection: Selection) -> int | None:
        if selection.names or selection.since_ms is not None or selection.until_ms is not None:
            return None
        if not selection.namespaces:
            return self._client.about().doc_count
        parts = spans(selection)
        if len(parts) > _COUNTED or not self._look("\U0010ffff", None, 1).rank:
            return None
        return sum(self._rank(part.high) - self._rank(part.low) for part in parts)

    def _rank(self, key: str | None) -> int:
        look = self._look(key or "", None, 1)
        return look.total if key is None else look.rank

    def _look(self, low: str, high: str | None, count: int) -> Look:
        body = self._client.all_docs(low=low, high=high, limit=count, with_docs=False)
        found = self._client.understand(body, _LookRows, "_all_docs")
        return Look(found.offset or 0, found.total_rows or 0, [row.id for row in found.rows])

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        position = after
        most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        while True:
            asked = min(self._page_size.documents, most or self._page_size.documents)
            try:
                found = self._page(slice, position, asked, selection)
            except TooLarge:
                most = self._page_size.shrink(asked)
                continue
            except Undecodable:
                if asked > 1:
                    most = asked // 2
                    continue
                found = self._alone(slice, position, selection)
            self._page_size.saw(found.rows, found.size_bytes)
            if most is not None:
                most = most * 2 if most < self._page_size.documents else None
            position = found.position
            if found.rows:
                yield found.page.batch(position, size_bytes=found.size_bytes)
            if found.is_last:
                return

    def _page(self, slice: Slice, position: Token, asked: int, selection: Selection) -> _Found:
        """The next page; raises `TooLarge` while it arrives. A single document is taken at any size."""
        bound_bytes = self._page_size.bound_bytes if asked > 1 else None
        page = Page(self.form, selection)
        if "since" in slice.spec:
            body = self._client.changes(_since(slice, position), limit=asked, with_docs=True, bound_bytes=bound_bytes)
            changes = self._client.decode_page(_changes, body, "_changes")
            for change in changes.results:
                if change.deleted:
                    page.delete()
                else:
                    page.take(change.id, self._there(change.id, change.doc, "_changes"))
            return _found_changes(page, changes, asked, len(body))
        low, high = _bounds(slice, position)
        body = self._client.all_docs(low=low, high=high, limit=asked, with_docs=True, bound_bytes=bound_bytes)
        rows = self._client.decode_page(_rows, body, "_all_docs").rows
        for row in rows:
            if row.error is not None:
                raise self._client.garbled("_all_docs", f"the row of {row.id or 'a document'} says {row.error}")
            page.take(row.id, self._there(row.id, row.doc, "_all_docs"))
        self._check([row.id for row in rows], low, high, asked)
        return _Found(page, len(rows), rows[-1].id if rows else position, len(body), len(rows) < asked)

    def _there(self, id: str, doc: msgspec.Raw, what: str) -> bytes:
        body = bytes(doc)
        if body in (b"", _NULL):
            raise self._client.garbled(what, f"{id} comes without its document, though it isn't deleted")
        return body

    def _check(self, ids: list[str], low: str, high: str | None, asked: int) -> None:
        """A server, or a proxy with a cache, that passes over an option would make us leave out or repeat documents."""
        if ids and (len(ids) > asked or ids[0] < low or (high is not None and ids[-1] >= high)):
            raise self._client.garbled(
                "_all_docs", f"{asked} documents of {low!r}..{high!r} were asked for, {len(ids)} from {ids[0]!r} came"
            )

    def _alone(self, slice: Slice, position: Token, selection: Selection) -> _Found:
        """A page of the one document that can't be decoded, fetched by itself."""
        page = Page(self.form, selection)
        changes: _Changes | None = None
        if "since" in slice.spec:
            changes = self._client.understand(
                self._client.changes(_since(slice, position), limit=1), _Changes, "_changes"
            )
            ids = [change.id for change in changes.results if not change.deleted]
            for _ in range(len(changes.results) - len(ids)):
                page.delete()
        else:
            low, high = _bounds(slice, position)
            ids = self._look_ids(low, high)
        size_bytes = 0
        for id in ids:
            body = _NULL if id.startswith("_design/") else self._client.document(id)
            if body is None:
                continue  # deleted meanwhile
            size_bytes += len(body)
            if not _is_json(body):
                raise self._client.garbled(f"/{id}", "it isn't JSON, or was cut off")
            if body == _NULL:
                page.filter()
            else:
                page.take(id, body.strip())
        if changes is not None:
            return _found_changes(page, changes, 1, size_bytes)
        return _Found(page, len(ids), ids[-1] if ids else position, size_bytes, not ids)

    def _look_ids(self, low: str, high: str | None) -> list[str]:
        ids = self._look(low, high, 1).ids
        self._check(ids, low, high, 1)
        return ids

    # -- by id --------------------------------------------------------------------------------------------------

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done = 0 if after is None else msgspec.convert(after, int)
        most: int | None = None  # as in `read`
        while done < len(ids):
            asked = min(self._page_size.documents, most or self._page_size.documents)
            chosen = ids[done : done + asked]
            try:
                page, size_bytes = self._fetch_page(chosen, selection)
            except TooLarge:
                most = self._page_size.shrink(len(chosen))
                continue
            except Undecodable:
                if len(chosen) > 1:
                    most = len(chosen) // 2
                    continue
                page, size_bytes = self._fetch_alone(chosen[0], selection)
            self._page_size.saw(len(chosen), size_bytes)
            if most is not None:
                most = most * 2 if most < self._page_size.documents else None
            done += len(chosen)
            yield page.batch(done, size_bytes=size_bytes)

    def _fetch_page(self, ids: Sequence[str], selection: Selection) -> tuple[Page, int]:
        bound_bytes = self._page_size.bound_bytes if len(ids) > 1 else None
        body = self._client.docs_by_id(ids, with_docs=True, conflicts=True, bound_bytes=bound_bytes)
        rows = self._client.decode_page(_key_rows, body, "_all_docs").rows
        if [row.key for row in rows] != list(ids):
            raise self._client.garbled("_all_docs", "it isn't about the documents that were asked for")
        page = Page(self.form, selection)
        for row in rows:
            if row.error == "not_found" or (row.value is not None and row.value.deleted):
                continue
            if row.error is not None:
                raise self._client.garbled("_all_docs", f"the row of {row.key} says {row.error}")
            page.take(row.key, self._there(row.key, row.doc, "_all_docs"))
        return page, len(body)

    def _fetch_alone(self, id: str, selection: Selection) -> tuple[Page, int]:
        """The one document that can't be decoded with others, by itself."""
        page = Page(self.form, selection)
        body = self._client.document(id)
        if body is None:
            return page, 0
        if not _is_json(body):
            raise self._client.garbled(f"/{id}", "it isn't JSON, or was cut off")
        page.take(id, body.strip())
        return page, len(body)

    def close(self) -> None:
        self._client.close()


_COUNTED = 50  # namespaces, by two requests each


def _bounds(slice: Slice, position: Token) -> tuple[str, str | None]:
    """The keys that a slice still has from a position on; nothing stands between an id and the same with a NUL."""
    high: str | None = slice.spec["high"]
    return (slice.spec["low"] if position is None else f"{position}\0"), high


def _since(slice: Slice, position: Token) -> str | int:
    since = slice.spec["since"] if position is None else position
    assert isinstance(since, str | int)
    return since


def _found_changes(page: Page, changes: _Changes, asked: int, size_bytes: int) -> _Found:
    rows = len(changes.results)
    # `pending` counts what comes after this page, where the server tells it. A full page is never taken for the last.
    is_last = rows == 0 or (rows < asked and not changes.pending)
    return _Found(page, rows, changes.last_seq, size_bytes, is_last)


def _is_json(body: bytes) -> bool:
    """Whether a document that `msgspec` refuses is JSON all the same."""
    try:
        canonical.parse(body.decode("utf-8", "surrogatepass"), doubles=False)
    except ValueError:
        return False
    return True


def describe(client: Client) -> Description:
    """The same for reader and writer."""
    server, database = client.server, client.about()
    identity: dict[str, Any] = {"database": client.database}
    if server.uuid is not None:
        identity["uuid"] = server.uuid
    # The time when the database was made, from CouchDB 3.3 on; always "0" before. PouchDB's is that of its own start.
    if database.instance_start_time != "0" and server.product != "PouchDB":
        identity["instance_start_time"] = database.instance_start_time
    return Description(location=client.location, product=server.product, version=server.version, identity=identity)
