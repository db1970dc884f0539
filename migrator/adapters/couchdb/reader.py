"""Reads CouchDB: key ranges of `_all_docs` in bulk, and `_changes` for what was stored meanwhile.

A slice enters, batches of documents with their own bytes leave. Only reads: no view is asked, since that would build
it. Design documents are read with the rest and filtered.

What was read is proven by what the server counts: `bulk` does it for ranges, `feed` for changes. Verification reads in
another way than a copy, from the end of other ranges on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import msgspec
from typing_extensions import override

from migrator.activations.document import Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection, literal
from migrator.adapters import questions
from migrator.adapters.base import (
    Abilities,
    Batch,
    Description,
    News,
    Plan,
    Reader,
    Slice,
    SupportsCatchUp,
    SupportsCensus,
    SupportsCount,
    SupportsFetch,
    SupportsFollow,
    SupportsNamespaces,
    SupportsParts,
    SupportsVerificationPlan,
    Token,
)
from migrator.adapters.couchdb import absence, rows
from migrator.adapters.couchdb.about import number_of
from migrator.adapters.couchdb.bulk import Bulk
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.feed import Feed, sequence_of, take_alone, there
from migrator.adapters.couchdb.lookup import Lookup
from migrator.adapters.couchdb.namespaces import namespaces
from migrator.adapters.couchdb.paging import Found
from migrator.adapters.couchdb.part_ranges import ranges_of_part
from migrator.adapters.couchdb.probe import probe
from migrator.adapters.couchdb.ranges import LOOKS, Range, cut, spans
from migrator.adapters.couchdb.standing import Standing, began_of, loss, parse_standing, stand
from migrator.adapters.couchdb.volume import volume
from migrator.adapters.questions import (
    Finding,
    Probe,
    SupportsLookup,
    SupportsProbe,
    SupportsReasons,
    SupportsVolume,
    Volume,
    WantedId,
)
from migrator.adapters.shared.paging import Pace, Page, PageSize
from migrator.adapters.shared.probe_counts import read_all
from migrator.events.watching import Stop
from migrator.text.decoding import convert

_COUNTED = 50  # namespaces, by a few requests each


class CouchDBReader(
    Reader,
    SupportsCatchUp,
    SupportsFollow,
    SupportsVerificationPlan,
    SupportsCensus,
    SupportsFetch,
    SupportsNamespaces,
    SupportsCount,
    SupportsParts,
    SupportsProbe,
    SupportsLookup,
    SupportsReasons,
    SupportsVolume,
):
    """Reads the activations of a database."""

    form = Form.COUCHDB
    abilities = Abilities(rereads_newer=True, doubles=True, unique_ids=True, looks_up=True)

    def __init__(self, client: Client, *, page_bytes: int, part: Part | None = None) -> None:
        self._client = client
        self._part = part
        self._page_bytes = page_bytes
        self._pages = PageSize(aim_bytes=page_bytes)
        self._bulk = Bulk(client, self._pages, part)
        self._feed = Feed(client, self._pages, part)
        if part is not None:
            self.abilities = msgspec.structs.replace(self.abilities, partial=True)

    def describe(self) -> Description:
        return describe(self._client)

    # -- plans --------------------------------------------------------------------------------------------------

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        """As in the contract. A selection of namespaces looks only where ids begin with them."""
        snapshot = stand(self._client).token
        return Plan(slices=self._ranges(selection, slice_documents), snapshot=snapshot)

    def in_part(self, part: Part) -> CouchDBReader:
        """The share of each namespace's ids that belongs to the part, whatever namespaces there are."""
        return CouchDBReader(self._client, page_bytes=self._page_bytes, part=part)

    def _spans(self, selection: Selection) -> list[Range]:
        if self._part is None:
            return spans(selection)
        return ranges_of_part(spans(selection), self._part, self._bulk.look, ranked=self._bulk.is_ranked)

    def _cut(self, selection: Selection, slice_documents: int) -> list[Range]:
        parts = self._spans(selection)
        looks = LOOKS if self._part is None else LOOKS + 2 * len(parts)
        return cut(parts, self._bulk.look, slice_documents=slice_documents, most_looks=looks)

    def _ranges(self, selection: Selection, slice_documents: int, *, replaces: bool = False) -> tuple[Slice, ...]:
        pieces = self._cut(selection, slice_documents)
        return tuple(_slice(piece, {"low": piece.low, "high": piece.high}, replaces=replaces) for piece in pieces)

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        """One slice, since sequences have no order that could be cut; the selection is looked at page by page.

        Where the snapshot isn't one of this database any more, all of it is planned, with a warning.
        """
        then, now = parse_standing(snapshot), stand(self._client)
        if reason := loss(self._client, then):
            warning = f"{self._client.location} {reason} since it was last read; reading all of it again"
            slices = self._ranges(selection, slice_documents, replaces=True)
            return Plan(slices=slices, snapshot=now.token, warnings=(warning,))
        # A sequence is some hundred opaque characters: its number and a digest stand for it.
        text = str(then.seq)
        digest = blake2b(text.encode(), digest_size=4).hexdigest()
        counted = {} if then.documents is None else {"documents": then.documents}
        changes = Slice(
            key=f"changes after {text.partition('-')[0]} ({digest})",
            spec={"since": then.seq, "standing": now.token, **counted},
            replaces=True,
        )
        return Plan(slices=(changes,), snapshot=now.token)

    @override
    def news(self, snapshot: Token, selection: Selection, *, wait_s: float, stop: Stop) -> News:
        """By what the feed of changes has pending; all documents are where the snapshot isn't of this database."""
        then = parse_standing(snapshot)
        if wait_s > 0:
            self._client.wait_for_change(then.seq, wait_s=wait_s, stop=stop)
        if loss(self._client, then):
            return News(pending=max(1, self._client.about().doc_count))
        pending = self._changed_since(then)
        if pending is None:
            raise self._client.malformed_answer("_changes", "it doesn't tell how much is pending")
        return News(pending=pending)

    def read_up_to(self, snapshot: Token, positions: Sequence[Token]) -> Token:
        """The feed of a round is read to its end, beyond its snapshot; not where all was read by ranges of ids."""
        seq = sequence_of(positions[0]) if len(positions) == 1 else None
        then = parse_standing(snapshot)
        if seq is None or number_of(seq) <= then.number:
            return snapshot
        # How many documents there were was counted before.
        return msgspec.structs.replace(then, seq=seq, number=number_of(seq), documents=None).token

    def _changed_since(self, then: Standing) -> int | None:
        """How many documents were stored, changed or deleted since; None where a cluster can't tell now."""
        if isinstance(then.seq, int):
            return number_of(self._client.about().update_seq) - then.number
        since = self._client.understand(self._client.changes(then.seq, limit=0), rows.Changes, "_changes")
        return None if since.pending is None else since.pending + len(since.results)

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        """From the end of ranges that a copy doesn't have, so that no page is asked for as a copy asks for it.

        By the changes, which come one after the other, a verification takes CouchDB twice the processor time and three
        times as long.
        """
        snapshot = stand(self._client).token
        pieces = self._cut(selection, max(1, slice_documents * 3 // 4))
        slices = tuple(_slice(piece, {"low": piece.low, "high": piece.high, "descending": True}) for piece in pieces)
        return Plan(slices=slices, snapshot=snapshot)

    # -- counts -------------------------------------------------------------------------------------------------

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        """As in the contract: what there is now, less what was stored or changed after the snapshot."""
        then = parse_standing(snapshot)
        counted = self._count(selection)
        if counted is not None and not selection.namespaces and self._part is None:
            counted = max(counted, self._in_changes())
        if counted is None or loss(self._client, then):
            return None
        changed = self._changed_since(then)
        return None if changed is None else max(0, counted - changed)

    def _in_changes(self) -> int:
        """How many documents the changes tell of: counted in another tree than the ids are, so that both must agree."""
        changes = self._client.understand(self._client.changes(0, limit=0), rows.Changes, "_changes")
        # Asked for later, so that nothing new makes the count too high.
        deleted = self._client.about().doc_del_count or 0
        return 0 if changes.pending is None else changes.pending + len(changes.results) - deleted

    def _count(self, selection: Selection) -> int | None:
        """How many documents stand where a selection looks, whatever it filters there; rather too few than too many."""
        if not selection.namespaces and self._part is None:
            return self._client.about().doc_count
        parts = self._spans(selection)
        if len(parts) > _COUNTED or not self._bulk.is_ranked:
            return None
        return sum(self._bulk.within(part.low, part.high) for part in parts)

    def namespaces(self) -> Mapping[str, int | None]:
        names = namespaces(self._client, most_looks=_COUNTED).names
        counts = len(names) <= _COUNTED
        return {name: self.count(Selection(namespaces=(literal(name),))) if counts else None for name in names}

    def count(self, selection: Selection) -> int | None:
        if selection.names or selection.since_ms is not None or selection.until_ms is not None:
            return None
        if self._part is not None and not selection.namespaces:
            return self._client.about().doc_count // self._part.of  # ids are random
        return self._count(selection)

    # -- reading ------------------------------------------------------------------------------------------------

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        reading = self._feed if "since" in slice.spec else self._bulk
        return reading.read(slice, after, selection)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        done, pace = 0 if after is None else convert(after, int), Pace(self._pages)
        while done < len(ids):
            left = ids[done:]
            page, alone = partial(self._fetch_page, left, selection), partial(self._fetch_alone, left, selection)
            found = pace.next(page, alone, left=len(left))
            done += found.rows
            yield found.page.batch(done, size_bytes=found.size_bytes)

    def _fetch_page(self, ids: Sequence[str], selection: Selection, asked: int, bound_bytes: int | None) -> Found:
        """The first of the ids; what isn't there is looked for twice."""
        page, size_bytes = Page(self.form, selection), 0
        chosen = left = ids[:asked]
        for _ in range(2):
            body = self._client.docs_by_id(left, with_docs=True, conflicts=True, bound_bytes=bound_bytes)
            size_bytes += len(body)
            answer = self._client.decode_page(rows.key_rows, body, "_all_docs").rows
            if [row.key for row in answer] != list(left):
                raise self._client.malformed_answer("_all_docs", "it isn't about the documents that were asked for")
            left = [row.key for row in answer if row.is_absent]
            found = [row for row in answer if not row.is_absent]
            for row in found:
                if row.error is not None:
                    raise self._client.malformed_answer("_all_docs", f"the row of {row.key} says {row.error}")
            page.take_all((row.key, there(self._client, row.key, row.doc, "_all_docs"), None) for row in found)
            if not left:
                break
        return Found(page, len(chosen), None, size_bytes)

    def _fetch_alone(self, ids: Sequence[str], selection: Selection) -> Found:
        """The one document that can't be decoded with others, by itself."""
        page = Page(self.form, selection)
        return Found(page, 1, None, take_alone(self._client, ids[0], page))

    # -- questions ----------------------------------------------------------------------------------------------

    def probe(self, *, exact: bool, stop: Stop | None = None) -> Probe:
        return probe(self._client, lambda: read_all(self, stop), exact=exact)

    def look_up(self, wanted: Sequence[WantedId]) -> Iterator[questions.Found]:
        return Lookup(self._client).look_up(wanted)

    def reasons(self, wanted: Sequence[WantedId]) -> Sequence[Finding]:
        return absence.reasons(self._client, self.probe(exact=False), wanted)

    @override
    def volume(self, selection: Selection, *, exact: bool, stop: Stop) -> Volume:
        return volume(self._client)

    def close(self) -> None:
        self._client.close()


def _slice(piece: Range, spec: dict[str, Any], *, replaces: bool = False) -> Slice:
    return Slice(key=piece.key, spec=spec, documents=piece.documents, replaces=replaces)


def describe(client: Client, *, writes: bool = False) -> Description:
    """The same for reader and writer."""
    server, database = client.server, client.about(writes=writes)
    identity: dict[str, Any] = {"database": client.database}
    if server.uuid is not None:
        identity["uuid"] = server.uuid
    began = began_of(client, database)  # from CouchDB 3.3 on
    if began is not None:
        identity["instance_start_time"] = began
    return Description(
        location=client.location,
        product=server.product,
        version=server.version,
        identity=identity,
        progress=number_of(database.update_seq) if began is None and database.cluster.n == 1 else None,
    )
