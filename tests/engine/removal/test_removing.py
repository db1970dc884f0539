"""Which documents are still looked at where an index was deleted as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from migrator.activations.selection import Selection
from migrator.adapters.removal import Address, Change, ChangeOutcome, Held
from migrator.adapters.shared.patience import Policy
from migrator.engine.removal.journal import Journal
from migrator.engine.removal.reading import Candidate, Candidates, Ledger
from migrator.engine.removal.removing import Pace, Removing
from migrator.events.watching import Progress, Stop
from migrator.testing.documents import activation

INDICES = ("acts-1", "acts-2")
DOCUMENTS = [msgspec.structs.replace(activation(number), index=INDICES[number % 2]) for number in range(20)]


class Remover:
    """A store whose documents are in two indices, and what it is asked for."""

    def __init__(self) -> None:
        self.held = {(each.id, each.index): each for each in DOCUMENTS}
        self.looked: list[Address] = []

    def look(self, addresses: Sequence[Address]) -> list[Held]:
        self.looked += addresses
        found = [self.held.get((each.id, each.index)) for each in addresses]
        return [Held(document=each, version=1) for each in found if each is not None]

    def change(self, changes: Sequence[Change]) -> ChangeOutcome:
        return ChangeOutcome(done=tuple(changes))


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("endures", [True, False])
def test_documents_of_an_index_that_was_deleted_are_looked_at_no_more(
    tmp_path: Path, whole: bool, endures: bool
) -> None:
    """They were accounted for with it. By a proof that is in use, one document goes first, so no index does."""
    remover, ledger, journal = Remover(), Ledger(lambda _: None), Journal(tmp_path)
    journal.begin_log("log")
    guard = SimpleNamespace(
        proof_endures=endures,
        store=SimpleNamespace(identity={}),
        check=lambda: None,
        survived=lambda _: None,
        still_proven=lambda documents: {each.id: True for each in documents},
    )
    comparison = SimpleNamespace(
        verdict=lambda *_: ("proven", ""),
        has_work=lambda _: True,
        replacement=lambda _: None,
        proof_digest=lambda _: b"digest",
    )
    removing = Removing(
        cast(Any, remover),
        cast(Any, guard),
        cast(Any, comparison),
        journal,
        ledger,
        Selection(),
        Policy(sleep=lambda _: None),
        Pace(None, sleep=lambda _: None),
        stop=Stop(),
        observe=lambda _: None,
        tell=lambda _: None,
    )

    def drop(*_: object) -> frozenset[str]:
        for key in [key for key in remover.held if key[1] == "acts-1"]:
            del remover.held[key]
        return frozenset({"acts-1"})

    removing._dropping = cast(Any, SimpleNamespace(run=drop))
    candidates = Candidates()
    for each in DOCUMENTS:
        candidates.add(Candidate(each.id, each.index, each.namespace))
    removing.run(candidates, cast(Any, None), Progress(), whole=whole)
    candidates.close()
    is_dropped = whole and endures
    expected = {(each.id, each.index) for each in DOCUMENTS if not (is_dropped and each.index == "acts-1")}
    assert {(each.id, each.index) for each in remover.looked} == expected
    account = ledger.of("guest")
    assert (account.removed, account.gone, account.kept) == (len(expected), 0, 0)
