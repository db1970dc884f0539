"""Files that couchbackup and elasticdump themselves made are restored, into CouchDB and into Elasticsearch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from migrator.activations.document import Document, Form
from migrator.api.restore import restore
from migrator.demo.servers import Server, npm_program
from migrator.engine.report import Report
from migrator.errors import ArchiveDamaged
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.completing import completed
from tests.support.servers import couchdb_url, request

COUCHBACKUP = ("@cloudant/couchbackup", "2.11.12", "bin/couchbackup.bin.js")
ELASTICDUMP = ("elasticdump", "6.125.1", "bin/elasticdump")
ODD = ["tab\t sep\u2028 emoji😀", 'q"u\\ote']
DOCUMENTS = [activation(number, logs=ODD if number % 10 == 0 else [f"line {number}"]) for number in range(60)]


def run(program: tuple[str, str, str], *arguments: str, append_to: Path | None = None) -> None:
    with (append_to or Path(os.devnull)).open("ab") as output:
        command = [*npm_program(*program), *arguments]
        ended = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def couchbackup(location: str, *arguments: str, append_to: Path) -> None:
    url, _, database = couchdb_url(location).rpartition("/")
    with completed(url) as asked:
        options = ["--url", asked, "--db", database, "--buffer-size", "7", "--quiet"]
        run(COUCHBACKUP, *options, *arguments, append_to=append_to)


@pytest.fixture
def source(couchdb_database: str) -> str:
    """A database with activations, a design document, a deleted one, and one that has a conflict.

    Of PouchDB's server couchbackup gets neither what was deleted nor what lost, as it does of CouchDB.
    """
    url = couchdb_url(couchdb_database)
    request("POST", f"{url}/_bulk_docs", {"docs": [json.loads(document.body) for document in DOCUMENTS]})
    request("PUT", f"{url}/_design/views", {"language": "javascript"})
    gone = activation(100)
    rev = request("PUT", f"{url}/{quote(gone.id, safe='')}", json.loads(gone.body))["rev"]
    request("DELETE", f"{url}/{quote(gone.id, safe='')}?rev={rev}")
    loser = {**json.loads(DOCUMENTS[3].body), "_rev": "1-" + 32 * "0", "logs": ["lost"]}
    request("POST", f"{url}/_bulk_docs", {"docs": [loser], "new_edits": False})
    return couchdb_database


@pytest.fixture
def target(couchdb_server: Server) -> Iterator[str]:
    """A second, empty database."""
    url = f"{couchdb_server.url}/restored"
    request("PUT", url)
    yield url.replace("http", "couchdb", 1)
    request("DELETE", url)


Restore = Callable[..., Report]


@pytest.fixture
def bring(tmp_path: Path) -> Restore:
    def restored(file: Path, target: str, **options: Any) -> Report:
        return restore(f"file:{file}", target, state=tmp_path / "state", retry_for_s=2, **options)

    return restored


def in_couchdb(location: str) -> dict[str, Any]:
    rows = request("GET", f"{couchdb_url(location)}/_all_docs?include_docs=true")["rows"]
    return {row["id"]: row["doc"] for row in rows}


def in_elasticsearch(server: Server, prefix: str) -> dict[str, Any]:
    request("POST", f"{server.url}/{prefix}*/_refresh")
    hits = request("GET", f"{server.url}/{prefix}*/_search?size=1000")["hits"]["hits"]
    return {hit["_id"]: hit["_source"] for hit in hits}


def content(documents: Sequence[Document]) -> dict[str, Any]:
    return {document.id: plain(json.loads(document.body)) for document in documents}


def plain(document: Any) -> Any:
    return {name: value for name, value in document.items() if name not in ("_id", "_rev")}


def elasticsearch(server: Server, prefix: str) -> str:
    return f"elasticsearch://127.0.0.1:{server.port}/?index-pattern={prefix}%25s"


EXPECTED = content(DOCUMENTS)
AS_SOURCES = content(
    [activation(n, form=Form.ELASTICSEARCH, logs=json.loads(d.body)["logs"]) for n, d in enumerate(DOCUMENTS)]
)


@pytest.mark.parametrize("mode", ["full", "shallow"])
def test_couchbackup_file_is_restored_into_couchdb(
    source: str, target: str, tmp_path: Path, bring: Restore, mode: str
) -> None:
    """Every activation in its winning revision; the design document is filtered."""
    file = tmp_path / "backup.txt"
    couchbackup(source, "--mode", mode, append_to=file)
    report = bring(file, target)
    assert {id: plain(document) for id, document in in_couchdb(target).items()} == EXPECTED
    assert report.totals.written == len(DOCUMENTS)
    assert report.totals.adds_up
    assert report.totals.filtered == 1
    assert report.exit_code == 0


def test_couchbackup_file_is_restored_into_elasticsearch(
    source: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path, bring: Restore
) -> None:
    file = tmp_path / "backup.txt"
    couchbackup(source, "--mode", "shallow", append_to=file)
    report = bring(file, elasticsearch(elasticsearch_server, index_prefix))
    assert report.exit_code == 0
    assert in_elasticsearch(elasticsearch_server, index_prefix) == AS_SOURCES


def test_couchbackup_keeps_revisions_when_asked(source: str, target: str, tmp_path: Path, bring: Restore) -> None:
    """With their `_rev` and history; a second restore finds them present."""
    file = tmp_path / "backup.txt"
    couchbackup(source, "--mode", "full", append_to=file)
    report = bring(file, target, keep_revisions=True)
    assert report.totals.written == len(DOCUMENTS)
    there, restored = in_couchdb(source), in_couchdb(target)
    assert {id: document["_rev"] for id, document in restored.items()} == {id: there[id]["_rev"] for id in EXPECTED}
    assert {id: plain(document) for id, document in restored.items()} == EXPECTED
    assert bring(file, target, keep_revisions=True, restart=True).totals.present == len(DOCUMENTS)


@pytest.mark.parametrize("cut_bytes", [1, 100, 2500])
def test_resumed_couchbackup_file_is_restored(
    source: str, target: str, tmp_path: Path, bring: Restore, cut_bytes: int
) -> None:
    """Where couchbackup was killed while it wrote a line, and went on: the torn line comes again, whole."""
    file, log = tmp_path / "backup.txt", tmp_path / "backup.log"
    couchbackup(source, "--mode", "full", "--log", str(log), "--parallelism", "1", append_to=file)
    done = [line for line in log.read_text().splitlines(keepends=True) if line.startswith(":d ")]
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(done) == len(lines) - 1 > 5
    kept = log.read_text()
    for line in done[4:]:
        kept = kept.replace(line, "")
    log.write_text(kept)
    file.write_bytes(b"".join(lines[:5]) + lines[5][:-cut_bytes])
    if cut_bytes > 1:  # the line end alone may be missing
        with pytest.raises(ArchiveDamaged, match="cut off"):
            bring(file, target)
    else:
        bring(file, target)
    assert in_couchdb(target).items()
    couchbackup(source, "--resume", "--log", str(log), append_to=file)
    assert b"@cloudant/couchbackup:resume" in file.read_bytes()
    report = bring(file, target, restart=True)
    assert report.totals.adds_up
    assert not report.totals.rejected
    assert not report.totals.differing
    assert {id: plain(document) for id, document in in_couchdb(target).items()} == EXPECTED


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
def test_elasticdump_file_is_restored(
    elasticsearch_server: Server,
    index_prefix: str,
    couchdb_database: str,
    tmp_path: Path,
    bring: Restore,
    compress: bool,
) -> None:
    """Into another Elasticsearch index, the same sources; into CouchDB, the activations they were made of."""
    url = elasticsearch_server.url
    for id, source in AS_SOURCES.items():
        request("PUT", f"{url}/{index_prefix}from-guest/_doc/{quote(id, safe='')}", source)
    request("POST", f"{url}/{index_prefix}from-guest/_refresh")
    file = tmp_path / ("dump.json.gz" if compress else "dump.json")
    options = ["--fsCompress"] if compress else []
    run(ELASTICDUMP, f"--input={url}/{index_prefix}from-guest", f"--output={file}", "--type=data", *options)
    report = bring(file, elasticsearch(elasticsearch_server, f"{index_prefix}to-"))
    assert report.exit_code == 0
    assert in_elasticsearch(elasticsearch_server, f"{index_prefix}to-") == AS_SOURCES
    assert bring(file, couchdb_database).exit_code == 0
    assert {id: plain(document) for id, document in in_couchdb(couchdb_database).items()} == EXPECTED


def test_a_part_of_an_archive_is_restored_by_elasticdump(
    search_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """`zstdcat PART | elasticdump`, into 6.x and 7.x without this tool; what counts is what the server then has."""
    if search_server.product != "elasticsearch" or int(search_server.version.partition(".")[0]) > 7:
        pytest.skip("elasticdump writes the lines of an archive into Elasticsearch 6 and 7; later ones refuse `_type`")
    if shutil.which("zstdcat") is None:
        pytest.skip("there is no zstdcat on this machine")
    index = f"{index_prefix}guest"
    documents = [
        activation(n, form=Form.ELASTICSEARCH, logs=json.loads(d.body)["logs"]) for n, d in enumerate(DOCUMENTS)
    ]
    made = add_backup(
        tmp_path / "archive",
        Form.ELASTICSEARCH,
        [[msgspec.structs.replace(document, index=index) for document in documents]],
    )
    part = tmp_path / "archive" / made.folder / made.parts[0].name
    with subprocess.Popen(["zstdcat", str(part)], stdout=subprocess.PIPE) as lines:
        command = [*npm_program(*ELASTICDUMP), "--input=$", f"--output={search_server.url}", "--type=data"]
        ended = subprocess.run(command, stdin=lines.stdout, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert lines.returncode == 0
    assert in_elasticsearch(search_server, index_prefix) == AS_SOURCES
