"""Whether copies of one activation agree, whatever form each has.

Copies enter, the fields that differ leave. Losses that a conversion can't avoid are no difference: a copy in CouchDB
form is compared as Elasticsearch would hold it, where another is in that form.
"""

from __future__ import annotations

from collections.abc import Sequence

from migrator.activations import comparing, forms
from migrator.activations.document import Document, Form
from migrator.operations.find.values import Copy


def find_differences(copies: Sequence[Copy]) -> dict[int, tuple[str, ...]]:
    """By its place, the fields in which a copy differs from the first that can be understood; others are absent."""
    documents = [copy.document for copy in copies if copy.document is not None]
    form = Form.COUCHDB if all(each.form is Form.COUCHDB for each in documents) else Form.ELASTICSEARCH
    # CouchDB keeps doubles, and what was once there has been rounded.
    doubles = any(each.form is Form.COUCHDB for each in documents)
    found: dict[int, tuple[str, ...]] = {}
    first: Document | None = None
    for place, copy in enumerate(copies):
        document = None if copy.document is None else forms.convert(copy.document, form)
        if not isinstance(document, Document):
            found[place] = ("the document can't be understood",)
        elif first is None:
            first = document
        elif not comparing.same(first, document, doubles=doubles):
            found[place] = comparing.differing_fields(first, document, doubles=doubles)
    return found
