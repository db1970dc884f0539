"""Looks into a CouchDB database without building a view: names from its keys, times from samples or from all of it.

The client of a database enters, a `Probe` leaves. Only reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing

import msgspec

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.couchdb import health
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.namespaces import ids_from, namespaces
from migrator.adapters.couchdb.ranges import after_all
from migrator.adapters.questions import Finding, Place, Probe
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.paging import Page
from migrator.adapters.shared.probe_counts import ProbeCounts, probe_of
from migrator.text.decoding import decoder
from migrator.text.units import counted

_FEW = 5_000  # documents that are read at once rather than sampled
_LOOKS = 500  # at keys, for the names of namespaces
_SAMPLED_NAMESPACES = 50
_SPOTS = ("", "4", "8", "c")  # ids end in random digits, so neighbours are of any time
_SPOT_DOCUMENTS = 25
_SPOT_BYTES = 8_000_000
_ANSWER_S = 60
_CONNECT_S = 5


def probe(client: Client, read: Callable[[], ProbeCounts], *, exact: bool) -> Probe:
    """Look into the database, with less patience than a copy has; `read` reads all of it."""
    with closing(client.hasty(connect_s=_CONNECT_S, answer_s=_ANSWER_S)) as hasty:
        server, about = hasty.server, hasty.about()
        designs = ids_from(hasty, "_design/", "_design0", 100)
        documents = max(about.doc_count - len(designs), 0)
        found = Probe(
            product=server.product,
            version=server.version,
            places=(Place(name=client.database, documents=about.doc_count),),
            design_documents=tuple(designs),
            findings=tuple(health.findings(hasty, about, server)),
        )
        if exact or documents <= _FEW:
            return _with_counts(found, read(), len(designs))
        return _sample(hasty, found, documents)


def _with_counts(found: Probe, counts: ProbeCounts, designs: int) -> Probe:
    return msgspec.structs.replace(
        probe_of(counts, found),
        others=max(counts.others - designs, 0),
        findings=(*_findings(counts), *found.findings),
    )


def _sample(client: Client, found: Probe, documents: int) -> Probe:
    names, is_complete = namespaces(client, most_looks=_LOOKS)
    counts = ProbeCounts()
    for batch in _samples(client, names):
        counts.take(batch.batch(None, size_bytes=0))
    seen = counts.activations + counts.others + counts.unreadable
    return msgspec.structs.replace(
        found,
        activations=documents * counts.activations // max(seen, 1),
        is_exact=False,
        sampled=counts.activations,
        first_ms=counts.first_ms,
        last_ms=counts.last_ms,
        misdated=counts.misdated,
        namespaces=dict.fromkeys(names),
        namespaces_complete=is_complete,
        others=counts.others,
        unreadable=counts.unreadable,
        findings=(*_findings(counts), *found.findings),
    )


def _samples(client: Client, names: Sequence[str]) -> Iterator[Page]:
    """Documents from some places of each namespace; of very many namespaces from some of them."""
    every = -(-len(names) // _SAMPLED_NAMESPACES)
    for name in names[:: max(every, 1)]:
        for spot in _SPOTS:
            yield _spot(client, f"{name}/{spot}", after_all(f"{name}/"))


def _spot(client: Client, low: str, high: str | None) -> Page:
    page = Page(Form.COUCHDB, Selection())
    for count in (_SPOT_DOCUMENTS, 1):
        try:
            body = client.all_docs(low=low, high=high, limit=count, with_docs=True, bound_bytes=_SPOT_BYTES)
            rows = client.decode_page(_rows, body, "_all_docs").rows
        except (TooLarge, Undecodable):
            continue
        for row in rows:
            page.take(row.id, bytes(row.doc))
        break
    return page


class _Row(msgspec.Struct, gc=False):
    id: str
    doc: msgspec.Raw


class _Rows(msgspec.Struct):
    rows: list[_Row]


_rows = decoder(_Rows)


def _findings(counts: ProbeCounts) -> tuple[Finding, ...]:
    if not counts.unreadable:
        return ()
    return (
        Finding(
            kind="unreadable",
            level="warning",
            text=f"{counted(counts.unreadable, 'document')} can't be understood as activations, by OpenWhisk neither",
            advice="a copy rejects such documents with their reasons: `migrator status JOB rejected=True`",
        ),
    )
