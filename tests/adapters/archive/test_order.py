"""Which backup is newer: by chain and number, whatever the clocks showed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Form
from migrator.adapters.archive.manifest import Manifest, SourceNote, new_backup_id
from migrator.adapters.archive.order import backups_after, contradiction, in_order, next_number, ranks
from migrator.operations.archive.retention import Candidate, Retention, choose
from tests.support import strategies  # noqa: F401  its settings: a busy machine is no failure

DAY_S = 86_400.0
NOW_S = 1_800_000_000.0
FIVE_YEARS_S = 5 * 365 * DAY_S


def made(earlier: list[Manifest], clock_s: float, parent: Manifest | None = None, *, numbered: bool = True) -> Manifest:
    """A backup as a writer makes it at the end of an archive, and adds it."""
    ended_ms = int(clock_s * 1000)
    manifest = Manifest(
        archive="0" * 32,
        backup=new_backup_id(clock_s),
        mode="incremental" if parent else "full",
        parent=parent.backup if parent else None,
        form=Form.COUCHDB,
        source=SourceNote(location="memory:source", product="memory", version="1"),
        began_ms=ended_ms,
        ended_ms=ended_ms,
        snapshot_ms=None,
        counts={},
        parts=[],
    )
    if numbered:
        ahead = backups_after(ended_ms, [each.backup for each in earlier], earlier)
        manifest = msgspec.structs.replace(manifest, number=next_number(earlier), clock_ahead=ahead)
    earlier.append(manifest)
    return manifest


CLOCKS = st.lists(
    st.tuples(
        st.floats(-FIVE_YEARS_S, FIVE_YEARS_S, allow_nan=False),  # how wrong the clock is
        st.booleans(),  # whether it continues the newest one
    ),
    min_size=1,
    max_size=8,
)


@given(CLOCKS, st.integers(0, 3))
def test_no_clock_changes_the_order(clocks: list[tuple[float, bool]], old: int) -> None:
    """Nor where the first ones were made by a release that wrote no numbers, as long as those hang together."""
    archive: list[Manifest] = []
    for number, (wrong_s, continues) in enumerate(clocks):
        parent = archive[-1] if archive and (continues or number < old) else None
        made(archive, NOW_S + number * DAY_S + wrong_s, parent, numbered=number >= old)
    assert in_order(reversed(archive)) == archive


@given(CLOCKS, st.integers(1, 2), st.integers(0, 2), st.sampled_from([None, "1d", "30d"]))
def test_no_clock_costs_the_newest_backup(
    clocks: list[tuple[float, bool]], last: int, daily: int, within: str | None
) -> None:
    """Retention keeps it and all that it builds on, whatever time it is when it runs."""
    archive: list[Manifest] = []
    for number, (wrong_s, continues) in enumerate(clocks):
        made(archive, NOW_S + number * DAY_S + wrong_s, archive[-1] if archive and continues else None)
    candidates = [
        Candidate(backup=each.backup, ended_ms=each.ended_ms, place=place, parent=each.parent)
        for place, each in enumerate(in_order(archive))
    ]
    for now_s in (NOW_S - FIVE_YEARS_S, NOW_S, NOW_S + FIVE_YEARS_S):
        verdicts = choose(candidates, Retention(last=last, daily=daily, within=within), now_ms=int(now_s * 1000))
        kept = {each.backup for each in verdicts if each.keep}
        link: Manifest | None = archive[-1]
        while link is not None:
            assert link.backup in kept
            link = next((each for each in archive if each.backup == link.parent), None)


def test_a_chain_of_an_earlier_release_is_in_its_order() -> None:
    """Without numbers what continues another is newer; between chains the clocks tell."""
    archive: list[Manifest] = []
    full = made(archive, NOW_S, numbered=False)
    ahead = made(archive, NOW_S + FIVE_YEARS_S, full, numbered=False)
    after = made(archive, NOW_S + 2 * DAY_S, ahead, numbered=False)
    assert in_order([after, ahead, full]) == [full, ahead, after]
    first = made(archive, NOW_S + 3 * DAY_S)  # a full one by this release
    assert in_order([after, first, ahead, full])[-1] == first


def test_a_backup_that_an_earlier_release_added_is_not_passed_over() -> None:
    """It has no number, ended after the newest that has one, and wasn't there when that was made."""
    archive: list[Manifest] = []
    ahead = made(archive, NOW_S + FIVE_YEARS_S, numbered=False)
    numbered = made(archive, NOW_S)
    added = made(archive, NOW_S + DAY_S, numbered=False)
    assert in_order([added, numbered, ahead]) == [ahead, numbered, added]
    assert made(archive, NOW_S + 2 * DAY_S).number == 2


@pytest.mark.parametrize("wrong_s", [2 * 3600.0, FIVE_YEARS_S])
def test_times_that_contradict_the_order_are_said(wrong_s: float) -> None:
    archive: list[Manifest] = []
    ahead = made(archive, NOW_S + wrong_s)
    assert contradiction(archive) is None
    after = made(archive, NOW_S + 3600)
    told = contradiction(archive)
    assert told is not None
    assert f"backup {after.backup} is newer than {ahead.backup}" in told


def test_a_chain_that_comes_back_to_itself_has_an_order() -> None:
    """A forged one; whoever follows it refuses it."""
    archive: list[Manifest] = []
    first = made(archive, NOW_S)
    second = made(archive, NOW_S + 1, first)
    looped = msgspec.structs.replace(first, parent=second.backup, mode="incremental")
    assert len(in_order([looped, second])) == 2


def test_what_continues_a_backup_is_newer_whatever_its_number() -> None:
    """A number that is none above its parent's, as where two archives were put together, counts as one more."""
    archive: list[Manifest] = []
    parent = msgspec.structs.replace(made(archive, NOW_S), number=7)
    child = msgspec.structs.replace(made(archive, NOW_S - DAY_S, parent), number=5)
    other = msgspec.structs.replace(made(archive, NOW_S + DAY_S), number=7)
    assert ranks([child, parent, other]) == {
        parent.backup: (7, False, parent.ended_ms, 0, parent.backup),
        child.backup: (8, False, parent.ended_ms, 1, child.backup),
        other.backup: (7, False, other.ended_ms, 0, other.backup),
    }
    assert in_order([child, other, parent]) == [parent, other, child]
    assert next_number([parent, child, other]) == 9


def test_a_backup_without_a_number_takes_one_from_those_that_ended_before_it() -> None:
    """Unless they name it as there before; without any it is the first."""
    archive: list[Manifest] = []
    old = made(archive, NOW_S + 5, numbered=False)
    before = msgspec.structs.replace(made([], NOW_S), number=3)
    naming = msgspec.structs.replace(made([], NOW_S + 1), number=4, clock_ahead=[old.backup])
    assert ranks([old])[old.backup] == (0, True, old.ended_ms, 0, old.backup)
    assert ranks([old, before])[old.backup][0] == 3
    assert ranks([old, before, naming])[old.backup][0] == 3
    assert ranks([old, naming])[old.backup][0] == 0
