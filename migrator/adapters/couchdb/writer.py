"""Writes CouchDB as OpenWhisk would have: ids and bodies as they are, revisions given by the database.

Documents in CouchDB form enter as `_bulk_docs` of their own bytes; the outcome of each leaves. What the database has
already is fetched and compared. Knows nothing of retries: what the server puts off is handed back as `deferred`, and a
request that it refuses as a whole is raised.

About the document, or about the server? CouchDB refuses a whole request for one document that it can't take; it is
the caller who finds out which. Of the results by item only the kinds in `_ABOUT_THE_DOCUMENT` reject one, and
`forbidden` where a design document of this database checks what is written (`validate_doc_update`). `unauthorized`
speaks of the user, and everything else of the server.

CouchDB's own fields are left out: revisions mean nothing elsewhere, and a stub of an attachment can't be stored
without its data (the reader's remark `attachments` says so).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form, read_document, unreadable
from migrator.adapters.base import (
    Abilities,
    Completion,
    Description,
    SupportsCreation,
    SupportsFence,
    SupportsPreflight,
    SupportsStock,
    SupportsStored,
    SupportsTargetCensus,
    Token,
    WriteOutcome,
    Writer,
)
from migrator.adapters.couchdb.about import Database, number_of
from migrator.adapters.couchdb.ceiling import Ceiling
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.preflight import find_validators, preflight
from migrator.adapters.couchdb.reader import describe
from migrator.adapters.couchdb.rows import Changes, key_rows
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.outcome import Outcome
from migrator.errors import AccessDenied, MigratorError, RequestRefused, Unavailable
from migrator.text.decoding import UNREADABLE, decoder

_ROUNDS = 4  # of writing and comparing, before a document that keeps changing is put off
_IDS = 100  # requested with one `_changes`; CouchDB looks up so many by id and reads the whole feed for more
_ABOUT_THE_DOCUMENT = frozenset({"doc_validation", "document_too_large", "illegal_docid"})


class Result(msgspec.Struct, gc=False):
    """What an answer says of one document."""

    id: str = ""
    ok: bool = False
    rev: str = ""
    error: str | None = None
    reason: str | None = None


class _There(NamedTuple):
    """What the database has under an id."""

    rev: str
    document: Document


class _Sending(NamedTuple):
    """A document on its way, as JSON; with the revision it replaces in it, if any."""

    document: Document
    body: bytes


class _HasBody(Protocol):
    @property
    def body(self) -> bytes: ...


S = TypeVar("S", bound=_HasBody)

_fields = decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class CouchDBWriter(
    Writer, SupportsCreation, SupportsStored, SupportsFence, SupportsTargetCensus, SupportsStock, SupportsPreflight
):
    """Writes activations into a database."""

    abilities = Abilities(doubles=True)

    def __init__(self, client: Client, *, bulk_bytes: int) -> None:
        self.form: Form | None = Form.COUCHDB
        self._client = client
        self._bulk_bytes = bulk_bytes
        self._bulks = Ceiling()

    def describe(self) -> Description:
        return describe(self._client, writes=True)

    def create(self) -> bool:
        return self._client.create()

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        return preflight(self._client, namespaces, validators=self._validators)

    def prepare(self) -> Token:
        """Nothing to set up: OpenWhisk's views are OpenWhisk's to install."""
        return None

    # -- writing ------------------------------------------------------------------------------------------------

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        return self._write(documents, replace=replace)

    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        """As in the contract: what is replaced is named by its revision, which was looked up before the mark's changes.

        So whatever is stored in between makes a conflict, and is compared again.
        """
        return self._write(documents, replace=True, fence=mark)

    def _write(self, documents: Sequence[Document], *, replace: bool, fence: Token = None) -> WriteOutcome:
        outcome = Outcome()
        waiting = [sending for document in documents if (sending := _prepare(document, outcome)) is not None]
        try:
            for _ in range(_ROUNDS):
                conflicts = self._store(waiting, outcome)
                waiting = self._compare(conflicts, outcome, replace=replace, fence=fence)
                if not waiting:
                    break
        except MigratorError as condition:
            # What went through is accounted for; without anything the caller may deal with it as a whole.
            if outcome.is_empty:
                raise
            self._defer_rest(documents, outcome, condition)
            return outcome.result()
        for sending in waiting:
            changing = f"{self._client.location}: {sending.document.id} keeps changing while it is written"
            outcome.defer(sending.document, Unavailable(changing))
        return outcome.result()

    def _store(self, sendings: Sequence[_Sending], outcome: Outcome) -> list[Document]:
        """Send requests; returns what the database has in another revision."""
        conflicts: list[Document] = []
        waiting = [sendings]
        while waiting:
            parts = split(waiting.pop(), self._bulk_bytes)
            for part in [piece for each in parts for piece in self._bulks.pieces(each)]:
                body = b'{"docs":[' + b",".join([sending.body for sending in part]) + b"]}"
                try:
                    with self._bulks.watch(len(part)):
                        answer = self._client.bulk_docs(body)
                    results = results_of(self._client, [each.document for each in part], answer)
                except RequestRefused as refusal:
                    if refusal.status != 413 or len(part) == 1 or "document_too_large" in str(refusal):
                        raise
                    # A proxy before the server takes less than the server does.
                    self._bulk_bytes = max(1, min(self._bulk_bytes, len(body)) // 2)
                    waiting.append(part)
                    continue
                for sending, result in zip(part, results, strict=True):
                    self.account(sending.document, result, outcome, conflicts)
        return conflicts

    def account(self, document: Document, result: Result | None, outcome: Outcome, conflicts: list[Document]) -> None:
        """Sort in one document by the result that the database gave for it; None where it gave none."""
        if result is None or (result.error is None and not (result.ok and result.rev)):
            # Whether it was stored isn't known: it is sent again, and is then a conflict with itself.
            unknown = f"the answer of _bulk_docs doesn't mention {document.id}"
            outcome.defer(document, Unavailable(f"{self._client.location}: {unknown}"))
            return
        if result.error is None:
            outcome.written.append(document)
            return
        reason = f"{result.error}: {result.reason}"
        text = f"{self._client.location}: {document.id}: {reason}"
        if result.error == "conflict":
            conflicts.append(document)
        elif result.error in _ABOUT_THE_DOCUMENT or (result.error == "forbidden" and self._validators):
            outcome.reject(document, reason)
        elif result.error in ("forbidden", "unauthorized"):
            outcome.defer(document, AccessDenied(f"{text}; check the permissions of the store's user"))
        else:
            outcome.defer(document, Unavailable(text))

    @cached_property
    def _validators(self) -> tuple[str, ...]:
        return find_validators(self._client)

    def _compare(
        self, conflicts: Sequence[Document], outcome: Outcome, *, replace: bool, fence: Token = None
    ) -> list[_Sending]:
        """Sort documents by what is stored in their place; returns those that shall be written after all."""
        again: list[_Sending] = []
        there = self._fetch(conflicts)
        newer = self.stored_since(fence, conflicts) if fence is not None and conflicts else frozenset()
        for document in conflicts:
            found = there.get(document.id)
            if found is None:  # deleted meanwhile
                again.append(_Sending(document, _body(document)))
            elif comparing.same(document, found.document, doubles=True):
                outcome.present.append(document)
            elif replace and document.id not in newer:
                again.append(_Sending(document, _body(document, found.rev)))
            else:
                outcome.differing.append(document)
        return again

    @staticmethod
    def _defer_rest(documents: Sequence[Document], outcome: Outcome, condition: MigratorError) -> None:
        """Put off what isn't accounted for; an id may be among the documents more than once."""
        kept = (*outcome.written, *outcome.present, *outcome.differing, *outcome.deferred)
        accounted = Counter([*(document.id for document in kept), *(each.id for each in outcome.rejected)])
        for document in documents:
            if accounted[document.id]:
                accounted[document.id] -= 1
            else:
                outcome.defer(document, condition)

    # -- what is there ------------------------------------------------------------------------------------------

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return {id: there.document for id, there in self._fetch(documents).items()}

    def _fetch(self, documents: Sequence[Document]) -> dict[str, _There]:
        """What is stored under the ids of documents, by id; deleted ones are absent."""
        if not documents:
            return {}
        # What is there may be larger than what shall come; the answer is bounded all the same.
        bound_bytes = 4 * sum(document.size_bytes for document in documents) + 1_000_000
        ids = [document.id for document in documents]
        rows = None
        with suppress(TooLarge, Undecodable):
            body = self._client.docs_by_id(ids, with_docs=True, bound_bytes=bound_bytes if len(ids) > 1 else None)
            rows = self._client.decode_page(key_rows, body, "_all_docs").rows
        if rows is None:
            # One of them can't be decoded, or they are too many: as with pages, ask for half.
            if len(documents) > 1:
                half = len(documents) // 2
                return self._fetch(documents[:half]) | self._fetch(documents[half:])
            return self._fetch_alone(documents[0])
        if [row.key for row in rows] != ids:
            raise self._client.malformed_answer("_all_docs", "it isn't about the documents that were asked for")
        found: dict[str, _There] = {}
        for document, row in zip(documents, rows, strict=True):
            if row.is_absent:
                continue
            stored = bytes(row.doc)
            if row.error is not None or row.value is None or stored in (b"", b"null"):
                raise self._client.malformed_answer("_all_docs", f"{row.key} comes without its document: {row.error}")
            found[document.id] = _There(row.value.rev, _as_stored(document, stored))
        return found

    def _fetch_alone(self, document: Document) -> dict[str, _There]:
        """One stored document that no page can hold."""
        stored = self._client.document(document.id)
        return {} if stored is None else {document.id: _There(stored.rev, _as_stored(document, stored.body))}

    def mark(self) -> Token:
        return self._client.sequence()

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        assert isinstance(mark, str | int)
        found: set[str] = set()
        for first in range(0, len(documents), _IDS):
            found |= self._find_changed(mark, [document.id for document in documents[first : first + _IDS]])
        return frozenset(found)

    def _find_changed(self, mark: str | int, ids: list[str]) -> set[str]:
        body = None
        with suppress(TooLarge):
            body = self._client.changes(mark, limit=len(ids), ids=ids)
        if body is None:
            half = len(ids) // 2
            return self._find_changed(mark, ids[:half]) | self._find_changed(mark, ids[half:])
        changes = self._client.understand(body, Changes, "_changes")
        return {change.id for change in changes.results if not change.deleted}.intersection(ids)

    # -- the end ------------------------------------------------------------------------------------------------

    def census(self) -> int | None:
        return self._client.about().doc_count

    def stock(self) -> Token:
        about = self._client.about()
        return None if about.doc_del_count is None else [about.doc_count, *_removed(about)]

    def left_of(self, stock: Token) -> int:
        assert isinstance(stock, list)
        documents, *removed = stock
        return documents if documents and removed == _removed(self._client.about()) else 0

    def flush(self) -> Token:
        """Nothing to wait for: an answer means that all is on disk.

        Source: `delayed_commits` is off and gone since CouchDB 3; `Client.bulk_docs` overrides it before.
        """
        return None

    def finish(self, completion: Completion) -> None:
        """Nothing to make visible. `_ensure_full_commit` would say no more than the answers said."""

    def close(self) -> None:
        self._client.close()


def results_of(client: Client, documents: Sequence[Document], answer: bytes) -> list[Result | None]:
    """The result of each document, by its id; None where there is none. CouchDB gives them in order, PouchDB doesn't.

    Raises `Unavailable` where it is the answer to something else.
    """
    found: dict[str, list[Result]] = defaultdict(list)
    given: list[Result] = client.understand(answer, list[Result], "_bulk_docs")
    for result in reversed(given):
        found[result.id].append(result)
    results = [found[document.id].pop() if found.get(document.id) else None for document in documents]
    if any(found.values()):
        raise client.malformed_answer("_bulk_docs", "it has results of documents that weren't sent")
    return results


def _removed(about: Database) -> list[int | None]:
    """What changes when a document is deleted, or purged."""
    return [about.doc_del_count, number_of(about.purge_seq)]


def split(sendings: Sequence[S], bulk_bytes: int) -> Iterator[Sequence[S]]:
    """Parts of about `bulk_bytes`, in order; a document that is larger stands alone."""
    first, size_bytes = 0, 0
    for at, sending in enumerate(sendings):
        if at > first and size_bytes + len(sending.body) > bulk_bytes:
            yield sendings[first:at]
            first, size_bytes = at, 0
        size_bytes += len(sending.body) + 1
    if first < len(sendings):
        yield sendings[first:]


RESERVED = "CouchDB reserves ids that begin with an underscore"
"""Its refusal would take the whole request with it, and can't be told from one of the server where nothing else comes.

Source: `couch_doc:validate_docid`, "Only reserved document ids may start with underscore."
"""


def _prepare(document: Document, outcome: Outcome) -> _Sending | None:
    if document.id.startswith("_"):
        outcome.reject(document, RESERVED)
        return None
    try:
        return _Sending(document, _body(document))
    except UNREADABLE as error:
        outcome.reject(document, unreadable(error, document.body))
        return None


def _body(document: Document, rev: str | None = None) -> bytes:
    """A document as it is sent: under its id, without the fields that the source's CouchDB gave it."""
    fields: dict[str, Any] = {"_id": document.id}
    if rev is not None:
        fields["_rev"] = rev
    fields.update(
        (name, raw) for name, raw in _fields.decode(document.body).items() if name not in forms.COUCHDB_FIELDS
    )
    return _encode(fields)


def _as_stored(document: Document, body: bytes) -> Document:
    """What is stored in the place of a document, whatever it is."""
    read = read_document(document.id, body, Form.COUCHDB)
    return read if isinstance(read, Document) else msgspec.structs.replace(document, body=body)
