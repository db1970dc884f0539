"""What the last look at a suspect comes to: on each side nothing, one document, or several in several indices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from migrator.activations import forms
from migrator.activations.document import Document, Form, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Token
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.engine.verification.confirm import Pair, _judge, _pages, _Verdicts
from migrator.engine.verification.listed import Suspect
from migrator.engine.verification.values import Finding, Refused
from migrator.errors import Incomplete
from migrator.testing.documents import activation

FORM = Form.ELASTICSEARCH
PAIR = Pair(MemoryReader(MemoryStore("a", FORM)), MemoryReader(MemoryStore("b", FORM)))


def stored(index: str, **changes: Any) -> Document:
    return msgspec.structs.replace(activation(1, form=FORM, **changes), index=index)


SAME, SAME_ELSEWHERE, LONGER = stored("acts-1"), stored("acts-2"), stored("acts-2", duration=43)


@pytest.mark.parametrize(
    ("a", "b", "verdict", "kind", "note"),
    [
        ([SAME], [SAME], "same", "", ""),
        ([SAME], [SAME_ELSEWHERE], "same", "", ""),
        ([SAME], [SAME, SAME_ELSEWHERE], "found", "extra", "is stored in acts-1, acts-2"),
        ([SAME, SAME_ELSEWHERE], [SAME], "copies", "", ""),
        ([SAME, SAME_ELSEWHERE], [SAME, SAME_ELSEWHERE], "same", "", ""),
        ([SAME], [LONGER], "found", "different", ""),
        ([SAME], [SAME, LONGER], "found", "different", "is stored in acts-1, acts-2"),
        ([SAME, LONGER], [SAME], "found", "different", "is stored in acts-1, acts-2"),
        ([SAME, LONGER], [LONGER, SAME], "same", "", ""),
        ([SAME], [], "found", "missing", ""),
        ([], [SAME], "found", "extra", ""),
        ([], [], "gone", "", ""),
    ],
)
def test_each_version_of_either_side_must_be_on_the_other(
    a: Sequence[Document], b: Sequence[Document], verdict: str, kind: str, note: str
) -> None:
    """A document that is stored twice in A is copied once; in B it is one too many, and the indices are named."""
    suspect = Suspect(id=SAME.id, namespace="guest", hour=5, seen_in="ab" if a and b else "")
    came = _Verdicts()
    assert _judge(PAIR, suspect, a, b, came) == verdict
    fields = ("duration",) if kind == "different" else ()
    found = [Finding(kind=kind, id=SAME.id, namespace="guest", hour=5, fields=fields, note=note)] if kind else []
    assert came.findings == found


# -- the verdict on one id ----------------------------------------------------------------------------------------


def document(number: int = 1, *, index: str | None = None, form: Form = Form.COUCHDB, **changes: Any) -> Document:
    made = activation(number, form=form, **changes)
    return msgspec.structs.replace(made, index=index)


ONE = document()
OTHER = document(logs=["other"])
REFUSED = Rejection(ONE.id, "it is cut", b"", "guest")
UNCONVERTIBLE = msgspec.structs.replace(ONE, body=ONE.body.replace(b'"annotations":[', b'"annotations":"x","was":['))


def pair(b: Form = Form.COUCHDB, a: Form = Form.COUCHDB) -> Pair:
    return Pair(MemoryReader(MemoryStore("a", a)), MemoryReader(MemoryStore("b", b)))


def suspect(seen_in: str = "ab", vanished: str = "") -> Suspect:
    return Suspect(id=ONE.id, namespace="guest", hour=7, seen_in=seen_in, vanished=vanished)


def found(kind: str, fields: tuple[str, ...] = (), note: str = "") -> Finding:
    return Finding(kind=kind, id=ONE.id, namespace="guest", hour=7, fields=fields, note=note)


Held = list[Document | Rejection]


@pytest.mark.parametrize(
    ("held_a", "held_b", "asked", "verdict", "finding"),
    [
        ([], [], suspect(), "gone", None),
        ([ONE], [ONE], suspect(), "same", None),
        ([ONE], [ONE], suspect("a"), "same", None),
        ([ONE], [], suspect("a"), "found", found("missing")),
        ([ONE], [], suspect("ab"), "vanished b", None),
        ([ONE], [], suspect("b"), "vanished b", None),
        ([ONE], [], suspect("a", "b"), "found", found("meanwhile", note="was deleted in B")),
        ([ONE], [], suspect("a", "a"), "found", found("missing")),
        ([], [ONE], suspect("b"), "found", found("extra")),
        ([], [ONE], suspect("ab"), "vanished a", None),
        ([], [ONE], suspect("b", "a"), "found", found("meanwhile", note="was deleted in A")),
        ([ONE], [OTHER], suspect(), "found", found("different", ("logs",))),
        ([ONE], [REFUSED], suspect(), "found", found("different", note="can't be read in B: it is cut")),
        ([REFUSED], [ONE], suspect(), "refused", None),
        ([REFUSED], [], suspect("a"), "refused", None),
        (
            [document(index="x"), document(index="y")],
            [document(index="z")],
            suspect(),
            "copies",
            None,
        ),
        ([document(index="x"), document(index="y")], [document(index="z")], suspect("a"), "same", None),
        (
            [document(index="x")],
            [document(index="z"), document(index="y")],
            suspect(),
            "found",
            found("extra", note="is stored in x, y, z"),
        ),
        (
            [document(index="x"), document(index="y", logs=["other"])],
            [document(index="x")],
            suspect(),
            "found",
            found("different", ("logs",), "is stored in x, y"),
        ),
        (
            [document(index="x")],
            [document(index="x"), document(index="y", logs=["other"])],
            suspect(),
            "found",
            found("different", ("logs",), "is stored in x, y"),
        ),
        ([ONE], [ONE, ONE], suspect(), "found", found("extra")),
    ],
)
def test_a_verdict_says_what_both_sides_hold_now(
    held_a: Held, held_b: Held, asked: Suspect, verdict: str, finding: Finding | None
) -> None:
    came = _Verdicts()
    assert _judge(pair(), asked, held_a, held_b, came) == verdict
    assert came.findings == ([] if finding is None else [finding])
    told = [Refused(side="a", id=ONE.id, namespace="guest", reason="it is cut")] if verdict == "refused" else []
    assert came.refused == told


def test_what_has_no_counterpart_in_the_other_form_is_refused_with_the_reason() -> None:
    came = _Verdicts()
    assert _judge(pair(Form.ELASTICSEARCH), suspect(), [UNCONVERTIBLE], [], came) == "refused"
    (told,) = came.refused
    assert (told.side, told.id, told.namespace) == ("a", ONE.id, "guest")
    assert told.reason.startswith("annotations are not an array of keys and values: ")


def test_what_only_a_form_loses_is_restated() -> None:
    """B in CouchDB's form holds what A in Elasticsearch's can't: flags of annotations."""
    lean = document(form=Form.ELASTICSEARCH)
    restated = forms.convert(lean, Form.COUCHDB)
    assert isinstance(restated, Document)
    rich = msgspec.structs.replace(restated, body=restated.body.replace(b'{"key":', b'{"flag":true,"key":', 1))
    assert rich.body != restated.body
    sides = pair(Form.COUCHDB, Form.ELASTICSEARCH)
    came = _Verdicts()
    assert _judge(sides, suspect(), [lean], [rich], came) == "restated"
    assert _judge(sides, suspect("a"), [lean], [rich], came) == "same"
    other = msgspec.structs.replace(rich, body=rich.body.replace(b'"logs":[', b'"logs":["x",'))
    assert _judge(sides, suspect(), [lean], [other], came) == "found"
    assert "logs" in came.findings[0].fields
    assert not pair(Form.ELASTICSEARCH).same_restated(ONE, lean)
    assert not pair().same_restated(ONE, ONE)


def test_ids_that_a_store_does_not_answer_for_are_no_answer() -> None:
    class Short(MemoryReader):
        def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
            yield Batch(documents=(), position=2)

    suspects = [msgspec.structs.replace(suspect(), id=f"guest/{number}") for number in range(3)]
    told = r"^memory:a: 3 ids were requested, 2 returned$"
    with pytest.raises(Incomplete, match=told):
        list(_pages(Short(MemoryStore("a")), suspects))
