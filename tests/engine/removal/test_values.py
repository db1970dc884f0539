"""What a purge comes to: sums over namespaces, and an exit code."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from migrator.adapters.base import Description
from migrator.engine.removal.values import KEPT, NamespacePurge, PurgeReport

STORE = Description(location="memory:a", product="memory", version="1", identity="a")
FIELDS = NamespacePurge.__struct_fields__


def numbered(first: int) -> NamespacePurge:
    """Another number in each field."""
    return NamespacePurge(**{name: first * (at + 1) for at, name in enumerate(FIELDS)})


def report(**told: Any) -> PurgeReport:
    usual: dict[str, Any] = {
        "store": STORE,
        "proof": STORE,
        "dry_run": False,
        "logs_only": False,
        "limit_ms": 1,
        "namespaces": {"guest": numbered(1), "other": numbered(100)},
        "kept": {},
        "examples": (),
        "earlier": 0,
        "log": None,
        "space_before": None,
        "space_after": None,
        "compacted": False,
        "forgotten": None,
        "duration_s": 1.0,
    }
    return PurgeReport(**(usual | told))


def test_accounts_add_up_field_by_field() -> None:
    assert report().totals == numbered(101)
    assert report(namespaces={}).totals == NamespacePurge()
    assert msgspec.to_builtins(NamespacePurge()) == dict.fromkeys(FIELDS, 0)


@pytest.mark.parametrize(("kept", "code"), [({}, 0), ({"missing": 1}, 3), ({"refused": 2}, 3)])
def test_whatever_stays_ends_with_3(kept: dict[str, int], code: int) -> None:
    assert report(kept=kept, warnings=("x",)).exit_code == code


def test_every_reason_to_stay_is_said_in_words() -> None:
    """As the end of a sentence about a document."""
    assert KEPT == {
        "missing": "isn't in the proof",
        "differs": "differs from what the proof holds",
        "unreadable": "can't be read, so its age isn't known",
        "conflicts": "has conflicting revisions, which the proof can't hold",
        "attachments": "has attachments, which the proof doesn't hold",
        "changed": "was changed since it was compared",
        "refused": "the server refuses to remove it",
    }
