"""How large CouchDB's pages are: some links cut every connection after so many bytes.

A page that broke off makes all pages smaller for a while. What becomes of one page is `shared.paging.Pace`'s.
"""

from __future__ import annotations

from typing import NamedTuple

from migrator.activations import canonical
from migrator.adapters.base import Token
from migrator.adapters.shared.paging import Page, PageSize

_CALM = 20  # pages that arrive whole before they may be larger again


class Found(NamedTuple):
    """A page as it was read: who is in it, how many rows, where it ends."""

    page: Page
    rows: int
    position: Token
    size_bytes: int
    is_last: bool = False


class Pages:
    """The sizes of the pages of a reader; shared by its threads."""

    def __init__(self, page_bytes: int) -> None:
        self.size = PageSize(aim_bytes=page_bytes)
        self._ceiling: int | None = None
        self._arrived = 0

    @property
    def documents(self) -> int:
        return min(self.size.documents, self._ceiling or self.size.documents)

    @property
    def bound_bytes(self) -> int:
        return self.size.bound_bytes

    def shrink(self, asked: int) -> int:
        return self.size.shrink(asked)

    def saw(self, documents: int, size_bytes: int) -> None:
        self.size.saw(documents, size_bytes)
        if self._ceiling is not None:
            self._arrived += 1
            if self._arrived >= _CALM:
                self._arrived = 0
                self._ceiling = self._ceiling * 2 if self._ceiling < self.size.documents else None

    def lost(self, asked: int) -> None:
        self._ceiling = max(1, min(asked, self._ceiling or asked) // 2)
        self._arrived = 0


def is_json(body: bytes) -> bool:
    """Whether a document that `msgspec` refuses is JSON all the same."""
    try:
        canonical.parse(body.decode("utf-8", "surrogatepass"), doubles=False)
    except ValueError:
        return False
    return True
