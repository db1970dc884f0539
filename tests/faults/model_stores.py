"""Stores in memory and a checkpoint file that fail by a script: at a chosen call, before it or once it took effect.

Faults enter; wrappers around reader, writer and checkpoint leave, which count their calls. Knows nothing of what should
come of it (`model_world`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from migrator.activations.document import Document, Form, read_document
from migrator.activations.selection import Selection
from migrator.adapters.base import Abilities, Batch, Completion, Description, Plan, Refusal, Slice, Token, WriteOutcome
from migrator.adapters.memory import MemoryReader, MemoryStore, MemoryWriter
from migrator.engine.state.checkpoint import Checkpoint
from migrator.engine.verification.evidence import Evidence
from migrator.errors import AccessDenied, RequestRefused, Unavailable
from migrator.events.watching import Stop

MOST_CALLS = 20_000
FOR_GOOD = 1_000_000

READS = ("describe", "plan", "read", "catch_up", "census", "count", "namespaces")
WRITES = ("describe", "preflight", "prepare", "resume", "mark", "stored_since", "stored", "write", "census", "flush")
NOTES = (
    "begin_run",
    "begin",
    "begin_round",
    "commit",
    "forget",
    "complete",
    "note_stores",
    "note_shortfall",
    "end_run",
)
EVIDENCE = (
    "begin_run",
    "begin",
    "begin_stage",
    "compare_again",
    "commit",
    "take_values",
    "take_listing",
    "judge",
    "settle",
    "forget",
)


class KilledError(BaseException):
    """The process died here; nothing that it would have done after this happens."""


class EndlessError(BaseException):
    """A run made more calls than any run has reason to."""


class Fault(NamedTuple):
    """What happens at the `nth` call (from 1) of an operation in a run, and at the `times - 1` calls after it."""

    at: str  # "reader.read", "writer.flush", "checkpoint.commit", in a verification "a.read", "evidence.commit"
    do: str
    nth: int = 1
    n: int = 0  # of a document
    times: int = 1

    def is_due(self, call: int) -> bool:
        return self.nth <= call < self.nth + self.times


class Clock:
    """Time that passes only while somebody pauses."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


class Script:
    """The faults of one run, and how far the run has come."""

    def __init__(self, faults: Sequence[Fault], stop: Stop, happens: Callable[[str, int], bool]) -> None:
        """`happens` does what a fault does to the stores; False where it is none of those."""
        self._faults = defaultdict(list)
        for fault in faults:
            self._faults[fault.at].append(fault)
        self._stop = stop
        self._happens = happens
        self._calls: Counter[str] = Counter()
        self._steps: dict[str, int] = {}
        self.steps = 0
        self.dead = False
        self.met: set[Fault] = set()

    def last(self, at: str) -> int:
        """The step of the newest call of an operation; 0 where there was none."""
        return self._steps.get(at, 0)

    def die(self) -> None:
        self.dead = True
        raise KilledError

    def begin(self, at: str) -> list[Fault]:
        """Count a call; do what happens before it and give what is due."""
        if self.dead:
            raise KilledError
        self.steps += 1
        if self.steps > MOST_CALLS:
            raise EndlessError(f"{at} after {dict(self._calls)}")
        self._calls[at] += 1
        self._steps[at] = self.steps
        due = [fault for fault in self._faults.get(at, ()) if fault.is_due(self._calls[at])]
        self.met.update(due)
        for fault in due:
            self._before(fault)
        return due

    def _before(self, fault: Fault) -> None:
        match fault.do:
            case "kill before":
                self.die()
            case "stop":
                self._stop.ask(130)
            case "unavailable":
                raise Unavailable(f"{fault.at} can't be done now")
            case "denied":
                raise AccessDenied(f"{fault.at} isn't allowed")
            case _:
                self._happens(fault.do, fault.n)

    def end(self, due: Sequence[Fault]) -> None:
        """Do what happens once a call took effect."""
        for fault in due:
            if fault.do == "kill after":
                self.die()
            if fault.do == "lost answer":
                raise Unavailable(f"the answer of {fault.at} didn't arrive")

    def call(self, at: str, effect: Callable[[], Any]) -> Any:
        due = self.begin(at)
        result = effect()
        self.end(due)
        return result


class LabStore(MemoryStore):
    """A store that may be replaced, and that shows it by its identity or only by how far its numbers are."""

    def __init__(self, name: str, form: Form, *, has_identity: bool) -> None:
        super().__init__(name, form)
        self.has_identity = has_identity
        self.least: int | None = None  # the lowest number that it was replaced at, which a job may have noted
        self.replaced_at = -1  # the step of the run

    def describe(self) -> Description:
        described = Description(location=f"memory:{self.name}", product="memory", version="1")
        if self.has_identity:
            return msgspec.structs.replace(described, identity=f"{self.name}#{self.generation}")
        return msgspec.structs.replace(described, progress=self.sequence)

    def replace(self, step: int) -> None:
        self.clear()
        self.replaced_at = step
        if not self.has_identity:
            self.least = self.sequence if self.least is None else min(self.least, self.sequence)
            self.sequence = 0

    @property
    def may_change(self) -> bool:
        """Whether one more document doesn't hide that the store was replaced: nothing would show it then."""
        return self.least is None or self.sequence + 1 < self.least

    def live(self) -> dict[str, bytes]:
        return {id: entry.body for id, entry in self.entries.items() if entry.body is not None}


class Lies(msgspec.Struct):
    """What a reader keeps to itself, for as long as it isn't healed, and whether it ever lied."""

    drops: set[str] = msgspec.field(default_factory=set)
    told: bool = False


class FaultyReader:
    """A `MemoryReader` that fails by a script and may lie."""

    def __init__(self, store: LabStore, script: Script, lies: Lies, *, name: str = "reader", page: int = 2) -> None:
        self._inner = MemoryReader(store, page_documents=page)
        self._store = store
        self._script = script
        self._lies = lies
        self._name = name
        self.form = store.form
        self.abilities = self._inner.abilities

    def __getattr__(self, name: str) -> Any:
        """What asks no server."""
        return getattr(self._inner, name)

    def _call(self, operation: str, effect: Callable[[], Any]) -> Any:
        return self._script.call(f"{self._name}.{operation}", effect)

    def describe(self) -> Description:
        found: Description = self._call("describe", self._store.describe)
        return found

    def plan(self, selection: Selection, *, slice_documents: int) -> Plan:
        found: Plan = self._call("plan", lambda: self._inner.plan(selection, slice_documents=slice_documents))
        return found

    def catch_up(self, snapshot: Token, selection: Selection, *, slice_documents: int) -> Plan:
        found: Plan = self._call(
            "catch_up", lambda: self._inner.catch_up(snapshot, selection, slice_documents=slice_documents)
        )
        return found

    def plan_verification(self, selection: Selection, *, slice_documents: int) -> Plan:
        found: Plan = self._call(
            "plan_verification", lambda: self._inner.plan(selection, slice_documents=slice_documents)
        )
        return found

    def read(self, slice: Slice, after: Token, selection: Selection) -> Iterator[Batch]:
        batches, latest = self._inner.read(slice, after, selection), None
        while True:
            due = self._script.begin(f"{self._name}.read")
            kinds = {fault.do for fault in due}
            if "repeat" in kinds and latest is not None:
                batch: Batch | None = latest
                self._lies.told = True
            else:
                batch = next(batches, None)
            if "end early" in kinds and batch is not None:
                self._lies.told, batch = True, None
            if batch is None:
                self._script.end(due)
                return
            latest = batch = self._falsified(batch, kinds)
            self._script.end(due)
            yield batch

    def _falsified(self, batch: Batch, kinds: set[str]) -> Batch:
        documents = tuple(each for each in batch.documents if each.id not in self._lies.drops)
        if "drop" in kinds:
            documents = documents[1:]
        if "double" in kinds:
            documents = (*documents, *documents[:1])
        if documents != batch.documents:  # dropped and doubled, as many as there were
            self._lies.told = True
        return msgspec.structs.replace(batch, documents=documents)

    def fetch(self, ids: Sequence[str], after: Token, selection: Selection) -> Iterator[Batch]:
        batches = self._inner.fetch(ids, after, selection)
        while (batch := self._call("fetch", lambda: next(batches, None))) is not None:
            yield batch

    def census(self, selection: Selection, snapshot: Token) -> int | None:
        found: int | None = self._call("census", lambda: self._inner.census(selection, snapshot))
        return found

    def namespaces(self) -> Mapping[str, int | None]:
        found: Mapping[str, int | None] = self._call("namespaces", self._inner.namespaces)
        return found

    def count(self, selection: Selection) -> int | None:
        found: int | None = self._call("count", lambda: self._inner.count(selection))
        return found

    def close(self) -> None:
        pass


class Refusals(msgspec.Struct):
    """What a target refuses, for as long as it isn't healed."""

    rejects: set[str] = msgspec.field(default_factory=set)  # each by itself, with a reason
    poison: dict[str, int] = msgspec.field(default_factory=dict)  # every request that one is in, with a status
    refused: set[str] = msgspec.field(default_factory=set)  # what it refused since the job began
    lied: bool = False  # what was lost was said to be stored


class FaultyWriter:
    """A `MemoryWriter` that fails by a script. What isn't flushed when the process dies may be lost with it."""

    abilities = Abilities()

    def __init__(self, store: LabStore, script: Script, refusals: Refusals, *, volatile: bool = False) -> None:
        self._inner = MemoryWriter(store)
        self._store = store
        self._script = script
        self._refusals = refusals
        self._volatile = volatile
        self._unflushed: list[tuple[int, str, Any]] = []
        self.marked: Callable[[], None] = lambda: None
        self.form: Form | None = store.form

    def __getattr__(self, name: str) -> Any:
        """What asks no server."""
        return getattr(self._inner, name)

    def _call(self, operation: str, effect: Callable[[], Any]) -> Any:
        return self._script.call(f"writer.{operation}", effect)

    def describe(self) -> Description:
        found: Description = self._call("describe", self._store.describe)
        return found

    def preflight(self, namespaces: Sequence[str]) -> Sequence[str]:
        found: Sequence[str] = self._call("preflight", lambda: ())
        return found

    def prepare(self) -> Token:
        token: Token = self._call("prepare", lambda: None)
        return token

    def mark(self) -> Token:
        def effect() -> Token:
            self.marked()
            return self._inner.mark()

        token: Token = self._call("mark", effect)
        return token

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return frozenset(self._call("stored_since", lambda: self._inner.stored_since(mark, documents)))

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        found: Mapping[str, Document] = self._call("stored", lambda: self._inner.stored(documents))
        return found

    def write(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        due = self._script.begin("writer.write")
        kinds = {fault.do for fault in due}
        self._refuse(documents, kinds)
        if "kill midway" in kinds:
            self._store_some(documents[: len(documents) // 2 + 1], replace=replace)
            self._script.die()
        deferred: Sequence[Document] = documents[1:] if "defer" in kinds else ()
        if "defer all" in kinds:
            deferred = documents
        put_off = {each.id for each in deferred}
        deferred = [each for each in documents if each.id in put_off]  # with what came twice
        now = [each for each in documents if each.id not in put_off]
        rejected = [each for each in now if each.id in self._refusals.rejects]
        now = [each for each in now if each.id not in self._refusals.rejects]
        self._refusals.refused.update(each.id for each in rejected)
        outcome = self._store_some(now, replace=replace)
        if "lose" in kinds and outcome.written:
            self._store.entries.pop(outcome.written[0].id, None)
            self._refusals.lied = True
        outcome += WriteOutcome(
            rejected=tuple(each.rejection("the target doesn't take it") for each in rejected),
            deferred=tuple(deferred),
            condition=Unavailable("too many requests") if deferred else None,
        )
        self._script.end(due)
        return outcome

    def _refuse(self, documents: Sequence[Document], kinds: set[str]) -> None:
        for status in (400, 413, 500):
            poisoned = any(self._refusals.poison.get(each.id) == status for each in documents)
            too_large = status == 413 and "limit" in kinds and len(documents) > 1
            if poisoned or too_large or f"refuse {status}" in kinds:
                self._refusals.refused.update(each.id for each in documents)
                raise RequestRefused(f"the target answered {status}", status=status, passing=status == 500)

    def _store_some(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        before = dict(self._store.entries)
        outcome = self._inner.write(documents, replace=replace)
        if self._volatile:
            generation = self._store.generation
            self._unflushed += [(generation, each.id, before.get(each.id)) for each in outcome.written]
        return outcome

    def crash(self) -> None:
        """Lose what wasn't flushed, as a cache before a disk does."""
        for generation, id, entry in reversed(self._unflushed):
            if generation != self._store.generation:
                continue
            if entry is None:
                self._store.entries.pop(id, None)
            else:
                self._store.entries[id] = entry

    def census(self) -> int | None:
        found: int | None = self._call("census", self._inner.census)
        return found

    def due(self) -> bool:
        return not self._volatile or len(self._unflushed) >= 3

    def flush(self) -> Token:
        def effect() -> Token:
            self._unflushed.clear()
            return None

        token: Token = self._call("flush", effect)
        return token

    def finish(self, completion: Completion) -> None:
        self._call("finish", lambda: None)

    def close(self) -> None:
        pass


class PartsStore(LabStore):
    """What an archive is to the engine: backups of parts, complete once a manifest names the parts."""

    def __init__(self, name: str) -> None:
        super().__init__(name, Form.COUCHDB, has_identity=True)
        self.parts: dict[str, list[list[Document]]] = {}
        self.manifests: dict[str, Completion] = {}
        self.parents: dict[str, str | None] = {}

    def replace(self, step: int) -> None:
        super().replace(step)
        self.parts.clear()
        self.manifests.clear()

    def content(self, backup: str) -> dict[str, bytes]:
        """What a restore of a backup gives: the newest version of each document along its chain."""
        parent = self.parents.get(backup)
        found = self.content(parent) if parent else {}
        receipts = sorted(self.manifests[backup].receipts, key=lambda each: each[0])
        for _, receipt in receipts:
            assert isinstance(receipt, dict)
            found.update({each.id: each.body for each in self.parts[backup][receipt["part"]]})
        return found

    def doubled(self, backup: str) -> list[str]:
        """Ids that a round of a backup gives more than once."""
        seen: Counter[tuple[int, str]] = Counter()
        for round, receipt in self.manifests[backup].receipts:
            assert isinstance(receipt, dict)
            seen.update((round, each.id) for each in self.parts[backup][receipt["part"]])
        return [id for (_, id), count in seen.items() if count > 1]


class PartsWriter(FaultyWriter):
    """A writer of parts, each durable with its flush, with a receipt for it."""

    def __init__(self, store: PartsStore, script: Script, refusals: Refusals, *, part: int = 3) -> None:
        super().__init__(store, script, refusals)
        self._parts_store = store
        self._part = part
        self._open: list[Document] = []
        self.form = None
        self.backup = ""
        self.parent: str | None = None

    def prepare(self) -> Token:
        def effect() -> Token:
            self.backup = f"backup {len(self._parts_store.parents)}"
            self._parts_store.parts[self.backup] = []
            self._parts_store.parents[self.backup] = self.parent
            return self.backup

        token: Token = self._call("prepare", effect)
        return token

    def resume(self, prepared: Token, receipts: Sequence[tuple[int, Token]]) -> Refusal | None:
        def effect() -> Refusal | None:
            self.backup = str(prepared)
            going_on = self.backup in self._parts_store.parts and self.backup not in self._parts_store.manifests
            return None if going_on else Refusal.BACKUP_GONE

        refusal: Refusal | None = self._call("resume", effect)
        return refusal

    def mark(self) -> Token:
        token: Token = self._call("mark", self.marked)
        return token

    def stored_since(self, mark: Token, documents: Sequence[Document]) -> frozenset[str]:
        return frozenset()

    def stored(self, documents: Sequence[Document]) -> Mapping[str, Document]:
        return {}

    def _store_some(self, documents: Sequence[Document], *, replace: bool) -> WriteOutcome:
        self._open += documents
        return WriteOutcome(written=tuple(documents))

    def census(self) -> int | None:
        return None

    def due(self) -> bool:
        return len(self._open) >= self._part

    def flush(self) -> Token:
        def effect() -> Token:
            if not self._open:
                return None
            parts = self._parts_store.parts.setdefault(self.backup, [])
            parts.append(self._open)
            self._open = []
            return {"part": len(parts) - 1, "documents": len(parts[-1])}

        token: Token = self._call("flush", effect)
        return token

    def finish(self, completion: Completion) -> None:
        def effect() -> None:
            self._parts_store.manifests[self.backup] = completion

        self._call("finish", effect)


def _scripted(kind: type[Any], prefix: str, operations: Sequence[str]) -> type[Any]:
    """A subclass whose methods are calls of a script, once it has one."""

    def wrapped(name: str) -> Callable[..., Any]:
        method = getattr(kind, name)

        def call(self: Any, *values: Any, **named: Any) -> Any:
            return self.script.call(f"{prefix}.{name}", lambda: method(self, *values, **named))

        return call

    return type(f"Faulty{kind.__name__}", (kind,), {name: wrapped(name) for name in operations})


_FaultyCheckpoint = _scripted(Checkpoint, "checkpoint", NOTES)
_FaultyEvidence = _scripted(Evidence, "evidence", EVIDENCE)


def faulty_checkpoint(path: Path | None, script: Script) -> Checkpoint:
    checkpoint: Any = _FaultyCheckpoint(path)
    checkpoint.script = script
    found: Checkpoint = checkpoint
    return found


def faulty_evidence(path: Path | None, script: Script) -> Evidence:
    evidence: Any = _FaultyEvidence(path)
    evidence.script = script
    found: Evidence = evidence
    return found


class Ahead:
    """Reads ahead at a moment that a test chooses: at once, or only when the next batch is asked for.

    Threads would do either, and no failure could be had again.
    """

    eager = True

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, call: Callable[..., Any], *values: Any) -> Any:
        return _Done(call, values) if self.eager else _Later(call, values)


class _Later:
    def __init__(self, call: Callable[..., Any], values: tuple[Any, ...]) -> None:
        self._call = call
        self._values = values

    def done(self) -> bool:
        return True  # made when it is asked for

    def result(self) -> Any:
        return self._call(*self._values)


class _Done:
    def __init__(self, call: Callable[..., Any], values: tuple[Any, ...]) -> None:
        self._future: Future[Any] = Future()
        try:
            self._future.set_result(call(*values))
        except BaseException as error:  # noqa: BLE001  as an executor does
            self._future.set_exception(error)

    def done(self) -> bool:
        return True

    def result(self) -> Any:
        return self._future.result()


def as_document(id: str, body: bytes, form: Form) -> Document | None:
    found = read_document(id, body, form)
    return found if isinstance(found, Document) else None
