"""Pages: how many documents the next one asks for, what becomes of one that can't be taken, and what is in it.

A page's size follows the bytes seen; one that grows beyond its bound is given up while it arrives. A page that can't
be decoded (a lone surrogate, deep nesting) is requested again in halves until the document that is the cause stands
alone. One that couldn't be proven makes the next ones of its range smaller: where documents are stored all the time, no
large page would ever be proven. Who is an activation, who is selected, and who can't be understood is decided here for
all readers, so that they count and refuse alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import msgspec

from migrator.activations.document import (
    Document,
    Form,
    Given,
    Rejection,
    own_id,
    read_document,
    read_plain_documents,
)
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Token
from migrator.adapters.shared.http import TooLarge, Undecodable
from migrator.errors import AnswerLost


class Page:
    """Collects the documents of one page in their order."""

    def __init__(self, form: Form, selection: Selection) -> None:
        self._form = form
        self._selection = selection
        self._with_path = selection.needs_path
        self._takes_all = selection.is_all
        self._documents: list[Document] = []
        self._rejections: list[Rejection] = []
        self._filtered: Counter[str] = Counter()
        self._deleted = 0

    def take(self, id: str, body: bytes, *, index: str | None = None, remarks: tuple[str, ...] = ()) -> None:
        """Sort in one document by what it is; `remarks` are those that its body doesn't show."""
        if not id.isascii() and (readable := _readable(id)) != id:
            reason = "its id holds a lone surrogate (\\ud800 to \\udfff), which is not text"
            self.reject(Rejection(readable, reason, body, readable.partition("/")[0], self._form, index))
            return
        found = read_document(id, body, self._form, index=index, with_path=self._with_path)
        if isinstance(found, Document):
            if remarks:
                found = msgspec.structs.replace(found, remarks=(*found.remarks, *remarks))
            if self._takes_all or self._selection.takes(found):
                self._documents.append(found)
            else:
                self._filtered[found.namespace] += 1
        elif found is None:
            self._filtered[""] += 1
        elif found.namespace or self._selection.takes_namespace(""):
            self.reject(found)
        else:
            self._filtered[found.namespace] += 1

    def take_all(self, given: Iterable[Given]) -> None:
        """Sort in many documents, as `take` does each, in their order.

        Raises `msgspec.MsgspecError` where one that should name its id doesn't.
        """
        found = given if self._with_path else read_plain_documents(given, self._form)
        takes_all, takes, append = self._takes_all, self._selection.takes, self._documents.append
        for each in found:
            if not isinstance(each, Document):
                id, body, index = each
                self.take(own_id(body) if id is None else id, body, index=index)
            elif takes_all or takes(each):
                append(each)
            else:
                self._filtered[each.namespace] += 1

    def reject(self, rejection: Rejection) -> None:
        """Keep what can't be understood, unless its namespace alone shows that it wasn't requested."""
        if rejection.namespace and not self._selection.takes_namespace(rejection.namespace):
            self._filtered[_readable(rejection.namespace)] += 1
            return
        if not rejection.id.isascii() and (readable := _readable(rejection.id)) != rejection.id:
            namespace = _readable(rejection.namespace)
            rejection = msgspec.structs.replace(rejection, id=readable, namespace=namespace)
        self._rejections.append(rejection)

    def filter(self, namespace: str = "") -> None:
        self._filtered[_readable(namespace)] += 1

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been sorted into it."""
        return not (self._documents or self._rejections or self._filtered)

    def delete(self) -> None:
        """Count a deletion seen in the source."""
        self._deleted += 1

    def batch(self, position: Token, *, size_bytes: int) -> Batch:
        return Batch(
            documents=tuple(self._documents),
            position=position,
            rejections=tuple(self._rejections),
            filtered=dict(self._filtered),
            deleted=self._deleted,
            size_bytes=size_bytes,
        )


def _readable(text: str) -> str:
    """A text that can be stored and printed: lone surrogates, which some JSON holds, as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


_PATIENCE = 50  # whole pages after which a size is tried that failed before
_MOST_PATIENCE = 5_000


class PageSize:
    """How many documents to ask for next, so that a page has about `aim_bytes`; learns from the pages seen.

    Shared by the threads of a reader. A page that turned out far too large is requested again with `shrink`.
    """

    def __init__(self, *, aim_bytes: int, first: int = 100, most: int = 5000) -> None:
        self.aim_bytes = aim_bytes
        self._documents = first
        self._most = most
        self._ceiling: int | None = None  # what a link or a gateway lets through, as far as that is known
        self._whole = 0  # pages in a row that arrived below the ceiling
        self._lost = 0  # pages in a row that didn't arrive
        self._patience = _PATIENCE

    @property
    def documents(self) -> int:
        return self._documents

    def of(self, left: int) -> int:
        """How many to ask for where `left` may be left: rather one larger page than a small one behind it."""
        most = self._most if self._ceiling is None else min(self._most, self._ceiling)
        return left if left <= min(self._documents + self._documents // 2, most) else self._documents

    @property
    def bound_bytes(self) -> int:
        """The size above which a page of several documents is given up while it arrives."""
        return 4 * self.aim_bytes

    def saw(self, documents: int, size_bytes: int) -> None:
        """Follow the size of a page that arrived; grow by at most four times a page, shrink at once."""
        self._lost = 0
        if documents:
            wanted = self.aim_bytes * documents // max(size_bytes, 1)
            self._documents = max(1, min(wanted, self._documents * 4, self._most))
            self._rise()
            self._documents = min(self._documents, self._ceiling or self._documents)

    def _rise(self) -> None:
        """Try more again after many whole pages, and after more of them each time that this fails."""
        if self._ceiling is None:
            return
        self._whole += 1
        if self._whole >= self._patience:
            self._whole = 0
            self._patience = min(self._patience * 2, _MOST_PATIENCE)
            self._ceiling = self._ceiling * 2 if self._ceiling * 2 < self._most else None

    def lost(self, asked: int) -> None:
        """The answer to `asked` documents broke off: the second time in a row it may be for its size."""
        self._lost += 1
        if self._lost > 1:
            self.lower(asked // 2)

    def lower(self, documents: int) -> None:
        """A page of more than `documents` didn't arrive whole: ask for no more until many have."""
        self._ceiling = max(1, documents)
        self._whole = 0
        self._documents = min(self._documents, self._ceiling)

    def limit(self, documents: int) -> None:
        """Never again ask for more."""
        self._most = min(self._most, documents)
        self._documents = min(self._documents, documents)

    def shrink(self, asked: int) -> int:
        """The size to ask for instead of `asked`, which was too large."""
        self._documents = max(1, min(self._documents, asked // 8))
        return self._documents


class Arrived(Protocol):
    """What is learned from a page."""

    @property
    def rows(self) -> int: ...

    @property
    def size_bytes(self) -> int: ...


P = TypeVar("P", bound=Arrived)


class Pace:
    """One reading after the other; `next` gives its next page."""

    def __init__(self, pages: PageSize) -> None:
        self._pages = pages
        self._most: int | None = None  # bounds a page after one that was too large or couldn't be decoded
        self._provable: int | None = None  # bounds a page after one that couldn't be proven

    def next(self, page: Callable[[int, int | None], P], alone: Callable[[], P], *, left: int | None = None) -> P:
        """The next page, of `page(documents, bound_bytes)`, or, where one document can't be decoded, of `alone()`.

        A single document is taken at any size. `left` is how many there are, where that is known.
        """
        pages = self._pages
        while True:
            most = pages.documents if left is None else min(pages.documents, left)
            asked = min(most, self._most or most, self._provable or most)
            try:
                found = page(asked, pages.bound_bytes if asked > 1 else None)
            except TooLarge:
                self._most = pages.shrink(asked)
                continue
            except Undecodable:
                if asked > 1:
                    self._most = asked // 2
                    continue
                found = alone()
            except AnswerLost:
                pages.lost(asked)
                raise
            pages.saw(found.rows, found.size_bytes)
            if self._most is not None:
                self._most = self._most * 2 if self._most < pages.documents else None
            return found

    def doubted(self, rows: int) -> None:
        """A page of so many documents couldn't be proven: into a smaller one less is written meanwhile."""
        self._provable = max(1, rows // 2)

    def proven(self) -> None:
        """A page was proven: dare somewhat more again."""
        if self._provable is not None:
            more = self._provable + self._provable // 4 + 1
            self._provable = more if more < self._pages.documents else None
