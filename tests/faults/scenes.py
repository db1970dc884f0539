"""Five scenes on real servers, played with the command line: what each command says and how it ends.

    python -m tests.faults.scenes [--documents N] [--version 6.7.2]

A shrunk index, a rolled-over alias (as source and as target), a hidden index (from 7.7 on), a target that is deleted
in the middle of a copy, and a clock that is three hours ahead for one of four backups. Each command's exit code and
its last lines are printed, then what was expected of the scene, and whether it holds; exit code 1 if anything doesn't.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from migrator.activations.document import Document, Form, read_document
from migrator.activations.forms import convert
from migrator.demo import servers
from migrator.demo.samples import everyday
from migrator.demo.servers import Server
from tests.support.servers import request, status

_LINES = 4  # of what a command says
_AHEAD = """import datetime, sys, time_machine
time_machine.travel(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=3), tick=True).start()
from migrator.commands.main import main
sys.argv[0] = "migrator"
main()"""


class Stage:
    """The servers, a state folder, and whether everything held so far."""

    def __init__(self, search: Server, couchdb: Server, folder: Path, documents: int) -> None:
        self.search, self.couchdb, self.folder, self.documents = search, couchdb, folder, documents
        self.typed = search.version.startswith("6.")
        self.holds = True

    def at(self, pattern: str) -> str:
        return f"elasticsearch://{self.search.url.removeprefix('http://')}/?index-pattern={pattern}-%25s"

    def database(self, name: str) -> str:
        request("PUT", f"{self.couchdb.url}/{name}")
        return f"couchdb://{self.couchdb.url.removeprefix('http://')}/{name}"

    def run(self, *words: str, ahead: bool = False) -> tuple[int, str]:
        """Run a command, print how it ended; `ahead` sets its clock three hours ahead."""
        with self.start(*words, ahead=ahead) as process:
            return self.ended(process, words)

    def start(self, *words: str, ahead: bool = False) -> subprocess.Popen[str]:
        program = ["-c", _AHEAD] if ahead else ["-m", "migrator"]
        env = {**os.environ, "MIGRATOR_CONFIG": os.devnull, "MIGRATOR_STATE": str(self.folder / "state")}
        return subprocess.Popen(
            [sys.executable, *program, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
        )

    def ended(self, process: subprocess.Popen[str], words: Sequence[str]) -> tuple[int, str]:
        text, _ = process.communicate(timeout=600)
        shown = " ".join(word.replace(str(self.folder), "…") for word in words)
        print(f"  $ migrator {shown}\n      exit {process.returncode}", flush=True)
        for line in [line for line in text.splitlines() if line.strip()][-_LINES:]:
            print(f"      {line.replace(str(self.folder), '…')[:200]}", flush=True)
        return process.returncode, text

    def expect(self, what: str, holds: bool) -> None:
        self.holds = self.holds and holds
        print(f"  {'ok ' if holds else 'NOT'} {what}", flush=True)

    # -- past the migrator --------------------------------------------------------------------------------------

    def index(self, name: str, **body: Any) -> None:
        request("PUT", f"{self.search.url}/{name}", body)

    def put(self, index: str, documents: Sequence[Document]) -> None:
        kind = {"_type": "_doc"} if self.typed else {}
        for first in range(0, len(documents), 2_000):
            lines = b"".join(
                msgspec.json.encode({"index": {"_index": index, "_id": each.id, **kind}}) + b"\n" + each.body + b"\n"
                for each in documents[first : first + 2_000]
            )
            answer = request("POST", f"{self.search.url}/_bulk?refresh=true", lines)
            assert not answer["errors"]

    def ids(self, index: str) -> list[str]:
        """The ids of all that an index or an alias holds."""
        request("POST", f"{self.search.url}/{index}/_refresh")
        body: dict[str, Any] = {"size": 5_000, "_source": False}
        answer = request("POST", f"{self.search.url}/{index}/_search?scroll=1m", body)
        found: list[str] = []
        while hits := answer["hits"]["hits"]:
            found += [hit["_id"] for hit in hits]
            again = {"scroll": "1m", "scroll_id": answer["_scroll_id"]}
            answer = request("POST", f"{self.search.url}/_search/scroll", again)
        return found


def _activations(count: int, *, seed: int = 1) -> list[Document]:
    """Activations of the namespace `guest` in Elasticsearch's form."""
    found: list[Document] = []
    for body in everyday(count, seed=seed, namespaces=("guest",)):
        document = read_document(msgspec.json.decode(body)["_id"], body, Form.COUCHDB)
        assert isinstance(document, Document)
        converted = convert(document, Form.ELASTICSEARCH)
        assert isinstance(converted, Document)
        found.append(converted)
    return found


def shrunk(stage: Stage) -> None:
    """An index of five shards is shrunk to one: several documents share a sequence number."""
    documents = _activations(stage.documents)
    routing = {} if stage.typed else {"number_of_routing_shards": 5}
    stage.index("before-guest", settings={"number_of_shards": 5, "number_of_replicas": 0, **routing})
    stage.put("before-guest", documents)
    request("PUT", f"{stage.search.url}/before-guest/_settings", {"index.blocks.write": True})
    after = {"index.number_of_shards": 1, "index.number_of_replicas": 0, "index.blocks.write": None}
    request("POST", f"{stage.search.url}/before-guest/_shrink/shrunk-guest", {"settings": after})
    request("GET", f"{stage.search.url}/_cluster/health/shrunk-guest?wait_for_status=green&timeout=60s")
    archive, database = f"archive:{stage.folder}/shrunk", stage.database("shrunk")
    codes = [
        stage.run("copy", stage.at("shrunk"), database)[0],
        stage.run("verify", stage.at("shrunk"), database)[0],
        stage.run("backup", stage.at("shrunk"), archive)[0],
        stage.run("restore", archive, stage.at("back-shrunk"))[0],
        stage.run("verify", stage.at("shrunk"), stage.at("back-shrunk"))[0],
    ]
    wanted = sorted(document.id for document in documents)
    rows = request("GET", f"{stage.couchdb.url}/shrunk/_all_docs")["rows"]
    stage.expect("every command ends with 0", codes == [0] * 5)
    stage.expect(f"all {stage.documents:,} are in CouchDB", sorted(row["id"] for row in rows) == wanted)
    stage.expect("all came back from the archive", sorted(stage.ids("back-shrunk-guest")) == wanted)


def rolled_over(stage: Stage) -> None:
    """The name of the namespace's index is an alias over two indices."""
    documents = _activations(stage.documents // 10, seed=2)
    old, new = documents[: len(documents) // 2], documents[len(documents) // 2 :]
    stage.index("rolled-guest-000001", aliases={"rolled-guest": {"is_write_index": True}})
    stage.put("rolled-guest", old)
    request("POST", f"{stage.search.url}/rolled-guest/_rollover/rolled-guest-000002", {})
    stage.put("rolled-guest", new[: len(new) // 2])
    source = stage.database("rolled-source")
    stage.index("all-guest")
    stage.put("all-guest", documents)
    archive = f"archive:{stage.folder}/rolled"
    codes = [
        stage.run("copy", stage.at("all"), source)[0],
        stage.run("copy", source, stage.at("rolled"))[0],
        stage.run("verify", source, stage.at("rolled"))[0],
        stage.run("backup", stage.at("rolled"), archive, "--namespace", "guest")[0],
        stage.run("restore", archive, stage.at("back-rolled"))[0],
    ]
    wanted = sorted(document.id for document in documents)
    stage.expect("every command ends with 0", codes == [0] * 5)
    stage.expect("behind the alias each document stands once", sorted(stage.ids("rolled-guest")) == wanted)
    stage.expect("a backup by namespace holds both indices", sorted(stage.ids("back-rolled-guest")) == wanted)


def hidden(stage: Stage) -> None:
    """The index is hidden; wildcards skip it unless they ask."""
    documents = _activations(stage.documents // 10, seed=3)
    try:
        stage.index("hidden-guest", settings={"index.hidden": True})
    except OSError:
        print(f"  {stage.search.version} has no hidden indices")
        return
    stage.put("hidden-guest", documents)
    archive = f"archive:{stage.folder}/hidden"
    codes = [
        stage.run("backup", stage.at("hidden"), archive)[0],
        stage.run("restore", archive, stage.at("back-hidden"))[0],
        stage.run("verify", stage.at("hidden"), stage.at("back-hidden"))[0],
    ]
    stage.expect("every command ends with 0", codes == [0] * 3)
    back = sorted(stage.ids("back-hidden-guest"))
    stage.expect("all came back from the archive", back == sorted(document.id for document in documents))


def deleted_in_the_middle(stage: Stage) -> None:
    """The target's index is deleted while the copy is running; the next bulk creates it again."""
    words = ("copy", stage.at("all"), stage.at("deleted"), "--max-rate", str(stage.documents // 40), "--jobs", "2")
    wanted = sorted(stage.ids("all-guest"))
    with stage.start(*words) as process:
        for _ in range(600):
            time.sleep(0.1)
            if status("GET", f"{stage.search.url}/deleted-guest") == 200:
                break
        time.sleep(1.5)
        request("DELETE", f"{stage.search.url}/deleted-guest")
        code, text = stage.ended(process, words)
    stage.expect("the run says that the target was deleted", "was deleted or recreated" in text)
    stage.expect("it ends with 0, and nothing is missing", code == 0 and sorted(stage.ids("deleted-guest")) == wanted)
    stage.expect("verify agrees", stage.run("verify", stage.at("all"), stage.at("deleted"))[0] == 0)


def clock_ahead(stage: Stage) -> None:
    """Four backups; the clock of the second is three hours ahead."""
    documents = _activations(400, seed=4)
    stage.index("clock-guest")
    archive = f"archive:{stage.folder}/clock"
    for number in range(4):
        stage.put("clock-guest", documents[number * 100 : (number + 1) * 100])
        code, text = stage.run("backup", stage.at("clock"), archive, ahead=number == 1)
        stage.expect(f"backup {number + 1} ends with 0", code == 0)
    stage.expect("the clock that is behind the newest backup is reported", "clock" in text)
    stage.expect("the archive is whole", stage.run("archive", "check", archive)[0] == 0)
    stage.run("archive", "list", archive)
    code, _ = stage.run("archive", "prune", archive, "--keep-last", "1", "--dry-run")
    stage.expect("a prune that keeps the newest one ends with 0", code == 0)
    stage.expect("restore ends with 0", stage.run("restore", archive, stage.at("back-clock"))[0] == 0)
    back = sorted(stage.ids("back-clock-guest"))
    stage.expect("the newest state came back", back == sorted(document.id for document in documents))


SCENES: tuple[Callable[[Stage], None], ...] = (shrunk, rolled_over, hidden, deleted_in_the_middle, clock_ahead)


def _stages(version: str, documents: int) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="scenes-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the search server runs as another user under root
        search = servers.elasticsearch(version, folder=folder / "search")
        with search, servers.couchdb(folder=folder / "couchdb") as couchdb:
            yield Stage(search, couchdb, folder, documents)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.scenes", description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--version", action="append", choices=servers.ELASTICSEARCH)
    chosen = parser.parse_args()
    holds = True
    for version in chosen.version or ["6.7.2", "7.17.29"]:
        for stage in _stages(version, chosen.documents):
            for scene in SCENES:
                print(f"\n{version}: {scene.__doc__}", flush=True)
                scene(stage)
            holds = holds and stage.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
