"""What the settings of a CouchDB server, and the size of its files, mean for activations.

The client of a database and what the database says of itself enter, findings leave. Only reads. Settings are those of
the node that answers, and only an administrator of the server may read them; nothing is said of what can't be read.

Source: `_node/_local/_config/SECTION` has what the server's ini files set and what was set since, without the defaults
that are built in; those are in CouchDB's source (`couch_db_plugin`, `chttpd`, `smoosh_server`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from migrator.adapters.couchdb.about import Database, Server
from migrator.adapters.couchdb.client import Client
from migrator.adapters.questions import Finding
from migrator.text.units import counted, human_bytes

_MANY = 100_000  # documents; below it reading takes seconds, however it is done
_CHUNK_BYTES = 1_490  # CouchDB's own
_GOOD_CHUNK_BYTES = 65_536
_DOCUMENT_BYTES = 8_000_000  # CouchDB's own limit from 3 on
_LARGEST_BYTES = 12_000_000  # an activation by OpenWhisk's own limits: 10 MB of logs, 1 MB of result, names and quotes
_SMALL_BYTES = 64_000_000
_SPARSE = 3.0  # smoosh compacts by itself at 2.0; beyond this it evidently doesn't


def findings(client: Client, about: Database, server: Server) -> Iterator[Finding]:
    """What is worth changing. Raises nothing for what can't be read."""
    yield from _space(client.database, about)
    if server.product != "CouchDB" or not (major := _major(server)):
        return
    if (couchdb := client.settings("couchdb")) is None:
        return
    yield from _of_documents(couchdb, major)
    if major >= 3:
        yield from _compaction(client.settings("smoosh"))
        if about.doc_count >= _MANY:
            yield from _pieces(client.settings("chttpd"))


def _major(server: Server) -> int:
    number = server.version.partition(".")[0]
    return int(number) if number.isascii() and number.isdecimal() else 0


def _of_documents(settings: Mapping[str, object], major: int) -> Iterator[Finding]:
    limit_bytes = _number(settings.get("max_document_size"), _DOCUMENT_BYTES if major >= 3 else None)
    if limit_bytes is not None and limit_bytes < _LARGEST_BYTES:
        yield Finding(
            kind="document-limit",
            level="note",
            text=f"the server refuses documents of more than {human_bytes(limit_bytes)} ([couchdb] max_document_size), "
            "and OpenWhisk's own limits allow an activation 10 MB of logs beside its result; larger ones are lost",
            advice="set [couchdb] max_document_size = 16000000",
        )
    if major < 3 and settings.get("delayed_commits") == "true":
        yield Finding(
            kind="delayed-commits",
            level="warning",
            text="the server says that a document is stored before it is on disk ([couchdb] delayed_commits): the "
            "newest activations are gone if its machine fails",
            advice="set [couchdb] delayed_commits = false",
        )


def _compaction(smoosh: Mapping[str, object] | None) -> Iterator[Finding]:
    if smoosh is not None and isinstance(channels := smoosh.get("db_channels"), str) and not channels.strip():
        yield Finding(
            kind="compaction-off",
            level="warning",
            text="databases aren't compacted automatically ([smoosh] db_channels is empty): deleted activations go on "
            "taking disk space",
            advice="remove the setting; `migrator purge` compacts by itself",
        )


def _pieces(chttpd: Mapping[str, object] | None) -> Iterator[Finding]:
    if chttpd is None:
        return
    piece_bytes = _number(chttpd.get("chunked_response_buffer"), _CHUNK_BYTES)
    if piece_bytes is not None and piece_bytes < _GOOD_CHUNK_BYTES:
        yield Finding(
            kind="small-answers",
            level="note",
            text=f"the server sends its answers in pieces of {counted(piece_bytes, 'byte')}, as [chttpd] "
            "chunked_response_buffer has it, so it takes longer to read than it has to",
            advice="set [chttpd] chunked_response_buffer = 100000 before a large copy or backup",
        )


def _space(database: str, about: Database) -> Iterator[Finding]:
    on_disk, active = about.sizes.file, about.sizes.active
    if on_disk is None or active is None or about.compact_running:
        return
    if on_disk >= _SMALL_BYTES and on_disk > _SPARSE * active:
        yield Finding(
            kind="space-to-free",
            level="note",
            text=f"{human_bytes(on_disk - active)} of the {human_bytes(on_disk)} on disk are left of deleted and "
            "replaced documents",
            advice=f"compact it: POST /{database}/_compact, which needs {human_bytes(active)} of free disk meanwhile; "
            "CouchDB 3 does so by itself unless it was configured not to",
        )


def _number(value: object, otherwise: int | None) -> int | None:
    """A setting as a number; `otherwise` where it isn't set, None where it isn't one, such as `infinity`."""
    if value is None:
        return otherwise
    text = str(value).partition(";")[0].strip()
    return int(text) if text.isascii() and text.isdecimal() else None
