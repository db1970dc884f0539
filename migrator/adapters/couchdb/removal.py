"""Removes documents from CouchDB, each by the revision that was looked at.

A deletion names the revision it is about: one that isn't the current one any more is a conflict, and the document
stays. Source: CouchDB's documentation of `_bulk_docs`.

What is left of a deleted document is a tombstone of some hundred bytes, which the changes feed and replications need.
`compact` frees the rest; `forget` (`_purge`) drops the tombstones too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from migrator.activations import forms
from migrator.activations.document import Document, Form, read_document
from migrator.adapters.base import Description
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.reader import describe
from migrator.adapters.couchdb.rows import key_rows
from migrator.adapters.couchdb.writer import Result, results_of
from migrator.adapters.removal import (
    Address,
    Change,
    ChangeOutcome,
    Held,
    Remover,
    Space,
    SupportsCompaction,
    SupportsForgetting,
)
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.errors import AccessDenied, Unavailable
from migrator.text.decoding import decoder

_PURGED_AT_ONCE = 100
"""Ids in a request of `_purge`. Source: `purge.max_document_id_number` of CouchDB's default configuration."""

_fields = decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class _Purged(msgspec.Struct):
    purged: dict[str, list[str]] = {}


class CouchDBRemover(Remover, SupportsCompaction, SupportsForgetting):
    """Removes activations from a database."""

    form = Form.COUCHDB

    def __init__(self, client: Client) -> None:
        self._client = client

    def describe(self) -> Description:
        return describe(self._client)

    def preflight(self) -> Sequence[str]:
        """Nobody can tell beforehand whether the user may delete: CouchDB has no right of its own for it."""
        where = self._client.location
        ttl = self._client.tombstone_ttl()
        if ttl is None:
            return ()
        return (f"{where}: the server drops tombstones by itself (deleted_document_ttl {ttl})",)

    def clock_ms(self) -> int | None:
        date = self._client.date()
        if date is None:
            return None
        with suppress(ValueError):
            return int(parsedate_to_datetime(date).timestamp() * 1000)
        return None

    # -- looking ------------------------------------------------------------------------------------------------

    def look(self, addresses: Sequence[Address]) -> Sequence[Held]:
        left, found = [address.id for address in addresses], []
        for _ in range(2):  # what isn't there is looked for twice
            here = list(self._look(left))
            found += here
            known = {held.document.id for held in here}
            left = [id for id in left if id not in known]
            if not left:
                break
        return found

    def _look(self, ids: Sequence[str]) -> Iterator[Held]:
        if not ids:
            return
        rows = None
        with suppress(TooLarge, Undecodable):
            body = self._client.docs_by_id(ids, with_docs=True, conflicts=True)
            rows = self._client.decode_page(key_rows, body, "_all_docs").rows
        if rows is None:
            if len(ids) > 1:
                yield from self._look(ids[: len(ids) // 2])
                yield from self._look(ids[len(ids) // 2 :])
            elif (alone := self._client.document(ids[0])) is not None:
                yield from _held(ids[0], alone.body, alone.rev)
            return
        if [row.key for row in rows] != list(ids):
            raise self._client.malformed_answer("_all_docs", "it isn't about the documents that were asked for")
        for row in rows:
            if row.is_absent:
                continue
            if row.error is not None or row.value is None:
                raise self._client.malformed_answer("_all_docs", f"the row of {row.key} says {row.error}")
            yield from _held(row.key, bytes(row.doc), row.value.rev)

    # -- changing -----------------------------------------------------------------------------------------------

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        if not changes:
            return ChangeOutcome()
        body = b'{"docs":[' + b",".join(map(_body, changes)) + b"]}"
        documents = [change.held.document for change in changes]
        results = results_of(self._client, documents, self._client.bulk_docs(body))
        outcome = ChangeOutcome()
        for change, result in zip(changes, results, strict=True):
            outcome += self._sort(change, result)
        return outcome

    def _sort(self, change: Change, result: Result | None) -> ChangeOutcome:
        where = f"{self._client.location}: {change.held.document.id}"
        if result is None or (result.error is None and not (result.ok and result.rev)):
            lacks = Unavailable(f"{where}: the answer of _bulk_docs doesn't mention it")
            return ChangeOutcome(unknown=(change,), condition=lacks)
        if result.error is None:
            return ChangeOutcome(done=(change,))
        if result.error == "conflict":
            return ChangeOutcome(outdated=(change,))
        reason = f"{result.error}: {result.reason}"
        if result.error == "forbidden":  # by a design document that checks what is written
            return ChangeOutcome(refused=((change, reason),))
        if result.error == "unauthorized":
            denied = AccessDenied(f"{where}: {reason}; check the permissions of the store's user")
            return ChangeOutcome(unknown=(change,), condition=denied)
        return ChangeOutcome(unknown=(change,), condition=Unavailable(f"{where}: {reason}"))

    # -- space --------------------------------------------------------------------------------------------------

    def space(self) -> Space:
        about = self._client.about()
        return Space(documents=about.doc_count, deleted=about.doc_del_count or 0, size_bytes=about.size_bytes)

    def compact(self) -> None:
        self._client.post("_compact", {})

    def is_compacting(self) -> bool:
        return self._client.about().compact_running

    def forget(self, addresses: Sequence[Address]) -> int:
        gone = 0
        for at in range(0, len(addresses), _PURGED_AT_ONCE):
            some = [address.id for address in addresses[at : at + _PURGED_AT_ONCE]]
            revisions = {
                row.key: [row.value.rev]
                for row in self._client.revisions(some)
                if row.value is not None and row.value.deleted
            }
            if revisions:
                answer = self._client.post("_purge", revisions)
                purged = self._client.understand(answer, _Purged, "_purge").purged
                gone += sum(bool(revs) for revs in purged.values())
        return gone

    def close(self) -> None:
        self._client.close()


def _held(id: str, body: bytes, rev: str) -> Iterator[Held]:
    """A document with its revision, which must be the one its body has; nothing where it isn't an activation."""
    found = read_document(id, body, Form.COUCHDB)
    if not isinstance(found, Document):
        return
    own = _fields.decode(body).get("_rev")
    if own is not None and bytes(own) != _encode(rev):
        raise Unavailable(f"{id}: a row and the document in it have different revisions")
    yield Held(document=found, version=rev)


def _body(change: Change) -> bytes:
    fields: dict[str, Any] = {"_id": change.held.document.id, "_rev": change.held.version}
    if change.body is None:
        fields["_deleted"] = True
    else:
        fields.update(
            (name, raw) for name, raw in _fields.decode(change.body).items() if name not in forms.COUCHDB_FIELDS
        )
    return _encode(fields)
