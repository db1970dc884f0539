"""Writes CouchDB with the revisions that the documents had, as a replication does (`new_edits=false`).

The same documents enter and the same outcomes leave as with `CouchDBWriter`, but each keeps the `_rev` of its body, and
its history where the body has one (`_revisions`). What is in the database already counts by its revision: the same one
is *present*, another one *differing*. A document without a revision is rejected.

CouchDB stores any revision that it is given beside what is there, and answers nothing about it; and a revision that was
deleted since stays deleted. So what is there is asked before, and its outcome afterwards.
Source: CouchDB's documentation, `_bulk_docs` with `new_edits`, and "Replication and conflict model".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from typing_extensions import override

from migrator.activations import forms
from migrator.activations.document import Document, unreadable
from migrator.adapters.base import Token, WriteOutcome
from migrator.adapters.couchdb.rows import Value
from migrator.adapters.couchdb.standing import generation
from migrator.adapters.couchdb.writer import RESERVED, CouchDBWriter, Result, split
from migrator.adapters.shared.outcome import Outcome
from migrator.errors import Unavailable
from migrator.text.decoding import UNREADABLE, decoder

_KEPT = ("_rev", "_revisions")


class _History(msgspec.Struct, gc=False):
    start: int
    ids: list[str]


class _Keeping(NamedTuple):
    """A document on its way, and the revision in the database that gives way to it, if any."""

    document: Document
    rev: str
    body: bytes
    older: str | None = None


_fields = decoder(dict[str, msgspec.Raw])
_text = decoder(str)
_history = decoder(_History)
_encode = msgspec.json.Encoder().encode


class RevisionKeepingWriter(CouchDBWriter):
    """Writes activations into a database, with their revisions."""

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        outcome = Outcome()
        there = self._revisions(documents)
        waiting: list[_Keeping] = []
        for document in documents:
            keeping = _keep(document, outcome)
            if keeping is None:
                continue
            found = there.get(document.id)
            if found is None or found.deleted:
                waiting.append(keeping)
            elif found.rev == keeping.rev:
                outcome.present.append(document)
            elif replace and generation(keeping.rev) > generation(found.rev):
                waiting.append(keeping._replace(older=found.rev))
            else:
                outcome.differing.append(document)
        for part in split(waiting, self._bulk_bytes):
            for piece in self._bulks.pieces(part):
                self._store_part(piece, outcome)
        return outcome.result()

    @override
    def replace_before(self, documents: Sequence[Document], mark: Token) -> WriteOutcome:
        """By the revisions alone: a lower generation never takes the place of a higher one."""
        return self.write(documents, replace=True)

    def _store_part(self, part: Sequence[_Keeping], outcome: Outcome) -> None:
        """Send one request, and see the outcome of each of its documents."""
        body = b'{"new_edits":false,"docs":[' + b",".join([each.body for each in part]) + b"]}"
        with self._bulks.watch(len(part)):
            sent = self._client.bulk_docs(body)
        answer = self._client.understand(sent, list[Result], "_bulk_docs")
        # Nothing is said of what was stored: that is looked up. CouchDB 2 says `ok` of it.
        refused = {result.id: result for result in answer if result.error is not None}
        self._drop_older([each for each in part if each.older and each.document.id not in refused])
        there = self._revisions([each.document for each in part])
        for each in part:
            document, found = each.document, there.get(each.document.id)
            if (result := refused.get(document.id)) is not None:
                self.account(document, result, outcome, outcome.differing)
            elif found is not None and not found.deleted and found.rev == each.rev:
                outcome.written.append(document)
            elif found is None or found.deleted:
                outcome.reject(
                    document, f"revision {each.rev} was deleted in the target, and stays so where it is kept"
                )
            else:
                outcome.differing.append(document)

    def _drop_older(self, parts: Sequence[_Keeping]) -> None:
        """Delete the revisions that gave way and aren't ancestors of the new ones, so that no conflict is left."""
        gone = [
            {"_id": each.document.id, "_rev": each.older, "_deleted": True}
            for each in parts
            if each.older and each.older not in _ancestors(each.body)
        ]
        if gone:
            results = self._client.understand(
                self._client.bulk_docs(_encode({"docs": gone})), list[Result], "_bulk_docs"
            )
            for result in results:
                if result.error is not None:
                    raise Unavailable(f"{self._client.location}: {result.id}: {result.error}: {result.reason}")

    def _revisions(self, documents: Sequence[Document]) -> dict[str, Value]:
        """The revisions that the database shows under the ids of documents, deleted ones included."""
        rows = self._client.revisions([document.id for document in documents])
        return {row.key: row.value for row in rows if row.value is not None}


def _keep(document: Document, outcome: Outcome) -> _Keeping | None:
    """A document as it is sent: under its id and with its revision, without CouchDB's other fields."""
    if document.id.startswith("_"):
        outcome.reject(document, RESERVED)
        return None
    try:
        source = _fields.decode(document.body)
        rev = _text.decode(source["_rev"])
    except KeyError:
        outcome.reject(document, "has no revision (_rev) that could be kept")
        return None
    except UNREADABLE as error:
        outcome.reject(document, unreadable(error, document.body))
        return None
    fields: dict[str, Any] = {"_id": document.id}
    fields.update((name, source[name]) for name in _KEPT if name in source)
    fields.update((name, raw) for name, raw in source.items() if name not in forms.COUCHDB_FIELDS)
    return _Keeping(document, rev, _encode(fields))


def _ancestors(body: bytes) -> frozenset[str]:
    """The revisions that the history in a body names."""
    raw = _fields.decode(body).get("_revisions")
    if raw is None:
        return frozenset()
    try:
        history = _history.decode(raw)
    except msgspec.MsgspecError:
        return frozenset()
    return frozenset(f"{history.start - number}-{id}" for number, id in enumerate(history.ids))
