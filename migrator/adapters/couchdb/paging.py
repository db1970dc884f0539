"""A page of CouchDB as it was read."""

from __future__ import annotations

from typing import NamedTuple

from migrator.activations import canonical
from migrator.adapters.base import Token
from migrator.adapters.shared.paging import Page


class Found(NamedTuple):
    """A page as it was read: who is in it, how many rows, where it ends."""

    page: Page
    rows: int
    position: Token
    size_bytes: int
    is_last: bool = False


def is_json(body: bytes) -> bool:
    """Whether a document that `msgspec` refuses is JSON all the same."""
    try:
        canonical.parse(body.decode("utf-8", "surrogatepass"), doubles=False)
    except ValueError:
        return False
    return True
