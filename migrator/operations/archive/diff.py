"""What changed from one backup of an archive to another: which activations were added, which changed, which are gone.

The state that each backup ends is a store of its own, and `verify` compares the two: the newer one is the side A, so
that what is missing in B was added. Its evidence lies in a temporary folder, since reading again is cheap.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import msgspec

from migrator.activations.selection import SelectionSpec
from migrator.adapters.archive.contents import check_kind
from migrator.api.opening import open_reader_for, resolve_store
from migrator.api.run import Run
from migrator.engine.verification.compare import VerifyOptions, run_verify
from migrator.engine.verification.evidence import Evidence
from migrator.engine.verification.values import KINDS, Verification, VerifySpec
from migrator.errors import Incomplete, UsageError
from migrator.events import Event, RunUnfinished, Tell
from migrator.events.watching import Observer, Stop
from migrator.settings.stores import Store

_JOBS = 2  # one for each state
_WHAT = {"missing": "added", "different": "changed", "extra": "gone"}


class Changed(msgspec.Struct, frozen=True, kw_only=True):
    """One activation in which the two states differ."""

    id: str
    namespace: str
    what: str  # "added", "changed", "gone"
    fields: tuple[str, ...] = ()  # of a changed one, the names at the top level


class ChangeCounts(msgspec.Struct, kw_only=True):
    """The counts of one namespace."""

    added: int = 0
    changed: int = 0
    gone: int = 0
    same: int = 0
    refused: int = 0  # can't be compared: no activation, or without a counterpart in the first state's form
    fields: dict[str, int] = {}  # in how many changed activations each field differs


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """From the first backup to the second."""

    archive: str
    first: str
    second: str
    namespaces: dict[str, ChangeCounts]

    @property
    def total(self) -> ChangeCounts:
        fields: Counter[str] = Counter()
        for each in self.namespaces.values():
            fields.update(each.fields)
        found = self.namespaces.values()
        return ChangeCounts(
            added=sum(each.added for each in found),
            changed=sum(each.changed for each in found),
            gone=sum(each.gone for each in found),
            same=sum(each.same for each in found),
            refused=sum(each.refused for each in found),
            fields=dict(fields),
        )

    @property
    def is_empty(self) -> bool:
        total = self.total
        return not (total.added or total.changed or total.gone)


def diff_archive(
    archive: Store | str,
    first: str,
    second: str,
    *,
    wanted: SelectionSpec = SelectionSpec(),  # noqa: B008  a frozen value
    each: Callable[[Changed], None] = lambda _: None,
    stop: Stop | None = None,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> Difference:
    """Compare the states of two backups, each with all that it builds on; `first` and `second` begin their ids.

    Activations are compared by value, as a restore would bring them back; CouchDB's revisions don't count. `each` is
    called with every one that differs, in the order of the ids of each kind. Raises as a restore does.
    """
    for backup in (first, second):
        if not backup:
            raise UsageError("the id of a backup is empty")
    run = Run(jobs=_JOBS, stop=stop or Stop(), observe=observe, tell=tell, clock=clock)
    store = resolve_store(archive, "source", tell)
    check_kind(store)
    sides = {"a": _state(store, second), "b": _state(store, first)}
    request = run.request("verify", sides["a"], sides["b"], wanted)
    spec = VerifySpec(id="diff", request=request, listing=request)
    with ExitStack() as opened:
        readers = {side: opened.enter_context(open_reader_for(state, run)) for side, state in sides.items()}
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="migrator-")))
        evidence = opened.enter_context(closing(Evidence(folder / "evidence.sqlite")))
        found = run_verify(
            readers,
            evidence,
            spec,
            wanted.fix(now_ms=run.now_ms),
            VerifyOptions(jobs=run.jobs),
            stop=run.stop,
            observe=run.observe,
            tell=_without_resuming(run.tell),
            clock=run.clock,
        )
        if found.unexplained_hours:
            raise Incomplete(
                f"{_whole(store).location.printed}: reading the two states again gave other documents than the first "
                "time, so the archive was changed meanwhile; run the same command again"
            )
        return Difference(
            archive=_whole(store).location.printed,
            first=str(evidence.snapshot("b")),
            second=str(evidence.snapshot("a")),
            namespaces=_count(found, evidence, each),
        )


def _state(archive: Store, backup: str) -> Store:
    return msgspec.structs.replace(archive, location=msgspec.structs.replace(archive.location, backup=backup, at=None))


def _whole(archive: Store) -> Store:
    return msgspec.structs.replace(archive, location=msgspec.structs.replace(archive.location, backup=None, at=None))


def _without_resuming(tell: Tell) -> Tell:
    """Nothing of a comparison is kept that could be resumed."""

    def tell_others(event: Event) -> None:
        if not isinstance(event, RunUnfinished):
            tell(event)

    return tell_others


def _count(found: Verification, evidence: Evidence, each: Callable[[Changed], None]) -> dict[str, ChangeCounts]:
    counts = {
        name: ChangeCounts(
            added=result.missing,
            changed=result.different,
            gone=result.extra,
            same=result.a - result.missing - result.different,
            refused=result.refused,
        )
        for name, result in sorted(found.namespaces.items())
    }
    for finding in evidence.findings(*KINDS):
        fields = counts[finding.namespace].fields
        for name in finding.fields:
            fields[name] = fields.get(name, 0) + 1
        what = _WHAT[finding.kind]
        each(Changed(id=finding.id, namespace=finding.namespace, what=what, fields=finding.fields))
    return counts
