"""Whether store and proof of a purge are two: a store is no proof of itself."""

from __future__ import annotations

from typing import Any

import pytest

from migrator.adapters.base import Description
from migrator.engine.removal.guarding import _are_same


def described(identity: Any, product: str = "Elasticsearch") -> Description:
    return Description(location="here", product=product, version="8", identity=identity)


def indices(**indices: str) -> dict[str, Any]:
    return {"cluster": "one", "indices": indices}


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (described("uuid-1"), described("uuid-1"), True),
        (described("uuid-1"), described("uuid-2"), False),
        (described("uuid-1"), described("uuid-1", "CouchDB"), False),
        (described(None), described(None), False),
        (described("uuid-1"), described(None), False),
        (described(indices(a="1", b="2")), described(indices(c="2")), True),  # an alias, or another pattern
        (described(indices(a="1")), described(indices(a="2")), False),  # of the same name in another cluster
        (described(indices(a="1")), described({"cluster": "one"}), False),
        (described(indices()), described(indices()), False),
    ],
)
def test_two_stores_with_an_index_in_common_are_the_same(a: Description, b: Description, same: bool) -> None:
    assert _are_same(a, b) is same
