"""Some of the cases of `python -m tests.faults`, which runs thousands, and what it counts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.faults import clocks, filling, killing, spoiling
from tests.faults.bench import Bench, Known, hold_against
from tests.faults.secrets import BASIC, LOGIN, PASSWORD, leaks
from tests.faults.stores import Stores
from tests.faults.verdict import Verdict, read_verdicts, table

FAMILIES = {family.NAME: family for family in (killing, spoiling, filling, clocks)}
CASES = (
    "kill/couchdb-es/point/1",
    "kill/es-archive/point/2",
    "kill/archive-couchdb/point/3",
    "kill/file-file/point/4",
    "kill/couchdb-archive/moment/5",
    "state/couchdb-archive/bit/1",
    "state/archive-couchdb/foreign-log/2",
    "state/es-file/folder/3",
    "state/verify/bit/4",
    "state/schedule/noise/5",
    "disk/couchdb-archive/point/1",
    "disk/file-couchdb/point/2",
    "clock/chain/1",
    "clock/copy-es-couchdb/2",
)


@pytest.fixture(scope="module")
def bench(fault_stores: Stores) -> Iterator[Bench]:
    with Bench(fault_stores, Known()) as bench:
        yield bench


@pytest.mark.parametrize("case", CASES)
def test_a_fault_costs_no_document(bench: Bench, case: str) -> None:
    verdict = FAMILIES[case.partition("/")[0]].run(bench, case)
    assert verdict.applied, verdict
    assert not verdict.is_wrong, verdict


def test_what_is_missing_altered_or_doubled_is_counted() -> None:
    verdict = Verdict(case="kill/file-file/point/1", applied=1)
    hold_against(verdict, {"a": [b"1"], "b": [b"2"], "c": [b"3"]}, {"a": [b"1", b"1"], "b": [b"9"], "d": [b"4"]})
    assert (verdict.missing, verdict.altered, verdict.doubled, verdict.wrong_complete) == (1, 2, 1, True)


def test_the_table_has_a_row_for_each_class_of_fault() -> None:
    """Only cases in which the fault came to pass count; one with some kills counts as so many."""
    verdicts = [
        Verdict(case="a/1", fault="answers", applied=3, exit_code=0, missing=7),
        Verdict(case="a/2", fault="answers", exit_code=0),
        Verdict(case="b/1", fault="kills", applied=4, cases=4, hung=True, secrets=2),
    ]
    _, answers, kills, total, note = table(verdicts).splitlines()
    assert answers.split() == ["answers", "1", "7", "0", "0", "1", "0", "0", "0", "0", "0"]
    assert kills.split() == ["kills", "4", "0", "0", "0", "0", "0", "1", "0", "0", "2"]
    assert total.split() == ["all", "5", "7", "0", "0", "1", "0", "1", "0", "0", "2"]
    assert note.endswith("in 1 more cases the fault found nothing to do")


def test_pieces_are_summed_by_their_newest_verdicts() -> None:
    """A case that was run again counts once."""
    lines = [
        msgspec.json.encode(Verdict(case=case, hung=hung)) for case, hung in (("a", True), ("b", False), ("a", False))
    ]
    assert [(each.case, each.hung) for each in read_verdicts(lines)] == [("a", False), ("b", False)]


@pytest.mark.parametrize(
    "text",
    [
        PASSWORD,
        LOGIN,
        BASIC,
        msgspec.json.encode(PASSWORD).decode(),
        f"x{PASSWORD[:12]}",
        b64encode(f"ab{PASSWORD}c".encode()).decode(),
    ],
)
def test_a_secret_is_found_in_every_spelling(tmp_path: Path, text: str) -> None:
    """In what is reported, and in files."""
    (tmp_path / "job.sqlite").write_text(text)
    assert len(leaks([f"before {text} after"], tmp_path)) == 2
    assert not leaks(["kanarie", "laboratory"], tmp_path / "nothing")
