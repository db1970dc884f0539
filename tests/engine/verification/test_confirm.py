"""What the last look at a suspect comes to, where a document is stored in several indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.adapters.memory import MemoryReader, MemoryStore
from migrator.engine.verification.confirm import Pair, _judge, _Verdicts
from migrator.engine.verification.listed import Suspect
from migrator.engine.verification.values import Finding
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
