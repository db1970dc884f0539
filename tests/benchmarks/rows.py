"""The rows of the benchmarks: who runs against whom. The first contestant of each is ours."""

from __future__ import annotations

import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, NamedTuple

from migrator.adapters.elasticsearch.template import MAPPINGS
from migrator.demo import samples
from migrator.demo.servers import npm_program
from tests.benchmarks.archiving import COUCHBACKUP, COUCHRESTORE, ELASTICDUMP, bulks
from tests.benchmarks.bare import write_bodies
from tests.benchmarks.ground import Contestant, Ground
from tests.benchmarks.results import Taken
from tests.support.servers import fetch, request


class Row(NamedTuple):
    documents: int
    prepare: Callable[[Ground], Mapping[str, Contestant]]


def _make_index(ground: Ground, index: str, mapping: str) -> None:
    """An empty index of five shards, as OpenWhisk's deployment has it; `dynamic` has no mapping."""
    body: dict[str, Any] = {"settings": {"number_of_replicas": 0}}
    if mapping in MAPPINGS:
        body["mappings"] = {"_doc": MAPPINGS[mapping]}
    fetch("DELETE", f"{ground.search}/{index}*")
    request("PUT", f"{ground.search}/{index}", body)


def _checked(ground: Ground, index: str, taken: Taken) -> Taken:
    request("POST", f"{ground.search}/_refresh")
    found = request("GET", f"{ground.search}/{index}/_count")["count"]
    assert found == ground.documents, f"{found} of {ground.documents} documents are in {index}"
    return taken


def _fill(ground: Ground) -> None:
    _make_index(ground, "loaded", "dynamic")
    for _, body in bulks(ground.documents, lambda _: "loaded"):
        assert not json.loads(
            fetch("POST", f"{ground.search}/_bulk", body, headers={"Content-Type": "application/x-ndjson"})
        )["errors"]
    request("POST", f"{ground.search}/_refresh")


def _search(ground: Ground, index: str) -> str:
    return ground.location(ground.search, f"?index-pattern={index}", "elasticsearch")


# -- backups ------------------------------------------------------------------------------------------------------


def couchdb_archive(ground: Ground) -> Mapping[str, Contestant]:
    url, database = ground.couchdb()
    backup = shlex.join([*npm_program(*COUCHBACKUP), "--url", url, "--db", database, "--mode", "shallow", "--quiet"])
    return {
        "migrator": lambda: _backup(ground, ground.location(url, database)),
        "bare patient readers": lambda: ground.bare("all-docs", url, database),
        "couchbackup | gzip": lambda: ground.run(f"{backup} | gzip > {ground.folder / 'couchdb.gz'}"),
    }


def couchdb_archive_paced(ground: Ground) -> Mapping[str, Contestant]:
    url, database = ground.couchdb(rate=10_000)
    return {
        "migrator": lambda: _backup(ground, ground.location(url, database)),
        "bare patient readers": lambda: ground.bare("all-docs", url, database),
    }


def _backup(ground: Ground, source: str) -> Taken:
    ground.forget("archive")
    return ground.migrator("backup", source, f"archive:{ground.folder / 'archive'}")


def elasticsearch_archive(ground: Ground) -> Mapping[str, Contestant]:
    _fill(ground)
    dump = ground.folder / "dump.gz"

    def elasticdump() -> Taken:
        dump.unlink(missing_ok=True)
        options = ["--limit=2000", "--fsCompress", "--quiet", "--type=data"]
        given = [f"--input={ground.search}/loaded", f"--output={dump}"]
        return ground.run([*npm_program(*ELASTICDUMP), *given, *options])

    return {
        "migrator": lambda: _backup(ground, _search(ground, "loaded")),
        "bare windows": lambda: ground.bare("windows", ground.search, "loaded"),
        "elasticdump --fsCompress": elasticdump,
    }


# -- restores -----------------------------------------------------------------------------------------------------


def archive_couchdb(ground: Ground) -> Mapping[str, Contestant]:
    url, database = ground.couchdb()
    restored = f"bench-{uuid.uuid4().hex}"
    _backup(ground, ground.location(url, database))
    source, bodies = f"archive:{ground.folder / 'archive'}", ground.folder / "bodies"
    write_bodies(bodies, _bulk_docs(ground.documents))
    dump = ground.folder / "couchdb.gz"
    backup = shlex.join([*npm_program(*COUCHBACKUP), "--url", url, "--db", database, "--mode", "shallow", "--quiet"])
    ground.run(f"{backup} | gzip > {dump}")
    restore = shlex.join([*npm_program(*COUCHRESTORE), "--url", url, "--db", restored, "--quiet"])

    def into_new(call: Callable[[], Taken]) -> Taken:
        fetch("PUT", f"{url}/{restored}")
        try:
            taken = call()
            found = request("GET", f"{url}/{restored}")["doc_count"]
            assert found == ground.documents, f"{found} of {ground.documents}"
        finally:
            fetch("DELETE", f"{url}/{restored}")
        return taken

    return {
        "migrator": lambda: into_new(lambda: ground.migrator("restore", source, ground.location(url, restored))),
        "bare _bulk_docs": lambda: into_new(lambda: ground.bare("post", url, f"/{restored}/_bulk_docs", str(bodies))),
        "gunzip | couchrestore": lambda: into_new(lambda: ground.run(f"gunzip < {dump} | {restore}")),
    }


def _bulk_docs(documents: int) -> Iterator[tuple[int, bytes]]:
    made = samples.everyday(documents)
    while chunk := list(islice(made, 500)):
        yield len(chunk), b'{"docs":[' + b",".join(chunk) + b"]}"


def _archive_elasticsearch(mapping: str) -> Callable[[Ground], Mapping[str, Contestant]]:
    def prepare(ground: Ground) -> Mapping[str, Contestant]:
        url, database = ground.couchdb()
        _backup(ground, ground.location(url, database))
        source, bodies = f"archive:{ground.folder / 'archive'}", ground.folder / "bodies"
        write_bodies(bodies, bulks(ground.documents, lambda _: "restored"))

        def into_new(call: Callable[[], Taken]) -> Taken:
            _make_index(ground, "restored", mapping)
            return _checked(ground, "restored", call())

        return {
            "migrator": lambda: into_new(lambda: ground.migrator("restore", source, _search(ground, "restored"))),
            "bare bulks": lambda: into_new(lambda: ground.bare("post", ground.search, "/_bulk", str(bodies))),
        }

    return prepare


# -- copies -------------------------------------------------------------------------------------------------------


def _couchdb_elasticsearch(mapping: str) -> Callable[[Ground], Mapping[str, Contestant]]:
    def prepare(ground: Ground) -> Mapping[str, Contestant]:
        url, database = ground.couchdb()
        bodies = ground.folder / "bodies"
        write_bodies(bodies, bulks(ground.documents, lambda _: "copied"))

        def into_new(mapping: str, call: Callable[[], Taken]) -> Taken:
            _make_index(ground, "copied", mapping)
            return _checked(ground, "copied", call())

        source = ground.location(url, database)
        return {
            f"migrator ({mapping})": lambda: into_new(
                mapping, lambda: ground.migrator("copy", source, _search(ground, "copied"))
            ),
            "bare bulks (dynamic)": lambda: into_new(
                "dynamic", lambda: ground.bare("post", ground.search, "/_bulk", str(bodies))
            ),
        }

    return prepare


def present(ground: Ground) -> Mapping[str, Contestant]:
    """A second run over what is there; it reads everything again, as a job that was forgotten does."""
    url, database = ground.couchdb()
    source = ground.location(url, database)

    def again() -> Taken:
        return _checked(ground, "copied", ground.migrator("copy", source, _search(ground, "copied")))

    def first() -> Taken:
        _make_index(ground, "copied", "dynamic")
        return again()

    first()
    return {"second run": again, "first run": first}


def verify(ground: Ground) -> Mapping[str, Contestant]:
    _fill(ground)
    _backup(ground, _search(ground, "loaded"))
    archive = f"archive:{ground.folder / 'archive'}"
    return {"migrator verify": lambda: ground.migrator("verify", archive, _search(ground, "loaded"))}


# -- overhead -----------------------------------------------------------------------------------------------------


def overhead(ground: Ground) -> Mapping[str, Contestant]:
    """Own processor seconds: a backup, an increment of nothing, and `--help`; the last two are counted as one run."""
    url, database = ground.couchdb()
    source, archive = ground.location(url, database), f"archive:{ground.folder / 'archive'}"

    def whole(taken: Taken) -> Taken:
        return taken._replace(documents=1)

    return {
        "backup": lambda: _backup(ground, source),
        "increment of nothing": lambda: whole(ground.migrator("backup", source, archive, keep_state=True)),
        "--help": lambda: whole(ground.run([sys.executable, "-m", "migrator", "--help"])),
    }


def growth(ground: Ground) -> Mapping[str, Contestant]:
    """Backups of once, three times and ten times as many documents; the rate and the memory should stay."""

    def backup(documents: int) -> Contestant:
        url, database = ground.couchdb(documents=documents)
        return lambda: _backup(ground, ground.location(url, database))._replace(documents=documents)

    return {f"{count:,} documents": backup(count) for count in (ground.documents * times for times in (1, 3, 10))}


def executors(ground: Ground) -> Mapping[str, Contestant]:
    """The same copy by threads, by processes, and as two parts at once."""
    url, database = ground.couchdb()
    source = ground.location(url, database)

    def into_new(call: Callable[[str], Taken]) -> Taken:
        _make_index(ground, "copied", "lean")
        return _checked(ground, "copied", call(_search(ground, "copied")))

    def parts(target: str) -> Taken:
        ground.forget("state")
        began_s = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            words = [["--part", f"{part}/2"] for part in (1, 2)]
            taken = list(
                threads.map(lambda more: ground.migrator("copy", source, target, *more, keep_state=True), words)
            )
        seconds = time.monotonic() - began_s
        processor_s, peak_mb = sum(each.processor_s for each in taken), max(each.peak_mb for each in taken)
        return Taken(ground.documents, seconds, processor_s, peak_mb)

    return {
        "threads": lambda: into_new(lambda target: ground.migrator("copy", source, target)),
        "processes": lambda: into_new(lambda to: ground.migrator("copy", source, to, "--executor", "processes")),
        "--part 2 times": lambda: into_new(parts),
    }


ROWS: Mapping[str, Row] = {
    "couchdb-archive": Row(100_000, couchdb_archive),
    "couchdb-archive-paced": Row(150_000, couchdb_archive_paced),
    "couchdb-elasticsearch": Row(40_000, _couchdb_elasticsearch("dynamic")),
    "couchdb-elasticsearch-lean": Row(40_000, _couchdb_elasticsearch("lean")),
    "elasticsearch-archive": Row(60_000, elasticsearch_archive),
    "archive-elasticsearch": Row(40_000, _archive_elasticsearch("dynamic")),
    "archive-elasticsearch-lean": Row(40_000, _archive_elasticsearch("lean")),
    "archive-couchdb": Row(40_000, archive_couchdb),
    "present": Row(40_000, present),
    "verify": Row(60_000, verify),
    "overhead": Row(100_000, overhead),
    "growth": Row(100_000, growth),
    "executors": Row(40_000, executors),
}
