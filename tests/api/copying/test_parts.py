"""A copy in parts: whatever N is and whenever each part runs, together they copy everything, each document once."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.activations.part import Part
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.base import WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter, _stores, memory_store
from migrator.api.copy import copy
from migrator.api.restore import restore
from migrator.api.verify import verify
from migrator.commands.main import migrator
from migrator.demo import samples
from migrator.demo.servers import Server
from migrator.engine.copy import run_copy
from migrator.engine.options import CopyOptions
from migrator.engine.state.checkpoint import Checkpoint
from migrator.errors import NotFound, UsageError
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.support.profiles import examples
from tests.support.servers import couchdb_url, request
from tests.support.stores import elasticsearch_location, fill_elasticsearch
from tests.support.worlds import SPEC


@pytest.fixture(autouse=True)
def stores() -> Iterator[None]:
    _stores.clear()
    yield
    _stores.clear()


class Counting(MemoryWriter):
    """Counts which ids are handed to it."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.ids: Counter[str] = Counter()

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self.ids.update(document.id for document in documents)
        return super().write(documents, replace=replace)


@examples(6)
@given(
    of=st.integers(1, 64),
    order=st.randoms(use_true_random=False),
    changes=st.lists(st.tuples(st.integers(0, 80), st.booleans()), max_size=20),
)
def test_the_parts_of_a_source_that_is_written_to_are_the_whole(
    of: int, order: object, changes: list[tuple[int, bool]]
) -> None:
    """Each part is planned at another time; what is stored or changed before the last of them began is in no two."""
    source, target = MemoryStore("a", Form.COUCHDB), MemoryStore("b", Form.ELASTICSEARCH)
    for number in range(60):
        source.put(activation(number).id, activation(number).body)
    at_first = {id: source.get(id) for id in source.entries}
    numbers = list(range(1, of + 1))
    order.shuffle(numbers)  # type: ignore[attr-defined]
    waiting, readers_of = list(changes), dict[str, set[int]]()
    for number in numbers:
        for at, is_new in waiting[:2]:
            document = activation(at + 1000 if is_new else at % 60, namespace="new" if is_new else "guest")
            source.put(document.id, document.body)
        waiting = waiting[2:]
        writer = Counting(target)
        checkpoint = Checkpoint(None)
        run_copy(
            MemoryReader(source, page_documents=7).in_part(Part(number=number, of=of)),
            writer,
            checkpoint,
            SPEC,
            Selection(),
            CopyOptions(jobs=1, slice_documents=20, small_round=1),
            stop=Stop(),
        )
        assert all(counts.adds_up for counts in checkpoint.counts.values())
        checkpoint.close()
        for id in writer.ids:
            readers_of.setdefault(id, set()).add(number)
    assert all(len(numbers) == 1 for numbers in readers_of.values())
    assert at_first.keys() <= target.entries.keys()
    assert not Counter(readers_of.keys()) - Counter(source.entries.keys())


def fill(count: int) -> Mapping[str, bytes]:
    store = memory_store("source")
    memory_store("target", Form.ELASTICSEARCH)
    for number in range(count):
        document = activation(number, "guest" if number % 3 else "whisk.system")
        store.put(document.id, document.body)
    return {id: store.get(id) or b"" for id in store.entries}


def test_each_part_is_a_job_of_its_own_and_status_puts_them_together(tmp_path: Path) -> None:
    """Parts that weren't run are named, and the exit code says that the copy isn't whole; then that it is."""
    fill(90)
    for number in (1, 3):
        copy("memory:source", "memory:target", part=f"{number}/4", state=tmp_path / f"machine-{number}")
    words = ["status", "--all-parts", "--state", str(tmp_path)]
    shown = CliRunner().invoke(migrator, words)
    assert shown.exit_code == 5
    assert "2 of 4 parts complete" in shown.output
    assert "no job found: part 2, 4" in shown.output
    for number in (2, 4):
        copy("memory:source", "memory:target", part=f"{number}/4", state=tmp_path / "machine-1")
    shown = CliRunner().invoke(migrator, [*words, "--json"])
    assert shown.exit_code == 0
    told = json.loads(shown.output)
    assert told["complete"] is True
    in_words = CliRunner().invoke(migrator, words).output
    assert "next: prove the whole: migrator verify memory:source memory:target" in in_words
    assert (told["totals"]["read"], told["totals"]["written"]) == (90, 90)
    assert len(memory_store("target").entries) == 90


def test_a_part_is_resumed_by_the_command_that_its_job_keeps(tmp_path: Path) -> None:
    fill(30)
    copy("memory:source", "memory:target", part="2/4", state=tmp_path)
    copy("memory:source", "memory:target", part="2/4", state=tmp_path)
    (line,) = CliRunner().invoke(migrator, ["status", "--state", str(tmp_path), "--json"]).output.splitlines()
    assert "--part 2/4" in json.loads(line)["next"]
    assert len(json.loads(line)["runs"]) == 2


def test_a_part_that_a_name_matches_nothing_in_is_complete_and_a_name_that_matches_nowhere_is_refused(
    tmp_path: Path,
) -> None:
    memory_store("target", Form.ELASTICSEARCH)
    document = activation(1, "rare")
    memory_store("source").put(document.id, document.body)
    parts = [
        copy(
            "memory:source", "memory:target", part=f"{n}/8", wanted=SelectionSpec(namespaces=("rare",)), state=tmp_path
        )
        for n in range(1, 9)
    ]
    assert sorted(part.totals.written for part in parts) == [0] * 7 + [1]
    with pytest.raises(NotFound, match="no activation matches"):
        copy("memory:source", "memory:target", part="1/8", wanted=SelectionSpec(namespaces=("rear",)), state=tmp_path)


def test_a_part_that_follows_has_no_lag_of_other_parts(tmp_path: Path) -> None:
    """What is new in another part is never pending in this one, so the run ends."""
    fill(40)
    for number in (1, 2):
        copy("memory:source", "memory:target", part=f"{number}/2", follow=True, until_lag=0, state=tmp_path)
        document = activation(1000 + number)
        memory_store("source").put(document.id, document.body)
    for number in (1, 2):
        copy("memory:source", "memory:target", part=f"{number}/2", follow=True, until_lag=0, state=tmp_path)
    assert len(memory_store("target").entries) == 42


def test_what_cant_be_cut_is_refused(tmp_path: Path) -> None:
    """A file is one piece, an archive's newest backup may change between two parts, and ids are chosen already."""
    fill(3)
    (tmp_path / "acts.ndjson").write_bytes(activation(1).body + b"\n")
    with pytest.raises(UsageError, match="can't be read in parts"):
        copy(f"file:{tmp_path}/acts.ndjson", "memory:target", part="1/2", state=tmp_path)
    with pytest.raises(UsageError, match="backup"):
        restore("archive:samples/archive", "memory:target", part="1/2", state=tmp_path)
    (tmp_path / "ids").write_text("guest/x\n")
    with pytest.raises(UsageError, match="give only one"):
        copy("memory:source", "memory:target", part="1/2", ids=tmp_path / "ids", state=tmp_path)


def test_the_parts_of_a_backup_restore_all_of_it(tmp_path: Path) -> None:
    """The files of a chain are dealt out; documents that a later backup replaced come once, in their newest version."""
    memory_store("target", Form.ELASTICSEARCH)
    memory_store("whole", Form.ELASTICSEARCH)
    listed = CliRunner().invoke(migrator, ["archive", "list", "archive:samples/archive", "--json"]).output
    newest = json.loads(listed)["backups"][-1]["backup"]
    restore("archive:samples/archive", "memory:whole", backup=newest, state=tmp_path)
    read = [
        restore("archive:samples/archive", "memory:target", backup=newest, part=f"{n}/3", state=tmp_path).totals.written
        for n in (1, 2, 3)
    ]
    assert memory_store("target").entries.keys() == memory_store("whole").entries.keys()
    assert sum(read) == len(memory_store("whole").entries)


@pytest.mark.parametrize("of", [1, 3, 7])
def test_the_parts_of_a_couchdb_are_the_whole(couchdb_database: str, tmp_path: Path, of: int) -> None:
    """By its own keys, with several namespaces, an id without a slash, a design document, and late arrivals."""

    def put(rows: list[object]) -> None:
        request("POST", f"{couchdb_url(couchdb_database)}/_bulk_docs", {"docs": rows})

    bodies = [json.loads(activation(number, name).body) for name in ("a", "a-b", "guest", "zz") for number in range(40)]
    put([*bodies, {"_id": "no-slash", "x": 1}, {"_id": "_design/x", "views": {}}])
    memory_store("target", Form.ELASTICSEARCH)
    reports = []
    for number in range(1, of + 1):
        reports.append(copy(couchdb_database, "memory:target", part=f"{number}/{of}", state=tmp_path))
        put([json.loads(activation(1000 + number, f"late-{number}").body)])
    again = [copy(couchdb_database, "memory:target", part=f"{n}/{of}", state=tmp_path) for n in range(1, of + 1)]
    assert sum(report.totals.read for report in again) == 160 + 2 + of
    assert sum(report.totals.written for report in again) == 160 + of
    assert sum(report.totals.present for report in again) == 0
    assert len(memory_store("target").entries) == 160 + of
    assert [report.exit_code for report in (*reports, *again)] == [0] * (2 * of)


@pytest.mark.parametrize("of", [1, 3, 16])
def test_the_parts_of_an_elasticsearch_are_the_whole(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path, of: int
) -> None:
    """By shards; documents that change while the parts run move to higher numbers, and stay with their part."""
    pattern = f"{index_prefix}%s"
    source = elasticsearch_location(elasticsearch_server, pattern)
    fill_elasticsearch(elasticsearch_server, pattern, [activation(n, "guest" if n % 2 else "team") for n in range(120)])
    memory_store("target", Form.ELASTICSEARCH)
    for number in range(1, of + 1):
        copy(source, "memory:target", part=f"{number}/{of}", state=tmp_path)
        changed = [activation(at, "guest" if at % 2 else "team", logs=[f"{number}"]) for at in range(10)]
        fill_elasticsearch(elasticsearch_server, pattern, changed)
    again = [copy(source, "memory:target", part=f"{number}/{of}", state=tmp_path) for number in range(1, of + 1)]
    assert sum(report.differing for report in again) == 0
    assert all((report.counts and report.totals.adds_up) or not report.counts for report in again)
    assert len(memory_store("target").entries) == 120
    assert verify(source, "memory:target", state=tmp_path).agrees


def test_four_parts_in_four_processes_of_which_one_is_killed_are_the_whole(
    couchdb_database: str, elasticsearch_server: Server, index_prefix: str, tmp_path: Path
) -> None:
    """Each with a state folder of its own; the killed one is started again, by the same command."""
    rows: list[object] = [json.loads(body) for body in samples.everyday(6_000)]
    for at in range(0, len(rows), 1000):
        request("POST", f"{couchdb_url(couchdb_database)}/_bulk_docs", {"docs": rows[at : at + 1000]})
    target = elasticsearch_location(elasticsearch_server, f"{index_prefix}%s")

    def part(number: int, *more: str) -> subprocess.Popen[bytes]:
        words = ["copy", couchdb_database, target, "--part", f"{number}/4", "--jobs", "1", "--quiet", *more]
        words += ["--state", str(tmp_path / f"part-{number}")]
        return subprocess.Popen([sys.executable, "-m", "migrator", *words], stdout=subprocess.DEVNULL)

    running = [part(number, *(("--max-rate", "150") if number == 2 else ())) for number in (1, 2, 3, 4)]
    time.sleep(8)
    running[1].kill()
    assert running[1].wait() == -signal.SIGKILL
    assert [running[at].wait(timeout=200) for at in (0, 2, 3)] == [0, 0, 0]
    words = ["status", "--all-parts", "--state", str(tmp_path), "--json"]
    assert CliRunner().invoke(migrator, words).exit_code == 5
    assert part(2).wait(timeout=200) == 0
    shown = CliRunner().invoke(migrator, words)
    assert shown.exit_code == 0, shown.output
    totals = json.loads(shown.output)["totals"]
    assert totals["read"] == totals["written"] + totals["present"] == 6_000
    assert verify(couchdb_database, target, state=tmp_path).agrees
