"""What is reported of two backups is what a naive comparison of their states finds."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migrator.activations.document import Document, Form
from migrator.activations.selection import SelectionSpec
from migrator.errors import Interrupted, NotFound
from migrator.events import Event, RunUnfinished
from migrator.events.watching import Stop
from migrator.operations.archive.diff import ChangeCounts, Changed, diff_archive
from migrator.testing.documents import activation
from tests.support.archives import add_backup
from tests.support.damage import make_archive
from tests.support.profiles import examples

STATES = st.dictionaries(st.integers(0, 30), st.integers(0, 2), max_size=20)


def documents(state: dict[int, int]) -> list[Document]:
    """A version of an activation differs from another in its logs, or in the order of its fields only."""
    found = []
    for number, version in state.items():
        namespace = "guest" if number % 2 else "whisk.system"
        document = activation(number, namespace, logs=["other"] if version == 1 else ["line"])
        if version == 2:  # another revision, the same activation
            changed = activation(number, namespace, logs=["line"], _rev="2-x")
            document = Document(changed.id, changed.form, changed.body, namespace, "hello", changed.start_ms)
        found.append(document)
    return found


@examples(12)
@given(STATES, STATES, st.booleans())
def test_it_is_what_a_naive_comparison_tells(old: dict[int, int], new: dict[int, int], chained: bool) -> None:
    """Two full backups, and two of a chain, in which nothing can be gone."""
    with tempfile.TemporaryDirectory() as name:
        first = add_backup(Path(name), Form.COUCHDB, [documents(old)])
        second = add_backup(Path(name), Form.COUCHDB, [documents(new)], parent=first.backup if chained else None)
        after = old | new if chained else new
        told: list[Changed] = []
        found = diff_archive(f"archive:{name}", first.backup, second.backup, each=told.append).total
    content = {0: "line", 1: "other", 2: "line"}
    changed = {n for n in old.keys() & after.keys() if content[old[n]] != content[after[n]]}
    assert found == ChangeCounts(
        added=len(after.keys() - old.keys()),
        changed=len(changed),
        gone=len(old.keys() - after.keys()),
        same=len(old.keys() & after.keys()) - len(changed),
        fields={"logs": len(changed)} if changed else {},
    )
    kinds = {"added": after.keys() - old.keys(), "changed": changed, "gone": old.keys() - after.keys()}
    for what, numbers in kinds.items():
        ids = {document.id for document in documents(dict.fromkeys(numbers, 0))}
        assert {each.id for each in told if each.what == what} == ids
    assert len(told) == len({each.id for each in told})


def test_counts_are_by_namespace_and_of_what_is_selected(tmp_path: Path) -> None:
    full, newer = make_archive(tmp_path, 12)
    found = diff_archive(f"archive:{tmp_path}", full.backup, newer.backup)
    assert found.namespaces == {
        "guest": ChangeCounts(added=1, changed=2, same=4, fields={"logs": 2}),
        "whisk.system": ChangeCounts(same=6),
    }
    assert not found.is_empty
    some = diff_archive(
        f"archive:{tmp_path}", full.backup, newer.backup, wanted=SelectionSpec(namespaces=("whisk.system",))
    )
    assert some.is_empty
    assert diff_archive(f"archive:{tmp_path}", newer.backup, newer.backup).is_empty


def test_the_same_activations_in_two_forms_are_the_same(tmp_path: Path) -> None:
    """They are compared in the form of the first."""
    numbers = range(10)
    first = add_backup(tmp_path, Form.COUCHDB, [[activation(number) for number in numbers]])
    made = [activation(number, form=Form.ELASTICSEARCH) for number in numbers]
    second = add_backup(tmp_path, Form.ELASTICSEARCH, [made])
    assert diff_archive(f"archive:{tmp_path}", first.backup, second.backup).total == ChangeCounts(same=10)
    assert diff_archive(f"archive:{tmp_path}", second.backup, first.backup).total == ChangeCounts(same=10)


def test_a_backup_that_is_not_there_is_reported(tmp_path: Path) -> None:
    full, _ = make_archive(tmp_path, 12)
    with pytest.raises(NotFound, match="there is no backup 'none'"):
        diff_archive(f"archive:{tmp_path}", full.backup, "none")


def test_an_age_is_counted_from_the_clock(tmp_path: Path) -> None:
    full, newer = make_archive(tmp_path, 12)
    ends = (f"archive:{tmp_path}", full.backup, newer.backup)
    by_moment = diff_archive(*ends, wanted=SelectionSpec(since="1700000010000"))
    by_age = diff_archive(*ends, wanted=SelectionSpec(since="1h"), clock=lambda: 1_700_000_010 + 3600)
    assert by_age == by_moment != diff_archive(*ends)
    assert diff_archive(*ends, wanted=SelectionSpec(since="1h")).is_empty


def test_a_request_to_stop_ends_it_and_nothing_says_that_it_resumes(tmp_path: Path) -> None:
    """Reading again is cheap, so nothing is kept."""
    full, newer = make_archive(tmp_path, 12)
    stop, told = Stop(), list[Event]()
    stop.ask(143)
    with pytest.raises(Interrupted):
        diff_archive(f"archive:{tmp_path}", full.backup, newer.backup, stop=stop, tell=told.append)
    assert not any(isinstance(each, RunUnfinished) for each in told)


def test_what_is_no_activation_on_either_side_is_counted(tmp_path: Path) -> None:
    """It is compared by nobody, and not said to be the same."""
    broken = Document("guest/odd", Form.COUCHDB, b'{"_id":"guest/odd","activationId":1}', "guest", "", 0)
    first = add_backup(tmp_path, Form.COUCHDB, [[activation(1), broken]])
    second = add_backup(tmp_path, Form.COUCHDB, [[activation(1), activation(2)]])
    total = diff_archive(f"archive:{tmp_path}", first.backup, second.backup).total
    assert (total.added, total.same, total.refused) == (1, 1, 1)
