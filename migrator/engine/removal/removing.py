"""Removes what was proven, batch by batch: looked at once more by id, compared with the proof, and only then sent.

Each change names the version that was looked at, so that a document which was written meanwhile stays. What became of a
batch whose answer didn't arrive is found out by looking, never guessed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from migrator.activations.accounts import Counts
from migrator.activations.document import Document
from migrator.activations.selection import Selection
from migrator.adapters.removal import Address, Change, Held, Remover, SupportsWholeRemoval
from migrator.adapters.shared.patience import Patience, Policy, persist
from migrator.engine.identity import still_there
from migrator.engine.removal.dropping import Dropping
from migrator.engine.removal.guarding import Guard
from migrator.engine.removal.journal import Entry, Journal
from migrator.engine.removal.proofs import Proofs
from migrator.engine.removal.reading import Candidate, Candidates, Comparison, Ledger
from migrator.engine.removal.values import Kept
from migrator.errors import AccessDenied, Unavailable
from migrator.events import Tell
from migrator.events.watching import Observer, Progress, Stop

BATCH_DOCUMENTS = 500
_TRIAL_S = 5.0
"""How long a replication is given to show itself by the first document."""
_BATCH_BYTES = 1_000_000  # of what takes the place of documents


class Pace:
    """Lets so many documents through in a second."""

    def __init__(
        self,
        documents_per_s: float | None,
        *,
        sleep: Callable[[float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents_per_s = documents_per_s
        self._sleep = sleep
        self._clock = clock
        self._free_at_s = clock()

    @property
    def batch(self) -> int:
        """How many documents are a batch: about those of a second, where a rate is given."""
        if self._documents_per_s is None:
            return BATCH_DOCUMENTS
        return max(1, min(BATCH_DOCUMENTS, int(self._documents_per_s)))

    def wait(self, documents: int) -> None:
        if self._documents_per_s is None:
            return
        now_s = self._clock()
        if self._free_at_s > now_s:
            self._sleep(self._free_at_s - now_s)
        self._free_at_s = max(self._free_at_s, now_s) + documents / self._documents_per_s


class Removing:
    """Removes candidates; what happened is in the ledger, and durably in the journal."""

    def __init__(
        self,
        remover: Remover,
        guard: Guard,
        comparison: Comparison,
        journal: Journal,
        ledger: Ledger,
        selection: Selection,
        policy: Policy,
        pace: Pace,
        *,
        stop: Stop,
        observe: Observer,
        tell: Tell,
    ) -> None:
        self._remover = remover
        self._guard = guard
        self._comparison = comparison
        self._journal = journal
        self._ledger = ledger
        self._selection = selection
        self._policy = policy
        self._pace = pace
        self._stop = stop
        self._observe = observe
        self._last: Document | None = None  # of what was removed
        self._dropping: Dropping | None = None
        if isinstance(remover, SupportsWholeRemoval):
            self._dropping = Dropping(
                remover, guard, journal, ledger, policy, look=self._look, line=self._line_of, stop=stop, tell=tell
            )

    # -- what an earlier run left -------------------------------------------------------------------------------

    def settle(self) -> int:
        """Find out what became of the batch that an earlier run had sent; how many of it were done."""
        pending = self._journal.pending()
        if pending is None:
            return 0
        if pending.index:
            return self._settle_index(pending.index)
        if not still_there(pending.store, self._guard.store.identity):
            self._journal.end([_line("unknown", entry) for entry in pending.batch])
            return 0
        held = self._look([Address(entry.id, entry.index) for entry in pending.batch])
        done = []
        for entry in pending.batch:
            now = held.get(Address(entry.id, entry.index))
            if now is None:
                done += [entry] if entry.after is None else []
            elif entry.after is not None and self._hex(now.document) == entry.after:
                done.append(entry)
        self._journal.end([_line(_what(entry), entry) for entry in done])
        return len(done)

    def _settle_index(self, index: str) -> int:
        """An index that was being deleted as a whole: if it is still there, let it take writes again."""
        identity = self._guard.store.identity
        assert isinstance(identity, dict)
        if self._dropping is not None:
            self._dropping.settle(index, is_gone=index not in identity["indices"])
        return 0

    # -- batches ------------------------------------------------------------------------------------------------

    def run(self, candidates: Candidates, proofs: Proofs, progress: Progress, *, whole: bool) -> None:
        """Remove all candidates that still are what was proven; with `whole` first the indices that hold no others.

        A proof that is in use may be a replica, from which a document goes as well: one alone is removed first.
        """
        is_trial = not self._guard.proof_endures
        gone: frozenset[str] = frozenset()
        if whole and self._dropping is not None and not is_trial:
            gone = self._dropping.run(candidates, proofs)
        for batch in candidates.batches(self._pace.batch, first=1 if is_trial else None):
            self._stop.check()
            if gone:
                batch = [each for each in batch if each.index not in gone]  # noqa: PLW2901  what is left of it
            self._pace.wait(len(batch))
            self._guard.check()
            if self._last is not None:
                self._guard.survived(self._last)
            for part in _parts(self._changes(batch, proofs)):
                self._carry_out(part)
            progress.add({"": Counts(read=len(batch))})
            self._observe(progress)
            if is_trial and self._last is not None:
                is_trial = False
                self._policy.sleep(_TRIAL_S)
        if self._last is not None:
            self._guard.survived(self._last)

    def _changes(self, batch: Sequence[Candidate], proofs: Proofs) -> list[Change]:
        """What is to be done with a batch, looked at once more; what isn't proven any more stays."""
        held = self._look([candidate.address for candidate in batch])
        documents = [each.document for each in held.values()]
        proven = self._guard.still_proven(documents) if documents else {}
        changes: list[Change] = []
        for candidate in batch:
            now = held.get(candidate.address)
            if now is None:
                self._ledger.of(candidate.namespace).gone += 1
                continue
            document = now.document
            kind, note = self._comparison.verdict(document, proofs)
            if kind in ("missing", "differs") or not self._selection.takes(document):
                kind = "changed"  # it was proven when the store was read
            elif kind == "proven" and not proven[document.id]:
                kind = "missing"
            if kind != "proven":
                self._keep(candidate.namespace, document, kind, note)
            elif self._comparison.has_work(document):
                changes.append(Change(held=now, body=self._comparison.replacement(document)))
            else:
                self._ledger.of(candidate.namespace).gone += 1
        return changes

    def _carry_out(self, changes: Sequence[Change]) -> None:
        """Make changes and note what came of each."""
        self._journal.begin([self._entry(change) for change in changes], self._guard.store.identity)
        done: list[Change] = []
        left, patience, is_first = list(changes), Patience(self._policy), True
        while left:
            try:
                outcome = self._remover.change(left)
            except Unavailable as error:
                condition: Exception = error
            else:
                done += outcome.done
                done += self._outdated(outcome.outdated, is_first=is_first)
                for change, reason in outcome.refused:
                    self._keep_change(change, "refused", reason)
                left = list(outcome.unknown)
                if not left:
                    break
                condition = outcome.condition or Unavailable("the server's answer leaves documents out")
            if isinstance(condition, AccessDenied):
                raise condition
            is_first = False
            patience.pause(condition)
            self._guard.check()
            settled, left = self._settled(left)
            done += settled
        self._journal.end([_line(_what(entry), entry) for entry in map(self._entry, done)])
        self._ledger.save()
        for change in done:
            document = change.held.document
            account = self._ledger.of(document.namespace)
            account.removed += 1
            account.removed_bytes += document.size_bytes - len(change.body or b"")
            self._last = document

    def _settled(self, changes: Sequence[Change]) -> tuple[list[Change], list[Change]]:
        """Which changes were made although no answer said so, and which are still to be made."""
        done: list[Change] = []
        left: list[Change] = []
        held = self._look([change.held.address for change in changes])
        for change in changes:
            now = held.get(change.held.address)
            if self._is_done(change, now):
                done.append(change)
            elif now is None:
                self._ledger.of(change.held.document.namespace).gone += 1
            elif now.version == change.held.version:
                left.append(change)
            else:
                self._keep_change(change, "changed")
        return done, left

    def _outdated(self, changes: Sequence[Change], *, is_first: bool) -> list[Change]:
        """Which changes were made by an earlier try; of the others the document stays, or was gone."""
        done: list[Change] = []
        held = self._look([change.held.address for change in changes]) if changes else {}
        for change in changes:
            now = held.get(change.held.address)
            if not is_first and self._is_done(change, now):
                done.append(change)
            elif now is None:
                self._ledger.of(change.held.document.namespace).gone += 1
            else:
                self._keep_change(change, "changed")
        return done

    def _is_done(self, change: Change, now: Held | None) -> bool:
        """Whether the store holds what a change would have left."""
        if change.body is None or now is None:
            return change.body is None and now is None
        return self._hex(now.document) == self._entry(change).after

    def _line_of(self, held: Held, proofs: Proofs) -> dict[str, object] | None:
        """The line of the log for a document that is still proven; None for another."""
        kind, _ = self._comparison.verdict(held.document, proofs)
        if kind != "proven" or not self._selection.takes(held.document):
            return None
        return _line("removed", self._entry(Change(held=held)))

    # -- details ------------------------------------------------------------------------------------------------

    def _look(self, addresses: Sequence[Address]) -> dict[Address, Held]:
        held = persist(self._policy, lambda: self._remover.look(addresses), "looking up documents")
        return {each.address: each for each in held}

    def _keep(self, namespace: str, document: Document, kind: str, note: str = "") -> None:
        self._ledger.keep(Kept(kind=kind, id=document.id, namespace=namespace, index=document.index, note=note))

    def _keep_change(self, change: Change, kind: str, note: str = "") -> None:
        self._keep(change.held.document.namespace, change.held.document, kind, note)

    def _hex(self, document: Document) -> str:
        return self._comparison.proof_digest(document).hex()

    def _entry(self, change: Change) -> Entry:
        document, after = change.held.document, None
        if change.body is not None:
            after = self._hex(Document(document.id, document.form, change.body, document.namespace, document.name, 0))
        return Entry(
            id=document.id,
            index=document.index,
            namespace=document.namespace,
            start_ms=document.start_ms,
            size_bytes=document.size_bytes,
            digest=self._hex(document),
            version=change.held.version,
            after=after,
        )


def _what(entry: Entry) -> str:
    return "removed" if entry.after is None else "logs removed"


def _line(what: str, entry: Entry) -> dict[str, object]:
    line: dict[str, object] = {"what": what, "id": entry.id, "namespace": entry.namespace, "digest": entry.digest}
    if entry.index is not None:
        line["index"] = entry.index
    return line | {"start": entry.start_ms, "bytes": entry.size_bytes, "version": entry.version}


def _parts(changes: Sequence[Change]) -> list[list[Change]]:
    """Changes in requests of a bounded size."""
    parts: list[list[Change]] = []
    size_bytes = _BATCH_BYTES
    for change in changes:
        if size_bytes >= _BATCH_BYTES:
            parts.append([])
            size_bytes = 0
        parts[-1].append(change)
        size_bytes += len(change.body or b"")
    return parts
