"""The purge engine: removes from a store what a proof holds as well.

Two readers, a `Remover` and a `Journal` enter, a `PurgeReport` leaves. In this order:

    settle     what an interrupted run had sent
    prove      all of the proof that is selected is read: ids and digests
    compare    what is old enough in the store is compared with it
    remove     what was proven, batch by batch, each looked at once more
    reclaim    the space, where the store frees none by itself

Every run proves everything again: what an earlier one read is no proof now. Knows no store and no command line.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import closing

import msgspec

from migrator.activations.selection import Selection
from migrator.adapters.base import Batch, Description, Reader
from migrator.adapters.removal import Address, Remover, Space, SupportsCompaction, SupportsForgetting
from migrator.adapters.shared.patience import Policy, persist
from migrator.engine.removal.guarding import Guard
from migrator.engine.removal.journal import Journal
from migrator.engine.removal.proofs import Proofs
from migrator.engine.removal.reading import Candidate, Candidates, Comparison, Ledger, Reading
from migrator.engine.removal.removing import Pace, Removing
from migrator.engine.removal.values import Kept, PurgeReport
from migrator.errors import AccessDenied, MigratorError
from migrator.events import RemovalsSettled, SourceWarning, TargetWarning, Tell
from migrator.events.watching import Observer, Stop

_SLICE_DOCUMENTS = 20_000
_LOOK_S = 1.0
_COMPACTION_S = 3600.0  # how long its end is waited for
_QUIET_LOOKS = 2  # in a row at a server that isn't compacting (any more)


class PurgeOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How a purge goes about it."""

    jobs: int = 4
    max_rate: float | None = None  # documents removed a second
    logs_only: bool = False
    compact: bool = True
    forget: bool = False  # drop tombstones
    whole: bool = False  # delete an index where all of it is proven


class _Purge:
    """One run."""

    def __init__(
        self,
        store: Reader,
        proof: Reader,
        remover: Remover,
        journal: Journal | None,
        selection: Selection,
        options: PurgeOptions,
        policy: Policy,
        *,
        identify: Callable[[], Description],
        busy: Callable[[], str | None],
        stop: Stop,
        observe: Observer,
        tell: Tell,
    ) -> None:
        self._store, self._proof, self._remover, self._journal = store, proof, remover, journal
        self._selection, self._options, self._policy = selection, options, policy
        self._stop, self._observe, self._tell = stop, observe, tell
        self._began_s = time.monotonic()
        self.comparison = Comparison(store, proof, logs_only=options.logs_only)
        self.guard = Guard(remover, proof, self.comparison, policy, identify=identify, busy=busy)
        self.reading = Reading(jobs=options.jobs, slice_documents=_SLICE_DOCUMENTS, stop=stop, observe=observe)
        self.ledger = Ledger(lambda kept: journal.end([_kept_line(each) for each in kept]) if journal else None)
        self.warnings: list[str] = []
        self._lock = threading.Lock()

    def warn(self, warning: str) -> None:
        self.warnings.append(warning)
        self._tell(TargetWarning(warning))

    def check(self, now_s: float) -> None:
        """Raise what speaks against a purge, and warn of the rest, before anything is read."""
        self.guard.check_clock(int(now_s * 1000))
        self.guard.check()
        for told in self._remover.preflight():
            self.warn(told)

    def prove(self, proofs: Proofs) -> None:
        """Read all of the proof that is selected."""

        def take(batch: Batch) -> None:
            proofs.add([(each.id, self.comparison.proof_digest(each)) for each in batch.documents])

        for warning in self.reading.read(self._proof, self._selection, "reading the proof", take):
            self._tell(SourceWarning(warning))
        proofs.seal()

    def compare(self, proofs: Proofs, candidates: Candidates) -> None:
        """Sort what is old enough in the store."""

        def take(batch: Batch) -> None:
            verdicts = [(each, *self.comparison.verdict(each, proofs)) for each in batch.documents]
            with self._lock:
                for document, kind, note in verdicts:
                    account = self.ledger.of(document.namespace)
                    if not self.comparison.has_work(document):
                        continue
                    account.old += 1
                    account.old_bytes += document.size_bytes
                    if kind == "proven":
                        account.proven += 1
                        account.proven_bytes += document.size_bytes
                        candidates.add(Candidate(document.id, document.index, document.namespace))
                    else:
                        namespace = document.namespace
                        self.ledger.keep(
                            Kept(kind=kind, id=document.id, namespace=namespace, index=document.index, note=note)
                        )
                for rejection in batch.rejections:
                    self.ledger.keep(
                        Kept(
                            kind="unreadable",
                            id=rejection.id,
                            namespace=rejection.namespace,
                            index=rejection.index,
                            note=rejection.reason,
                        )
                    )

        for warning in self.reading.read(self._store, self._selection, "comparing", take):
            self.warn(warning)
        self.ledger.save()

    def settle(self, journal: Journal) -> int:
        """Find out what became of the removals of a run that was interrupted; how many were done."""
        if earlier := self._removing(journal).settle():
            self._tell(RemovalsSettled(earlier, str(journal.log)))
        return earlier

    def remove(self, journal: Journal, candidates: Candidates, proofs: Proofs) -> None:
        progress, options = self.reading.progress, self._options
        progress.phase, progress.documents = "removing", progress.counts.read + candidates.documents
        self._removing(journal).run(candidates, proofs, progress, whole=options.whole and not options.logs_only)
        self.ledger.save()

    def _removing(self, journal: Journal) -> Removing:
        return Removing(
            self._remover,
            self.guard,
            self.comparison,
            journal,
            self.ledger,
            self._selection,
            self._policy,
            Pace(self._options.max_rate, sleep=self._stop.sleep),
            stop=self._stop,
            observe=self._observe,
            tell=self._tell,
        )

    # -- space --------------------------------------------------------------------------------------------------

    def forget(self, candidates: Candidates) -> int | None:
        """Drop the tombstones of what was removed."""
        if not (self._options.forget and isinstance(self._remover, SupportsForgetting)):
            return None
        remover, dropped = self._remover, 0
        for batch in candidates.batches(500):
            self._stop.check()
            some: list[Address] = [each.address for each in batch]
            dropped += persist(self._policy, lambda some=some: remover.forget(some), "dropping tombstones")  # type: ignore[misc]
        return dropped

    def compact(self) -> bool:
        """Have the server free the space, and wait for it; whether it has."""
        remover = self._remover
        if not (self._options.compact and isinstance(remover, SupportsCompaction)):
            return False
        try:
            persist(self._policy, remover.compact, "asking for a compaction")
        except AccessDenied as error:
            self.warn(f"the space isn't freed, since this user may not start a compaction: {error}")
            return False
        began_s, quiet = time.monotonic(), 0
        while quiet < _QUIET_LOOKS:
            self._stop.sleep(_LOOK_S)
            running = persist(self._policy, remover.is_compacting, "waiting for the compaction")
            quiet = 0 if running else quiet + 1
            if time.monotonic() - began_s > _COMPACTION_S:
                self.warn("the compaction isn't finished yet; the server continues it")
                return False
        return True

    def space(self) -> Space | None:
        try:
            return persist(self._policy, self._remover.space, "asking for the space")
        except MigratorError as error:
            self.warn(f"the space isn't known: {error}")
            return None

    def report(
        self, *, earlier: int, compacted: bool, forgotten: int | None, space_before: Space | None
    ) -> PurgeReport:
        assert self._selection.until_ms is not None
        journal = self._journal
        return PurgeReport(
            store=self.guard.store,
            proof=self.guard.proof,
            dry_run=journal is None,
            logs_only=self._options.logs_only,
            limit_ms=self._selection.until_ms,
            namespaces=dict(sorted(self.ledger.namespaces.items())),
            kept=dict(sorted(self.ledger.kinds.items())),
            examples=tuple(self.ledger.examples),
            earlier=earlier,
            log=str(journal.log) if journal is not None else None,
            space_before=space_before,
            space_after=self.space() if journal is not None else None,
            compacted=compacted,
            forgotten=forgotten,
            duration_s=time.monotonic() - self._began_s,
            warnings=tuple(self.warnings),
        )


def run_purge(
    store: Reader,
    proof: Reader,
    remover: Remover,
    journal: Journal | None,
    selection: Selection,
    options: PurgeOptions,
    policy: Policy,
    *,
    log: str,
    identify: Callable[[], Description],
    busy: Callable[[], str | None],
    stop: Stop,
    observe: Observer = lambda _: None,
    tell: Tell = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> PurgeReport:
    """Remove what is selected in a store and held by a proof; without a `journal` only tell what would be removed.

    `selection` must have an end: only activations older than it are looked at. `log` names this run's log in the
    journal. `identify` describes the proof as finely as the remover does the store, `busy` tells which other run works
    with one of the two. Raises what ended the run; what was removed until then is in the log, and the same call goes
    on.
    """
    assert selection.until_ms is not None
    purge = _Purge(
        store,
        proof,
        remover,
        journal,
        selection,
        options,
        policy,
        identify=identify,
        busy=busy,
        stop=stop,
        observe=observe,
        tell=tell,
    )
    purge.check(clock())
    earlier, compacted, forgotten = 0, False, None
    if journal is not None:
        earlier = purge.settle(journal)
        journal.begin_log(log)
    before = purge.space()
    with closing(Proofs()) as proofs, closing(Candidates()) as candidates:
        purge.prove(proofs)
        purge.compare(proofs, candidates)
        if journal is not None and candidates.documents:
            purge.remove(journal, candidates, proofs)
            forgotten = purge.forget(candidates)
        if journal is not None and (candidates.documents or earlier):
            compacted = purge.compact()
    return purge.report(
        earlier=earlier,
        space_before=before,
        compacted=compacted,
        forgotten=forgotten,
    )


def _kept_line(kept: Kept) -> dict[str, object]:
    line: dict[str, object] = {"what": "kept", "id": kept.id, "namespace": kept.namespace, "why": kept.kind}
    if kept.index is not None:
        line["index"] = kept.index
    return line | ({"note": kept.note} if kept.note else {})
