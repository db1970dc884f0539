"""A source, a target, a job between them, and what must be true of every report about them.

What is judged is what stands in the stores, held against what the source held: never what the engine says of itself.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from migrator.activations import forms
from migrator.activations.accounts import total
from migrator.activations.document import Document, Form, Rejection, read_document
from migrator.activations.requests import JobRequest
from migrator.activations.selection import Selection
from migrator.adapters.shared.patience import Policy
from migrator.adapters.wrappers.retrying import RetryingReader, RetryingWriter
from migrator.engine import census, identity
from migrator.engine.copy import run_copy
from migrator.engine.executors import threads
from migrator.engine.options import CopyOptions
from migrator.engine.report import Report
from migrator.engine.retry import RetryOutcome, retry_set_aside
from migrator.engine.state.checkpoint import Checkpoint, JobSpec
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Evidence
from migrator.engine.verification.values import Verification, VerifySpec
from migrator.errors import Interrupted, LimitReached, MigratorError, NotFound, Unavailable
from migrator.events.watching import Stop
from migrator.testing.documents import activation
from tests.faults.model_stores import (
    Ahead,
    Clock,
    Fault,
    FaultyReader,
    FaultyWriter,
    KilledError,
    LabStore,
    Lies,
    PartsStore,
    PartsWriter,
    Refusals,
    Script,
    faulty_checkpoint,
    faulty_evidence,
)

SPEC = JobSpec(
    id="0123456789ab",
    source_identity="a",
    target_identity="b",
    request=JobRequest(verb="copy", source="memory:a", target="memory:b"),
)
COMPARED = JobRequest(verb="verify", source="memory:a", target="memory:b")
VERIFY = VerifySpec(id="0123456789cd", request=COMPARED, listing=COMPARED)
NUMBERS = 12  # of documents; the last but one is unlike an activation, the last can't be converted
VERSIONS = 3
OnConflict = Literal["skip", "overwrite", "fail"]


@cache
def body(n: int, version: int) -> tuple[str, bytes]:
    """The id and the body of a document in the source's form."""
    if n == NUMBERS - 2:
        return "_design/some", json.dumps({"_id": "_design/some", "views": {"v": version}}).encode()
    document = activation(n, "guest" if n % 3 else "whisk.system", logs=[f"version {version}"])
    if n == NUMBERS - 1:
        return document.id, document.body.replace(b'"annotations":[', b'"annotations":"x","was":[')
    return document.id, document.body


def id_of(n: int) -> str:
    return body(n, 0)[0]


@cache
def expected(id: str, content: bytes, selection: Selection, form: Form | None) -> Document | Rejection | None:
    """What a document of the source is in the target; None where it isn't to be copied."""
    document = read_document(id, content, Form.COUCHDB)
    if not isinstance(document, Document):
        return document
    if not selection.takes(document):
        return None
    return document if form is None else forms.convert(document, form)


@contextmanager
def at_once(*, eager: bool) -> Iterator[None]:
    """No pauses between looks, and reading ahead without a thread."""
    places: list[tuple[Any, str, Any]] = [
        (identity, "_FIRST_PAUSE_S", 0),
        (census, "_PAUSE_S", 0),
        (threads, "ThreadPoolExecutor", type("Ahead", (Ahead,), {"eager": eager})),
    ]
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, value in places:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(places, before, strict=True):
            setattr(module, name, value)


class World:
    """The stores and the job. `counts` says what came of it all."""

    def __init__(
        self,
        folder: Path | None,
        *,
        parts: bool = False,
        has_identity: bool = True,
        volatile: bool = False,
        selection: Selection = Selection(),  # noqa: B008  a frozen value
        on_conflict: OnConflict = "skip",
        eager: bool = True,
        page: int = 2,
        slice_documents: int = 4,
        counts: Counter[str] | None = None,
    ) -> None:
        self.folder = folder
        self.volatile = volatile and not parts
        self.selection = selection
        self.on_conflict = on_conflict
        self.eager = eager
        self.page = page
        self.slice_documents = slice_documents
        self.counts: Counter[str] = Counter() if counts is None else counts
        self.source = LabStore("a", Form.COUCHDB, has_identity=has_identity)
        self.target = PartsStore("b") if parts else LabStore("b", Form.ELASTICSEARCH, has_identity=has_identity)
        self.form = None if parts else Form.ELASTICSEARCH
        self.lies = Lies()
        self.refusals = Refusals()
        self.script = Script((), Stop(), self.happens)
        self._files = 0
        self._rejected: dict[str, Mapping[str, bytes]] = {}  # by backup, with those that it continues
        self._memory: Checkpoint | None = None
        self.history: dict[str, set[bytes]] = {}  # what may stand in the target under an id
        self.protected: dict[str, bytes] = {}  # what was in the target when the job began
        self.touched: set[str] = set()  # changed in the target by others since then
        self.evidence: tuple[Path | None, Evidence | None] = (None, None)

    # -- what happens to the stores -----------------------------------------------------------------------------

    def happens(self, do: str, n: int) -> bool:
        """Let something happen to the stores; False where `do` is none of that."""
        n, version = n % NUMBERS, n // NUMBERS % VERSIONS
        match do:
            case "put":
                self.put(n, version)
            case "delete":
                if self.source.get(id_of(n)) is not None and self.source.may_change:
                    self.source.put(id_of(n), None)
            case "replace source":
                self.source.replace(self.script.steps)
            case "replace target":
                self.target.replace(self.script.steps)
                self.protected, self.touched = {}, set()
            case "foreign":
                self.foreign(n, version)
            case "foreign delete":
                if self.target.get(id_of(n)) is not None:
                    self.target.drop(id_of(n).__eq__)
                    self.touched.add(id_of(n))
            case _:
                return False
        return True

    def put(self, n: int, version: int) -> None:
        """A document is stored or changed in the source."""
        id, content = body(n, version)
        if not self.source.may_change or self.source.get(id) == content:
            return
        self.source.put(id, content)
        self._remember(id, content)

    def _remember(self, id: str, content: bytes) -> None:
        found = expected(id, content, Selection(), self.form)
        if isinstance(found, Document):
            self.history.setdefault(id, set()).add(found.body)

    def foreign(self, n: int, version: int) -> None:
        """Somebody else stores a document in the target."""
        id, content = body(n, version)
        found = expected(id, content, Selection(), Form.ELASTICSEARCH)
        if isinstance(self.target, PartsStore) or not isinstance(found, Document) or not self.target.may_change:
            return
        self.target.put(id, found.body)
        self._remember(id, content)
        self.touched.add(id)

    def _marked(self) -> None:
        self.protected, self.touched = self.target.live(), set()
        self.lies.told = self.refusals.lied = False
        self.refusals.refused.clear()

    def heal(self) -> None:
        self.lies.drops.clear()
        self.refusals.rejects.clear()
        self.refusals.poison.clear()

    # -- runs ---------------------------------------------------------------------------------------------------

    def _begin(self, faults: Sequence[Fault]) -> Stop:
        stop = Stop()
        if isinstance(self.target, PartsStore):  # it takes what it is given, or not
            faults = [each for each in faults if (each.at, each.do) != ("writer.write", "lost answer")]
        self.script = Script(faults, stop, self.happens)
        self.source.replaced_at = self.target.replaced_at = -1
        return stop

    def _policy(self, stop: Stop, clock: Clock) -> Policy:
        def sleep(seconds: float) -> None:
            stop.check()
            clock.now_s += seconds

        return Policy(patience_s=60, sleep=sleep, clock=clock)

    def checkpoint(self) -> Any:
        if self.folder is not None:
            return faulty_checkpoint(self.folder / f"job-{self._files}.sqlite", self.script)
        if self._memory is None:
            self._memory = faulty_checkpoint(None, self.script)
        checkpoint: Any = self._memory
        checkpoint.script = self.script
        return checkpoint

    def _closed(self, checkpoint: Checkpoint) -> None:
        if checkpoint is not self._memory:
            checkpoint.close()

    def restart(self) -> None:
        """Forget the job, as `--restart` does."""
        self._files += 1
        if self._memory is not None:
            self._memory.close()
            self._memory = None

    def _guarded(self, what: str, call: Callable[[], Any], stop: Stop) -> Any:
        """What a run gives, or the error it ended with; anything else than an error with a name isn't allowed."""
        try:
            found = call()
        except KilledError as killed:
            found = killed
        except MigratorError as error:
            assert str(error), f"{type(error).__name__} says nothing"
            assert not isinstance(error, Interrupted) or stop.asked, "interrupted, and nobody asked"
            assert error.exit_code != 1, f"unexpected: {error!r}"
            found = error
        assert not self.script.dead or isinstance(found, KilledError), f"survived its death with {found!r}"
        ended = isinstance(found, (Report, Verification, RetryOutcome))
        name = f"exit {found.exit_code}" if ended else type(found).__name__
        self.counts[f"{what}: {name}"] += 1
        self.counts.update(f"fault: {each.do}" for each in self.script.met)
        return found

    def copy(
        self, *faults: Fault, max_rejects: int = 10_000, increment: bool = False
    ) -> Report | MigratorError | KilledError:
        """Run the job once, and hold what it says against what is there."""
        stop, clock = self._begin(faults), Clock()
        policy = self._policy(stop, clock)
        reader = FaultyReader(self.source, self.script, self.lies, page=self.page)
        kind: Any = PartsWriter if isinstance(self.target, PartsStore) else FaultyWriter
        writer = kind(self.target, self.script, self.refusals)
        writer._volatile = self.volatile
        writer.marked = self._marked
        checkpoint = self.checkpoint()
        since = self._since(writer, checkpoint, increment=increment)

        def run() -> Report:
            return run_copy(
                RetryingReader(reader, policy),
                RetryingWriter(writer, policy),
                checkpoint,
                SPEC,
                self.selection,
                CopyOptions(
                    jobs=1,
                    slice_documents=self.slice_documents,
                    on_conflict=self.on_conflict,
                    max_rejects=max_rejects,
                    small_round=1,
                    most_rounds=4,
                ),
                stop=stop,
                clock=clock,
                since=since,
            )

        with at_once(eager=self.eager):
            found: Report | MigratorError | KilledError = self._guarded("copy", run, stop)
        if isinstance(found, KilledError):
            writer.crash()
        try:
            self.look(checkpoint)
            if isinstance(found, Report):
                self.judge(found, checkpoint, writer)
            elif isinstance(found, NotFound) and not (self.script.met or self.lies.told):
                assert not self._selected(), f"there are {self._selected()}, and: {found}"
        finally:
            self._closed(checkpoint)
        return found

    def _since(self, writer: Any, checkpoint: Checkpoint, *, increment: bool) -> Any:
        """As a backup begins: a complete job starts over, as an increment where there is what it continues."""
        if not isinstance(writer, PartsWriter) or checkpoint.state == "unfinished":
            if isinstance(writer, PartsWriter):
                writer.parent = self._parent
            return self._since_snapshot if isinstance(writer, PartsWriter) else None
        self._parent, self._since_snapshot = None, None
        if checkpoint.state == "complete":
            stores = checkpoint.stores
            same = stores is not None and stores[0].identity == self.source.describe().identity
            prepared = str(checkpoint.prepared)
            assert isinstance(self.target, PartsStore)
            # What a source concealed from a backup is in no increment on it, and the model knows of the last run only.
            whole = prepared in self.target.manifests and not (checkpoint.shortfall or self.lies.told)
            if increment and same and whole and self.source.has_identity:
                self._parent, self._since_snapshot = prepared, checkpoint.snapshot
            self.script.met.clear()
            Checkpoint.forget(checkpoint)
        writer.parent = self._parent
        return self._since_snapshot

    _parent: str | None = None
    _since_snapshot: Any = None

    def retry_rejected(self, *faults: Fault) -> None:
        """`retry-rejected` of the job, where it has rejected documents."""
        if isinstance(self.target, PartsStore):
            return
        stop, clock = self._begin(faults), Clock()
        writer = FaultyWriter(self.target, self.script, self.refusals)
        checkpoint = self.checkpoint()
        try:
            if checkpoint.stores is None or not checkpoint.aside.count("rejected"):
                return
            policy = self._policy(stop, clock)
            before, differing = checkpoint.counts, checkpoint.aside.count("differing")
            found = self._guarded(
                "retry rejected",
                lambda: retry_set_aside(RetryingWriter(writer, policy), checkpoint, run=1, stop=stop),
                stop,
            )
            if isinstance(found, RetryOutcome):
                moved = total(checkpoint.counts.values()), total(before.values())
                for name in ("written", "present", "differing"):
                    now, then = (getattr(each, name) for each in moved)
                    assert now - then == getattr(found, name), f"{name} went from {then} to {now}: {found}"
                assert checkpoint.aside.count("rejected") == found.rejected
                assert checkpoint.aside.count("differing") <= differing + found.differing
                kept = {each.id for each in checkpoint.aside.documents("differing")}
                assert len(kept) >= found.differing, "differing, and not kept"
            self.look(checkpoint)
        finally:
            self._closed(checkpoint)

    # -- what must be true --------------------------------------------------------------------------------------

    def look(self, checkpoint: Checkpoint) -> None:
        """Whatever a run ended with: accounts add up, nothing is altered, what was there before still is."""
        for namespace, counts in checkpoint.counts.items():
            assert counts.adds_up, f"the accounts of {namespace!r} don't add up: {counts}"
        for kind in ("rejected", "differing"):
            for kept in checkpoint.aside.documents(kind):
                assert kept.reason, f"{kept.id} is set aside without a reason"
        if isinstance(self.target, PartsStore):
            return
        for id, there in self.target.live().items():
            assert there in self.history.get(id, ()), f"{id} is altered: {there!r}"
            if self.on_conflict != "overwrite" and id in self.protected and id not in self.touched:
                assert there == self.protected[id], f"{id} was there before, and was overwritten"
        if not (self.refusals.lied or self.volatile):
            for id in self.protected:
                assert id in self.target.entries or id in self.touched, f"{id} was there before, and is gone"

    def judge(self, report: Report, checkpoint: Checkpoint, writer: Any) -> None:
        """A report that says `complete` speaks the truth."""
        assert report.state == "complete"
        assert checkpoint.state == "complete"
        assert report.totals.adds_up
        assert report.rejected == checkpoint.aside.count("rejected")
        assert report.differing == checkpoint.aside.count("differing")
        if report.exit_code:
            self._has_reason(report)
        last_read = max(map(self.script.last, ("reader.read", "reader.catch_up", "checkpoint.commit")))
        if self.source.replaced_at > last_read or self.target.replaced_at > self.script.last("writer.finish"):
            return  # when nothing of it was used any more
        for described, store in ((report.source, self.source), (report.target, self.target)):
            assert described.identity == store.describe().identity, f"{store.name} was replaced, and no word of it"
        snapshot = checkpoint.snapshot
        assert isinstance(snapshot, int)
        if isinstance(self.target, PartsStore):
            there = self.target.content(writer.backup)
            if not (self.lies.told or self._parent):
                doubled = self.target.doubled(writer.backup)
                assert not doubled, f"doubled: {doubled}"
        else:
            there = self.target.live()
        self._judge_content(report, checkpoint, there, snapshot)
        if isinstance(self.target, PartsStore):
            kept = {each.id: each.body for each in checkpoint.aside.documents("rejected")}
            self._rejected[writer.backup] = {**self._rejected_before, **kept}

    @property
    def _rejected_before(self) -> Mapping[str, bytes]:
        """What the backups rejected that the newest one continues."""
        return self._rejected.get(self._parent or "", {})

    def _selected(self) -> list[str]:
        """What is selected in the source now."""
        live = self.source.live().items()
        return [id for id, content in live if expected(id, content, self.selection, self.form) is not None]

    def _has_reason(self, report: Report) -> None:
        named = report.rejected, report.differing, report.left_behind, report.unread, report.unstored
        assert any(named), "exit code 3 without a reason"
        if report.unread or report.unstored:
            assert report.warnings, "documents are missing, and no word of it"
            replaced = max(self.source.replaced_at, self.target.replaced_at) >= 0
            others = replaced or self.touched or self.lies.told or self.refusals.lied
            assert others, f"nothing is missing: {report.warnings}"

    def _judge_content(self, report: Report, checkpoint: Checkpoint, there: dict[str, bytes], snapshot: int) -> None:
        kept = {each.id: each for kind in ("rejected", "differing") for each in checkpoint.aside.documents(kind)}
        lacking: list[str] = []
        carried = 0
        for id, entry in self.source.entries.items():
            if entry.body is None or entry.sequence > snapshot or id in self.touched:
                continue
            should = expected(id, entry.body, self.selection, self.form)
            if should is None:
                continue
            if isinstance(should, Document) and there.get(id) == should.body:
                carried += 1
                # What a target holds already it may refuse all the same.
                explained = id in self.refusals.refused and id in kept and kept[id].body == entry.body
                explained = explained or self.lies.told or self.refusals.lied
                assert id not in kept or explained, f"{id} is in the target, and set aside: {kept[id].reason}"
                continue
            if self._rejected_before.get(id) == entry.body:
                continue  # by a backup that this one continues, whose report told it
            if id not in kept or kept[id].body != entry.body:
                lacking.append(id)
            elif kept[id].kind == "differing":
                assert self.on_conflict != "overwrite"
                assert id in self.protected, f"{id} differs, and nobody else wrote it"
        if not (self.lies.told or self.refusals.lied):
            assert not lacking, f"exit code {report.exit_code}, and these are neither in the target nor kept: {lacking}"
        elif lacking and report.exit_code == 0:
            self._judge_lies(report, checkpoint, there, snapshot, lacking)

    def _judge_lies(
        self, report: Report, checkpoint: Checkpoint, there: dict[str, bytes], snapshot: int, lacking: Sequence[str]
    ) -> None:
        """What a store lied about is noticed by counts: where these are right, a document may have hidden another."""
        if isinstance(self.target, PartsStore):
            live = [
                each for each in self.source.entries.values() if each.body is not None and each.sequence <= snapshot
            ]
            assert not checkpoint.full or report.totals.read >= len(live), f"fewer were read than counted: {lacking}"
            return
        self.counts["a lie that other documents hid"] += 1
        if report.totals.filtered or report.totals.rejected or not checkpoint.full or report.run > 1:
            return
        live = [each for each in self.source.entries.values() if each.body is not None and each.sequence <= snapshot]
        assert report.totals.read >= len(live), f"fewer were read than the source counts: {lacking}"
        assert len(there) >= len(live), f"fewer are there than the source counts: {lacking}"

    # -- verification -------------------------------------------------------------------------------------------

    def verify(self, *faults: Fault, drops_a: Sequence[int] = (), drops_b: Sequence[int] = ()) -> None:
        """Verify both sides until that ends by itself, and hold the verdict against the stores."""
        if isinstance(self.target, PartsStore):
            return
        stores = self.source, self.target
        lies = [Lies({id_of(n) for n in drops}) for drops in (drops_a, drops_b)]
        self._files += 1
        path = None if self.folder is None else self.folder / f"verify-{self._files}.sqlite"
        before, evidence, found = self._both(), None, None
        changing = False
        for attempt in range(4):
            stop, clock = self._begin(faults if not attempt else ()), Clock()
            policy = self._policy(stop, clock)
            readers = {
                side: RetryingReader(FaultyReader(store, self.script, lie, name=side, page=self.page), policy)
                for side, store, lie in zip("ab", stores, lies, strict=True)
            }
            if path is not None or evidence is None:
                evidence = faulty_evidence(path, self.script)
            vars(evidence)["script"] = self.script
            with at_once(eager=self.eager):
                found = self._guarded(
                    "verify",
                    partial(
                        run_verify,
                        readers,
                        evidence,
                        VERIFY,
                        self.selection,
                        VerifyOptions(jobs=1, slice_documents=self.slice_documents),
                        stop=stop,
                        clock=clock,
                    ),
                    stop,
                )
            if path is not None:
                evidence.close()
            changing = changing or self._both() != before
            if isinstance(found, Verification):
                self._judge_verification(found, before, changing=changing, lied=any(lie.told for lie in lies))
                break
        if path is None and evidence is not None:
            evidence.close()
        if not (isinstance(found, Verification) or any(lie.told for lie in lies)):
            assert isinstance(found, MigratorError), found
            raise AssertionError(f"a verification doesn't end: {found!r}") from found

    def _both(self) -> tuple[dict[str, bytes], dict[str, bytes]]:
        return self.source.live(), self.target.live()

    def _judge_verification(
        self, found: Verification, before: tuple[dict[str, bytes], dict[str, bytes]], *, changing: bool, lied: bool
    ) -> None:
        a, b = before
        should: dict[str, bytes] = {}
        refused = 0
        for id, content in a.items():
            each = expected(id, content, self.selection, Form.ELASTICSEARCH)
            if isinstance(each, Document):
                should[id] = each.body
            elif each is not None:
                refused += 1
        there = {
            id: content
            for id, content in b.items()
            if isinstance(document := read_document(id, content, Form.ELASTICSEARCH), Document)
            and self.selection.takes(document)
        }
        missing, extra = should.keys() - there.keys(), there.keys() - should.keys()
        different = {id for id in should.keys() & there.keys() if should[id] != there[id]}
        # What can't be converted on A's side may stand in B, and isn't compared.
        extra -= a.keys()
        same = not (missing or extra or different)
        if changing:
            return
        if lied:
            assert same or not found.agrees, "verify says the same, and they differ"
            return
        totals = found.totals
        told = totals.missing, totals.different, totals.extra, totals.refused
        truth = len(missing), len(different), len(extra), refused
        assert told == truth, f"verify found {told}, and there are {truth}"
        assert found.agrees == same, f"verify says {found.agrees}, and there are {truth}"
        assert not found.unexplained_hours

    # -- the end ------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Once everything is well again, the same command ends, and what it leaves is complete."""
        self.heal()
        for _ in range(NUMBERS + 6):
            found = self.copy()
            if isinstance(found, Report) and not (found.unread or found.unstored):
                break
            if isinstance(found, NotFound) and not self._selected():
                break
            fine = isinstance(found, (LimitReached, Report)) or (
                isinstance(found, Unavailable) and isinstance(self.target, PartsStore)
            )
            assert fine, f"all is well, and the run ends with {found!r}"
        else:
            raise AssertionError(f"all is well, and the job doesn't end: {found!r}")
        self.verify()
        self.restart()
