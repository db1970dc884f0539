"""A selection that matches nothing is reported, with the nearest names, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from migrator.activations.document import Form
from migrator.activations.selection import Selection, SelectionSpec
from migrator.adapters.base import Abilities, Batch, Slice, Token
from migrator.adapters.memory import MemoryReader, MemoryStore, _stores, memory_store
from migrator.api.backup import backup
from migrator.api.copy import copy
from migrator.api.restore import restore
from migrator.api.verify import verify
from migrator.commands.main import migrator
from migrator.demo.servers import Server
from migrator.engine.matching import check_beforehand, check_nothing
from migrator.errors import NotFound, Unavailable
from migrator.operations.archive.cat import cat_archive
from migrator.testing.documents import activation
from tests.support.said import into
from tests.support.servers import request

GEST = SelectionSpec(namespaces=("gest",))
LATER = SelectionSpec(namespaces=("guest",), since="2030-01-01")


@pytest.fixture
def source() -> Iterator[MemoryStore]:
    """Twelve activations of guest, three of another."""
    _stores.clear()
    store = memory_store("source")
    for number in range(15):
        document = activation(number, "guest" if number < 12 else "whisk.system")
        store.put(document.id, document.body)
    yield store
    _stores.clear()


@pytest.fixture
def copied(source: MemoryStore, tmp_path: Path) -> Any:
    said: list[str] = []

    def run(wanted: SelectionSpec, **more: Any) -> list[str]:
        report = copy("memory:source", "memory:target", wanted=wanted, state=tmp_path, tell=into(said), **more)
        assert report.exit_code == 0
        return said

    return run


@pytest.mark.parametrize("dry_run", [False, True])
def test_misspelt_namespace_is_reported_with_the_nearest(copied: Any, tmp_path: Path, dry_run: bool) -> None:
    """Before a job is made."""
    with pytest.raises(NotFound, match=r"no activation matches `namespaces=gest`; nearest: guest \(12\)$") as raised:
        copied(GEST, dry_run=dry_run)
    assert raised.value.exit_code == 10
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (SelectionSpec(namespaces=("xyz*",)), r"`namespaces='xyz\*'`; there are: guest \(12\), whisk.system \(3\)"),
        (SelectionSpec(names=("helo",)), "`names=helo`; nearest: hello"),
        (SelectionSpec(names=("guest/helo",)), "`names=guest/helo`; there are: hello|nearest"),
        (SelectionSpec(namespaces=("guest",), names=("helo",)), "`namespaces=guest` `names=helo`; nearest: hello"),
        (SelectionSpec(namespaces=("gest",), since="2030-01-01"), "nearest: guest"),
    ],
)
def test_globs_names_and_paths_are_told_likewise(copied: Any, wanted: SelectionSpec, told: str) -> None:
    with pytest.raises(NotFound, match=told):
        copied(wanted)


@pytest.mark.parametrize(
    "wanted", [LATER, SelectionSpec(since="2030-01-01"), SelectionSpec(names=("hello",), since="2030-01-01")]
)
def test_span_of_time_in_which_nothing_started_is_no_mistake(copied: Any, wanted: SelectionSpec) -> None:
    """A nightly run on an idle system ends well, and says so."""
    assert "started between" in " ".join(copied(wanted))


@pytest.mark.parametrize("namespaces", range(8))
def test_five_names_are_shown_and_that_there_are_more(tmp_path: Path, namespaces: int) -> None:
    """Those with the most activations first, then by name; nothing is suggested where there is nothing."""
    _stores.clear()
    store = memory_store("source")
    for number in range(namespaces):
        for activations in range(2 if number == namespaces - 1 else 1):
            document = activation(10 * number + activations, f"ns{number}")
            store.put(document.id, document.body)
    with pytest.raises(NotFound) as raised:
        copy("memory:source", "memory:target", wanted=SelectionSpec(namespaces=("quite-other",)), state=tmp_path)
    names = [f"ns{number} ({2 if number == namespaces - 1 else 1})" for number in range(namespaces)]
    shown = ", ".join([*names[-1:], *names[:-1]][:5]) + (", …" if namespaces > 5 else "")
    told = f"; there are: {shown}" if namespaces else ""
    assert str(raised.value) == f"memory:source: no activation matches `namespaces=quite-other`{told}"


class Counted(MemoryReader):
    """Gives a document a page; counts the pages, and knows its namespaces or can't tell."""

    abilities = Abilities(unique_ids=True)

    def __init__(self, store: MemoryStore, *, tells: bool = True) -> None:
        super().__init__(store, page_documents=1)
        self.pages = 0
        self._tells = tells

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            self.pages += 1
            yield batch

    def namespaces(self) -> Mapping[str, int | None]:
        if not self._tells:
            raise Unavailable("gone")
        return super().namespaces()


@pytest.mark.parametrize("at", range(14))
def test_eight_pages_are_looked_at_before_anything_is_written(at: int) -> None:
    """What stands in them is found; what may stand behind them isn't denied."""
    store = MemoryStore("source")
    for number in range(12):
        store.put(f"guest/{number:02}", activation(number, "rare" if number == at else "guest").body)
    reader = Counted(store)
    selection = Selection(namespaces=("rare",))
    check_beforehand(reader, selection)
    assert reader.pages == min(at + 1, 9)  # the ninth tells that there are more
    assert check_nothing(Counted(store), Selection(namespaces=("guest",), since_ms=2**60), {}) is not None
    store.entries = dict(list(store.entries.items())[:8])
    reader = Counted(store)
    if at < 8:
        check_beforehand(reader, selection)
    else:
        with pytest.raises(NotFound, match=r"nearest|there are: guest"):
            check_beforehand(reader, selection)
        check_beforehand(Counted(store), Selection())
    assert reader.pages == min(at + 1, 8)


def test_nothing_is_suggested_by_a_store_that_fails() -> None:
    """That nothing matches is known all the same."""
    store = MemoryStore("source")
    store.put("guest/1", activation(1).body)
    with pytest.raises(NotFound, match=r"^memory:source: no activation matches `namespaces=gest`$"):
        check_beforehand(Counted(store, tells=False), Selection(namespaces=("gest",)))


@pytest.mark.parametrize("span", [{"since_ms": 2**60}, {"until_ms": 1}, {"since_ms": 2**59, "until_ms": 2**60}])
def test_either_end_of_a_span_excuses_that_nothing_is_found(span: dict[str, Any]) -> None:
    store = MemoryStore("source")
    store.put("guest/1", activation(1).body)
    for selection in (Selection(namespaces=("guest",), **span), Selection(names=("hello",), **span), Selection(**span)):
        check_beforehand(Counted(store), selection)
        told = check_nothing(Counted(store), selection, {})
        assert told is not None
        assert told.store == "memory:source"
    for selection in (Selection(namespaces=("gest",), **span), Selection(names=("helo",), **span)):
        with pytest.raises(NotFound):
            check_beforehand(Counted(store), selection)
    with pytest.raises(NotFound, match=r"^memory:source: "):
        check_nothing(Counted(store), Selection(namespaces=("gest",), **span), {})


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("helo", "`names=helo`; nearest: hello"),
        ("package/helo", "`names=package/helo`; nearest: package/hello"),
        ("guest/package/helo", "`names=guest/package/helo`; nearest: guest/package/hello"),
        ("x" * 60, f"`names='{'x' * 26}…{'x' * 13}'`; there are: hello"),
        ("other/package/name", "`names=other/package/name`; there are: guest/package/hello"),
    ],
)
def test_names_are_suggested_as_they_were_asked_for(asked: str, told: str) -> None:
    """Alone, with the package, or with the namespace too; a long one is shown in short."""
    store = MemoryStore("source", Form.ELASTICSEARCH)
    path = [{"key": "path", "value": "guest/package/hello"}]
    for number in range(3):
        document = activation(number, form=Form.ELASTICSEARCH, annotations=path)
        store.put(document.id, document.body)
    with pytest.raises(NotFound) as raised:
        check_beforehand(Counted(store), Selection(names=(asked,)))
    assert str(raised.value) == f"memory:source: no activation matches {told}"


def test_long_namespaces_are_shown_in_short() -> None:
    store = MemoryStore("source")
    store.put(f"{'n' * 60}/1", activation(1, "n" * 60).body)
    with pytest.raises(NotFound) as raised:
        check_beforehand(Counted(store), Selection(namespaces=("x" * 60,)))
    names = f"`namespaces='{'x' * 26}…{'x' * 13}'`; there are: {'n' * 26}…{'n' * 13}"
    assert str(raised.value).startswith(f"memory:source: no activation matches {names}")


def test_empty_store_without_a_selection_is_no_mistake(tmp_path: Path) -> None:
    _stores.clear()
    assert copy("memory:empty", "memory:target", state=tmp_path).exit_code == 0


def test_complete_job_whose_namespace_was_cleared_has_nothing_new(copied: Any, source: MemoryStore) -> None:
    copied(SelectionSpec(namespaces=("whisk.system",)))
    for number in range(12, 15):
        source.put(activation(number, "whisk.system").id, None)
    copied(SelectionSpec(namespaces=("whisk.system",)))


def test_what_many_pages_do_not_tell_is_reported_at_the_end(copied: Any, source: MemoryStore, tmp_path: Path) -> None:
    """Where reading all of a store was needed; the same command then starts over."""
    for number in range(20, 1500):
        source.put(activation(number).id, activation(number).body)
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(NotFound, match="nearest: hello"):
            copy("memory:source", "memory:t", wanted=SelectionSpec(names=("helo",)), state=tmp_path, tell=into(said))
    assert not any("unfinished" in each or "resuming" in each for each in said)
    source.put(activation(2000, name="helo").id, activation(2000, name="helo").body)
    report = copy("memory:source", "memory:t", wanted=SelectionSpec(names=("helo",)), state=tmp_path)
    assert report.totals.written == 1


def test_no_empty_backup_comes_to_exist(source: MemoryStore, tmp_path: Path) -> None:
    """Neither whole nor unfinished; an increment with nothing new is one."""
    archive = f"archive:{tmp_path / 'archive'}"
    for number in range(20, 1500):
        source.put(activation(number).id, activation(number).body)
    for wanted in (GEST, SelectionSpec(names=("helo",))):
        with pytest.raises(NotFound, match="no activation matches"):
            backup("memory:source", archive, wanted=wanted, state=tmp_path / "state")
    assert not list((tmp_path / "archive").glob("backups/*"))
    guest = SelectionSpec(namespaces=("guest",))
    assert backup("memory:source", archive, wanted=guest, state=tmp_path / "state").report.exit_code == 0
    again = backup("memory:source", archive, wanted=guest, state=tmp_path / "state")
    assert again.report.exit_code == 0
    assert again.backup is not None
    assert again.backup.mode == "incremental"


def test_restore_and_cat_name_what_the_archive_has(source: MemoryStore, tmp_path: Path) -> None:
    archive, state = f"archive:{tmp_path / 'archive'}", tmp_path / "state"
    backup("memory:source", archive, state=state)
    with pytest.raises(NotFound, match=r"nearest: guest \(12\)"):
        restore(archive, "memory:target", wanted=GEST, state=state)
    with pytest.raises(NotFound, match=r"nearest: guest \(12\)"):
        list(cat_archive(archive, wanted=GEST))
    assert list(cat_archive(archive, wanted=LATER)) == []
    for words in (["archive", "cat", archive], ["stats", archive]):
        done = CliRunner().invoke(migrator, [*words, "--namespace", "gest"])
        assert done.exit_code == 10, done.output
        assert "nearest: guest" in done.stderr


def test_nothing_is_not_the_same_as_nothing(source: MemoryStore, tmp_path: Path) -> None:
    """`verify` of a misspelt namespace; ids that are nowhere; a span without activations is reported."""
    copy("memory:source", "memory:target", state=tmp_path)
    with pytest.raises(NotFound, match=r"`namespaces=gest`; nearest: guest \(12\)"):
        verify("memory:source", "memory:target", wanted=GEST, state=tmp_path)
    said: list[str] = []
    assert verify("memory:source", "memory:target", wanted=LATER, state=tmp_path, tell=into(said)).exit_code == 0
    assert "started between" in " ".join(said)
    ids = tmp_path / "ids"
    ids.write_text("guest/nothing\n")
    with pytest.raises(NotFound, match="none of 1 id of"):
        verify("memory:source", "memory:target", ids=ids, state=tmp_path)
    with pytest.raises(NotFound, match="none of 1 id in"):
        copy("memory:source", "memory:target", ids=ids, state=tmp_path)


def test_file_without_a_single_activation_is_the_wrong_one(tmp_path: Path) -> None:
    """Whole, and of other things; an empty one is empty."""
    _stores.clear()
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"_id":"_design/views","language":"javascript"}\n{"_id":"guest/hello","entityType":"action"}\n')
    with pytest.raises(NotFound, match="none of its 2 documents is an activation"):
        copy(f"file:{path}", "memory:target", state=tmp_path / "state")
    path.write_bytes(b"\n")
    assert copy(f"file:{path}", "memory:target", state=tmp_path / "state", restart=True).exit_code == 0


def test_namespace_that_a_file_does_not_have_is_reported(tmp_path: Path) -> None:
    _stores.clear()
    path = tmp_path / "a.ndjson"
    path.write_bytes(b"".join(activation(number).body + b"\n" for number in range(4)))
    with pytest.raises(NotFound, match="nearest: guest"):
        copy(f"file:{path}", "memory:target", wanted=GEST, state=tmp_path / "state")


@pytest.mark.servers
@pytest.mark.parametrize("pattern", ["{}%25s", "{}shared"])
def test_namespaces_of_elasticsearch_are_told(
    elasticsearch_server: Server, index_prefix: str, tmp_path: Path, pattern: str
) -> None:
    """By its indices, or where they share one by what was read of it."""
    _stores.clear()
    for number in range(7):
        body = activation(number, form=Form.ELASTICSEARCH).body
        index = pattern.format(index_prefix).replace("%25s", "guest")
        request("PUT", f"{elasticsearch_server.url}/{index}/_doc/guest%2F{number}", json.loads(body))
    source = f"elasticsearch://127.0.0.1:{elasticsearch_server.port}/?index-pattern={pattern.format(index_prefix)}"
    with pytest.raises(NotFound, match=r"`namespaces=gest`; nearest: guest( \(7\))?$"):
        copy(source, "memory:target", wanted=GEST, state=tmp_path)
    later = SelectionSpec(namespaces=("guest",), since="2030-01-01")
    assert copy(source, "memory:target", wanted=later, state=tmp_path).exit_code == 0
