"""What is particular to files: shapes, damage at every byte, segments, pipes."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from migrator.activations.document import Form
from migrator.activations.selection import Selection
from migrator.adapters import files
from migrator.adapters.base import Batch, Refusal, Token
from migrator.adapters.files.compression import Compression, compress, compression_of, filler
from migrator.adapters.files.input import FileInput, StandardInput
from migrator.adapters.files.output import FileOutput, StandardOutput
from migrator.adapters.files.reader import FileReader
from migrator.adapters.files.writer import FileWriter
from migrator.adapters.memory import _stores, memory_store
from migrator.api.copy import copy
from migrator.errors import ArchiveDamaged, MigratorError, NotFound, Unavailable, UsageError
from migrator.settings.locations import parse_location
from migrator.testing.documents import activation
from migrator.testing.writers import COMPLETION
from tests.support.profiles import stride

ALL = Selection()
HEAD = b'{"name":"@cloudant/couchbackup","version":"2.11.12","mode":"full"}\n'
MARKER = b'{"marker":"@cloudant/couchbackup:resume"}\n'


def reader_of(path: Path, *, query: str = "", page_bytes: int = 1000) -> FileReader:
    return files.open_reader(parse_location(f"file:{path}{query}").store(), page_bytes=page_bytes)


def read(reader: FileReader, after: Token = None) -> tuple[list[Batch], ArchiveDamaged | None]:
    """All batches, and the damage that ended them."""
    (slice,) = reader.plan(ALL, slice_documents=10).slices
    batches: list[Batch] = []
    try:
        batches.extend(reader.read(slice, after, ALL))
    except ArchiveDamaged as error:
        return batches, error
    return batches, None


def ids(batches: list[Batch]) -> list[str]:
    return [document.id for batch in batches for document in batch.documents]


def body(number: int, **changes: Any) -> bytes:
    return activation(number, **changes).body


def lines(count: int) -> list[bytes]:
    return [body(number) + b"\n" for number in range(count)]


# -- shapes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "form"),
    [
        (b'{"_id":"a/b","annotations":[]}', Form.COUCHDB),
        (b'{"_index":"x","_id":"a/b","_source":{"name":"n"}}', Form.ELASTICSEARCH),
        (b'{"activationId":"b","annotations":{}}', Form.ELASTICSEARCH),
        (b'{"activationId":"b","@timestamp":"x"}', Form.ELASTICSEARCH),
        (b'{"activationId":"b","annotations":[]}', Form.COUCHDB),
        (b"[]", Form.COUCHDB),
        (HEAD.strip(), Form.COUCHDB),
    ],
)
def test_form_is_recognised_by_the_first_line(tmp_path: Path, line: bytes, form: Form) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(line + b"\n")
    assert reader_of(path).form is form


def test_form_that_cannot_be_told_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"activationId":"b","namespace":"a","name":"n","start":1}\n')
    with pytest.raises(UsageError, match=r"add \?form="):
        reader_of(path).describe()
    reader = reader_of(path, query="?form=elasticsearch")
    assert reader.form is Form.ELASTICSEARCH
    assert ids(read(reader)[0]) == ["a/b"]


def test_what_is_no_file_of_documents_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with pytest.raises(NotFound):
        reader_of(path).describe()
    path.write_bytes(b"id,name\n1,2\n")
    with pytest.raises(UsageError, match="not a file of JSON lines"):
        reader_of(path).describe()
    with pytest.raises(UsageError, match="is a folder"):
        reader_of(tmp_path).describe()
    path.write_bytes(HEAD)
    with pytest.raises(UsageError, match=r"leave \?form out"):
        reader_of(path, query="?form=elasticsearch").describe()


# -- couchbackup --------------------------------------------------------------------------------------------------


def array(*documents: bytes) -> bytes:
    return b"[" + b",".join(documents) + b"]\n"


@pytest.mark.parametrize("page_bytes", [1, 1_000_000], ids=["by element", "by line"])
def test_torn_line_before_a_resume_marker_comes_again(tmp_path: Path, page_bytes: int) -> None:
    """At every byte where couchbackup may have been killed, nothing is lost, rejected or left over."""
    first, torn = array(body(0), body(1)), array(body(2), body(3, logs=['a "]} [{, \\ b']))
    path = tmp_path / "backup.txt"
    for cut in range(0, len(torn), stride() * (1 if page_bytes == 1 else 7)):
        path.write_bytes(HEAD + first + torn[:cut] + MARKER + torn + array())
        batches, damage = read(reader_of(path, page_bytes=page_bytes))
        assert damage is None
        assert set(ids(batches)) == {activation(number).id for number in range(4)}, cut
        assert not [rejection for batch in batches for rejection in batch.rejections], torn[:cut]


def test_torn_line_without_a_marker_is_reported(tmp_path: Path) -> None:
    """Whole documents of it are given, the torn one is rejected: older versions mark nothing."""
    path = tmp_path / "backup.txt"
    path.write_bytes(array(body(0)) + array(body(1), body(2))[:-30] + b"\n" + array(body(3)))
    batches, damage = read(reader_of(path))
    assert damage is None
    assert set(ids(batches)) == {activation(number).id for number in (0, 1, 3)}
    (rejection,) = [rejection for batch in batches for rejection in batch.rejections]
    assert "the line ends inside this document" in rejection.reason


def test_conflicts_are_settled_as_couchdb_does(tmp_path: Path) -> None:
    """The winner is given with the remark; a deleted leaf of a living document is no deletion."""

    def leaf(number: int, rev: str, **changes: Any) -> bytes:
        return json.dumps({**json.loads(body(number)), "_rev": rev, **changes}).encode()

    path = tmp_path / "backup.txt"
    documents = [
        leaf(0, "1-b", logs=["won"]),
        leaf(0, "1-a", logs=["lost"]),
        leaf(1, "3-z", _deleted=True),
        leaf(1, "2-a", logs=["lives"]),
        leaf(2, "2-a", _deleted=True),
        leaf(3, "10-a", logs=["won"]),
        leaf(3, "9-b", logs=["lost"]),
    ]
    path.write_bytes(array(*documents))
    for page_bytes in (1, 1_000_000):
        batches, _ = read(reader_of(path, page_bytes=page_bytes))
        given = {document.id: document for batch in batches for document in batch.documents}
        logs = {number: json.loads(given[activation(number).id].body)["logs"] for number in (0, 1, 3)}
        assert logs == {0: ["won"], 1: ["lives"], 3: ["won"]}
        assert [given[activation(number).id].remarks for number in (0, 1, 3)] == [("conflicts",), (), ("conflicts",)]
        assert len(given) == 3
        assert sum(batch.deleted for batch in batches) == 1
        assert sum(sum(batch.filtered.values()) for batch in batches) == 3


def test_bytes_are_untouched_and_one_bad_document_stands_alone(tmp_path: Path) -> None:
    """Numbers that a parser would round, a lone surrogate, something that isn't JSON."""
    odd = body(0).replace(b'"duration":42', b'"duration":1e22,"big":12345678901234567890123,"zero":-0.0')
    lone = body(1).replace(b"line 1", b"\\ud800")
    path = tmp_path / "backup.txt"
    path.write_bytes(array(odd, lone, body(2)) + array(b"17"))
    batches, damage = read(reader_of(path))
    assert damage is None
    assert [document.body for batch in batches for document in batch.documents] == [odd, body(2)]
    first, _ = [rejection for batch in batches for rejection in batch.rejections]
    assert first.id == activation(1).id


def test_sources_of_hits_are_untouched(tmp_path: Path) -> None:
    """The order of fields, white space and every digit, whatever stands around them."""
    source = activation(0, form=Form.ELASTICSEARCH).body.replace(b'"duration":', b'"z": 1e22, "a":-0.0,"duration" : ')
    path = tmp_path / "dump.json"
    path.write_bytes(b'{"_index":"x","_type":"_doc","_id":"guest/1","_score":1,"_source": %s,"sort":[1]}\n' % source)
    ((document,),) = [batch.documents for batch in read(reader_of(path))[0]]
    assert (document.id, document.index, document.body) == ("guest/1", "x", source)


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_every_cut_of_a_compressed_file_is_found(tmp_path: Path, compression: Compression) -> None:
    """Except between two frames, where a file of whole frames ends; what stands before the cut is given."""
    some = lines(12)
    frames = [compress(b"".join(some[at : at + 4]), compression) for at in (0, 4, 8)]
    ends = {sum(map(len, frames[:count])) for count in range(1, 4)}
    whole = b"".join(frames)
    path = tmp_path / ("a.ndjson.gz" if compression is Compression.GZIP else "a.ndjson.zst")
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        reader = reader_of(path)
        if cut < 4:
            with pytest.raises(ArchiveDamaged, match="cut off at byte"):
                reader.describe()
            continue
        batches, damage = read(reader)
        assert (damage is None) == (cut in ends), cut
        least = 4 * sum(end <= cut for end in ends)
        assert ids(batches)[:least] == [activation(number).id for number in range(least)]
        if damage:
            assert str(path) in str(damage)
            assert damage.exit_code == 12


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_flipped_bits_never_end_silently(tmp_path: Path, compression: Compression) -> None:
    """A flip in what is compressed raises, or gives the same documents (bits that say nothing of the content)."""
    some = lines(6)
    whole = bytearray(compress(b"".join(some), compression))
    path = tmp_path / "a.ndjson"
    found = 0
    for at in range(4, len(whole)):
        whole[at] ^= 1
        path.write_bytes(whole)
        whole[at] ^= 1
        try:
            batches, damage = read(reader_of(path, query="?form=couchdb"))
        except UsageError as error:  # the header of a frame now asks for what isn't there
            assert "dictionary" in str(error) or "memory" in str(error)
            damage = ArchiveDamaged()
        if damage is None:
            assert ids(batches) == [activation(number).id for number in range(6)]
        else:
            found += 1
    assert found > (len(whole) - 4) * 0.9


@pytest.mark.parametrize("shape", ["lines", "arrays"])
def test_every_cut_of_the_last_line_is_found(tmp_path: Path, shape: str) -> None:
    """And the documents before it are given; only its line end may be missing."""
    path = tmp_path / "a.json"
    last = array(body(2), body(3)) if shape == "arrays" else body(2) + b"\n"
    before = array(body(0), body(1)) if shape == "arrays" else b"".join(lines(2))
    for cut in range(1, len(last) - 1):
        path.write_bytes(before + last[:cut])
        batches, damage = read(reader_of(path))
        assert damage is not None, last[:cut]
        assert "cut off" in str(damage)
        assert ids(batches)[:2] == [activation(0).id, activation(1).id]
    path.write_bytes(before + last[:-1])
    assert read(reader_of(path))[1] is None


def test_run_carries_over_what_stands_before_the_damage(tmp_path: Path) -> None:
    """The run ends with exit code 12, again when it is given again, and counts nothing twice."""
    _stores.clear()
    path = tmp_path / "a.txt"
    path.write_bytes(array(*[body(number) for number in range(50)])[:-20])
    for _ in range(2):
        with pytest.raises(ArchiveDamaged, match="everything before it was copied"):
            copy(f"file:{path}", "memory:target", state=tmp_path / "state")
        assert len(memory_store("target").entries) == 49


# -- positions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["json", "gz", "zst"])
@pytest.mark.parametrize("page_bytes", [1, 3000])
def test_one_long_array_is_resumed_at_every_position(tmp_path: Path, ending: str, page_bytes: int) -> None:
    text = HEAD + array(*[body(number) for number in range(40)]) + array(*[body(number) for number in range(40, 50)])
    packs: dict[str, Callable[[bytes], bytes]] = {"json": bytes, "gz": gzip.compress, "zst": zstandard.compress}
    pack = packs[ending]
    path = tmp_path / f"a.{ending}"
    third = len(text) // 3
    path.write_bytes(pack(text[:third]) + pack(text[third:]))
    reader = reader_of(path, page_bytes=page_bytes)
    batches, damage = read(reader)
    assert damage is None
    assert ids(batches) == [activation(number).id for number in range(50)]
    for number, batch in enumerate(batches):
        assert ids(read(reader, batch.position)[0]) == ids(batches[number + 1 :])


def test_changed_file_is_not_resumed(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(lines(5)))
    reader = reader_of(path)
    (slice,) = reader.plan(ALL, slice_documents=10).slices
    path.write_bytes(b"".join(lines(6)))
    with pytest.raises(UsageError, match="was changed since the job started"):
        list(reader.read(slice, None, ALL))


def test_file_that_was_replaced_is_read_again_by_a_complete_job(tmp_path: Path) -> None:
    """And the later version of a document replaces the one that this job wrote."""
    _stores.clear()
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(lines(5)))
    assert copy(f"file:{path}", "memory:target", state=tmp_path / "state").totals.written == 5
    assert copy(f"file:{path}", "memory:target", state=tmp_path / "state").run_read == 0
    path.write_bytes(b"".join(lines(7)) + body(0, logs=["newer"]) + b"\n")
    report = copy(f"file:{path}", "memory:target", state=tmp_path / "state")
    assert report.exit_code == 0
    there = memory_store("target").get(activation(0).id)
    assert there is not None
    assert json.loads(there)["logs"] == ["newer"]
    assert len(memory_store("target").entries) == 7


# -- pipes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [bytes, gzip.compress, zstandard.compress], ids=["plain", "gzip", "zstd"])
def test_standard_input_is_read_once(pack: Any) -> None:
    text = pack(b"".join(lines(30)))
    reader = FileReader(StandardInput(io.BufferedReader(io.BytesIO(text))), form=None, page_bytes=1000)
    assert reader.form is Form.COUCHDB
    batches, damage = read(reader)
    assert damage is None
    assert len(ids(batches)) == 30
    with pytest.raises(UsageError, match="can be read only once"):
        read(reader)
    again = FileReader(StandardInput(io.BufferedReader(io.BytesIO(text))), form=None, page_bytes=1000)
    (slice,) = reader.plan(ALL, slice_documents=10).slices
    with pytest.raises(UsageError, match="can't be resumed"):
        list(again.read(slice, batches[0].position, ALL))


def test_standard_output_gets_every_line() -> None:
    stream = io.BytesIO()
    writer = FileWriter(StandardOutput(stream), form=None)
    writer.prepare()
    writer.write([activation(number) for number in range(3)], replace=False)
    writer.flush()
    writer.finish(COMPLETION)
    assert stream.getvalue() == b"".join(lines(3))
    assert writer.resume(None, []) is Refusal.NOT_KEPT


# -- writing ------------------------------------------------------------------------------------------------------


def writer_of(path: Path) -> FileWriter:
    return FileWriter(FileOutput(str(path)), form=None)


@pytest.fixture(params=["a.ndjson", "a.ndjson.gz", "a.ndjson.zst"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / request.param


def test_existing_file_is_refused(path: Path) -> None:
    path.write_bytes(b"precious")
    writer = writer_of(path)
    for refused in (lambda: writer.preflight([]), writer.prepare):
        with pytest.raises(UsageError, match="already exists"):
            refused()
    assert path.read_bytes() == b"precious"


def test_only_committed_segments_count(path: Path) -> None:
    """Segments whose commit never came are skipped, wherever they stand; nothing has the final name before."""
    writer = writer_of(path)
    prepared = writer.prepare()
    receipts: list[Token] = []
    for number in range(5):
        writer.write([activation(number)], replace=False)
        receipts.append(writer.flush())
    writer.close()
    kept = [(0, receipts[number]) for number in (0, 2, 3)]
    again = writer_of(path)
    assert again.resume(prepared, kept) is None
    again.write([activation(9)], replace=False)
    again.flush()
    assert not path.exists()
    again.finish(COMPLETION)
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert ids(read(reader_of(path))[0]) == [activation(number).id for number in (0, 2, 3, 9)]


def test_finished_file_is_added_to_by_a_copy(path: Path) -> None:
    """A later round of the same job keeps what is there, and the file is whole at every moment."""
    writer = writer_of(path)
    prepared = writer.prepare()
    writer.write([activation(0)], replace=False)
    receipt = writer.flush()
    writer.finish(COMPLETION)
    before = path.read_bytes()
    again = writer_of(path)
    assert again.resume(prepared, [(0, receipt)]) is None
    again.finish(COMPLETION)
    assert path.read_bytes() == before
    again.write([activation(1)], replace=False)
    second = again.flush()
    assert path.read_bytes() == before
    again.close()
    third = writer_of(path)
    assert third.resume(prepared, [(0, receipt), (1, second)]) is None
    third.finish(COMPLETION)
    assert ids(read(reader_of(path))[0]) == [activation(0).id, activation(1).id]
    path.unlink()
    assert writer_of(path).resume(prepared, [(0, receipt)]) is Refusal.FILE_GONE


def test_file_without_documents_is_a_whole_file(path: Path) -> None:
    writer = writer_of(path)
    prepared = writer.prepare()
    writer.finish(COMPLETION)
    assert read(reader_of(path)) == ([], None)
    again = writer_of(path)
    assert again.resume(prepared, []) is None
    again.write([activation(1)], replace=False)
    again.flush()
    again.finish(COMPLETION)
    assert ids(read(reader_of(path))[0]) == [activation(1).id]


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_full_disk_at_the_end_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int) -> None:
    """Wherever there is no room, `finish` can be called again: also where the file has its name already."""
    path = tmp_path / "acts.ndjson"
    writer = FileWriter(FileOutput(str(path)), form=Form.COUCHDB)
    writer.prepare()
    writer.write([activation(1)], replace=False)
    calls = 0

    def full(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*values: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == nth:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return call(*values, **named)

        return counted

    writer.flush()
    monkeypatch.setattr(os, "fsync", full(os.fsync))
    monkeypatch.setattr(Path, "replace", full(Path.replace))
    with pytest.raises(Unavailable, match="No space left"):
        writer.finish(COMPLETION)
    writer.finish(COMPLETION)
    assert json.loads(path.read_bytes())["_id"] == activation(1).id


def test_threads_write_one_file(path: Path) -> None:
    writer = writer_of(path)
    writer.prepare()

    def work(first: int) -> None:
        for number in range(first, first + 20):
            writer.write([activation(number)], replace=False)
            writer.flush()

    workers = [threading.Thread(target=work, args=(100 * number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    writer.finish(COMPLETION)
    expected = {activation(100 * first + number).id for first in range(4) for number in range(20)}
    found = ids(read(reader_of(path))[0])
    assert set(found) == expected
    assert len(found) == 80


@pytest.mark.parametrize("size", [21, 22, 100, 100_000])
def test_filler_is_passed_over(size: int) -> None:
    assert len(filler(size, Compression.PLAIN)) == size
    assert filler(size, Compression.PLAIN).isspace()
    gap = filler(size, Compression.GZIP)
    assert (len(gap), gzip.decompress(gzip.compress(b"a") + gap + gzip.compress(b"b"))) == (size, b"ab")
    gap = filler(size, Compression.ZSTD)
    assert (len(gap), compression_of(gap)) == (size, Compression.ZSTD)


@pytest.mark.parametrize("form", [Form.COUCHDB, Form.ELASTICSEARCH])
def test_copy_through_a_file_and_back(tmp_path: Path, path: Path, form: Form) -> None:
    """From a store into a file in either form, and back: the same activations; same form: the same bytes."""
    _stores.clear()
    source = memory_store("source")
    for number in range(120):
        source.put(activation(number).id, activation(number).body)
    report = copy("memory:source", f"file:{path}?form={form}", state=tmp_path / "state")
    assert (report.totals.written, report.exit_code) == (120, 0)
    assert copy(f"file:{path}", "memory:back", state=tmp_path / "state").totals.written == 120
    back = memory_store("back").entries
    for number in range(120):
        given = back[activation(number).id].body
        assert given is not None
        assert json.loads(given) == json.loads(body(number))
        assert form is not Form.COUCHDB or given == body(number)
    changed = activation(5, logs=["changed"])
    source.put(changed.id, changed.body)
    assert copy("memory:source", f"file:{path}?form={form}", state=tmp_path / "state").exit_code == 0
    copy(f"file:{path}", "memory:back", state=tmp_path / "state")
    newest = memory_store("back").get(changed.id)
    assert newest is not None
    assert json.loads(newest)["logs"] == ["changed"]


def test_input_of_a_folder_and_output_into_no_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MigratorError):
        FileInput(str(tmp_path)).fingerprint()
    with pytest.raises(NotFound, match="there is no folder"):
        writer_of(tmp_path / "missing" / "a.ndjson").describe()
    with pytest.raises(UsageError, match="is a folder"):
        writer_of(tmp_path).describe()
