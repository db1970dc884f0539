"""Whether two stores spell the same activations in the same bytes, by a look at a few.

A pair of readers and their plans enter, a guess leaves. Where it is right, a verification compares bytes, for a
fraction of the cost; where it is wrong, what differs by its bytes is read once more and compared by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any, cast

from migrator.activations import comparing
from migrator.activations.document import Document, Rejection
from migrator.activations.selection import Selection
from migrator.adapters.base import Plan, Reader
from migrator.adapters.shared.optional import fetch
from migrator.engine.verification.confirm import Pair
from migrator.errors import Interrupted, MigratorError

_LOOKED_AT = 50  # documents of one page
_SLICES = 3  # of which one must hold something
_PAGES = 5  # in each of them: where little is selected, the look isn't another reading of everything


def spells_alike(pair: Pair, plans: Mapping[str, Plan], selection: Selection) -> bool:
    """Whether what is in both is spelled alike, as far as a page of one side and a look-up in the other show.

    False where the look fails: nothing depends on it, and a fault that matters ends the reading.
    """
    if pair.a.abilities.reads_once or pair.b.abilities.reads_once:
        return False  # what differs by its bytes couldn't be read again, and neither could what was looked at
    if pair.b.abilities.doubles and pair.a.form is not pair.b.form:
        return False  # CouchDB writes numbers and texts in a way of its own
    try:
        return _look(pair, plans, selection)
    except Interrupted:
        raise
    except MigratorError:
        return False


def _look(pair: Pair, plans: Mapping[str, Plan], selection: Selection) -> bool:
    if pair.b.abilities.looks_up:
        read = _some(pair.a, plans["a"], selection)
        return _alike(pair, read, _under(pair.b, read, selection))
    if pair.a.abilities.looks_up:
        read = _some(pair.b, plans["b"], selection)
        return _alike(pair, _under(pair.a, read, selection), read)
    return pair.a.form is pair.b.form


def _some(reader: Reader, plan: Plan, selection: Selection) -> Sequence[Document]:
    for slice in plan.slices[:_SLICES]:
        with closing(cast(Any, reader.read(slice, None, selection))) as batches:
            for batch in islice(batches, _PAGES):
                if batch.documents:
                    step = -(-len(batch.documents) // _LOOKED_AT)
                    return cast(Sequence[Document], batch.documents[::step])
    return ()


def _under(reader: Reader, read: Sequence[Document], selection: Selection) -> list[Document]:
    """What a side holds under the ids of these; an id may be that of several, in as many indices."""
    ids = list(dict.fromkeys(document.id for document in read))
    return [document for batch in fetch(reader, ids, None, selection) for document in batch.documents] if ids else []


def _alike(pair: Pair, a: Sequence[Document], b: Sequence[Document]) -> bool:
    """Whether one that is in both is spelled alike, and none otherwise; what differs by value tells nothing."""
    in_b = {document.id: document for document in b}
    alike = False
    for document in a:
        expected, found = pair.expected(document), in_b.get(document.id)
        if found is None or isinstance(expected, Rejection):
            continue
        if comparing.spelling(expected) == comparing.spelling(found):
            alike = True
        elif pair.same(expected, found):
            return False
    return alike
