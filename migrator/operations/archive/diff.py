"""What changed from one backup of an archive to another: which activations were added, which changed, which are gone.

Two states of an archive enter, a `Difference` leaves, and if requested each id by a call. Every document is read once
to be hashed; those that both states have in different bytes are read once more and compared by value, field by field.
Ids and hashes are sorted into temporary files by a share of the ids each, so that memory holds one share at a time,
and eight bytes for each document of which the bytes differ.
"""

from __future__ import annotations

import hashlib
import tempfile
import time
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import IO

import msgspec

from migrator.activations import comparing, forms
from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form, Rejection
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.archive import ArchiveReader
from migrator.adapters.archive.format import HASH_BYTES, id_hash
from migrator.events import Tell
from migrator.operations.archive.contents import open_archive_contents
from migrator.settings.config import resolve_store
from migrator.settings.stores import Store
from migrator.watching import Observer, Progress, Stop

_SHARES = 128
_SHARE_BUFFER_BYTES = 16 << 10
_PAGE_BYTES = 1_000_000
_DIGEST_BYTES = 16


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One activation in which the two states differ."""

    id: str
    namespace: str
    what: str  # "added", "changed", "gone"
    fields: tuple[str, ...] = ()  # of a changed one, the names at the top level


class Tally(msgspec.Struct, kw_only=True):
    """The counts of one namespace."""

    added: int = 0
    changed: int = 0
    gone: int = 0
    same: int = 0
    fields: dict[str, int] = {}  # in how many changed activations each field differs


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """From the first backup to the second."""

    archive: str
    first: str
    second: str
    namespaces: dict[str, Tally]

    @property
    def total(self) -> Tally:
        fields: Counter[str] = Counter()
        for each in self.namespaces.values():
            fields.update(each.fields)
        found = self.namespaces.values()
        return Tally(
            added=sum(each.added for each in found),
            changed=sum(each.changed for each in found),
            gone=sum(each.gone for each in found),
            same=sum(each.same for each in found),
            fields=dict(fields),
        )

    @property
    def is_empty(self) -> bool:
        total = self.total
        return not (total.added or total.changed or total.gone)


class _Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is kept of a document in the first reading, or in the second, with its body."""

    id: str
    namespace: str
    digest: bytes
    body: bytes = b""


def diff_archive(
    archive: Store | str,
    first: str,
    second: str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    each: Callable[[Changed], None] = lambda _: None,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Difference:
    """Compare the states of two backups, each with all that it builds on; `first` and `second` begin their ids.

    Activations are compared by value, as a restore would bring them back; CouchDB's revisions don't count. `each` is
    told of every one that differs, in no order. Raises as a restore does.
    """
    selection = wanted.fix(now_ms=int(clock() * 1000))
    with open_archive_contents(resolve_store(archive, "source", tell)) as place, ExitStack() as stack:
        readers = [ArchiveReader(place, backup=backup, page_bytes=_PAGE_BYTES) for backup in (first, second)]
        run = _Run(readers[0].form, selection, stop or Stop(), observe)
        run.progress.documents = sum(reader.count(selection) or 0 for reader in readers)
        old, new = (stack.enter_context(closing(_Shares())) for _ in readers)
        for reader, shares in zip(readers, (old, new), strict=True):
            for document in run.documents(reader):
                shares.add(_Entry(document.id, document.namespace, _digest(document)))
        names: dict[str, Tally] = {}
        suspects = _first_reading(old, new, names, each)
        if suspects:
            run.progress.phase = "comparing fields"
            old, new = (stack.enter_context(closing(_Shares())) for _ in readers)
            for reader, shares in zip(readers, (old, new), strict=True):
                for document in run.documents(reader):
                    if _holds(suspects, document.id):
                        shares.add(_Entry(document.id, document.namespace, b"", document.body))
            _second_reading(old, new, readers[0].form, names, each)
        return Difference(
            archive=place.printed,
            first=readers[0].chain[-1].backup,
            second=readers[1].chain[-1].backup,
            namespaces=dict(sorted(names.items())),
        )


class _Run:
    """Reads states, in the form of the first."""

    def __init__(self, form: Form, selection: Selection, stop: Stop, observe: Observer) -> None:
        self._form = form
        self._selection = selection
        self._stop = stop
        self._observe = observe
        self.progress = Progress()
        self.progress.phase = "reading"

    def documents(self, reader: ArchiveReader) -> Iterator[Document]:
        for slice in reader.plan(self._selection, slice_documents=1).slices:
            for batch in reader.read(slice, None, self._selection):
                for each in batch.rejections:  # they are in the archive all the same
                    yield Document(each.id, self._form, each.body, each.namespace, "", 0)
                for document in batch.documents:
                    found = forms.convert(document, self._form)
                    # What has no counterpart in the other form differs as it is.
                    yield document if isinstance(found, Rejection) else found
                self.progress.add({"": Counts(read=len(batch.documents), size_bytes=batch.size_bytes)})
                self._observe(self.progress)
                self._stop.check()


def _first_reading(old: _Shares, new: _Shares, names: dict[str, Tally], each: Callable[[Changed], None]) -> array[int]:
    """Count what one state has alone and what both have in the same bytes; returns the hashes of the others' ids."""
    suspects = array("Q")
    for number in range(_SHARES):
        before = {entry.id: entry for entry in old.read(number)}
        for entry in new.read(number):
            was = before.pop(entry.id, None)
            tally = names.setdefault(entry.namespace, Tally())
            if was is None:
                tally.added += 1
                each(Changed(id=entry.id, namespace=entry.namespace, what="added"))
            elif was.digest == entry.digest:
                tally.same += 1
            else:
                suspects.append(_number(entry.id))
        for entry in before.values():
            names.setdefault(entry.namespace, Tally()).gone += 1
            each(Changed(id=entry.id, namespace=entry.namespace, what="gone"))
    return array("Q", sorted(suspects))


def _second_reading(
    old: _Shares, new: _Shares, form: Form, names: dict[str, Tally], each: Callable[[Changed], None]
) -> None:
    """Compare by value the documents that differ in their bytes."""
    for number in range(_SHARES):
        before = {entry.id: entry for entry in old.read(number)}
        for entry in new.read(number):
            was = before.get(entry.id)
            if was is None:
                continue  # another id with the same hash
            tally = names.setdefault(entry.namespace, Tally())
            fields = comparing.differing_fields(_document(was, form), _document(entry, form), doubles=False)
            if not fields:
                tally.same += 1
                continue
            tally.changed += 1
            for name in fields:
                tally.fields[name] = tally.fields.get(name, 0) + 1
            each(Changed(id=entry.id, namespace=entry.namespace, what="changed", fields=fields))


def _document(entry: _Entry, form: Form) -> Document:
    return Document(entry.id, form, entry.body, entry.namespace, "", 0)


def _digest(document: Document) -> bytes:
    return hashlib.blake2b(document.body, digest_size=_DIGEST_BYTES).digest()


def _number(id: str) -> int:
    return int.from_bytes(id_hash(id), "little")


def _holds(sorted_hashes: array[int], id: str) -> bool:
    number = _number(id)
    at = bisect_left(sorted_hashes, number)
    return at < len(sorted_hashes) and sorted_hashes[at] == number


_decoder = msgspec.msgpack.Decoder(_Entry)


class _Shares:
    """Entries in temporary files without a name, those of one id always in the same."""

    def __init__(self) -> None:
        self._files: list[IO[bytes]] = [
            tempfile.TemporaryFile(buffering=_SHARE_BUFFER_BYTES, prefix="migrator-")  # noqa: SIM115  closed by `close`
            for _ in range(_SHARES)
        ]
        self._encoder = msgspec.msgpack.Encoder()

    def add(self, entry: _Entry) -> None:
        data = self._encoder.encode(entry)
        file = self._files[_number(entry.id) % _SHARES]
        file.write(len(data).to_bytes(HASH_BYTES, "little"))
        file.write(data)

    def read(self, number: int) -> Iterator[_Entry]:
        """The entries of a share, which is gone afterwards."""
        file = self._files[number]
        file.seek(0)
        while size := file.read(HASH_BYTES):
            yield _decoder.decode(file.read(int.from_bytes(size, "little")))
        file.close()

    def close(self) -> None:
        for file in self._files:
            file.close()
