"""The last look at what seems to differ: every such id once more, on both sides, by value.

Suspects from the `Evidence` enter, findings go into it. On stores that are in use this tells what differs from what
arrived, changed or went while the verification was reading. Knows no store.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Reader, SupportsCatchUp
from migrator.adapters.shared.optional import fetch
from migrator.engine.verification.evidence import SIDES, Evidence
from migrator.engine.verification.listed import Suspect
from migrator.engine.verification.values import Finding, Refused
from migrator.errors import Incomplete
from migrator.events.watching import Stop
from migrator.text.decoding import convert
from migrator.text.units import counted

_SUSPECTS = 10_000  # ids that are held at once


class Pair:
    """The two sides: what an activation of A is in B, and whether two are the same."""

    def __init__(self, a: Reader, b: Reader) -> None:
        self.a = a
        self.b = b
        self.doubles = a.abilities.doubles or b.abilities.doubles
        self._form = b.form  # a reader behind wrappers takes as long to tell it as a digest takes

    def expected(self, document: Document) -> Document | Rejection:
        """A document of A as it would stand in B."""
        return forms.convert(document, self._form)

    def same(self, expected: Document, b: Document) -> bool:
        return comparing.same(expected, b, doubles=self.doubles)

    def same_restated(self, a: Document, b: Document) -> bool:
        """Whether B's activation, written as A would hold it, is A's: what differs, A's form can't hold.

        Only where A is in Elasticsearch's form, whose conversion loses what CouchDB's holds. The other way round a
        wrong `path` or `@timestamp` would go unnoticed: CouchDB's form has neither.
        """
        if a.form is not Form.ELASTICSEARCH or b.form is not Form.COUCHDB:
            return False
        restated = forms.convert(b, a.form)
        return isinstance(restated, Document) and comparing.same(restated, a, doubles=self.doubles)


class _Verdicts:
    """What came of some suspects, by id.

    `found`: a finding says what; `refused`; `restated` and `copies`: they agree in what counts. The others explain
    nothing: `same` and `gone` by now on both sides, or `vanished` from one that it was read from.
    """

    def __init__(self) -> None:
        self.verdicts: dict[str, str] = {}
        self.findings: list[Finding] = []
        self.refused: list[Refused] = []

    def find(self, suspect: Suspect, kind: str, *, fields: tuple[str, ...] = (), note: str = "") -> str:
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
        return "found"


def confirm(pair: Pair, evidence: Evidence, *, stop: Stop) -> None:
    """Look at every suspect again; what differs still becomes a finding."""
    last = ""
    while suspects := evidence.suspects(_SUSPECTS, last):
        # In the order of time, in which archives hold them, so that a page needs few of their frames.
        in_order = sorted(suspects, key=lambda suspect: (suspect.namespace, suspect.hour))
        # No more than a page of each side is held at once.
        for some, in_a in _pages(pair.a, in_order):
            came = _Verdicts()
            for fewer, in_b in _pages(pair.b, some):
                for suspect in fewer:
                    found = in_a.get(suspect.id, []), in_b.get(suspect.id, [])
                    came.verdicts[suspect.id] = _judge(pair, suspect, *found, came)
            evidence.judge(came.verdicts, came.findings, came.refused)
            stop.check()
        last = suspects[-1].id


_Found = Mapping[str, Sequence[Document | Rejection]]


def _pages(reader: Reader, suspects: Sequence[Suspect]) -> Iterator[tuple[Sequence[Suspect], _Found]]:
    """What a side holds under some ids now, page by page.

    Whatever is selected: a document of which the name or the start differs may be selected on one side only.
    """
    done = 0
    for batch in fetch(reader, [suspect.id for suspect in suspects], None, Selection()):
        found: defaultdict[str, list[Document | Rejection]] = defaultdict(list)
        for item in _items(batch):
            found[item.id].append(item)
        end = convert(batch.position, int)
        yield suspects[done:end], found
        done = end
    if done < len(suspects):
        asked = counted(len(suspects), "id was", "ids were")
        raise Incomplete(f"{reader.describe().location}: {asked} requested, {done:,} returned")


def _items(batch: Batch) -> list[Document | Rejection]:
    return [*batch.documents, *batch.rejections]


def _judge(
    pair: Pair,
    suspect: Suspect,
    a: Sequence[Document | Rejection],
    b: Sequence[Document | Rejection],
    came: _Verdicts,
) -> str:
    expected = [item if isinstance(item, Rejection) else pair.expected(item) for item in a]
    documents: list[Document] = []
    for item in expected:
        if isinstance(item, Rejection):
            came.refused.append(refusal("a", item))
            return "refused"
        documents.append(item)
    if not (a or b):
        return "gone"
    if not b:
        return _judge_absence(suspect, "b", "missing", came)
    if not a:
        return _judge_absence(suspect, "a", "extra", came)
    return _judge_versions(pair, suspect, [item for item in a if isinstance(item, Document)], documents, b, came)


def _judge_absence(suspect: Suspect, side: str, kind: str, came: _Verdicts) -> str:
    """A side doesn't hold it now. Where it was read there, one of the two answers is wrong, or it was deleted.

    Another listing shows that: a deleted one isn't in it.
    """
    if side in suspect.seen_in:
        return f"vanished {side}"
    if suspect.vanished == side:
        return came.find(suspect, "meanwhile", note=f"was deleted in {side.upper()}")
    return came.find(suspect, kind)


def _judge_versions(
    pair: Pair,
    suspect: Suspect,
    a: Sequence[Document],
    expected: Sequence[Document],
    b: Sequence[Document | Rejection],
    came: _Verdicts,
) -> str:
    """Compare what both sides hold: one document each, or several where it is in several indices."""
    places = sorted({item.index for item in (*a, *b) if item.index}) if len(a) + len(b) > 2 else []
    note = f"is stored in {', '.join(places)}" if places else ""
    restated = False
    there: list[Document] = []
    for item in b:
        if isinstance(item, Rejection):
            return came.find(suspect, "different", note=f"can't be read in B: {item.reason}")
        there.append(item)
        if any(pair.same(each, item) for each in expected):
            continue
        if any(pair.same_restated(each, item) for each in a):
            restated = True
            continue
        fields = comparing.differing_fields(expected[0], item, doubles=pair.doubles)
        return came.find(suspect, "different", fields=fields, note=note)
    for each, original in zip(expected, a, strict=True):
        if not any(pair.same(each, item) or pair.same_restated(original, item) for item in there):
            fields = comparing.differing_fields(each, there[0], doubles=pair.doubles)
            return came.find(suspect, "different", fields=fields, note=note)
    if len(b) > len(a):
        return came.find(suspect, "extra", note=note)
    if suspect.seen_in != "ab":
        return "same"  # but one side was read without it
    if len(a) > len(b):
        return "copies"
    return "restated" if restated else "same"


def tell_apart(readers: Mapping[str, Reader], evidence: Evidence, *, slice_documents: int, stop: Stop) -> None:
    """Find out which findings were stored since the verification began; they are no differences of the stores."""
    for side in SIDES:
        reader, snapshot = readers[side], evidence.snapshot(side)
        if not (isinstance(reader, SupportsCatchUp) and snapshot is not None and evidence.is_open()):
            continue
        changes = reader.catch_up(snapshot, Selection(), slice_documents=slice_documents)
        if news := [each for each in changes.warnings if each not in evidence.warnings]:
            # Where the history is gone everything would seem to be new, and no difference would be left.
            evidence.warn(f"what was stored in {side.upper()} meanwhile can't be told apart: {each}" for each in news)
            continue
        for slice in changes.slices:
            for batch in reader.read(slice, None, Selection()):
                evidence.came_meanwhile([item.id for item in _items(batch)], side)
                stop.check()


def refusal(side: str, rejection: Rejection) -> Refused:
    return Refused(side=side, id=rejection.id, namespace=rejection.namespace, reason=rejection.reason)
