"""The last look at what seems to differ: every such id once more, on both sides, by value.

Suspects from the `Evidence` enter, findings go into it. On stores that are in use this tells what differs from what
arrived, changed or went while the verification was reading. Knows no store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from migrator import forms
from migrator.adapters.base import Batch, Reader
from migrator.engine.evidence import SIDES, Evidence, Suspect
from migrator.engine.stopping import Stop
from migrator.records import Document, Form, Rejection, Selection
from migrator.verification import Finding, Refused

_SUSPECTS = 500  # looked at again between two commits


class Pair:
    """The two sides: what an activation of A is in B, and whether two are the same."""

    def __init__(self, a: Reader, b: Reader) -> None:
        self.a = a
        self.b = b
        self.doubles = a.abilities.doubles or b.abilities.doubles

    def expected(self, document: Document) -> Document | Rejection:
        """A document of A as it would stand in B."""
        return forms.convert(document, self.b.form)

    def same(self, expected: Document, b: Document) -> bool:
        return forms.same(expected, b, doubles=self.doubles)

    def same_restated(self, a: Document, b: Document) -> bool:
        """Whether B's activation, written as A would hold it, is A's: what differs, A's form can't hold.

        Only where A is in Elasticsearch's form, whose conversion loses what CouchDB's holds. The other way round a
        wrong `path` or `@timestamp` would go unnoticed: CouchDB's form has neither.
        """
        if a.form is not Form.ELASTICSEARCH or b.form is not Form.COUCHDB:
            return False
        restated = forms.convert(b, a.form)
        return isinstance(restated, Document) and forms.same(restated, a, doubles=self.doubles)


class _Verdict:
    """What came of some suspects."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.findings: list[Finding] = []
        self.refused: list[Refused] = []
        self.restated = 0

    def find(self, suspect: Suspect, kind: str, *, fields: tuple[str, ...] = (), note: str = "") -> None:
        self.findings.append(
            Finding(
                kind=kind,
                id=suspect.id,
                namespace=suspect.namespace,
                hour=suspect.hour,
                fields=fields,
                note=note,
            )
        )


def confirm(pair: Pair, evidence: Evidence, *, stop: Stop) -> None:
    """Look at every suspect again; what differs still becomes a finding."""
    while suspects := evidence.suspects(_SUSPECTS):
        verdict = _Verdict()
        # No more than a page of each side is held at once.
        for some, in_a in _pages(pair.a, suspects):
            for fewer, in_b in _pages(pair.b, some):
                for suspect in fewer:
                    _judge(pair, suspect, in_a.get(suspect.id, []), in_b.get(suspect.id, []), verdict)
                    verdict.ids.append(suspect.id)
        evidence.judge(verdict.ids, verdict.findings, verdict.refused, restated=verdict.restated)
        stop.check()


_Found = Mapping[str, Sequence[Document | Rejection]]


def _pages(reader: Reader, suspects: Sequence[Suspect]) -> Iterator[tuple[Sequence[Suspect], _Found]]:
    """What a side holds under some ids now, page by page.

    Whatever is selected: a document of which the name or the start differs may be selected on one side only.
    """
    done = 0
    for batch in reader.fetch([suspect.id for suspect in suspects], None, Selection()):
        found: defaultdict[str, list[Document | Rejection]] = defaultdict(list)
        for item in _items(batch):
            found[item.id].append(item)
        end = msgspec.convert(batch.position, int)
        yield suspects[done:end], found
        done = end


def _items(batch: Batch) -> list[Document | Rejection]:
    return [*batch.documents, *batch.rejections]


def _judge(
    pair: Pair,
    suspect: Suspect,
    a: Sequence[Document | Rejection],
    b: Sequence[Document | Rejection],
    verdict: _Verdict,
) -> None:
    expected = [item if isinstance(item, Rejection) else pair.expected(item) for item in a]
    documents: list[Document] = []
    for item in expected:
        if isinstance(item, Rejection):
            verdict.refused.append(refused("a", item))
            return
        documents.append(item)
    if not (a or b):
        return  # gone on both sides
    if not b:
        if "b" in suspect.seen_in:
            verdict.find(suspect, "meanwhile", note="was deleted in B")
        else:
            verdict.find(suspect, "missing")
    elif not a:
        if "a" in suspect.seen_in:
            verdict.find(suspect, "meanwhile", note="was deleted in A")
        else:
            verdict.find(suspect, "extra")
    else:
        _judge_versions(pair, suspect, [item for item in a if isinstance(item, Document)], documents, b, verdict)


def _judge_versions(
    pair: Pair,
    suspect: Suspect,
    a: Sequence[Document],
    expected: Sequence[Document],
    b: Sequence[Document | Rejection],
    verdict: _Verdict,
) -> None:
    """Compare what both sides hold: one document each, or several where it stands in several indices."""
    places = sorted({item.index for item in (*a, *b) if item.index}) if len(a) + len(b) > 2 else []
    note = f"stands in {', '.join(places)}" if places else ""
    restated = False
    for item in b:
        if isinstance(item, Rejection):
            verdict.find(suspect, "different", note=f"can't be read in B: {item.reason}")
            return
        if any(pair.same(each, item) for each in expected):
            continue
        if any(pair.same_restated(each, item) for each in a):
            restated = True
            continue
        fields = forms.differing_fields(expected[0], item, doubles=pair.doubles)
        verdict.find(suspect, "different", fields=fields, note=note)
        return
    if len(b) > len(a):
        verdict.find(suspect, "extra", note=note)
    verdict.restated += restated


def tell_apart(readers: Mapping[str, Reader], evidence: Evidence, *, slice_documents: int, stop: Stop) -> None:
    """Find out which findings were stored since the verification began; they are no differences of the stores."""
    for side in SIDES:
        reader, snapshot = readers[side], evidence.snapshot(side)
        if not (reader.abilities.catches_up and snapshot is not None and evidence.has_findings()):
            continue
        changes = reader.catch_up(snapshot, Selection(), slice_documents=slice_documents)
        for slice in changes.slices:
            for batch in reader.read(slice, None, Selection()):
                evidence.came_meanwhile([item.id for item in _items(batch)], side)
                stop.check()


def refused(side: str, rejection: Rejection) -> Refused:
    return Refused(side=side, id=rejection.id, namespace=rejection.namespace, reason=rejection.reason)
