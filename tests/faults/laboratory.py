"""The laboratory: stores that are filled once, operations between them with a proxy before one side, and the judgement.

What is judged is what is in the target past the proxy, held against what is in the source, never what the migrator says
of itself.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.faults import proxy
from tests.faults.alterations import BY_NAME, group_of
from tests.faults.kinds import couchdb_kind, search_kind
from tests.faults.operations import Operation, Outcome, Runner
from tests.faults.places import ArchivePlace, Contents, CouchDBPlace, Place, ScriptedPlace, SearchPlace
from tests.faults.proxy import Proxy, Rule
from tests.faults.secrets import leaks
from tests.faults.stores import DOCUMENTS, NEW, Stores
from tests.faults.verdict import EXPLAINED, Verdict

_THERE = 60  # already in the target


class Direction(NamedTuple):
    """An operation from one kind of store to another, and before which of them the proxy stands."""

    operation: str
    source: str
    target: str = ""
    faulty: str = "source"
    note: str = ""

    @property
    def name(self) -> str:
        ends = f"{self.source}-{self.target}" if self.target else self.source
        verb = "" if self.operation == "copy" else f"{self.operation}-"
        return f"{verb}{ends}{f'-{self.note}' if self.note else ''}/{self.faulty}"

    @property
    def before(self) -> str:
        """The kind of store that the proxy stands before."""
        return self.source if self.faulty == "source" else self.target


DIRECTIONS = (
    Direction("copy", "couchdb", "es"),
    Direction("copy", "couchdb", "es", "target"),
    Direction("copy", "couchdb", "es", note="session"),
    Direction("copy", "es", "couchdb"),
    Direction("copy", "es", "couchdb", "target"),
    Direction("copy", "scripted", "es"),
    Direction("copy", "es", "scripted", "target"),
    Direction("backup", "couchdb", "archive"),
    Direction("backup", "scripted", "archive"),
    Direction("backup", "es", "archive"),
    Direction("backup", "couchdb", "archive", note="second"),
    Direction("backup", "scripted", "archive", note="second"),
    Direction("backup", "es", "archive", note="second"),
    Direction("restore", "archive", "es", "target"),
    Direction("restore", "archive", "couchdb", "target"),
    Direction("restore", "archive", "scripted", "target"),
    Direction("backup", "scripted", "archive", note="odd"),
    Direction("verify", "couchdb", "es", note="more"),
    Direction("verify", "scripted", "es", note="more"),
    Direction("verify", "es", "couchdb", note="more"),
    Direction("verify", "couchdb", "es", "target", note="less"),
    Direction("verify", "es", "couchdb", "target", note="less"),
    Direction("verify", "es", "scripted", "target", note="less"),
    Direction("find", "couchdb"),
    Direction("find", "scripted"),
    Direction("find", "es"),
    Direction("find", "es", note="bare"),
    Direction("find", "scripted", note="bare"),
    Direction("stats", "es"),
    Direction("detect", "es"),
)
BY_DIRECTION = {each.name: each for each in DIRECTIONS}


class Case(NamedTuple):
    """`times` is `always`, `once-N` (the Nth request of the kind, or the next that fits) or `once-last`."""

    direction: Direction
    kind: str
    alteration: str
    times: str

    @property
    def id(self) -> str:
        return f"{self.direction.name}/{self.kind}/{self.alteration}/{self.times}"


def parse_case(id: str) -> Case:
    """Raises `ValueError`."""
    try:
        ends, faulty, kind, alteration, times = id.split("/")
        case = Case(BY_DIRECTION[f"{ends}/{faulty}"], kind, BY_NAME[alteration].name, times)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{id}: there is no such case: {error}") from error
    return case


@dataclass
class Known:
    """How a direction goes without a fault: its outcome, what is in the target, and how many requests of each kind."""

    outcome: Outcome
    contents: Contents
    kinds: dict[str, int]


class Lane:
    """Where one case runs at a time: its own proxies, and its own process that forks."""

    def __init__(self, stores: Stores, known: dict[str, Known]) -> None:
        self._stores = stores
        self._known = known
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> Lane:
        kinds = {"couchdb": couchdb_kind, "scripted": couchdb_kind, "es": search_kind}
        self._proxies: dict[str, Proxy] = {
            kind: self._opened.enter_context(proxy.running(port, kinds[kind]))
            for kind, port in self._stores.ports.items()
        }
        self._runner = self._opened.enter_context(Runner())
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def known(self, direction: Direction) -> Known:
        """How the direction goes without a fault; asserts that it goes right."""
        if direction.name not in self._known:
            with self._ready(direction) as (operation, _, target):
                door = self._proxies[direction.before]
                door.set(None)
                outcome = self._runner.run(operation)
                found = Known(outcome, target.contents() if target else {}, dict(door.seen))
                self._known[direction.name] = found
                _assert_right(direction, found, self._stores)
        return self._known[direction.name]

    def run(self, case: Case) -> Verdict:
        """Run a case and judge it."""
        known = self.known(case.direction)
        requests = known.kinds.get(case.kind, 1)
        first = 1 if case.times == "always" else requests if case.times == "once-last" else int(case.times[5:])
        hidden = self._stores.planted if case.direction.operation == "verify" else self._stores.hidden
        rule = Rule(case.kind, BY_NAME[case.alteration], first, once=case.times != "always", hidden=hidden)
        door = self._proxies[case.direction.before]
        of_store = BY_NAME[case.alteration].of_store
        with self._ready(case.direction, own_source=of_store) as (operation, source, target):
            if of_store:
                rule.before = self._change(case, source, target)
            door.set(rule)
            if BY_NAME[case.alteration].harmless:
                operation.retry_for_s = 8.0  # pages are made smaller step by step
            outcome = self._runner.run(operation)
            door.set(None)
            verdict = Verdict(
                case=case.id,
                fault=f"answers: {group_of(case.alteration)}",
                applied=rule.applied,
                exit_code=outcome.exit_code,
                seconds=outcome.seconds,
            )
            verdict.text = outcome.text or "; ".join(outcome.told)
            verdict.hung = outcome.exit_code is None
            verdict.unexpected = outcome.exit_code == 1
            verdict.wrong_exit = outcome.exit_code not in EXPLAINED | {1, None}
            if of_store and case.direction.faulty == "source":
                known = replace(known, contents=_of_now(source, known))
            _judge(verdict, case.direction, outcome, known, target, self._stores)
            verdict.stuck = verdict.stopped and BY_NAME[case.alteration].harmless and not verdict.unexpected
            if outcome.exit_code == 5 and target is not None and not verdict.is_wrong:
                self._go_on(verdict, case, operation, known, target)
            found = leaks([verdict.text, *outcome.told], Path(operation.folder))
            verdict.secrets = len(found)
            verdict.text = "; ".join([verdict.text, *found])
        return verdict

    def _change(self, case: Case, source: Place, target: Place | None) -> Callable[[], None]:
        """What befalls the store of a case, once: it is deleted and recreated, or is what it was some time ago."""
        place = source if case.direction.faulty == "source" else target
        assert isinstance(place, CouchDBPlace | SearchPlace)
        everything = list(self._stores.bodies.items())
        bodies = dict(everything) if place is source else {}
        if case.alteration == "rolled-back":
            bodies = dict(everything[: -_THERE if place is source else _THERE])
            if isinstance(place, ScriptedPlace):
                return partial(place.roll_back, bodies)
        return partial(place.recreate, bodies)

    def _go_on(self, verdict: Verdict, case: Case, operation: Operation, known: Known, target: Place) -> None:
        """What was interrupted is complete after the same command without the fault."""
        outcome = self._runner.run(operation)
        if outcome.exit_code in (0, known.outcome.exit_code):
            _judge(verdict, case.direction, outcome, known, target, self._stores)
        verdict.stopped = True
        verdict.hung = outcome.exit_code is None
        verdict.unexpected = outcome.exit_code == 1
        verdict.text += f" | and then: {outcome.exit_code} {outcome.text or '; '.join(outcome.told)}"

    @contextlib.contextmanager
    def _ready(
        self, direction: Direction, *, own_source: bool = False
    ) -> Iterator[tuple[Operation, Place, Place | None]]:
        """An operation with a fresh target, and where asked a fresh source; they are removed afterwards."""
        stores, folder = self._stores, self._stores.folder / f"case-{uuid.uuid4().hex[:12]}"
        purposes = {"second": "new", "odd": "odd", "less": "less", "session": "session"}
        purpose = purposes.get(direction.note, "all") if direction.operation != "verify" else "all"
        target: Place | None = None
        other: Place | None
        if direction.operation == "verify":
            # A has one more, or B has.
            source = stores.places[direction.source, "all" if direction.note == "more" else "less"]
            other = stores.places[direction.target, "less" if direction.note == "more" else "all"]
        else:
            source = stores.places[direction.source, purpose]
            if own_source and direction.faulty == "source":
                source = stores.new(direction.source)
                source.put(stores.bodies)
            if direction.note == "second":
                beginning = stores.places[direction.source, "beginning"]
                assert isinstance(beginning, ArchivePlace)
                target = ArchivePlace(folder / "archive", beginning=beginning.folder)
            elif direction.target:
                target = stores.new(direction.target)
                if direction.faulty == "target" and not isinstance(target, ArchivePlace):
                    target.put(dict(list(stores.bodies.items())[:_THERE]))
            other = target
        port = self._proxies[direction.before].port
        operation = Operation(
            name=direction.operation,
            source=source.location(port if direction.faulty == "source" else None),
            target=other.location(port if direction.faulty == "target" else None) if other else "",
            folder=str(folder),
            ids=(stores.hidden.partition("/")[2] if direction.note == "bare" else stores.hidden,),
        )
        try:
            yield operation, source, target
        finally:
            if source not in stores.places.values():
                source.remove()
            if target is not None:
                target.remove()
            shutil.rmtree(folder, ignore_errors=True)


def _of_now(source: Place, known: Known) -> Contents:
    """What must be in the target of what is in the source now."""
    return {id: known.contents.get(id, fields) for id, fields in source.contents().items()}


def _assert_right(direction: Direction, known: Known, stores: Stores) -> None:
    code, contents = known.outcome.exit_code, known.contents
    if direction.operation == "verify":
        assert code == 4, known.outcome
    elif direction.operation in ("stats", "detect"):
        assert (code, known.outcome.read) == (0, DOCUMENTS), known.outcome
    elif direction.operation == "find":
        assert code == 0, known.outcome
        assert known.outcome.found == [stores.hidden], known.outcome
    else:
        expected = DOCUMENTS + (NEW if direction.note == "second" else 0)
        assert code == (3 if direction.note == "odd" else 0), known.outcome
        assert len(contents) == expected - (direction.note == "odd"), (len(contents), known.outcome)
        assert all(len(found) == 1 for found in contents.values())


def _judge(
    verdict: Verdict, direction: Direction, outcome: Outcome, known: Known, target: Place | None, stores: Stores
) -> None:
    verdict.stopped = outcome.exit_code != known.outcome.exit_code
    if direction.operation == "verify":
        verdict.wrong_same = outcome.exit_code == 0
        return
    if direction.operation == "find":
        # 10 is right for a store of which the server says that it isn't there; never for one that couldn't be asked.
        none = outcome.exit_code == 10 and 10 not in outcome.failed
        verdict.wrong_none = none or (outcome.exit_code == 0 and stores.hidden not in outcome.found)
        verdict.doubled = max(0, len(outcome.found) - 1)
        return
    if direction.operation in ("stats", "detect"):
        verdict.wrong_none = outcome.exit_code == 0 and outcome.read < known.outcome.read
        return
    # Complete, or complete with as much set aside as without the fault.
    as_ever = outcome.exit_code == known.outcome.exit_code and outcome.rejected == known.outcome.rejected
    short = outcome.exit_code == known.outcome.exit_code != 0 and outcome.rejected < known.outcome.rejected
    if short:
        verdict.missing += known.outcome.rejected - outcome.rejected
    if target is None or not (outcome.exit_code == 0 or as_ever or short):
        return
    contents = target.contents()
    verdict.missing += len(known.contents.keys() - contents.keys())
    verdict.altered += sum(
        id in known.contents and fields[0] != known.contents[id][0] for id, fields in contents.items()
    ) + len(contents.keys() - stores.bodies.keys() - known.contents.keys())
    verdict.doubled += sum(len(fields) > 1 for fields in contents.values())
