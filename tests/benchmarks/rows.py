"""The rows of the benchmarks: who runs against whom. The first contestant of each is ours."""

from __future__ import annotations

import json
import shlex
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote

from migrator.adapters.elasticsearch.template import MAPPINGS, template_name
from migrator.demo import samples
from migrator.demo.servers import npm_program
from tests.benchmarks.archiving import COUCHBACKUP, COUCHRESTORE, ELASTICDUMP, bulks
from tests.benchmarks.bare import write_bodies
from tests.benchmarks.ground import Contestant, Ground
from tests.benchmarks.results import Taken
from tests.support.dask_cluster import DaskCluster
from tests.support.servers import fetch, request


class Row(NamedTuple):
    documents: int
    prepare: Callable[[Ground], Mapping[str, Contestant]]
    minutes: float  # that it takes on two cores
    rounds: int | None = None  # where the usual number would take too long
    warms_up: bool = True


_PATTERN = "openwhisk-%s"


def _make_index(ground: Ground, index: str, mapping: str) -> None:
    """An empty index of five shards, as Elasticsearch 6 makes it by itself; `dynamic` has no mapping."""
    body: dict[str, Any] = {"settings": {"number_of_replicas": 0}}
    if mapping in MAPPINGS:
        body["mappings"] = {"_doc": MAPPINGS[mapping]}
    fetch("DELETE", f"{ground.search}/{index}*")
    request("PUT", f"{ground.search}/{index}", body)


def _forget_indices(ground: Ground) -> None:
    """As in a new cluster: no index and no template of OpenWhisk's."""
    fetch("DELETE", f"{ground.search}/{_PATTERN.replace('%s', '*')}")
    with suppress(HTTPError):  # where it wasn't installed
        fetch("DELETE", f"{ground.search}/_template/{template_name(_PATTERN)}")


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
    return ground.location(ground.search, f"?index-pattern={quote(index)}", "elasticsearch")


def _stored_bytes(ground: Ground, index: str) -> int:
    """What an index takes on the disk once its segments are merged."""
    fetch("POST", f"{ground.search}/{index}/_forcemerge?max_num_segments=1")
    request("POST", f"{ground.search}/{index}/_refresh")  # segments that were merged are still in use before
    request("POST", f"{ground.search}/{index}/_flush")
    shards = request("GET", f"{ground.search}/{index}/_segments")["indices"][index]["shards"].values()
    # Elasticsearch works out the size of the store, in `_stats`, every ten seconds only.
    return sum(each["size_in_bytes"] for copies in shards for copy in copies for each in copy["segments"].values())


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
    url, database = ground.couchdb(rate=10_000, always_paced=True)
    return {
        "migrator": lambda: _backup(ground, ground.location(url, database)),
        "bare patient readers": lambda: ground.bare("all-docs", url, database),
    }


def _backup(ground: Ground, source: str) -> Taken:
    ground.forget("archive")
    return ground.migrator("backup", source, f"archive:{ground.folder / 'archive'}")


def _elasticdump(ground: Ground, source: str | Path, target: str | Path) -> Taken:
    options = ["--limit=2000", "--fsCompress", "--quiet", "--type=data"]
    return ground.run([*npm_program(*ELASTICDUMP), f"--input={source}", f"--output={target}", *options])


def elasticsearch_archive(ground: Ground) -> Mapping[str, Contestant]:
    _fill(ground)
    dump = ground.folder / "dump.gz"

    def elasticdump() -> Taken:
        dump.unlink(missing_ok=True)
        return _elasticdump(ground, f"{ground.search}/loaded", dump)

    return {
        "migrator": lambda: _backup(ground, _search(ground, "loaded")),
        "bare windows": lambda: ground.bare("windows", ground.search, "loaded"),
        "elasticdump --fsCompress": elasticdump,
    }


# -- restores -----------------------------------------------------------------------------------------------------


def archive_couchdb(ground: Ground) -> Mapping[str, Contestant]:
    """The yardstick stores as many a second as Apache CouchDB at its best; from memory it would take any number."""
    url, database = ground.couchdb(rate=4_000)
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


class _Restores:
    """Restores of the same activations into an index of five shards: ours, made in advance, and elasticdump's."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._bodies, self._dump = ground.folder / "bodies", ground.folder / "dump.gz"
        self.bytes: dict[str, int] = {}  # of an index, by its mapping
        write_bodies(self._bodies, bulks(ground.documents, lambda _: "restored"))
        _fill(ground)
        _backup(ground, _search(ground, "loaded"))

    def _into_new(self, mapping: str, call: Callable[[], Taken]) -> Taken:
        _make_index(self._ground, "restored", mapping)
        return _checked(self._ground, "restored", call())

    def ours(self, mapping: str) -> Taken:
        source, target = f"archive:{self._ground.folder / 'archive'}", _search(self._ground, "restored")
        taken = self._into_new(mapping, lambda: self._ground.migrator("restore", source, target))
        self.bytes[mapping] = _stored_bytes(self._ground, "restored")
        sizes = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in self.bytes.items())
        self._ground.remark("bytes", f"indices of {sizes}")
        return taken

    def bare(self, mapping: str) -> Taken:
        words = ("post", self._ground.search, "/_bulk", str(self._bodies))
        return self._into_new(mapping, lambda: self._ground.bare(*words))

    def elasticdump(self) -> Taken:
        if not self._dump.exists():
            _elasticdump(self._ground, f"{self._ground.search}/loaded", self._dump)
        target = f"{self._ground.search}/restored"
        return self._into_new("dynamic", lambda: _elasticdump(self._ground, self._dump, target))


def archive_elasticsearch(ground: Ground) -> Mapping[str, Contestant]:
    restores = _Restores(ground)
    return {
        "migrator": lambda: restores.ours("dynamic"),
        "bare bulks": lambda: restores.bare("dynamic"),
        "elasticdump --fsCompress": restores.elasticdump,
    }


def archive_elasticsearch_searchable(ground: Ground) -> Mapping[str, Contestant]:
    restores = _Restores(ground)
    return {
        "migrator (searchable)": lambda: restores.ours("searchable"),
        "bare bulks (searchable)": lambda: restores.bare("searchable"),
    }


def archive_elasticsearch_lean(ground: Ground) -> Mapping[str, Contestant]:
    restores = _Restores(ground)
    return {
        "migrator (lean)": lambda: restores.ours("lean"),
        "bare bulks (lean)": lambda: restores.bare("lean"),
        "migrator (searchable)": lambda: restores.ours("searchable"),
        "migrator (dynamic)": lambda: restores.ours("dynamic"),
    }


# -- copies -------------------------------------------------------------------------------------------------------


def _couchdb_elasticsearch(mapping: str) -> Callable[[Ground], Mapping[str, Contestant]]:
    """Into the indices that OpenWhisk has, one for each namespace; the pump's have no mapping."""

    def prepare(ground: Ground) -> Mapping[str, Contestant]:
        url, database = ground.couchdb()
        source, target = ground.location(url, database), _search(ground, _PATTERN)
        words = () if mapping == "dynamic" else ("--index-template", mapping)

        def into_new(call: Callable[[], Taken]) -> Taken:
            _forget_indices(ground)
            return _checked(ground, _PATTERN.replace("%s", "*"), call())

        return {
            f"migrator ({mapping})": lambda: into_new(lambda: ground.migrator("copy", source, target, *words)),
            "bare pump (dynamic)": lambda: into_new(lambda: ground.pump(url, database, ground.search)),
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
    checkpoints: dict[int, int] = {}

    def backup(documents: int) -> Contestant:
        url, database = ground.couchdb(documents=documents)

        def run() -> Taken:
            taken = _backup(ground, ground.location(url, database))._replace(documents=documents)
            checkpoints[documents] = sum(file.stat().st_size for file in (ground.folder / "state").rglob("*.sqlite"))
            sizes = ", ".join(f"{size / 1000:,.0f} kB" for _, size in sorted(checkpoints.items()))
            ground.remark("checkpoint", f"checkpoints of {sizes}")
            return taken

        return run

    return {f"{count:,} documents": backup(count) for count in (ground.documents * times for times in (1, 3, 10))}


def executors(ground: Ground) -> Mapping[str, Contestant]:
    """The same copy by threads, by processes, as two parts at once, and by two workers of a Dask cluster."""
    cluster = DaskCluster(ground.folder / "dask")
    ground.callback(cluster.close)
    dask = ("--executor", f"dask://127.0.0.1:{cluster.port}")
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

    def by_dask(target: str) -> Taken:
        taken = ground.migrator("copy", source, target, *dask)
        ground.remark("dask", f"Dask's workers took {cluster.peak_mb:.0f} MB at most")
        return taken

    return {
        "threads": lambda: into_new(lambda target: ground.migrator("copy", source, target)),
        "processes": lambda: into_new(lambda to: ground.migrator("copy", source, to, "--executor", "processes")),
        "--part 2 times": lambda: into_new(parts),
        "dask, 2 workers": lambda: into_new(by_dask),
    }


ROWS: Mapping[str, Row] = {
    "couchdb-archive": Row(100_000, couchdb_archive, 3),
    "couchdb-archive-paced": Row(300_000, couchdb_archive_paced, 3, rounds=2),
    "couchdb-elasticsearch": Row(100_000, _couchdb_elasticsearch("dynamic"), 3),
    "couchdb-elasticsearch-large": Row(300_000, _couchdb_elasticsearch("dynamic"), 5, rounds=2),
    "couchdb-elasticsearch-lean": Row(100_000, _couchdb_elasticsearch("lean"), 3),
    "elasticsearch-archive": Row(60_000, elasticsearch_archive, 2),
    "elasticsearch-archive-large": Row(200_000, elasticsearch_archive, 4),
    "archive-elasticsearch": Row(300_000, archive_elasticsearch, 5),
    "archive-elasticsearch-searchable": Row(300_000, archive_elasticsearch_searchable, 3),
    "archive-elasticsearch-lean": Row(300_000, archive_elasticsearch_lean, 5),
    "archive-couchdb": Row(40_000, archive_couchdb, 3),
    "present": Row(40_000, present, 3),
    "verify": Row(200_000, verify, 2),
    "overhead": Row(100_000, overhead, 2),
    "growth": Row(100_000, growth, 6, rounds=2, warms_up=False),
    "executors": Row(40_000, executors, 3),
}
