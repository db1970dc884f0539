"""Reads the changes of a database through `_changes`, and proves that none was left out.

A slice enters, batches leave. Each page is proven before it is given: CouchDB counts in `pending` what comes after it,
so a page and what it leaves pending are together no fewer than were pending before. PouchDB doesn't count: there the
ids are listed once more without their documents, the feed must reach the number the database stood at, and it has a
change for each document that the database holds more than before; if it hasn't, all of it is read.

A database that was replaced or rolled back answers to a sequence of before as if little had happened. So a slice looks
at its beginning and at its end whether it is still the one it was planned for; if it isn't, all of it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import msgspec

from migrator.activations.document import Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Slice, Token
from migrator.adapters.couchdb import rows as rows_
from migrator.adapters.couchdb.about import number_of
from migrator.adapters.couchdb.client import Client
from migrator.adapters.couchdb.paging import Found, is_json
from migrator.adapters.couchdb.standing import Standing, loss, parse_standing, stand
from migrator.adapters.shared.paging import Pace, Page, PageSize
from migrator.errors import Unavailable
from migrator.text.decoding import convert
from migrator.text.units import counted

_TRIES = 3  # at reading a database that is replaced while it is read


class _Mark(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far a slice is read; a position is made of it, or just the sequence where nothing else is to be said."""

    since: str | int
    again: Token = None  # the standing of the database that is read from its beginning, in place of the slice's
    changes: int | None = None  # that came so far, of a server that doesn't count them; None where that isn't known

    @property
    def token(self) -> Token:
        if self.again is None and self.changes is None:
            return self.since
        found: Token = msgspec.to_builtins(self)
        return found


def _mark(slice: Slice, position: Token) -> _Mark:
    if isinstance(position, dict):
        return convert(position, _Mark)
    since = slice.spec["since"] if position is None else position
    assert isinstance(since, str | int)
    return _Mark(since=since, changes=0 if position is None else None)


def sequence_of(position: Token) -> str | int | None:
    """How far the changes of a slice were read; None where it was read from its beginning, or by ranges of ids."""
    if isinstance(position, str | int):
        return position
    if not isinstance(position, dict) or "since" not in position:
        return None
    mark = convert(position, _Mark)
    return mark.since if mark.again is None else None


class _LeftOutError(Exception):
    """Fewer changes came than there are documents more than before; the message says how many."""


class _Counting:
    """What a feed must still give, as far as the server counts it; and where it has been."""

    def __init__(self, since: str | int) -> None:
        self._visited = {hash(since)}  # a sequence is some hundred characters
        self.pending: int | None = None

    def was_at(self, sequence: str | int) -> bool:
        return hash(sequence) in self._visited

    def take(self, rows: int, changes: rows_.Changes) -> None:
        """A page was taken. A clustered CouchDB says nothing of `pending` until every shard has answered."""
        self._visited.add(hash(changes.last_seq))
        if changes.pending is not None:
            self.pending = changes.pending
        elif self.pending is not None:
            self.pending = max(0, self.pending - rows)


class Feed:
    """Reads changes for a reader; used by several threads at once."""

    def __init__(self, client: Client, pages: PageSize, part: Part | None = None) -> None:
        """With a `part`, nothing of other parts is given."""
        self._client = client
        self._pages = pages
        self._part = part

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        mark = self._begin(slice, _mark(slice, after))
        for _ in range(_TRIES):
            standing = _standing_of_slice(slice, mark)
            whole = mark.again is not None or slice.spec["since"] == 0
            before = 0 if whole else slice.spec.get("documents")
            assert before is None or isinstance(before, int)
            try:
                for batch in self._pass(mark, selection, before):
                    yield batch
                    mark = _mark(slice, batch.position)
            except _LeftOutError as error:
                if whole:
                    raise self._client.malformed_answer("_changes", str(error)) from error
            else:
                if standing is None or loss(self._client, standing) is None:
                    return
            mark = self._from_the_start()
        raise Unavailable(f"{self._client.location}: different databases answer in turn; is it a load balancer?")

    def _begin(self, slice: Slice, mark: _Mark) -> _Mark:
        standing = _standing_of_slice(slice, mark) or Standing(seq=mark.since)
        if number_of(mark.since) == 0 and not standing.anchors:
            return mark
        return (
            mark
            if loss(self._client, msgspec.structs.replace(standing, seq=mark.since)) is None
            else self._from_the_start()
        )

    def _from_the_start(self) -> _Mark:
        return _Mark(since=0, again=stand(self._client).token, changes=0)

    def _pass(self, mark: _Mark, selection: Selection, before: int | None) -> Iterator[Batch]:
        """`before` is how many documents there were where the slice begins.

        Raises `_LeftOutError` at its end.
        """
        counting, pace = _Counting(mark.since), Pace(self._pages)
        about = self._client.about()
        target = about.update_seq if isinstance(about.update_seq, int) else None
        if target is None:
            begun = self._look(mark.since, 0)
            if begun.pending and not begun.results and number_of(begun.last_seq) > number_of(mark.since):
                raise self._client.malformed_answer(
                    "_changes", f"it advances to {begun.last_seq} without returning a change"
                )
            # Source: CouchDB's documentation, where a limit of 0 is one of 1.
            counting.pending = None if begun.pending is None else begun.pending + len(begun.results)
        since = mark.since
        while True:
            found = pace.next(
                partial(self._page, since, selection, counting, target),
                partial(self._alone, since, selection, counting),
            )
            assert isinstance(found.position, str | int)
            since = found.position
            if found.rows:
                came = None if target is None or mark.changes is None else mark.changes + found.rows
                mark = msgspec.structs.replace(mark, since=since, changes=came)
                yield found.page.batch(mark.token, size_bytes=found.size_bytes)
            if found.is_last:
                break
        # Each document that wasn't there before has a change since then, whether it is there still or was deleted.
        if target is not None and mark.changes is not None and before is not None:
            more = about.doc_count - before
            if mark.changes < more:
                raise _LeftOutError(
                    f"{counted(more, 'document')} more than before, but {counted(mark.changes, 'change')}"
                )

    def _look(self, since: str | int, limit: int) -> rows_.Changes:
        return self._client.understand(self._client.changes(since, limit=limit), rows_.Changes, "_changes")

    def _page(
        self,
        since: str | int,
        selection: Selection,
        counting: _Counting,
        target: int | None,
        asked: int,
        bound_bytes: int | None,
    ) -> Found:
        body = self._client.changes(since, limit=asked, with_docs=True, bound_bytes=bound_bytes)
        changes = self._client.decode_page(rows_.changes, body, "_changes")
        self._check(changes, counting, asked)
        if isinstance(since, int) and isinstance(changes.last_seq, int) and changes.pending is None:
            self._list_again(since, changes)
        page, part = Page(Form.COUCHDB, selection), self._part
        taken = [change for change in changes.results if part is None or part.takes_id(change.id)]
        for change in taken:
            if change.deleted:
                page.delete()
        page.take_all(
            (change.id, there(self._client, change.id, change.doc, "_changes"), None)
            for change in taken
            if not change.deleted
        )
        return self._found(page, changes, counting, asked, target, len(body))

    def _check(self, changes: rows_.Changes, counting: _Counting, asked: int) -> None:
        """Raises `Unavailable` where a page isn't about what was asked, or leaves something out."""
        rows = len(changes.results)
        wrong = None
        if rows > asked or len({change.id for change in changes.results}) != rows:
            wrong = f"{counted(asked, 'change was', 'changes were')} asked for, {rows:,} came, or some of them twice"
        elif rows and counting.was_at(changes.last_seq):
            wrong = f"after {counted(rows, 'change')} its last_seq is an earlier one"
        elif not rows and (changes.pending or (changes.pending is None and counting.pending)):
            wrong = f"it has no changes though {counted(changes.pending or counting.pending or 0, 'is', 'are')} pending"
        elif changes.pending is not None and counting.pending is not None and rows + changes.pending < counting.pending:
            were = counted(counting.pending, "change was", "changes were")
            wrong = f"{were} pending, it has {rows:,} and leaves {changes.pending:,}"
        if wrong:
            raise self._client.malformed_answer("_changes", wrong)

    def _list_again(self, since: int, changes: rows_.Changes) -> None:
        """See that a page of a server that counts nothing holds all that is in its part of the feed."""
        ids = {change.id for change in changes.results}
        again = self._look(since, len(ids) + 1)
        for change in again.results:
            if isinstance(change.seq, int) and change.seq <= number_of(changes.last_seq) and change.id not in ids:
                raise self._client.malformed_answer("_changes", f"{change.id} is missing in it")

    def _found(
        self,
        page: Page,
        changes: rows_.Changes,
        counting: _Counting,
        asked: int,
        target: int | None,
        size_bytes: int,
    ) -> Found:
        rows = len(changes.results)
        counting.take(rows, changes)
        if target is not None:
            is_last = rows < asked and number_of(changes.last_seq) >= target
            if not rows and not is_last:
                raise self._client.malformed_answer(
                    "_changes", f"it has no changes after {changes.last_seq}, the database stood at {target}"
                )
        else:
            # A full page is never taken for the last.
            is_last = rows == 0 or (rows < asked and changes.pending == 0)
        return Found(page, rows, changes.last_seq, size_bytes, is_last)

    def _alone(self, since: str | int, selection: Selection, counting: _Counting) -> Found:
        """A page of the one change whose document can't be decoded, fetched by itself."""
        page = Page(Form.COUCHDB, selection)
        changes = self._look(since, 1)
        self._check(changes, counting, 1)
        size_bytes = 0
        for change in changes.results:
            if self._part is not None and not self._part.takes_id(change.id):
                continue
            if change.deleted:
                page.delete()
            else:
                size_bytes += take_alone(self._client, change.id, page)
        counting.take(len(changes.results), changes)
        return Found(page, len(changes.results), changes.last_seq, size_bytes)


def _standing_of_slice(slice: Slice, mark: _Mark) -> Standing | None:
    """What shows that the database is still the one that a slice was planned for."""
    token: Token = mark.again or slice.spec.get("standing")
    return None if token is None else parse_standing(token)


def there(client: Client, id: str, doc: msgspec.Raw, what: str) -> bytes:
    """The document of a row."""
    body = bytes(doc)
    if body in (b"", b"null"):
        raise client.malformed_answer(what, f"{id} comes without its document, though it isn't deleted")
    return body


def take_alone(client: Client, id: str, page: Page) -> int:
    """Put the one document that can't be decoded with others into a page; its size in bytes."""
    if id.startswith("_design/"):
        page.filter()
        return 0
    found = client.document(id)
    if found is None:  # deleted meanwhile
        return 0
    if not is_json(found.body):
        raise client.malformed_answer("_all_docs", f"{id} isn't JSON, or was cut off")
    page.take(id, found.body)
    return len(found.body)
