"""What must hold at the moment a batch is removed: both stores are the ones that were read, and nobody else is at work.

Looked at before every batch, and again before a batch is sent once more. Everything here raises; nothing is repaired.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from migrator.activations.document import Document
from migrator.activations.forms import instant
from migrator.activations.selection import Selection
from migrator.adapters.base import Description, Reader
from migrator.adapters.questions import SupportsCustody, SupportsProbe
from migrator.adapters.removal import Remover
from migrator.adapters.shared.optional import fetch
from migrator.adapters.shared.patience import Policy, persist
from migrator.engine.identity import confirm_change
from migrator.engine.removal.reading import Comparison
from migrator.errors import Locked, NotFound, Unavailable, UsageError

CLOCK_S = 300
"""How far this machine's clock may be from the server's."""


class Guard:
    """Holds store and proof against what they were when they were read."""

    def __init__(
        self,
        remover: Remover,
        proof: Reader,
        comparison: Comparison,
        policy: Policy,
        *,
        identify: Callable[[], Description],
        busy: Callable[[], str | None],
    ) -> None:
        """`identify` describes the proof, as its remover does where it has one: as finely as the store is described.

        `busy` tells which other run works with one of the two, as the end of a sentence.
        """
        self._remover = remover
        self._proof = proof
        self._comparison = comparison
        self._policy = policy
        self._busy = busy
        self._identify = identify
        self.store = remover.describe()
        self.proof = proof.describe()
        self._identified = identify()
        if _are_same(self.store, self._identified):
            raise UsageError(
                f"{self.store.location} and {self.proof.location} are the same store; a store is no proof of itself"
            )

    @property
    def proof_endures(self) -> bool:
        """Whether single documents never go from the proof, as they may from a store that is in use."""
        return isinstance(self._proof, SupportsCustody)

    def check_clock(self, now_ms: int) -> None:
        """Raise where this machine's clock and the server's disagree: the age of a document hangs on it.

        So does a backup that ended later than now.
        """
        if self.proof_endures and isinstance(self._proof, SupportsProbe):
            ended_ms = self._proof.probe(exact=False).newest_backup_ms
            if ended_ms is not None and ended_ms > now_ms + 1000 * CLOCK_S:
                raise UsageError(
                    f"the clock says {instant(now_ms)}, but the newest backup in {self.proof.location} ended later, at "
                    f"{instant(ended_ms)}; correct the clock"
                )
        theirs_ms = persist(self._policy, self._remover.clock_ms, "asking for the time")
        if theirs_ms is None:
            return
        if abs(theirs_ms - now_ms) > 1000 * CLOCK_S:
            ahead = "ahead of" if now_ms > theirs_ms else "behind"
            raise UsageError(
                f"the clock of this machine is {abs(theirs_ms - now_ms) // 1000:,} s {ahead} that of "
                f"{self.store.location}, so the age of its activations isn't known; correct the clock"
            )

    def check(self) -> None:
        """Raise where a store was replaced, the proof has lost something, or somebody else is at work."""
        if (other := self._busy()) is not None:
            raise Locked(f"{other}; nothing is removed meanwhile. Run the same command again afterwards")
        if isinstance(self._proof, SupportsCustody):
            if (busy := persist(self._policy, self._proof.busy, "looking at the proof")) is not None:
                raise Locked(f"{self.proof.location}: {busy}; nothing is removed meanwhile")
            if (lost := persist(self._policy, self._proof.lost, "looking at the proof")) is not None:
                raise NotFound(
                    f"{self.proof.location}: {lost} since it was read as a proof; run the same command again to prove "
                    "what is left of it"
                )
        self._same(self._identified, lambda: persist(self._policy, self._identify, "looking at the proof"))
        self._same(self.store, lambda: persist(self._policy, self._remover.describe, "looking at the store"))

    def has(self, index: str) -> bool:
        """Whether the store has the index that it had when it was read."""
        now = persist(self._policy, self._remover.describe, "looking at the store").identity
        assert isinstance(now, dict)
        assert isinstance(self.store.identity, dict)
        return bool(now["indices"].get(index) == self.store.identity["indices"].get(index))

    def dropped(self, index: str) -> None:
        """An index of the store is gone by this run's own doing."""
        identity = self.store.identity
        assert isinstance(identity, dict)
        indices = {name: uuid for name, uuid in identity["indices"].items() if name != index}
        self.store = msgspec.structs.replace(self.store, identity={**identity, "indices": indices})

    def _same(self, before: Description, look: Callable[[], Description]) -> None:
        now = look()
        if how := confirm_change(before, now, look, sleep=self._policy.sleep):
            raise Unavailable(
                f"{before.location} was deleted or recreated: {how}; run the same command again to prove what is left"
            )

    def still_proven(self, documents: Sequence[Document]) -> Mapping[str, bool]:
        """Whether the proof holds documents now, by id: asked of a store that is in use, where they may have gone."""
        if self.proof_endures:
            return {document.id: True for document in documents}
        held: dict[str, set[bytes]] = {}
        for batch in fetch(self._proof, [document.id for document in documents], None, Selection()):
            for document in batch.documents:
                held.setdefault(document.id, set()).add(self._comparison.proof_digest(document))
        return {
            document.id: self._comparison.digest(document) in held.get(document.id, set()) for document in documents
        }

    def survived(self, document: Document) -> None:
        """Raise where the proof has lost a document after it was removed from the store: it isn't independent of it."""
        if self.proof_endures:
            return
        if not self.still_proven([document])[document.id]:
            raise Unavailable(
                f"{self.proof.location}: {document.id} is gone there after it was removed from {self.store.location}. "
                "Is one a replica of the other? Nothing more is removed; stop the replication and restore the document"
            )


def _are_same(a: Description, b: Description) -> bool:
    """Whether two stores are one under two names, or have something in common."""
    if a.product != b.product or a.identity is None or b.identity is None:
        return False
    if isinstance(a.identity, dict) and isinstance(b.identity, dict) and "indices" in a.identity:
        ours, theirs = a.identity["indices"], b.identity.get("indices", {})
        return bool(set(ours.values()) & set(theirs.values()))
    return a.identity == b.identity
