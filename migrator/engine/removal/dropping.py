"""Deletes whole indices of which every document is proven.

The deletion of an index names no versions. So the index takes no writes from before its documents are looked at last
until it is gone, and it is deleted only if the server counts as many documents as were proven, twice, with no write in
between. Whatever is in the way, it takes writes again, and its documents are left to be removed one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from migrator.adapters.removal import Address, Held, SupportsWholeRemoval
from migrator.adapters.shared.patience import Policy, persist
from migrator.engine.removal.guarding import Guard
from migrator.engine.removal.journal import Journal
from migrator.engine.removal.proofs import Proofs
from migrator.engine.removal.reading import Candidates, Ledger
from migrator.engine.removal.values import NamespacePurge
from migrator.errors import MigratorError
from migrator.events import TargetWarning, Tell
from migrator.events.watching import Stop

_SETTLING_S = 2.0
"""How long writes may be on their way that an index took before it was frozen."""
_BATCH_DOCUMENTS = 500


class Dropping:
    """Deletes what can be deleted as a whole; `line` makes the log's line of a document that is still proven.

    It gives None for one that isn't.
    """

    def __init__(
        self,
        remover: SupportsWholeRemoval,
        guard: Guard,
        journal: Journal,
        ledger: Ledger,
        policy: Policy,
        *,
        look: Callable[[Sequence[Address]], Mapping[Address, Held]],
        line: Callable[[Held, Proofs], dict[str, object] | None],
        stop: Stop,
        tell: Tell,
    ) -> None:
        self._remover = remover
        self._guard = guard
        self._journal = journal
        self._ledger = ledger
        self._policy = policy
        self._look = look
        self._line = line
        self._stop = stop
        self._tell = tell

    def run(self, candidates: Candidates, proofs: Proofs) -> frozenset[str]:
        """Delete the indices that hold nothing but candidates; their names."""
        held: dict[str, int] = {}
        for batch in candidates.batches(_BATCH_DOCUMENTS):
            for candidate in batch:
                held[candidate.index or ""] = held.get(candidate.index or "", 0) + 1
        gone: set[str] = set()
        for index, documents in sorted(held.items()):
            self._stop.check()
            self._guard.check()
            if index and self._count(index)[0] == documents and self._drop(index, documents, candidates, proofs):
                gone.add(index)
        return frozenset(gone)

    def settle(self, index: str, *, is_gone: bool) -> None:
        """Bring an index that an earlier run left frozen back to taking writes, unless it is gone."""
        if not is_gone:
            persist(self._policy, lambda: self._remover.thaw(index), "letting an index take writes")
        self._journal.thaw(is_gone=is_gone)

    def _count(self, index: str) -> tuple[int, int]:
        return persist(self._policy, lambda: self._remover.count(index), "counting an index")

    def _drop(self, index: str, documents: int, candidates: Candidates, proofs: Proofs) -> bool:
        self._journal.freeze(index, self._guard.store.identity)
        is_gone, held = False, None
        try:
            self._remover.freeze(index)
            self._policy.sleep(_SETTLING_S)
            before = self._count(index)
            held = self._prove(index, candidates, proofs)
            if held is None or sum(each.removed for each in held.values()) != documents or before[0] != documents:
                return False
            self._guard.check()
            if self._count(index) != before:
                return False
            self._remover.drop(index)
            is_gone = True
        except MigratorError as error:
            # Whether it is gone isn't known after a lost answer; its documents are looked up one by one then.
            self._tell(TargetWarning(f"index {index} isn't deleted as a whole: {error}"))
            raise
        finally:
            if is_gone:
                for namespace, account in (held or {}).items():
                    self._ledger.of(namespace).add(account)
                self._guard.dropped(index)
                self._journal.thaw(is_gone=True)
            else:
                self._thaw(index)
        return True

    def _thaw(self, index: str) -> None:
        self.settle(index, is_gone=not self._guard.has(index))

    def _prove(self, index: str, candidates: Candidates, proofs: Proofs) -> dict[str, NamespacePurge] | None:
        """The accounts of an index's documents, looked at once more; None where one isn't what was proven."""
        found: dict[str, NamespacePurge] = {}
        for batch in candidates.batches(_BATCH_DOCUMENTS):
            addresses = [each.address for each in batch if each.index == index]
            if not addresses:
                continue
            held = list(self._look(addresses).values())
            proven = self._guard.still_proven([each.document for each in held])
            lines = [self._line(each, proofs) for each in held]
            if not all(proven.values()) or None in lines or len(held) != len(addresses):
                return None
            self._journal.stage(lines)
            for each in held:
                account = found.setdefault(each.document.namespace, NamespacePurge())
                account.removed += 1
                account.removed_bytes += each.document.size_bytes
        return found
