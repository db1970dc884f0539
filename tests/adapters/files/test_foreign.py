"""Files of other tools and shells, whole and odd: each is read, rejected or refused by its name, never skipped."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters.memory import _stores, memory_store
from migrator.api.copy import copy
from migrator.errors import ArchiveDamaged, MigratorError, UsageError
from migrator.testing.documents import activation
from tests.adapters.files.test_files import ids, read, reader_of
from tests.support.profiles import stride

COUNT = 6
BOM = b"\xef\xbb\xbf"
DOCUMENTS = [json.loads(activation(number).body) for number in range(COUNT)]
SOURCES = [json.loads(activation(number, form=Form.ELASTICSEARCH).body) for number in range(COUNT)]
IDS = {activation(number).id for number in range(COUNT)}
HITS = [
    {"_index": "openwhisk-guest", "_type": "_doc", "_id": document["_id"], "_score": 1, "_source": source}
    for document, source in zip(DOCUMENTS, SOURCES, strict=True)
]


def lines(values: list[Any], end: str = "\n") -> bytes:
    return "".join(json.dumps(value) + end for value in values).encode()


def without_source(**instead: Any) -> bytes:
    """Every second hit without its `_source`, or with something instead."""
    bare = [{name: hit[name] for name in hit if name != "_source"} | instead for hit in HITS]
    return lines([bare[number] if number % 2 else hit for number, hit in enumerate(HITS)])


def pretty(values: list[Any]) -> bytes:
    return "".join(json.dumps(value, indent=2) + "\n" for value in values).encode()


def bulk() -> bytes:
    actions = [{"index": {"_index": hit["_index"], "_id": hit["_id"]}} for hit in HITS]
    return b"".join(lines([action, source]) for action, source in zip(actions, SOURCES, strict=True))


def pouchdb_dump() -> bytes:
    head = {"version": "1.2.3", "db_type": "http", "start_time": "2026-11-24T00:00:00.000Z", "db_info": {}}
    return lines([head, {"docs": DOCUMENTS[:4]}, {"docs": DOCUMENTS[4:]}, {"seq": 6}])


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("acts.ndjson", lines(DOCUMENTS))
    return file.getvalue()


def framed(**options: Any) -> bytes:
    """As `zstd` compresses a pipe: without the size, so that the window counts."""
    compressor = zstandard.ZstdCompressor(**options).compressobj()
    return compressor.compress(lines(DOCUMENTS)) + compressor.flush()


def unended() -> bytes:
    """A frame that is flushed and has no end."""
    compressor = zstandard.ZstdCompressor().compressobj()
    return compressor.compress(lines(DOCUMENTS)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


def windowed(log: int) -> bytes:
    return framed(compression_params=zstandard.ZstdCompressionParameters.from_level(3, window_log=log))


def with_dictionary() -> bytes:
    dictionary = zstandard.train_dictionary(2000, [line + b"\n" for line in lines(HITS * 20).split(b"\n")])
    return zstandard.ZstdCompressor(dict_data=dictionary).compress(lines(DOCUMENTS))


ROWS = [{"id": each["_id"], "key": each["_id"], "value": {"rev": "1-0"}, "doc": each} for each in DOCUMENTS]
CHANGES = [{"seq": "1-x", "id": each["_id"], "changes": [{"rev": "1-0"}], "doc": each} for each in DOCUMENTS]
CUT = lines(HITS)[:-40]

READ: list[tuple[str, Callable[[], bytes]]] = [
    ("array-of-documents.json", lambda: json.dumps(DOCUMENTS).encode()),
    ("array-of-hits.json", lambda: json.dumps(HITS).encode()),
    ("array-a-line-each.json", lambda: b"[" + b",\n".join(lines([each]).strip() for each in HITS) + b"]\n"),
    ("jq-array-of-hits.json", lambda: json.dumps(HITS, indent=2).encode()),
    ("jq-array-of-documents.json", lambda: BOM + json.dumps(DOCUMENTS, indent=1).encode()),
    ("jq-stream-of-documents.json", lambda: pretty(DOCUMENTS)),
    ("jq-stream-of-hits.json", lambda: pretty(HITS)),
    ("blank-lines.json", lambda: b"\n\n" + lines(HITS, "\n \n") + b"\n"),
    ("bom.json", lambda: BOM + lines(HITS)),
    ("bom-each.json", lambda: b"".join(BOM + lines([hit]) for hit in HITS)),
    ("crlf.json", lambda: lines(HITS, "\r\n")),
    ("cr.json", lambda: lines(HITS, "\r")),
    ("cr-without-the-last.json", lambda: lines(DOCUMENTS, "\r")[:-1]),
    ("without-the-last-line-end.json", lambda: lines(HITS)[:-1]),
    ("bulk.ndjson", bulk),
    ("pouchdb-dump.txt", pouchdb_dump),
    ("members.json.gz", lambda: gzip.compress(lines(HITS[:3])) + gzip.compress(lines(HITS[3:]))),
    ("zeros.json.gz", lambda: gzip.compress(lines(HITS)) + bytes(512)),
    ("plain.json.gz", lambda: lines(HITS)),
    ("acts.ndjson.bz2", lambda: bz2.compress(lines(HITS[:3])) + bz2.compress(lines(HITS[3:]))),
    ("acts.ndjson.xz", lambda: lzma.compress(lines(HITS[:3])) + lzma.compress(lines(HITS[3:])) + bytes(8)),
    ("long.ndjson.zst", lambda: windowed(27)),
    ("renamed", lambda: gzip.compress(lines(HITS))),
]

REJECTED: list[tuple[str, Callable[[], bytes], int, str]] = [
    ("nosource.json", without_source, 3, "this hit has no _source"),
    ("fields.json", lambda: without_source(fields={"name": ["hello"]}), 3, "this hit has no _source"),
    ("empty-source.json", lambda: without_source(_source={}), 3, "the _source of this hit is empty"),
    ("null-source.json", lambda: without_source(_source=None), 3, "the _source of this hit is empty"),
    ("array-source.json", lambda: without_source(_source=[1]), 3, "not a JSON object"),
    ("no-source-at-all.json", lambda: lines([{"_index": "a", "_id": "guest/a"}, *HITS[1:]]), 1, "has no _source"),
    ("log-first.json", lambda: b"Tue, 24 Nov 2026 | starting dump\n" + lines(HITS[1:]), 1, "is not JSON"),
    ("log-later.json", lambda: lines(HITS[1:]) + b"Tue, 24 Nov 2026 | dump complete\n", 1, "is not JSON"),
    ("nul-hole.json", lambda: lines(HITS[1:3]) + bytes(300) + lines(HITS[3:]), 1, "300 NUL bytes"),
    ("update.ndjson", lambda: lines([{"update": {"_id": "a"}}, {"doc": {}}]) + bulk(), 1, "part of this"),
    (
        "bad-in-a-packet.txt",
        lambda: pouchdb_dump().replace(b'"name": "hello"', b'"name": "\\ud800"', 1),
        1,
        "surrogate",
    ),
]

REFUSED: list[tuple[str, Callable[[], bytes], type[MigratorError], str, int]] = [
    ("alldocs.json", lambda: json.dumps({"total_rows": 6, "rows": ROWS}).encode(), UsageError, "_all_docs; .*rows", 0),
    ("changes.json", lambda: json.dumps({"results": CHANGES}, indent=1).encode(), UsageError, "_changes; .*results", 0),
    ("continuous.json", lambda: lines([*CHANGES, {"last_seq": "6-x"}]), UsageError, "continuous _changes", 0),
    ("couchdb-dump.json", lambda: json.dumps({"docs": DOCUMENTS}).encode(), UsageError, r"_bulk_docs; .*docs\[\]", 0),
    ("search.json", lambda: json.dumps({"took": 1, "hits": {"hits": HITS}}).encode(), UsageError, "hits.hits", 0),
    ("mapping.json", lambda: b'{"openwhisk-guest":{"mappings":{"_doc":{}}}}', UsageError, "--type than data", 0),
    ("template.json", lambda: b'{"ow": {"index_patterns": ["openwhisk-*"]}}', UsageError, "--type=template", 0),
    ("error.json", lambda: b'{"error":"unauthorized","reason":"x"}\n', UsageError, "went wrong", 0),
    ("page.html", lambda: b"<!DOCTYPE html><html>", UsageError, "HTML", 0),
    ("table.csv", lambda: b"id,name\n1,2\n", UsageError, "not a file of JSON lines", 0),
    ("utf16.json", lambda: lines(HITS).decode().encode("utf-16"), UsageError, "iconv", 0),
    ("utf16-bare.json", lambda: lines(HITS).decode().encode("utf-16-be"), UsageError, "iconv", 0),
    ("acts.zip", zipped, UsageError, "unzip -p", 0),
    ("dict.ndjson.zst", with_dictionary, UsageError, "dictionary", 0),
    ("longer.ndjson.zst", lambda: windowed(28), UsageError, "256 MiB .* 128 MiB are allowed", 0),
    ("later.ndjson.zst", lambda: framed() + windowed(28), UsageError, "everything before it was copied", 6),
    ("unended.ndjson.zst", unended, ArchiveDamaged, "cut off", 6),
    ("rubbish.ndjson.zst", lambda: framed() + b"rubbish!", ArchiveDamaged, "after the last frame", 6),
    ("garbage.json.gz", lambda: gzip.compress(lines(HITS)) + b"rubbish!", ArchiveDamaged, "isn't gzip", 6),
    ("cut.ndjson.xz", lambda: lzma.compress(lines(HITS))[:-20], ArchiveDamaged, "xz", 6),
    ("cut.ndjson.bz2", lambda: bz2.compress(lines(HITS))[:-4], ArchiveDamaged, "bzip2", 6),
    ("cut.json", lambda: CUT, ArchiveDamaged, "cut off", 5),
    ("cut-stream.json", lambda: pretty(HITS)[:-9], ArchiveDamaged, "cut off", 5),
    ("cut-array.json", lambda: json.dumps(HITS, indent=2).encode()[:-1], ArchiveDamaged, "has no end", 6),
    ("cut-packet.txt", lambda: pouchdb_dump()[:-40], ArchiveDamaged, "cut off", 4),
    ("cut-bulk.ndjson", lambda: bulk() + lines([{"create": {}}]), ArchiveDamaged, "no document follows", 6),
    ("nul-tail.json", lambda: lines(HITS) + bytes(4096), ArchiveDamaged, "4,096 NUL bytes", 6),
    ("only-nul.json", lambda: bytes(100), ArchiveDamaged, "100 NUL bytes", 0),
]


@pytest.fixture
def carry(tmp_path: Path) -> Callable[[str, bytes], Any]:
    """Copies a file of this content into a store in memory."""
    _stores.clear()

    def carried(name: str, content: bytes, query: str = "") -> Any:
        (tmp_path / name).write_bytes(content)
        return copy(f"file:{tmp_path / name}{query}", "memory:foreign", state=tmp_path / "state", retry_for_s=0)

    return carried


def copied_over() -> set[str]:
    return set(memory_store("foreign").entries)


@pytest.mark.parametrize(("name", "make"), READ, ids=[each[0] for each in READ])
def test_whole_file_is_read(name: str, make: Callable[[], bytes], carry: Any) -> None:
    """Every document, in one line in the target, and nothing besides."""
    report = carry(name, make())
    assert copied_over() == IDS
    assert (report.exit_code, report.totals.read, report.totals.written) == (0, COUNT, COUNT)
    assert not any(b"\n" in (entry.body or b"") for entry in memory_store("foreign").entries.values())


@pytest.mark.parametrize(("name", "make", "count", "reason"), REJECTED, ids=[each[0] for each in REJECTED])
def test_what_is_not_understood_is_rejected(
    name: str, make: Callable[[], bytes], count: int, reason: str, carry: Any, tmp_path: Path
) -> None:
    """With its reason, exit 3, and never as something that is no activation."""
    report = carry(name, make())
    totals = report.totals
    assert (report.exit_code, totals.rejected, totals.filtered) == (3, count, 0)
    batches, _ = read(reader_of(tmp_path / name))
    reasons = [rejection.reason for batch in batches for rejection in batch.rejections]
    assert len(reasons) == count
    assert all(reason in each for each in reasons), reasons
    assert len(ids(batches)) == totals.written == len(copied_over())


REFUSED_AS_ASKED = [
    pytest.param(query, *each, id=f"{each[0]}{query}")
    for each in REFUSED
    for query in (["", "?form=couchdb", "?form=elasticsearch"] if not each[-1] else [""])
]


@pytest.mark.parametrize(("query", "name", "make", "kind", "told", "count"), REFUSED_AS_ASKED)
def test_what_is_no_file_of_documents_or_not_whole_is_reported(
    query: str, name: str, make: Callable[[], bytes], kind: type[MigratorError], told: str, count: int, carry: Any
) -> None:
    """By its name, after everything before was copied; naming a form lets nothing through."""
    with pytest.raises(kind, match=told):
        carry(name, make(), query)
    assert len(copied_over()) == count


@pytest.mark.parametrize("page_bytes", [1, 1500])
@pytest.mark.parametrize("name", ["jq-array-of-hits.json", "jq-stream-of-documents.json", "cr.json", "bulk.ndjson"])
def test_reading_goes_on_at_every_position(tmp_path: Path, name: str, page_bytes: int) -> None:
    """Every position gives exactly what is left."""
    (tmp_path / name).write_bytes(dict(READ)[name]())
    reader = reader_of(tmp_path / name, page_bytes=page_bytes)
    batches, _ = read(reader)
    for number, batch in enumerate(batches):
        assert ids(read(reader, batch.position)[0]) == ids(batches[number + 1 :])


def test_values_over_several_lines_are_found_whatever_the_pieces(tmp_path: Path) -> None:
    """Strings with brackets, quotes and backslashes, cut anywhere between two pieces of the file."""
    odd = [json.loads(activation(number, logs=['a "]} [{, \\ \n b\\"']).body) for number in range(3)]
    path = tmp_path / "a.json.zst"
    text = pretty(odd)
    for cut in range(0, len(text), 13 * stride()):
        path.write_bytes(zstandard.compress(text[:cut]) + zstandard.compress(text[cut:]))
        batches, damage = read(reader_of(path))
        assert damage is None
        assert [json.loads(document.body) for batch in batches for document in batch.documents] == odd


def test_a_hit_that_was_not_asked_for_is_filtered(tmp_path: Path) -> None:
    """One without its document, of another namespace than the selected."""
    (tmp_path / "a.json").write_bytes(lines([{"_index": "i", "_id": "other/a"}, *HITS]))
    reader = reader_of(tmp_path / "a.json")
    selection = Selection(namespaces=("guest",))
    (slice,) = reader.plan(selection, slice_documents=10).slices
    batches = list(reader.read(slice, None, selection))
    assert sum(sum(batch.filtered.values()) for batch in batches) == 1
    assert not any(batch.rejections for batch in batches)
