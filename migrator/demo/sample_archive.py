"""The sample archive of the repository: a full backup and an increment of sample activations in CouchDB form.

A folder enters, an archive is in it afterwards: the same documents, ids and times whenever and wherever it is made.
`python -m migrator.demo.sample_archive FOLDER` makes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import msgspec

from migrator.activations.accounts import Counts
from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.archive import ArchiveWriter
from migrator.adapters.archive.folder import Folder
from migrator.adapters.archive.manifest import ARCHIVE, UNFINISHED, ArchiveHead, folder_of
from migrator.adapters.archive.writer import Begun
from migrator.adapters.base import Completion, Description, Token
from migrator.demo.samples import ODD_SHAPES, everyday, odd
from migrator.text.units import counted

FULL, INCREMENT = "20260201T021500Z-5a3b1e", "20260202T021500Z-5a3b1f"
EVERYDAY = 300
PART_DOCUMENTS = 200
_ID = "5a3b1e00c0ffee00c0ffee00c0ffee00"
_FULL_S, _INCREMENT_S = 1_769_912_100.0, 1_769_998_500.0  # the times in the ids
_TOOK_S = 4.0


def full_documents() -> Iterator[Document]:
    """Everyday activations, and odd ones that CouchDB can hold."""
    small = (body for body in odd(len(ODD_SHAPES), holdable=True) if len(body) < 4000)
    return _read([*everyday(EVERYDAY), *small])


def new_documents() -> Iterator[Document]:
    """What the increment brings: 20 more activations, and three of the full backup that changed."""
    changed = [body.replace(b'"publish":false', b'"publish":true') for body in islice(everyday(EVERYDAY), 3)]
    return _read([*islice(everyday(EVERYDAY + 20), EVERYDAY, None), *changed])


def _read(bodies: Iterable[bytes]) -> Iterator[Document]:
    for body in bodies:
        document = read_document(msgspec.json.decode(body)["_id"], body, Form.COUCHDB)
        assert isinstance(document, Document)
        yield document


def make_sample_archive(folder: Path) -> None:
    """Write the sample archive into a folder that is new or empty."""
    place = Folder(str(folder))
    place.write(ARCHIVE, ArchiveHead(archive=_ID).encode())
    _add_backup(place, Begun(backup=FULL), list(full_documents()), _FULL_S, snapshot="320-g1AAAACReJzLYWBg")
    begun = Begun(backup=INCREMENT, parent=FULL)
    _add_backup(place, begun, list(new_documents()), _INCREMENT_S, snapshot="343-g1AAAACReJzLYWBh")


def _add_backup(place: Folder, begun: Begun, documents: list[Document], began_s: float, *, snapshot: str) -> None:
    place.write(folder_of(begun.backup) + UNFINISHED, msgspec.json.encode(begun))
    writer = ArchiveWriter(place, clock=lambda: began_s + _TOOK_S)
    writer.resume(msgspec.to_builtins(begun), [])
    receipts: list[tuple[int, Token]] = []
    counts: dict[str, Counts] = {}
    for document in documents:
        of_one = Counts(read=1, written=1, size_bytes=document.size_bytes)
        counts.setdefault(document.namespace, Counts()).add(of_one)
    for first in range(0, len(documents), PART_DOCUMENTS):
        writer.write(documents[first : first + PART_DOCUMENTS], replace=False)
        receipts.append((0, writer.flush()))
    writer.finish(
        Completion(
            source=Description(
                location="couchdb://db1:5984/whisk_local_activations",
                product="CouchDB",
                version="3.4.2",
                identity={"database": "whisk_local_activations", "instance_start_time": "1764000000"},
            ),
            form=Form.COUCHDB,
            selection=Selection(),
            snapshot=snapshot,
            snapshot_s=began_s,
            began_s=began_s,
            receipts=receipts,
            counts=msgspec.to_builtins(counts),
            deleted=0,
            warnings=(),
        )
    )
    writer.close()


if __name__ == "__main__":
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "samples/archive")
    make_sample_archive(target)
    size_bytes = sum(each.stat().st_size for each in target.rglob("*") if each.is_file())
    print(f"{target}: {counted(size_bytes, 'byte')}")
