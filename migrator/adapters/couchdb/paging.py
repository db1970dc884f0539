"""How many documents the next page asks for, and what becomes of a page that doesn't arrive or can't be decoded.

A page's size follows the bytes seen; one that grows beyond its bound is given up while it arrives. A page that can't
be decoded (a lone surrogate, deep nesting) is requested again in halves until the document that is the cause stands
alone. A page that broke off makes all pages smaller for a while: some links cut every connection after so many bytes.
One that couldn't be proven makes the next ones of its range smaller: where documents are stored all the time, no large
page would ever be proven.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from migrator.activations import canonical
from migrator.adapters.base import Token
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.adapters.shared.paging import Page, PageSize
from migrator.errors import AnswerLost

_CALM = 20  # pages that arrive whole before they may be larger again


class Arrived(Protocol):
    """What is learned from a page."""

    @property
    def rows(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=Arrived)


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

    def arrived(self, documents: int, size_bytes: int) -> None:
        self.size.saw(documents, size_bytes)
        if self._ceiling is not None:
            self._arrived += 1
            if self._arrived >= _CALM:
                self._arrived = 0
                self._ceiling = self._ceiling * 2 if self._ceiling < self.size.documents else None

    def broke_off(self, asked: int) -> None:
        self._ceiling = max(1, min(asked, self._ceiling or asked) // 2)
        self._arrived = 0


class Pace:
    """One reading after the other; `next` gives its next page."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        self._provable: int | None = None  # bounds a page after one that couldn't be proven

    def next(self, page: Callable[[int, int | None], P], alone: Callable[[], P]) -> P:
        """The next page, of `page(documents, bound_bytes)`, or, where one document can't be decoded, of `alone()`.

        A single document is taken at any size.
        """
        pages = self._pages
        while True:
            asked = min(pages.documents, self._most or pages.documents, self._provable or pages.documents)
            try:
                found = page(asked, pages.size.bound_bytes if asked > 1 else None)
            except TooLarge:
                self._most = pages.size.shrink(asked)
                continue
            except Undecodable:
                if asked > 1:
                    self._most = asked // 2
                    continue
                found = alone()
            except AnswerLost:
                pages.broke_off(asked)
                raise
            pages.arrived(found.rows, found.size_bytes)
            if self._most is not None:
                self._most = self._most * 2 if self._most < pages.size.documents else None
            return found

    def doubted(self, rows: int) -> None:
        """A page of so many documents couldn't be proven: into a smaller one less is written meanwhile."""
        self._provable = max(1, rows // 2)

    def proven(self) -> None:
        """A page was proven: dare somewhat more again."""
        if self._provable is not None:
            more = self._provable + self._provable // 4 + 1
            self._provable = more if more < self._pages.documents else None


def is_json(body: bytes) -> bool:
    """Whether a document that `msgspec` refuses is JSON all the same."""
    try:
        canonical.parse(body.decode("utf-8", "surrogatepass"), doubles=False)
    except ValueError:
        return False
    return True
