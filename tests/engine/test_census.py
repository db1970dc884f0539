"""What was read and stored, compared with what the stores themselves count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryWriter
from migrator.engine import census
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.state.jobs import JobView
from migrator.errors import AccessDenied, Unavailable
from migrator.rendering.job_status import job_status
from migrator.testing.documents import activation
from tests.support.worlds import World


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(census, "_PAUSE_S", 0.0)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class Lossy(MemoryReader):
    """Leaves out the second document of every page, as a gateway or a fault of a server may."""

    def __init__(self, world: World) -> None:
        super().__init__(world.source, page_documents=10)

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        for batch in super().read(slice, after, selection):
            kept = batch.documents[:1] + batch.documents[2:]
            yield msgspec.structs.replace(batch, documents=kept)


def test_source_that_counts_more_than_was_read_is_reported(world: World) -> None:
    """One line with the numbers, exit code 3, and the job remembers it."""
    report = world.copy(reader=Lossy(world))
    missing = 230 - len(world.there())
    assert missing == 23
    assert (report.unread, report.left_behind, report.exit_code) == (missing, True, 3)
    (line,) = [message for message in world.messages if "missing" in message]
    assert "counts 230 selected documents, but 207 were read: 23 are missing" in line
    assert line in report.warnings
    status = job_status(JobView(id="0123456789ab", folder=world.path.parent, running=None))
    assert (status.unread, status.state) == (23, "complete")
    assert "read everything again" in status.next
    assert line in status.warnings


def test_command_after_a_shortfall_reads_everything_again(world: World) -> None:
    """What was left out is at places that catch-up doesn't look at."""
    world.copy(reader=Lossy(world))
    report = world.copy()
    assert world.there() == world.expected()
    assert (report.totals.read, report.totals.written, report.unread, report.exit_code) == (230, 23, 0, 0)
    assert not report.warnings
    assert any("reading everything again" in message for message in world.messages)


def test_shortfall_outlasts_a_run_that_fails_at_its_end(world: World) -> None:
    """The next run reads again, also where the job isn't complete."""

    class Away(MemoryWriter):
        def finish(self, completion: Any) -> None:
            raise Unavailable("away")

    with pytest.raises(Unavailable, match="away"):
        world.copy(reader=Lossy(world), writer=Away(world.target))
    assert world.copy().exit_code == 0
    assert world.there() == world.expected()


def test_source_that_changes_while_it_is_read_is_no_shortfall(world: World) -> None:
    """Documents that come, change and go meanwhile only make more of what was read."""

    class Busy(MemoryReader):
        pages = 0

        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().read(slice, after, selection):
                yield batch
                self.pages += 1
                if self.pages < 40:
                    world.put(activation(self.pages, logs=[f"changed {self.pages}"]))
                    world.put(activation(1000 + self.pages))
                    world.source.put(activation(200 + self.pages % 20).id, None)

    for _ in range(3):
        report = world.copy(reader=Busy(world.source, page_documents=10))
        assert (report.unread, report.unstored) == (0, 0)
        assert not report.warnings


@pytest.mark.parametrize("until", [None, 100])
def test_selection_counts_what_it_filtered(world: World, until: int | None) -> None:
    """Documents that were read and aren't selected are no shortfall, in the source or in the target."""
    world.source.put("_design/x", b'{"_id":"_design/x","views":{}}')
    selection = Selection(until_ms=activation(until).start_ms) if until else Selection()
    report = world.copy(selection=selection)
    assert (report.unread, report.unstored, report.exit_code) == (0, 0, 0)


def test_job_that_begins_at_a_snapshot_is_not_held_against_the_whole(world: World) -> None:
    """An increment reads less than there is."""
    snapshot = world.source.sequence
    world.put(activation(900))
    report = world.copy(since=snapshot)
    assert (report.totals.read, report.exit_code) == (1, 0)


def test_login_that_may_not_count_copies_all_the_same(world: World) -> None:
    """A right that copying itself doesn't need isn't requested."""

    class Blind(MemoryReader):
        def census(self, selection: Selection, snapshot: Token) -> int | None:
            raise AccessDenied("no right")

    class BlindWriter(MemoryWriter):
        def census(self) -> int | None:
            raise AccessDenied("no right")

    report = world.copy(reader=Blind(world.source, page_documents=10), writer=BlindWriter(world.target))
    assert report.exit_code == 0


class Forgetful(MemoryWriter):
    """Says that everything was written, and forgets the last document of many a page."""

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        outcome = super().write(documents, replace=replace)
        for document in outcome.written[9::10]:
            with self._store.lock:
                if len({each.namespace for each in documents}) > 1:
                    break  # its first documents are looked for
                del self._store.entries[document.id]
        return outcome


def test_target_that_counts_less_than_was_stored_is_reported(world: World) -> None:
    """A stale answer that says "stored" is found out by the target's own count; the next command copies again."""
    report = world.copy(writer=Forgetful(world.target))
    missing = 230 - len(world.there())
    assert missing > 10
    assert (report.unstored, report.exit_code) == (missing, 3)
    assert any(f"{missing} are missing" in message for message in world.messages)
    assert world.copy().exit_code == 0
    assert world.there() == world.expected()


def test_what_was_replaced_or_present_is_counted_as_well(world: World) -> None:
    """Where the source doesn't tell how many there are, what the target took in the bulk does, each id once."""

    class Uncounted(MemoryReader):
        def census(self, selection: Selection, snapshot: Token) -> int | None:
            return None

    def reader() -> MemoryReader:
        return Uncounted(world.source, page_documents=10)

    report = world.copy(reader=reader(), writer=Forgetful(world.target), on_conflict="overwrite")
    missing = 230 - len(world.there())
    assert missing > 10
    assert (report.unstored, report.exit_code) == (missing, 3)
    assert world.copy(reader=reader(), on_conflict="overwrite").exit_code == 0
    assert world.copy(reader=reader(), on_conflict="overwrite").exit_code == 0
    assert world.there() == world.expected()


@pytest.mark.parametrize("removed", [0, 1])
def test_what_was_in_the_target_before_hides_nothing(world: World, removed: int) -> None:
    """As long as nobody removes documents there; also where a source's ids tell nothing."""

    class Repeating(MemoryReader):
        abilities = msgspec.structs.replace(MemoryReader.abilities, unique_ids=False)

    class Removing(Forgetful):
        def finish(self, completion: Any) -> None:
            super().finish(completion)
            for other in others[:removed]:
                world.target.put(other.id, None)

    others = [activation(number, form=world.target.form) for number in range(3000, 3050)]
    for other in others:
        world.target.put(other.id, other.body)
    report = world.copy(reader=Repeating(world.source, page_documents=10), writer=Removing(world.target))
    missing = 280 - len(world.there()) - removed
    assert missing > 10
    # Where something was removed, only what was created counts, and what was there before makes up for the rest.
    assert (report.unstored, report.exit_code) == ((0, 0) if removed else (missing, 3))


def test_what_was_removed_and_is_written_again_is_not_counted_twice(world: World) -> None:
    """What was there before has gone, and the documents of the job bear the same ids."""

    class Removing(MemoryWriter):
        gone = False

        def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
            if not self.gone:
                self.gone = True
                self._store.drop(there.__contains__)
            return super().write(documents, replace=replace)

    world.copy(selection=Selection(until_ms=activation(20).start_ms))
    there = set(world.there())
    assert len(there) == 20
    world.path.unlink()
    report = world.copy(writer=Removing(world.target))
    assert (report.unstored, report.exit_code) == (0, 0)
    assert world.there() == world.expected()


def test_target_that_held_documents_before_only_counts_more(world: World) -> None:
    for number in range(3000, 3050):
        other = activation(number, form=world.target.form)
        world.target.put(other.id, other.body)
    assert world.copy().exit_code == 0


def test_retention_of_the_target_is_no_shortfall_of_a_later_run(world: World) -> None:
    """Only while a job copies everything is the target compared with it; later it lives its own life."""
    world.copy()
    for id in list(world.target.entries)[:50]:
        del world.target.entries[id]
    world.put(activation(900))
    assert world.copy().exit_code == 0


def test_source_whose_ids_stand_twice_is_no_shortfall_of_the_target(world: World) -> None:
    """Where two documents of a source bear one id, the target has one of them."""

    class Twice(MemoryReader):
        abilities = msgspec.structs.replace(MemoryReader.abilities, unique_ids=False)

        def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
            for batch in super().read(slice, after, selection):
                yield msgspec.structs.replace(batch, documents=batch.documents * 2)

        def census(self, selection: Selection, snapshot: Token) -> int | None:
            return 2 * (super().census(selection, snapshot) or 0)

    report = world.copy(reader=Twice(world.source, page_documents=10))
    assert (report.totals.read, report.totals.present, report.exit_code) == (460, 230, 0)


def test_job_of_an_earlier_release_is_not_counted(world: World) -> None:
    """Whether its first plan was a full one isn't known."""

    class Earlier(Checkpoint):
        def begin(self, *arguments: Any, **more: Any) -> None:
            super().begin(*arguments, **{**more, "full": False})

    assert world.copy(reader=Lossy(world), checkpoint=Earlier(world.path)).unread == 0
