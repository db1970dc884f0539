"""A whole purge between two stores in memory: what is reported and logged, and what a server does for the space."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Plan
from migrator.adapters.memory import MemoryReader, MemoryRemover, MemoryStore
from migrator.adapters.removal import Address, Space
from migrator.adapters.shared.patience import Policy
from migrator.engine.removal import purging
from migrator.engine.removal.journal import Entry, Journal
from migrator.engine.removal.purging import PurgeOptions, run_purge
from migrator.engine.removal.values import Kept, NamespacePurge, PurgeReport
from migrator.errors import AccessDenied, Unavailable
from migrator.events import Event, RemovalsSettled, SourceWarning, TargetWarning
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation
from tests.support.purges import read_log
from tests.support.reports import described

OLD = [activation(number, "guest" if number % 2 else "other") for number in range(6)]
YOUNG = activation(100)
LIMIT_MS = activation(50).start_ms


class Server(MemoryRemover):
    """A store that has to be asked for its space, and what it was asked."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.asked: list[str] = []
        self.compacting: list[bool] = []
        self.forgotten: list[list[str]] = []
        self.refusal: Exception | None = None
        self.space_error: Exception | None = None
        self.told: Sequence[str] = ()

    def preflight(self) -> Sequence[str]:
        return self.told

    def compact(self) -> None:
        self.asked.append("compact")
        if self.refusal is not None:
            raise self.refusal

    def is_compacting(self) -> bool:
        self.asked.append("is compacting?")
        return self.compacting.pop(0) if self.compacting else False

    def forget(self, addresses: Sequence[Address]) -> int:
        self.forgotten.append([each.id for each in addresses])
        return len(addresses) - 1

    def space(self) -> Space:
        if self.space_error is not None:
            raise self.space_error
        return super().space()


class Sleeping(Stop):
    """Time passes at once, and is noted."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class World:
    def __init__(self, folder: Path) -> None:
        self.store, self.proof = MemoryStore("live"), MemoryStore("proof")
        for document in [*OLD, YOUNG]:
            self.put(document)
        self.server = Server(self.store)
        self.folder = folder
        self.stop = Sleeping()
        self.events: list[Event] = []
        self.phases: list[tuple[str, int | None]] = []

    def put(self, document: Document, *, only: str = "") -> None:
        for store in (self.store, self.proof):
            if only in ("", store.name):
                store.put(document.id, document.body)

    def observe(self, progress: Progress) -> None:
        if not self.phases or self.phases[-1] != (progress.phase, progress.documents):
            self.phases.append((progress.phase, progress.documents))

    def purge(self, *, dry_run: bool = False, proof: Any = None, store: Any = None, **options: Any) -> PurgeReport:
        reader = proof or MemoryReader(self.proof)
        found = run_purge(
            store or MemoryReader(self.store),
            reader,
            self.server,
            None if dry_run else Journal(self.folder),
            Selection(until_ms=LIMIT_MS),
            PurgeOptions(**{"jobs": 1, **options}),
            Policy(sleep=self.stop.sleep, patience_s=0.0),
            log="purge.ndjson.zst",
            identify=reader.describe,
            busy=lambda: None,
            stop=self.stop,
            observe=self.observe,
            tell=self.events.append,
            clock=lambda: LIMIT_MS / 1000,
        )
        assert 0 < found.duration_s < 600
        return msgspec.structs.replace(found, duration_s=0.0)

    @property
    def logged(self) -> list[dict[str, Any]]:
        return read_log(self.folder / "purge.ndjson.zst")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def sizes(documents: Sequence[Document]) -> int:
    return sum(len(each.body) for each in documents)


OTHERS, GUESTS = OLD[0::2], OLD[1::2]


def test_a_purge_reports_what_was_old_what_was_proven_and_what_went(world: World) -> None:
    """By namespace, in bytes too; what stays is named with its reason, in the report and in the log."""
    changed = activation(1, "guest", logs=["changed since"])
    world.put(changed, only="live")
    world.proof.put(OLD[2].id, None)
    space = world.server.space()
    report = world.purge()
    kept = [
        Kept(kind="differs", id=OLD[1].id, namespace="guest"),
        Kept(kind="missing", id=OLD[2].id, namespace="other"),
    ]
    old = {"guest": [changed, *GUESTS[1:]], "other": OTHERS}
    gone = {"guest": GUESTS[1:], "other": [OTHERS[0], OTHERS[2]]}
    assert report == PurgeReport(
        store=described("live"),
        proof=described("proof"),
        dry_run=False,
        logs_only=False,
        limit_ms=LIMIT_MS,
        namespaces={
            name: NamespacePurge(
                old=3,
                old_bytes=sizes(old[name]),
                proven=2,
                proven_bytes=sizes(gone[name]),
                removed=2,
                removed_bytes=sizes(gone[name]),
                kept=1,
            )
            for name in ("guest", "other")
        },
        kept={"differs": 1, "missing": 1},
        examples=tuple(sorted(kept, key=report.examples.index)),
        earlier=0,
        log=str(world.folder / "purge.ndjson.zst"),
        space_before=space,
        space_after=world.server.space(),
        compacted=True,
        forgotten=None,
        duration_s=0.0,
    )
    assert world.events == []
    lines = {line["id"]: line for line in world.logged}
    assert {id: line["what"] for id, line in lines.items()} == {
        **{each.id: "removed" for each in [*gone["guest"], *gone["other"]]},
        **{each.id: "kept" for each in kept},
    }
    assert lines[OLD[2].id] == {"what": "kept", "id": OLD[2].id, "namespace": "other", "why": "missing"}
    assert set(world.store.entries) - {id for id, each in world.store.entries.items() if each.body is None} == {
        YOUNG.id,
        OLD[1].id,
        OLD[2].id,
    }


def test_the_phases_are_told_with_what_is_to_be_read_in_each(world: World) -> None:
    world.purge()
    assert [phase for phase, _ in world.phases] == ["reading the proof", "comparing", "removing"]


def test_a_dry_run_tells_what_would_go_and_asks_for_nothing(world: World) -> None:
    report = world.purge(dry_run=True)
    assert (report.dry_run, report.log, report.space_after, report.compacted, report.forgotten) == (
        True,
        None,
        None,
        False,
        None,
    )
    assert (report.totals.proven, report.totals.removed) == (6, 0)
    assert report.space_before == world.server.space()
    assert world.server.asked == []


def test_what_cannot_be_read_in_the_store_stays_with_the_reason(world: World) -> None:
    bad = activation(7)
    world.store.put(bad.id, bad.body[:-1])
    report = world.purge()
    reason = "is not JSON: Input data was truncated"
    assert report.examples == (Kept(kind="unreadable", id=bad.id, namespace="guest", note=reason),)
    (line,) = [line for line in world.logged if line["what"] == "kept"]
    assert line == {"what": "kept", "id": bad.id, "namespace": "guest", "why": "unreadable", "note": reason}
    assert report.exit_code == 3


def test_what_stores_say_of_themselves_is_reported(world: World) -> None:
    """Of the store it is kept in the report as well: what was removed from it may not be all."""

    class Closed(MemoryReader):
        def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
            plan = super().plan(selection, slice_documents=slice_documents)
            return msgspec.structs.replace(plan, warnings=(f"an index of {self.describe().location} is closed",))

    world.server.told = ("the disk is nearly full",)
    report = world.purge(proof=Closed(world.proof), store=Closed(world.store))
    in_store = "an index of memory:live is closed"
    assert world.events == [
        TargetWarning("the disk is nearly full"),
        SourceWarning("an index of memory:proof is closed"),
        TargetWarning(in_store),
    ]
    assert report.warnings == ("the disk is nearly full", in_store)


# -- space ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("compacting", "asked"), [([], 2), ([True], 3), ([True, True, False, True], 6), ([False, True], 4)]
)
def test_a_compaction_is_waited_for_until_two_looks_in_a_row_see_none(
    world: World, compacting: list[bool], asked: int
) -> None:
    """It may not have begun at the first."""
    world.server.compacting = compacting
    assert world.purge().compacted is True
    assert world.server.asked == ["compact", *["is compacting?"] * asked]
    assert world.stop.slept == [5.0, *[1.0] * asked]


def test_a_compaction_that_does_not_end_is_left_to_the_server(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purging, "_COMPACTION_S", -1.0)
    report = world.purge()
    told = "the compaction isn't finished yet; the server continues it"
    assert (report.compacted, report.warnings) == (False, (told,))
    assert world.events == [TargetWarning(told)]


def test_a_user_who_may_not_compact_is_reported(world: World) -> None:
    world.server.refusal = AccessDenied("b: 401")
    report = world.purge()
    told = "the space isn't freed, since this user may not start a compaction: b: 401"
    assert (report.compacted, report.warnings, report.exit_code) == (False, (told,), 0)


def test_space_that_is_not_known_is_reported(world: World) -> None:
    world.server.space_error = Unavailable("b: 503")
    report = world.purge()
    assert (report.space_before, report.space_after) == (None, None)
    assert len(report.warnings) == 2
    assert all(each.startswith("the space isn't known: ") for each in report.warnings)


@pytest.mark.parametrize(
    ("options", "compacts", "forgotten"),
    [
        ({}, True, None),
        ({"compact": False}, False, None),
        ({"forget": True}, True, 5),
        ({"compact": False, "forget": True}, False, 5),
    ],
)
def test_space_is_freed_and_tombstones_are_dropped_as_asked(
    world: World, options: dict[str, Any], compacts: bool, forgotten: int | None
) -> None:
    report = world.purge(**options)
    assert (report.compacted, report.forgotten) == (compacts, forgotten)
    assert ("compact" in world.server.asked) is compacts
    dropped = [id for batch in world.server.forgotten for id in batch]
    assert sorted(dropped) == (sorted(each.id for each in OLD) if forgotten else [])


def test_where_nothing_went_nothing_is_asked_for(world: World) -> None:
    for document in OLD:
        world.proof.put(document.id, None)
    report = world.purge(forget=True)
    assert (report.compacted, report.forgotten, world.server.asked) == (False, None, [])
    assert report.kept == {"missing": 6}


def test_what_an_interrupted_run_had_removed_is_settled_first(world: World) -> None:
    """And counts as a reason to free the space."""
    journal = Journal(world.folder)
    journal.begin_log("earlier.ndjson.zst")
    document = OLD[0]
    gone = Entry(
        id=document.id,
        namespace="other",
        start_ms=document.start_ms,
        size_bytes=len(document.body),
        digest="00",
        version=1,
    )
    journal.begin([gone], "live#1")
    world.store.put(document.id, None)
    for each in OLD[1:]:
        world.proof.put(each.id, None)
    report = world.purge()
    assert (report.earlier, report.totals.removed, report.compacted) == (1, 0, True)
    assert world.events == [RemovalsSettled(1, str(world.folder / "earlier.ndjson.zst"))]


def test_logs_alone_are_emptied_where_there_are_any(world: World) -> None:
    """What has none is neither old nor removed."""
    bare = activation(20, logs=[])
    world.put(bare)
    report = world.purge(logs_only=True)
    assert (report.logs_only, report.totals.old, report.totals.removed) == (True, 6, 6)
    emptied = [json.loads(world.store.get(each.id) or b"") for each in OLD]
    assert [each["logs"] for each in emptied] == [[]] * 6
    assert {line["what"] for line in world.logged} == {"logs removed"}
